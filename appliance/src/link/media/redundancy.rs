//! How much parity a frame gets: from the loss that was measured, random or in bursts. No I/O.
//!
//! Losses are taken for a chain of two states (E. N. Gilbert, "Capacity of a Burst-Noise Channel", Bell Syst.
//! Tech. J. 39, 1960): in the good one everything arrives, in the bad one nothing. Its two numbers, the share
//! of lost datagrams and the mean length of a loss, are what a sender can count.

/// The line, as far as losses show it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Loss {
    /// Share of datagrams lost, 0 to 1.
    pub(crate) share: f32,
    /// Lost datagrams in a row, on average; at least 1.
    pub(crate) burst: f32,
}

/// Parity is never more than so many shards beyond half the data.
const FLOOR: usize = 3;
/// The most shards for which the chain is computed; a larger frame gets parity in proportion.
const EXACT: usize = 256;

/// Computes parity counts; keeps its work space.
#[derive(Debug, Default)]
pub(crate) struct Redundancy {
    good: Vec<f32>,
    bad: Vec<f32>,
    /// The last answers, for frames of one size under one loss are the rule.
    known: Option<(usize, Loss, f32, usize)>,
}

impl Redundancy {
    /// The fewest parity shards with which a frame of `data` shards is beyond repair by itself at most `miss`
    /// of the time.
    pub(crate) fn parity(&mut self, data: usize, loss: Loss, miss: f32) -> usize {
        if let Some((d, l, m, parity)) = self.known
            && (d, l, m) == (data, loss, miss)
        {
            return parity;
        }
        let parity = if data > EXACT {
            (self.exact(EXACT, loss, miss) * data).div_ceil(EXACT)
        } else {
            self.exact(data, loss, miss)
        };
        self.known = Some((data, loss, miss, parity));
        parity
    }

    fn exact(&mut self, data: usize, loss: Loss, miss: f32) -> usize {
        let cap = data / 2 + FLOOR;
        let share = loss.share.clamp(0.0, 0.5);
        let leave = 1.0 / loss.burst.clamp(1.0, 50.0);
        // So that the chain spends `share` of its time in the bad state.
        let enter = (leave * share / (1.0 - share)).min(1.0);
        // good[j], bad[j]: the chance to be in that state with j lost so far.
        let width = cap + 1;
        for (state, start) in [(&mut self.good, 1.0 - share), (&mut self.bad, share)] {
            state.clear();
            state.resize(width, 0.0);
            state[0] = start;
        }
        let mut sent = 0;
        for parity in 0..=cap {
            while sent < data + parity {
                // From the most losses down, so that what is read is still of the step before.
                for lost in (0..width).rev() {
                    let good = self.good[lost];
                    let came_bad = if lost > 0 { self.bad[lost - 1] } else { 0.0 };
                    // A datagram sent in the bad state is lost; then the state moves on.
                    self.good[lost] = good * (1.0 - enter) + came_bad * leave;
                    self.bad[lost] = good * enter + came_bad * (1.0 - leave);
                }
                sent += 1;
            }
            let enough: f32 = self
                .good
                .iter()
                .chain(&self.bad)
                .enumerate()
                .fold(0.0, |sum, (i, p)| if i % width <= parity { sum + p } else { sum });
            if 1.0 - enough <= miss {
                return parity;
            }
        }
        cap
    }
}

/// Counts losses, and forgets them over a few thousand datagrams; a line that gets much worse shows sooner.
#[derive(Debug, Default)]
pub(crate) struct LossMeter {
    slow: Count,
    fast: Count,
    last_lost: bool,
}

/// What each count remembers, in datagrams.
const MEMORY: (f32, f32) = (4_000.0, 700.0);
/// The fast count counts when it says so many times more than the slow one: before that it may be chance.
const WORSE: f32 = 1.6;

#[derive(Debug)]
struct Count {
    sent: f32,
    lost: f32,
    bursts: f32,
}

impl Default for Count {
    /// A session begins with a guess: some loss, to be forgotten soon.
    fn default() -> Self {
        Self { sent: 300.0, lost: 6.0, bursts: 4.5 }
    }
}

impl Count {
    fn push(&mut self, lost: bool, begins: bool, memory: f32) {
        let keep = 1.0 - 1.0 / memory;
        self.sent = self.sent * keep + 1.0;
        self.lost = self.lost * keep + f32::from(u8::from(lost));
        self.bursts = self.bursts * keep + f32::from(u8::from(begins));
    }

    fn share(&self) -> f32 {
        self.lost / self.sent
    }
}

impl LossMeter {
    /// The fate of the next datagram in the order of sending.
    pub(crate) fn push(&mut self, lost: bool) {
        let begins = lost && !self.last_lost;
        self.slow.push(lost, begins, MEMORY.0);
        self.fast.push(lost, begins, MEMORY.1);
        self.last_lost = lost;
    }

    /// What it comes to, in steps coarse enough not to change with every datagram.
    pub(crate) fn loss(&self) -> Loss {
        let count = if self.fast.share() > WORSE * self.slow.share() { &self.fast } else { &self.slow };
        let burst = if count.bursts > 0.5 { (count.lost / count.bursts).max(1.0) } else { 1.0 };
        Loss { share: (count.share() * 500.0).ceil() / 500.0, burst: (burst * 4.0).round() / 4.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of `frames` frames with more than `parity` of `data + parity` lost, on a line with `loss`.
    fn missed(data: usize, parity: usize, loss: Loss, frames: usize) -> f32 {
        let mut random = fastrand::Rng::with_seed(5);
        let leave = 1.0 / loss.burst;
        let enter = leave * loss.share / (1.0 - loss.share);
        let mut bad = false;
        let beyond = (0..frames)
            .filter(|_| {
                let lost = (0..data + parity).filter(|_| {
                    let was = bad;
                    bad = if bad { random.f32() >= leave } else { random.f32() < enter };
                    was
                });
                lost.count() > parity
            })
            .count();
        beyond as f32 / frames as f32
    }

    #[test]
    fn the_promise_is_kept_and_not_overdone() {
        for (data, share, burst) in
            [(24, 0.02, 1.0), (24, 0.05, 1.0), (24, 0.02, 2.0), (3, 0.02, 1.0), (100, 0.05, 2.0)]
        {
            let loss = Loss { share, burst };
            let parity = Redundancy::default().parity(data, loss, 3e-3);
            let found = missed(data, parity, loss, 200_000);
            assert!(found < 4e-3, "{data} {loss:?}: {parity} parity miss {found}");
            let fewer = missed(data, parity - 1, loss, 200_000);
            assert!(fewer > 2e-3, "{data} {loss:?}: {parity} parity are too many, one less misses {fewer}");
        }
    }

    #[test]
    fn no_loss_needs_nothing_and_all_loss_is_bounded() {
        let mut r = Redundancy::default();
        assert_eq!(r.parity(30, Loss { share: 0.0, burst: 1.0 }, 1e-3), 0);
        assert_eq!(r.parity(30, Loss { share: 1.0, burst: 9.0 }, 1e-3), 18);
        assert!(r.parity(4096, Loss { share: 0.9, burst: 9.0 }, 1e-6) <= 4096 / 2 + 64);
    }

    #[test]
    fn the_meter_finds_what_the_line_does() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut meter = LossMeter::default();
        for _ in 0..20_000 {
            meter.push(random.f32() < 0.05);
        }
        let loss = meter.loss();
        assert!((0.04..0.06).contains(&loss.share) && loss.burst < 1.3, "{loss:?}");
        for i in 0..20_000 {
            meter.push(i % 200 < 6);
        }
        let loss = meter.loss();
        assert!((0.025..0.035).contains(&loss.share) && (5.0..7.0).contains(&loss.burst), "{loss:?}");
        (0..50_000).for_each(|_| meter.push(false));
        assert_eq!(meter.loss().share, 0.002);
    }
}
