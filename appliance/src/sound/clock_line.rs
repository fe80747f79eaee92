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

/// How far a crystal may be from its nominal rate before anything was measured.
const RATE_SD_PPM: f64 = 100.0;
/// How far a crystal's rate walks in a second: temperature moves it by a few ppm in minutes.
const WALK_PPM_PER_ROOT_S: f64 = 0.1;
/// Stamps further off than so many standard deviations are late wake-ups, not the clock.
const OUTLIER_SDS: f64 = 4.0;
/// After so many outliers in a row it is the clock that jumped.
const OUTLIERS_IN_A_ROW: u32 = 50;

/// Fits a [`ClockLine`] to stamped positions: a Kalman filter of offset and rate, so that the line is the
/// best there is from the first stamp on.
#[derive(Debug, Clone)]
pub struct ClockFit {
    nominal_hz: f64,
    stamp_variance: f64,
    last: Option<(f64, f64)>,
    /// Of the last stamp: estimated minus stamped time, in µs.
    offset_us: f64,
    /// Real seconds a nominal second, minus one.
    skew: f64,
    /// Covariance of offset and skew.
    p: [f64; 3],
    outliers: u32,
}

impl ClockFit {
    /// A fit for a card of `nominal_hz` whose stamps scatter by `stamp_sd_us`.
    #[must_use]
    pub fn new(nominal_hz: f64, stamp_sd_us: f64) -> Self {
        let mut fit = Self {
            nominal_hz,
            stamp_variance: stamp_sd_us * stamp_sd_us,
            last: None,
            offset_us: 0.0,
            skew: 0.0,
            p: [0.0; 3],
            outliers: 0,
        };
        fit.restart();
        fit
    }

    /// Forgets where the clock stands, and keeps what is known of its rate: the card was stopped.
    pub fn restart(&mut self) {
        let skew_variance = if self.last.is_some() { self.p[2] } else { (RATE_SD_PPM * 1e-6).powi(2) };
        self.last = None;
        self.offset_us = 0.0;
        self.p = [self.stamp_variance, 0.0, skew_variance];
        self.outliers = 0;
    }

    /// Takes the stamp that sample `index` was at the converter at `at_us`, and gives the line as now known.
    pub fn add(&mut self, index: f64, at_us: f64) -> ClockLine {
        let Some((last_index, last_us)) = self.last else {
            self.last = Some((index, at_us));
            return self.line(index, at_us);
        };
        // Time as a nominal clock would count it since the last stamp.
        let step_us = (index - last_index) * 1e6 / self.nominal_hz;
        let estimated_us = last_us + self.offset_us + step_us * (1.0 + self.skew);
        let [p00, p01, p11] = self.p;
        let walk = (WALK_PPM_PER_ROOT_S * 1e-6).powi(2) * step_us * 1e-6;
        let p00 = p00 + step_us * (2.0 * p01 + step_us * p11);
        let p01 = p01 + step_us * p11;
        let p11 = p11 + walk;
        let innovation = at_us - estimated_us;
        let variance = p00 + self.stamp_variance;
        self.last = Some((index, at_us));
        if innovation * innovation > OUTLIER_SDS * OUTLIER_SDS * variance {
            self.outliers += 1;
            if self.outliers > OUTLIERS_IN_A_ROW {
                self.restart();
                self.last = Some((index, at_us));
                return self.line(index, at_us);
            }
            self.offset_us = estimated_us - at_us;
            self.p = [p00, p01, p11];
            return self.line(index, at_us);
        }
        self.outliers = 0;
        let gain = [p00 / variance, p01 / variance];
        self.offset_us = estimated_us + gain[0] * innovation - at_us;
        self.skew += gain[1] * innovation;
        self.p = [p00 * (1.0 - gain[0]), p01 * (1.0 - gain[0]), p11 - gain[1] * p01];
        self.line(index, at_us)
    }

    /// Standard deviation of the rate, in ppm: below 2 the echo canceller does as well as with one clock.
    #[must_use]
    pub fn rate_sd_ppm(&self) -> f64 {
        self.p[2].sqrt() * 1e6
    }

    fn line(&self, index: f64, at_us: f64) -> ClockLine {
        ClockLine { index, at_us: at_us + self.offset_us, rate_hz: self.nominal_hz / (1.0 + self.skew) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stamps of a card that is `ppm` fast, each late by up to `late_us`, and one in fifty by 3 ms.
    fn fit(ppm: f64, late_us: f64, seconds: u32) -> (ClockLine, ClockFit) {
        let mut random = fastrand::Rng::with_seed(3);
        let rate_hz = 48_000.0 * (1.0 + ppm * 1e-6);
        let mut fit = ClockFit::new(48_000.0, late_us / 3.0);
        let mut line = ClockLine { index: 0.0, at_us: 0.0, rate_hz: 0.0 };
        for at in 0..seconds * 100 {
            let index = f64::from(at) * 480.0;
            let late = if random.u8(..) < 5 { 3_000.0 } else { random.f64() * late_us };
            line = fit.add(index, 1e9 + index * 1e6 / rate_hz + late);
        }
        (line, fit)
    }

    #[test]
    fn rate_is_within_a_ppm_after_ten_seconds() {
        for ppm in [-200.0, 0.0, 50.0] {
            let (line, fit) = fit(ppm, 100.0, 10);
            let off = (line.rate_hz / 48_000.0 - 1.0) * 1e6 - ppm;
            assert!(off.abs() < 1.0, "{off} ppm off at {ppm}");
            assert!(fit.rate_sd_ppm() < 1.0, "{}", fit.rate_sd_ppm());
            // Stamps are late by 50 us in the mean, and no more than that is the line.
            let late_us = line.time_us(0.0) - 1e9;
            assert!((late_us - 50.0).abs() < 25.0, "{late_us}");
        }
    }

    #[test]
    fn a_jump_of_the_clock_is_taken_after_half_a_second() {
        let (line, mut fit) = fit(50.0, 100.0, 10);
        let mut moved = line;
        for at in 1..=100 {
            let index = line.index + 480.0 * f64::from(at);
            moved = fit.add(index, line.time_us(index) + 20_000.0);
        }
        assert!((moved.time_us(line.index) - line.at_us - 20_000.0).abs() < 100.0);
    }

    #[test]
    fn index_and_time_are_each_others_inverse() {
        let line = ClockLine { index: 1_000.0, at_us: 5e6, rate_hz: 48_001.5 };
        assert!((line.index_at(line.time_us(123_456.7)) - 123_456.7).abs() < 1e-6);
    }
}
