//! How long a voice frame waits before it is played. No I/O, no clock: everything is counted in samples of
//! the loudspeaker.
//!
//! A frame's *lateness* is the output position at which it was found there, less its own position in the
//! peer's stream. Played with a delay of that much or more, it is in time. The delay follows a high quantile
//! of the lateness of the last seconds ("a maximum by quantile": compare RFC 8868, section 3, and the
//! histogram of WebRTC's NetEq), and so follows the drift between both clocks as well.

/// Frames that are looked back at: 10 s.
const WINDOW: usize = 1_000;
/// Of the lateness in the window, how many may be larger than the delay: so much is concealed for the sake
/// of a shorter delay.
const EXCEEDING: usize = 1;
/// Until so many frames came, the largest counts.
const FEW: usize = 200;
/// How often the quantile is looked at, in frames.
const EVERY: usize = 10;
/// Above the quantile: 1 ms, for what the clocks drift until the next look.
const MARGIN: i64 = 48;
/// The longest delay: whoever needs more is played late.
const MOST: i64 = 48 * 250;

/// Follows the lateness of one peer's frames.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    window: Box<[i64; WINDOW]>,
    scratch: Box<[i64; WINDOW]>,
    filled: usize,
    next: usize,
    since: usize,
    target: Option<i64>,
}

impl DelayEstimator {
    pub(super) fn new() -> Self {
        Self {
            window: Box::new([0; WINDOW]),
            scratch: Box::new([0; WINDOW]),
            filled: 0,
            next: 0,
            since: 0,
            target: None,
        }
    }

    /// Nothing is known any more.
    pub(super) fn reset(&mut self) {
        (self.filled, self.next, self.since, self.target) = (0, 0, 0, None);
    }

    /// A frame that begins at `start` of its stream was found there at `output`.
    pub(super) fn arrived(&mut self, start: i64, output: i64) {
        let lateness = output - start;
        self.window[self.next] = lateness;
        self.next = (self.next + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        self.since += 1;
        // One that is later than all is heeded at once.
        if self.since >= EVERY || self.target.is_none_or(|target| lateness + MARGIN > target) {
            self.since = 0;
            self.target = Some(self.quantile() + MARGIN);
        }
    }

    fn quantile(&mut self) -> i64 {
        let seen = &mut self.scratch[..self.filled];
        seen.copy_from_slice(&self.window[..self.filled]);
        let exceeding = if self.filled < FEW { 0 } else { EXCEEDING };
        let least = seen.iter().copied().min().unwrap_or_default();
        let at = self.filled - 1 - exceeding;
        let (_, quantile, _) = seen.select_nth_unstable(at);
        // Somebody whose frames come in no order at all is not waited for.
        (*quantile).min(least + MOST)
    }

    /// From a frame's position to the output position where it is played, at least; none before the first
    /// frame.
    pub(super) fn target(&self) -> Option<i64> {
        self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lateness: impl Iterator<Item = i64>) -> DelayEstimator {
        let mut delay = DelayEstimator::new();
        for (n, late) in lateness.enumerate() {
            let start = n as i64 * 480;
            delay.arrived(start, start + late);
        }
        delay
    }

    #[test]
    fn follows_the_latest_of_the_last_ten_seconds() {
        assert_eq!(DelayEstimator::new().target(), None);
        assert_eq!(after([700].into_iter()).target(), Some(700 + MARGIN));
        let mut random = fastrand::Rng::with_seed(3);
        let delay = after((0..3_000).map(|_| 500 + random.i64(0..960)));
        assert!((1_440..=1_460 + MARGIN).contains(&delay.target().unwrap()), "{:?}", delay.target());
    }

    #[test]
    fn one_outlier_is_forgiven_and_two_in_ten_seconds_are_not() {
        let outliers =
            |at: &'static [usize]| after((0..2_500).map(move |n| if at.contains(&n) { 5_000 } else { 500 }));
        assert_eq!(outliers(&[1_700]).target(), Some(500 + MARGIN));
        assert_eq!(outliers(&[1_700, 2_400]).target(), Some(5_000 + MARGIN));
        assert_eq!(outliers(&[100, 400]).target(), Some(500 + MARGIN), "long ago");
    }

    #[test]
    fn drift_is_followed_both_ways() {
        // 200 ppm: 0.096 samples a frame.
        for ppm in [200.0, -200.0] {
            let drift = ppm * 1e-6 * 480.0;
            let delay = after((0..6_000).map(|n| (10_000.0 + f64::from(n) * drift) as i64));
            let now = 10_000.0 + 6_000.0 * drift;
            let target = delay.target().unwrap() as f64;
            assert!((target - now).abs() <= 1_000.0 * drift.abs() + MARGIN as f64 + 1.0, "{target} {now}");
        }
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let delay = after((0..1_000).map(|n| if n % 2 == 0 { 0 } else { 48_000 * 60 }));
        assert_eq!(delay.target(), Some(MOST + MARGIN));
    }
}
