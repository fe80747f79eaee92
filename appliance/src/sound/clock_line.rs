//! A sound card's clock seen from CLOCK_MONOTONIC: which sample is at the converter when.

/// A card's clock as a straight line: sample `index` is at the converter at `at_us`, and `rate_hz` samples
/// follow each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockLine {
    /// A sample of the card's clock.
    pub index: f64,
    /// When it is at the converter, in µs on CLOCK_MONOTONIC.
    pub at_us: f64,
    /// Samples a second of CLOCK_MONOTONIC.
    pub rate_hz: f64,
}

impl ClockLine {
    /// The sample at the converter at `at_us`.
    #[must_use]
    pub fn index_at(&self, at_us: f64) -> f64 {
        self.index + (at_us - self.at_us) * self.rate_hz * 1e-6
    }

    /// When sample `index` is at the converter, in µs on CLOCK_MONOTONIC.
    #[must_use]
    pub fn time_us(&self, index: f64) -> f64 {
        self.at_us + (index - self.index) * 1e6 / self.rate_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_and_time_are_each_others_inverse() {
        let line = ClockLine { index: 1_000.0, at_us: 5e6, rate_hz: 48_001.5 };
        assert!((line.index_at(line.time_us(123_456.7)) - 123_456.7).abs() < 1e-6);
    }
}
