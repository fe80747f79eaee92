//! What the loops of microphone and loudspeaker report.

use super::card_clock::Rate;
use super::device;

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
