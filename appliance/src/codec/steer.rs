//! What to make of the rate that the line gives: first the encoder's rate follows it, then pictures are left
//! out, then they get smaller. No I/O: time is passed in, never read.
//!
//! A person stays a person with soft edges, or at 15 pictures a second; so the order is: rate, which costs
//! nothing and takes effect at once; frame rate, which costs half a period of delay; size, which costs a
//! keyframe and sharpness for good.

/// Under so many bits a pixel HEVC at its fastest preset smears a moving face, and fewer or smaller pictures
/// look better. At 1280x720 and 30 pictures a second this is 830 kbit/s, at 640x480 276 kbit/s.
const FLOOR_BITS_A_PIXEL: f64 = 0.03;
/// The steps down from the camera's own pictures: code every n-th, at so many quarters of width and height.
/// Each takes 2, 1.8, 2.25, 1.5 and 4 times less than the one before.
const STEPS: [(u32, u32); 6] = [(1, 4), (2, 4), (2, 3), (2, 2), (3, 2), (3, 1)];
/// Pictures never get narrower or lower than this: hardware encoders refuse (NVENC: 129, VAAPI: 128).
const SIZE_LEAST: u32 = 144;
/// How long too little must last before a step down, in µs. Until then the encoder's rate bridges it, at
/// lower quality…
const DOWN_AFTER_US: u64 = 300_000;
/// …except when there is less than this share of what the step needs: then every picture is too much.
const DOWN_AT_ONCE: f64 = 0.4;
/// How long enough must last before a step up, in µs: longer than an estimator's probe or a gap in somebody
/// else's traffic.
const UP_AFTER_US: u64 = 2_000_000;
/// What counts as enough for a step up, in parts of what it needs. With 1.3 an estimate that wavers by an
/// eighth either way changes nothing.
const UP_MARGIN: f64 = 1.3;
/// The least rate that an encoder is asked for, in kbit/s.
const KBPS_LEAST: u32 = 32;

/// How to code the camera's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The encoder's rate in kbit/s.
    pub kbps: u32,
    /// Code every n-th picture.
    pub every: u32,
    /// Their width and height in pixels, even.
    pub size: (u32, u32),
}

/// The camera's pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Source {
    size: (u32, u32),
    fps: f64,
    /// Whether the encoder takes smaller ones.
    scalable: bool,
}

impl Source {
    /// Width and height after step `step`.
    fn size(&self, step: usize) -> (u32, u32) {
        let scale = |v: u32| match STEPS[step].1 {
            4 => v,
            quarters => (u64::from(v) * u64::from(quarters) / 4) as u32 & !1,
        };
        (scale(self.size.0), scale(self.size.1))
    }

    /// The least rate for step `step`, in kbit/s.
    fn floor_kbps(&self, step: usize) -> f64 {
        let (width, height) = self.size(step);
        FLOOR_BITS_A_PIXEL * f64::from(width) * f64::from(height) * self.fps
            / f64::from(STEPS[step].0)
            / 1000.0
    }

    /// The least step that `kbps` is enough for.
    fn step_for(&self, kbps: f64) -> usize {
        let enough = |&step: &usize| kbps >= self.floor_kbps(step);
        let possible = |&step: &usize| {
            let (width, height) = self.size(step);
            (width, height) == self.size || self.scalable && width.min(height) >= SIZE_LEAST
        };
        let steps = || (0..STEPS.len()).filter(possible);
        steps().find(enough).or(steps().next_back()).unwrap_or(0)
    }
}

/// Makes plans.
#[derive(Debug)]
pub(super) struct Steer {
    most_kbps: u32,
    scalable: bool,
    source: Option<Source>,
    step: usize,
    /// Since when the rate has been too little for the step.
    short_since_us: Option<u64>,
    /// Since when it has been enough for a better one, and the best that it has been enough for all the time.
    ample_since_us: Option<(u64, usize)>,
}

impl Steer {
    /// Plans for at most `most_kbps` kbit/s.
    pub(super) fn new(most_kbps: u32) -> Self {
        Self { most_kbps, scalable: true, source: None, step: 0, short_since_us: None, ample_since_us: None }
    }

    /// The encoder does not take smaller pictures: plans without them from now on.
    pub(super) fn keep_size(&mut self) {
        self.scalable = false;
    }

    /// The plan for pictures of `size`, `fps` a second, when the line gives `target_kbps` (0: not known) at
    /// `now_us`.
    pub(super) fn plan(&mut self, target_kbps: u32, size: (u32, u32), fps: f64, now_us: u64) -> Plan {
        let most = self.most_kbps.max(KBPS_LEAST);
        let kbps = match target_kbps {
            0 => most,
            target => target.clamp(KBPS_LEAST, most),
        };
        let source = Source { size, fps: fps.max(1.0), scalable: self.scalable };
        if self.source != Some(source) {
            *self = Self { scalable: self.scalable, ..Self::new(self.most_kbps) };
            self.step = source.step_for(f64::from(kbps));
            self.source = Some(source);
        } else {
            self.walk(source, f64::from(kbps), now_us);
        }
        Plan { kbps, every: STEPS[self.step].0, size: source.size(self.step) }
    }

    fn walk(&mut self, source: Source, kbps: f64, now_us: u64) {
        let floor = source.floor_kbps(self.step);
        if kbps < floor {
            let since = *self.short_since_us.get_or_insert(now_us);
            if kbps < DOWN_AT_ONCE * floor || now_us.saturating_sub(since) >= DOWN_AFTER_US {
                self.step = source.step_for(kbps).max(self.step);
                self.short_since_us = None;
            }
        } else {
            self.short_since_us = None;
        }
        let better = source.step_for(kbps / UP_MARGIN);
        if better >= self.step {
            self.ample_since_us = None;
            return;
        }
        let (since, best) = self.ample_since_us.map_or((now_us, better), |(t, best)| (t, best.max(better)));
        self.ample_since_us = Some((since, best));
        if now_us.saturating_sub(since) >= UP_AFTER_US {
            self.step = best;
            self.ample_since_us = None;
        }
    }
}

/// Spares an encoder for which every change of rate costs a keyframe: few changes, down soon and up late.
#[derive(Debug, Default)]
pub(super) struct Hysteresis {
    last: Option<(u32, u64)>,
}

impl Hysteresis {
    /// Smaller changes are not worth a keyframe.
    const LEAST_CHANGE: f64 = 0.2;
    /// How long after a change the next may follow, in µs.
    const DOWN_AFTER_US: u64 = 1_000_000;
    const UP_AFTER_US: u64 = 4_000_000;

    /// The rate to run at when the plan says `kbps` at `now_us`.
    pub(super) fn settle(&mut self, kbps: u32, now_us: u64) -> u32 {
        let Some((last, since)) = self.last else {
            self.last = Some((kbps, now_us));
            return kbps;
        };
        let waited = now_us.saturating_sub(since);
        let share = f64::from(kbps) / f64::from(last.max(1));
        let down = share < 1.0 - Self::LEAST_CHANGE && waited >= Self::DOWN_AFTER_US;
        let up = share > 1.0 + Self::LEAST_CHANGE && waited >= Self::UP_AFTER_US;
        if !down && !up {
            return last;
        }
        self.last = Some((kbps, now_us));
        kbps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: (u32, u32) = (1280, 720);
    const SECOND: u64 = 1_000_000;

    /// Plans every 33 ms for `seconds`, from `now` on; `target` is asked with the time since.
    fn run(steer: &mut Steer, now: &mut u64, seconds: f64, target: impl Fn(u64) -> u32) -> Vec<Plan> {
        (0..(seconds * 30.0) as u64)
            .map(|i| {
                *now += 33_333;
                steer.plan(target(i), HD, 30.0, *now)
            })
            .collect()
    }

    fn changes(plans: &[Plan]) -> usize {
        plans.windows(2).filter(|p| (p[0].every, p[0].size) != (p[1].every, p[1].size)).count()
    }

    #[test]
    fn the_rate_follows_at_once_and_nothing_else_changes_above_the_floor() {
        let (mut steer, mut now) = (Steer::new(8_000), 0);
        let plans = run(&mut steer, &mut now, 20.0, |i| 1_000 + 40 * (i as u32 % 200));
        assert!(
            plans
                .iter()
                .enumerate()
                .all(|(i, p)| u64::from(p.kbps) == (1_000 + 40 * (i as u64 % 200)).min(8_000))
        );
        assert!(plans.iter().all(|p| (p.every, p.size) == (1, HD)));
        assert_eq!(steer.plan(0, HD, 30.0, now).kbps, 8_000, "not known");
        assert_eq!(steer.plan(u32::MAX, HD, 30.0, now).kbps, 8_000);
    }

    #[test]
    fn first_the_frame_rate_then_the_size() {
        let (mut steer, mut now) = (Steer::new(8_000), 0);
        let mut seen = Vec::new();
        for kbps in (30..=900u32).rev().step_by(10) {
            for plan in run(&mut steer, &mut now, 0.5, |_| kbps) {
                if seen.last() != Some(&(plan.every, plan.size)) {
                    seen.push((plan.every, plan.size));
                }
            }
        }
        let all = [(1, HD), (2, HD), (2, (960, 540)), (2, (640, 360)), (3, (640, 360)), (3, (320, 180))];
        assert_eq!(seen, all);
    }

    #[test]
    fn down_soon_and_up_late() {
        let (mut steer, mut now) = (Steer::new(8_000), 0);
        run(&mut steer, &mut now, 1.0, |_| 8_000);
        assert_eq!(changes(&run(&mut steer, &mut now, 0.25, |_| 700)), 0, "a dip");
        run(&mut steer, &mut now, 1.0, |_| 8_000);
        let plans = run(&mut steer, &mut now, 1.0, |_| 700);
        assert_eq!((plans[5].every, plans[12].every), (1, 2));
        let plans = run(&mut steer, &mut now, 4.0, |_| 900);
        assert_eq!(changes(&plans), 0, "no margin");
        let plans = run(&mut steer, &mut now, 4.0, |_| 8_000);
        assert_eq!((plans[55].every, plans[65].every), (2, 1));
    }

    #[test]
    fn a_collapse_is_answered_with_the_next_picture_and_left_in_one_step() {
        let (mut steer, mut now) = (Steer::new(8_000), 0);
        run(&mut steer, &mut now, 1.0, |_| 8_000);
        let plans = run(&mut steer, &mut now, 1.0, |_| 100);
        assert_eq!((plans[0].every, plans[0].size), (3, (640, 360)));
        let plans = run(&mut steer, &mut now, 4.0, |_| 8_000);
        assert_eq!(changes(&plans), 1);
        assert_eq!(plans.last().map(|p| (p.every, p.size)), Some((1, HD)));
    }

    #[test]
    fn noise_around_any_rate_changes_the_plan_once_at_most() {
        for centre in (40..2_000u32).step_by(15) {
            let (mut steer, mut now) = (Steer::new(8_000), 0);
            let mut random = fastrand::Rng::with_seed(centre.into());
            let noise: Vec<u32> = (0..3000).map(|_| centre * random.u32(875..1125) / 1000).collect();
            // The first seconds may still settle.
            let plans = run(&mut steer, &mut now, 90.0, |i| noise[i as usize]);
            assert!(changes(&plans[150..]) <= 1, "{centre}: {}", changes(&plans[150..]));
        }
    }

    #[test]
    fn sizes_are_even_keep_their_shape_and_are_never_tiny() {
        for size in [(3840, 2160), (1920, 1080), (1080, 1920), (640, 480), (322, 242), (160, 120), (2, 2)] {
            for kbps in [1, 30, 100, 300, 1_000, 30_000] {
                let plan = Steer::new(30_000).plan(kbps, size, 30.0, 0);
                let (w, h) = plan.size;
                assert!(
                    plan.size == size || (w % 2 == 0 && h % 2 == 0 && w.min(h) >= SIZE_LEAST),
                    "{plan:?}"
                );
                let shape = f64::from(w) / f64::from(h) / (f64::from(size.0) / f64::from(size.1));
                assert!((0.98..1.02).contains(&shape), "{plan:?}");
                assert!(plan.kbps >= KBPS_LEAST);
            }
        }
    }

    #[test]
    fn an_encoder_that_takes_no_other_size_keeps_it() {
        let mut steer = Steer::new(8_000);
        assert_ne!(steer.plan(60, HD, 30.0, SECOND).size, HD);
        steer.keep_size();
        let plan = steer.plan(60, HD, 30.0, SECOND);
        assert_eq!((plan.every, plan.size), (2, HD));
    }

    #[test]
    fn another_camera_mode_starts_over() {
        let mut steer = Steer::new(8_000);
        assert_eq!(steer.plan(300, HD, 30.0, SECOND).every, 2);
        assert_eq!(steer.plan(300, (640, 480), 30.0, SECOND), Plan { kbps: 300, every: 1, size: (640, 480) });
    }

    #[test]
    fn keyframes_for_a_change_of_rate_are_rare() {
        let mut hysteresis = Hysteresis::default();
        assert_eq!(hysteresis.settle(8_000, 0), 8_000);
        assert_eq!(hysteresis.settle(7_000, 10 * SECOND), 8_000, "not worth it");
        assert_eq!(hysteresis.settle(3_000, 10 * SECOND), 3_000);
        assert_eq!(hysteresis.settle(1_000, 10 * SECOND + 999_999), 3_000);
        assert_eq!(hysteresis.settle(1_000, 11 * SECOND), 1_000);
        assert_eq!(hysteresis.settle(8_000, 14 * SECOND), 1_000);
        assert_eq!(hysteresis.settle(8_000, 15 * SECOND), 8_000);
    }
}
