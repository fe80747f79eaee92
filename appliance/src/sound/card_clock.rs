//! The clock of a card, from the moment it is opened.

use super::clock_fit::ClockFit;
use super::clock_line::ClockLine;
use super::rate::RATE_HZ;

/// Positions from one report to the next.
const REPORT_EVERY: u32 = 200;

/// How a card's clock runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How much faster than it says, in ppm.
    pub ppm: f64,
    /// Its rate in Hz, once that is worth keeping.
    pub measured_hz: Option<f64>,
}

/// A card's clock: fitted, and until there is a fit, the earliest of its positions at the rate that it says. A
/// position is read late, never early; one that is followed as it is read would have the line jump by a period.
#[derive(Debug, Default)]
pub struct CardClock {
    fit: ClockFit,
    earliest: Option<ClockLine>,
    since: u32,
}

impl CardClock {
    /// A card was opened that had this rate in Hz when it was used last.
    pub fn begin(&mut self, kept_hz: Option<f64>) {
        self.fit = kept_hz.map_or_else(ClockFit::of_unknown, ClockFit::of_rate);
        self.earliest = None;
    }

    /// The card has stopped and goes on.
    pub fn restart(&mut self) {
        self.fit.restart();
        self.earliest = None;
    }

    /// Takes in that the card stood at sample `index` at `at_us` on CLOCK_MONOTONIC; says from time to time how it
    /// runs.
    pub fn add(&mut self, index: f64, at_us: f64) -> Option<Rate> {
        self.fit.push(index, at_us);
        if self.earliest.is_none_or(|line| at_us < line.time_us(index)) {
            self.earliest = Some(ClockLine { index, at_us, rate_hz: RATE_HZ });
        }
        self.since += 1;
        if self.since < REPORT_EVERY {
            return None;
        }
        self.since = 0;
        Some(Rate { ppm: self.fit.ppm(), measured_hz: self.fit.measured_hz() })
    }

    /// The clock as it is known; before the first position, one that stands at 0.
    pub fn line(&self) -> ClockLine {
        let nothing = ClockLine { index: 0.0, at_us: 0.0, rate_hz: RATE_HZ };
        self.fit.line().or(self.earliest).unwrap_or(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_does_not_follow_positions_that_are_read_late() {
        let mut random = fastrand::Rng::with_seed(6);
        let (mut clock, mut last): (CardClock, Option<f64>) = (CardClock::default(), None);
        for period in 0..6_000 {
            let index = f64::from(period) * 240.0;
            let late_us = if period == 0 { 0.0 } else { random.f64() * 5_000.0 };
            clock.add(index, 1e6 + index * 1e6 / 48_004.0 + late_us);
            let start_us = clock.line().time_us(0.0);
            if let Some(last) = last {
                assert!((start_us - last).abs() < 400.0, "{period}: {}", start_us - last);
            }
            last = Some(start_us);
        }
        let off_us = clock.line().time_us(6_000.0 * 240.0) - (1e6 + 30e6 * 48_000.0 / 48_004.0);
        assert!(off_us.abs() < 200.0, "{off_us}");
    }
}
