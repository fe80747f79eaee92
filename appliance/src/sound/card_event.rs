//! What the loops of microphone and loudspeaker report, and the clock of a card.

use super::clock_fit::ClockFit;
use super::clock_line::ClockLine;
use super::device::{self, Position};
use crate::media::voice::SAMPLE_RATE_HZ;

/// What the loop of a card reports.
#[derive(Debug)]
pub enum CardEvent {
    /// There is no card, and why.
    Missing(device::Error),
    /// A card was opened.
    Running {
        /// Its name, and where it is plugged in.
        device: String,
        /// Rate, format, channels, period and buffer.
        mode: String,
        /// The name under which its rate is kept.
        key: String,
    },
    /// How its clock runs; once a second.
    Clock(Rate),
    /// An open card failed.
    Failed(device::Error),
}

/// How a card's clock runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How much faster than it says, in ppm.
    pub ppm: f64,
    /// Its rate in Hz, once that is worth keeping.
    pub measured_hz: Option<f64>,
}

/// Positions from one report to the next.
const REPORT_EVERY: u32 = 200;

/// A card's clock.
pub(super) struct Clock {
    fit: ClockFit,
    /// Where the card stood last, at its nominal rate: until there is a fit.
    nominal: ClockLine,
    since: u32,
}

impl Clock {
    pub(super) fn new() -> Self {
        let nominal = ClockLine { index: 0.0, at_us: 0.0, rate_hz: NOMINAL_HZ };
        Self { fit: ClockFit::of_unknown(), nominal, since: 0 }
    }

    /// A card was opened that had this rate in Hz when it was used last.
    pub(super) fn begin(&mut self, kept_hz: Option<f64>) {
        self.fit = kept_hz.map_or_else(ClockFit::of_unknown, ClockFit::of_rate);
    }

    /// The card has stopped and goes on.
    pub(super) fn restart(&mut self) {
        self.fit.restart();
    }

    /// Takes in where the card stood; says from time to time how it runs.
    pub(super) fn add(&mut self, position: Position) -> Option<Rate> {
        self.fit.push(position.index, position.at_us);
        (self.nominal.index, self.nominal.at_us) = (position.index, position.at_us);
        self.since += 1;
        if self.since < REPORT_EVERY {
            return None;
        }
        self.since = 0;
        Some(Rate { ppm: self.fit.ppm(), measured_hz: self.fit.measured_hz() })
    }

    /// The clock as it is known.
    pub(super) fn line(&self) -> ClockLine {
        self.fit.line().unwrap_or(self.nominal)
    }
}

const NOMINAL_HZ: f64 = SAMPLE_RATE_HZ as f64;
