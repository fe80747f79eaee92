//! From the samples of a cable to CLOCK_MONOTONIC and back.

/// How much slower than its nominal rate a cable may turn out to be, in ppm: the kernel's ticks are not quite
/// those of its clock.
const SLOWER_PPM: f64 = 1.0;

/// When samples pass. A position that is read is never ahead of the cable, but up to a tick of the kernel
/// behind it; so the earliest line through all positions is the right one. It follows a cable that is slower
/// than it says by 1 ppm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockLine {
    us_per_sample: f64,
    /// When sample 0 passes, and when that was last looked at; none before the first position.
    start: Option<(f64, f64)>,
}

impl ClockLine {
    /// Of a cable with so many samples a second.
    pub fn new(rate_hz: f64) -> Self {
        Self { us_per_sample: 1e6 / rate_hz, start: None }
    }

    /// The cable was seen at sample `index`, not after `at_us`.
    pub fn observe(&mut self, index: u64, at_us: i64) {
        let at_us = at_us as f64;
        let found = at_us - index as f64 * self.us_per_sample;
        self.start = Some(match self.start {
            None => (found, at_us),
            Some((start, seen)) => (found.min(start + (at_us - seen) * SLOWER_PPM / 1e6), at_us),
        });
    }

    /// When a sample passes, in µs of CLOCK_MONOTONIC.
    pub fn time_us(&self, index: f64) -> f64 {
        self.start.map_or(0.0, |(start, _)| start) + index * self.us_per_sample
    }

    /// Which sample passes at a time.
    pub fn index_at(&self, time_us: f64) -> f64 {
        (time_us - self.start.map_or(0.0, |(start, _)| start)) / self.us_per_sample
    }

    /// Samples a second.
    pub fn rate_hz(&self) -> f64 {
        1e6 / self.us_per_sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_position_counts() {
        let mut line = ClockLine::new(48_000.0);
        for (index, late_us) in [(0, 900), (4_800, 100), (9_600, 2_000), (14_400, 1_000)] {
            line.observe(index, 50_000 + index as i64 * 1_000 / 48 + late_us);
        }
        assert!((line.time_us(0.0) - 50_100.0).abs() < 1.0, "{}", line.time_us(0.0));
        assert!((line.index_at(line.time_us(1_234.5)) - 1_234.5).abs() < 1e-6);
    }

    #[test]
    fn a_cable_that_is_slightly_slower_is_followed() {
        let mut line = ClockLine::new(48_000.0);
        let slow = |index: u64| (index as f64 / 48_000.0 * 1e6 * (1.0 + 0.5e-6)) as i64;
        for index in (0..48_000 * 300).step_by(240) {
            line.observe(index, slow(index));
        }
        let last = 48_000 * 300;
        assert!((line.time_us(last as f64) - slow(last) as f64).abs() < 3.0);
    }
}
