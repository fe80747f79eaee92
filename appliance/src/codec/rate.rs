//! How coarsely a picture is to be quantised, so that its bytes follow a rate that changes from picture to
//! picture.
//!
//! For encoders whose own rate control cannot be given another rate while they are open. No I/O: sizes go in,
//! quantisers come out.
//!
//! Model: the bits of a picture halve every so many steps of the quantiser (QP), bits ≈ c·2^(−QP/s). The
//! quantiser's step size doubles every 6 QP (ITU-T H.265, equation 8-309), so s would be 6; a picture that
//! refers to one before falls faster, because ever more blocks are skipped. c is corrected after every
//! picture. What was spent beyond the rate is a debt that the next pictures pay back: a line that is full
//! drains in a few pictures, not in seconds.

use std::ops::RangeInclusive;

/// Quantisers used. Finer ones only code a camera's grain, and cost time; coarser ones there are none (8
/// bits).
const QP: RangeInclusive<f64> = 14.0..=51.0;
/// Pictures' worth of bits that a keyframe may cost: long enough to be recognisable, short enough on the line
/// for the screen's timeout.
pub(super) const KEYFRAME_WORTH: f64 = 3.5;
/// The least that a keyframe costs, in pictures' worth, even when there is debt.
const KEYFRAME_LEAST: f64 = 2.0;
/// Most debt, in pictures' worth: a keyframe's. What is spent beyond is forgiven, or a change of scene would
/// blur the next seconds.
const DEBT_MOST: f64 = 3.0;
/// Most savings, in pictures' worth. More would be a burst when a still picture begins to move.
const SAVINGS_MOST: f64 = 0.5;
/// Debt is paid back over so many pictures…
const PAYBACK: f64 = 3.0;
/// …but every picture keeps this share of its budget, and gets no more than that one.
const SHARE: RangeInclusive<f64> = 0.4..=1.3;
/// Steps of QP that halve a keyframe. Measured with libx265 on textures, 320x240 to 1280x720: 6 when clean,
/// 3.5 when noisy.
const INTRA_STEP: f64 = 6.0;
/// Steps of QP that halve a picture that refers to one before. Measured as above: 1.5 (noise) to 5 (clean); a
/// value in the middle converges for all.
const INTER_STEP: f64 = 3.5;
/// Bits of a keyframe at QP 0 for each pixel and each unit of [`detail`]. Measured as above, 0.9 to 1.2.
const INTRA_BITS: f64 = 1.1;
/// How much of what a keyframe's size says is believed: where INTRA_STEP is right the rest goes with the next
/// one, and where noise makes it 3.5 this much is already a little too much.
const INTRA_LEARNING: f64 = 0.7;
/// Most steps of QP from one picture to the next: up at once, for the line cannot wait; down gently, for the
/// first picture after a coarse one pays for all that was left out.
const DOWN: f64 = 2.0;
const UP: f64 = 10.0;
/// How far c may move after a picture, in octaves. Up by no more than it takes together with the debt, so
/// that one change of scene does not blur what follows it. Down slowly: under grain that stands still a
/// picture costs nothing until the quantiser is fine enough to see the grain, and then all of it at once; who
/// comes down fast swings between the two.
const RISE: f64 = 1.0;
const FALL: f64 = 0.1;
/// The least size of a picture that says anything about c, in bits: under it are headers only.
const HEADERS: f64 = 400.0;

/// Chooses quantisers.
#[derive(Debug)]
pub(super) struct Rate {
    /// Bits a picture may have.
    budget: f64,
    /// Bits spent beyond the budget; negative when saved.
    debt: f64,
    /// Of the picture last chosen.
    qp: f64,
    /// log2 of c of the pictures that refer to others; none before the first.
    inter: Option<f64>,
    /// log2 of c of a keyframe, for each pixel and unit of detail.
    intra: f64,
    /// What the picture now coded is.
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// log2 of what [`Rate::intra`] is multiplied by.
    Key(f64),
    Inter,
}

impl Rate {
    /// For `kbps` kbit/s at `fps` pictures a second.
    pub(super) fn new(kbps: u32, fps: f64) -> Self {
        let mut rate = Self {
            budget: 0.0,
            debt: 0.0,
            qp: 28.0,
            inter: None,
            intra: INTRA_BITS.log2(),
            kind: Kind::Inter,
        };
        rate.set(kbps, fps);
        rate
    }

    /// Another rate, from the next picture on.
    pub(super) fn set(&mut self, kbps: u32, fps: f64) {
        self.budget = f64::from(kbps.max(1)) * 1000.0 / fps.max(1.0);
        self.settle(0.0);
    }

    /// The quantiser of a keyframe of `pixels` pixels with `detail` (as [`detail`] measures it).
    pub(super) fn keyframe(&mut self, pixels: f64, detail: f64) -> f64 {
        let scene = (pixels * detail.max(0.5)).max(1.0).log2();
        let worth = (KEYFRAME_WORTH - self.debt / self.budget).clamp(KEYFRAME_LEAST, KEYFRAME_WORTH);
        self.kind = Kind::Key(scene);
        self.choose((self.intra + scene - (worth * self.budget).log2()) * INTRA_STEP)
    }

    /// The quantiser of a picture that refers to the one before.
    pub(super) fn inter(&mut self) -> f64 {
        self.kind = Kind::Inter;
        let share = (1.0 - self.debt / self.budget / PAYBACK).clamp(*SHARE.start(), *SHARE.end());
        let wanted = self.inter.map_or(self.qp, |c| (c - (share * self.budget).log2()) * INTER_STEP);
        self.choose(wanted.clamp(self.qp - DOWN, self.qp + UP))
    }

    fn choose(&mut self, qp: f64) -> f64 {
        self.qp = qp.clamp(*QP.start(), *QP.end());
        self.qp
    }

    /// The picture whose quantiser was chosen last has `bits` bits.
    pub(super) fn coded(&mut self, bits: f64) {
        let seen = bits.max(HEADERS).log2();
        match self.kind {
            Kind::Key(scene) => {
                self.intra += INTRA_LEARNING * (seen + self.qp / INTRA_STEP - scene - self.intra)
            }
            Kind::Inter => {
                let c = seen + self.qp / INTER_STEP;
                self.inter = Some(self.inter.map_or(c, |old| old + (c - old).clamp(-FALL, RISE)));
            }
        }
        self.settle(bits - self.budget);
    }

    fn settle(&mut self, spent: f64) {
        self.debt = (self.debt + spent).clamp(-SAVINGS_MOST * self.budget, DEBT_MOST * self.budget);
    }
}

/// How much there is to code in a picture of `width` pixels a row, rows `stride` bytes apart: the mean step
/// of `luma` from pixel to pixel, across and down, on every eighth row.
pub(super) fn detail(luma: &[u8], stride: usize, width: usize) -> f64 {
    let (mut sum, mut count) = (0u64, 0u64);
    for rows in luma.chunks(stride.max(1) * 8) {
        let row = &rows[..width.min(rows.len())];
        let below = rows.get(stride..).unwrap_or_default();
        let across = row.iter().zip(row.iter().skip(1)).map(|(&a, &b)| u64::from(a.abs_diff(b)));
        let down = row.iter().zip(below).map(|(&a, &b)| u64::from(a.abs_diff(b)));
        sum += across.sum::<u64>() + down.sum::<u64>();
        count += row.len() as u64;
    }
    sum as f64 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIXELS: f64 = 640.0 * 480.0;

    /// Bits of a picture of an imaginary encoder whose pictures halve every `step` of QP.
    fn bits(qp: f64, step: f64, at_28: f64) -> f64 {
        at_28 * 2f64.powf((28.0 - qp) / step)
    }

    /// Runs `pictures` pictures and gives their sizes in budgets.
    fn run(rate: &mut Rate, pictures: usize, budget: f64, step: f64, at_28: f64) -> Vec<f64> {
        (0..pictures)
            .map(|_| {
                let bits = bits(rate.inter(), step, at_28);
                rate.coded(bits);
                bits / budget
            })
            .collect()
    }

    #[test]
    fn follows_a_rate_up_and_down_for_every_kind_of_content() {
        for step in [1.3, 2.0, 3.5, 6.0] {
            for at_28 in [3e3, 3e4, 3e5] {
                let mut rate = Rate::new(8_000, 30.0);
                for kbps in [8_000, 1_500, 6_000, 400] {
                    rate.set(kbps, 30.0);
                    let budget = f64::from(kbps) * 1000.0 / 30.0;
                    let reachable = bits(14.0, step, at_28) > budget && bits(51.0, step, at_28) < budget;
                    let shares = run(&mut rate, 60, budget, step, at_28);
                    let mean = shares[30..].iter().sum::<f64>() / 30.0;
                    let most = shares[30..].iter().copied().fold(0.0, f64::max);
                    assert!(!reachable || (0.9..1.1).contains(&mean), "{step} {at_28} {kbps}: {mean}");
                    assert!(!reachable || most < 2.0, "{step} {at_28} {kbps}: {most}");
                }
            }
        }
    }

    #[test]
    fn a_keyframe_costs_few_pictures_and_is_paid_back() {
        let (step, at_28, budget) = (3.5, 3e4, 50_000.0);
        let mut rate = Rate::new(1_500, 30.0);
        // Far from what is assumed at first: the second keyframe knows better.
        let key_at_28 = 4.0 * INTRA_BITS * PIXELS * 5.0 / 2f64.powf(28.0 / INTRA_STEP);
        let mut costs = Vec::new();
        for _ in 0..6 {
            let cost = bits(rate.keyframe(PIXELS, 5.0), INTRA_STEP, key_at_28);
            rate.coded(cost);
            costs.push(cost / budget);
            let after = run(&mut rate, 12, budget, step, at_28);
            let spent = cost / budget + after.iter().sum::<f64>();
            assert!(spent < 13.0 + costs[0], "{spent}");
            run(&mut rate, 30, budget, step, at_28);
        }
        assert!(costs[2..].iter().all(|cost| (2.5..4.5).contains(cost)), "{costs:?}");
    }

    #[test]
    fn keyframes_find_their_worth_in_noise_too() {
        for (step, at_28) in [(INTRA_STEP, 4e5), (3.5, 4e5), (3.5, 2e6)] {
            let mut rate = Rate::new(8_000, 30.0);
            let costs: Vec<f64> = (0..6)
                .map(|_| {
                    let cost = bits(rate.keyframe(PIXELS, 5.0), step, at_28);
                    rate.coded(cost);
                    let budget = rate.budget;
                    run(&mut rate, 60, budget, 3.5, 3e4);
                    cost / budget
                })
                .collect();
            let off = |cost: &f64| (cost / KEYFRAME_WORTH).log2().abs();
            assert!(costs[3..].iter().all(|cost| off(cost) < 0.3), "{step} {at_28}: {costs:?}");
        }
    }

    #[test]
    fn nothing_to_code_saves_no_more_than_half_a_picture() {
        let mut rate = Rate::new(2_000, 30.0);
        for _ in 0..1000 {
            rate.inter();
            rate.coded(0.0);
        }
        assert_eq!(rate.debt, -SAVINGS_MOST * rate.budget);
        assert_eq!(rate.qp, *QP.start());
    }

    #[test]
    fn numbers_of_any_size_leave_a_quantiser() {
        let mut rate = Rate::new(0, 0.0);
        for bits in [0.0, 1e12, 3.0, f64::from(u32::MAX)] {
            let key = rate.keyframe(0.0, 0.0);
            rate.coded(bits);
            let inter = rate.inter();
            rate.coded(bits);
            assert!(QP.contains(&key) && QP.contains(&inter));
            rate.set(u32::MAX, 1e9);
        }
    }

    #[test]
    fn detail_is_the_mean_step_from_pixel_to_pixel() {
        assert_eq!(detail(&[7; 64 * 32], 64, 60), 0.0);
        let stripes: Vec<u8> = (0..64 * 32).map(|i| if i % 2 == 0 { 10 } else { 14 }).collect();
        assert!((detail(&stripes, 64, 64) - 4.0).abs() < 0.1);
        assert_eq!(detail(&[], 0, 9), 0.0);
    }
}
