//! What can be wrong with a sound device.

use std::io;

/// What can be wrong with a sound device, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device fits what the configuration asks for.
    #[error("sound: no {direction} `{wanted}` ({refused}); plug it in, or name another in the configuration")]
    NotFound {
        /// `microphone` or `loudspeaker`.
        direction: &'static str,
        /// What was asked for.
        wanted: String,
        /// The devices that are there, each with the reason why it does not fit.
        refused: String,
    },
    /// The device has no rate, format and number of channels that we use.
    #[error(
        "sound: {device} has no sample rate and format that we use (last refusal: {source}); use another"
    )]
    NoParameters {
        /// The device, as ALSA names it.
        device: String,
        /// What the driver said to the last attempt.
        source: io::Error,
    },
    /// A call to ALSA failed.
    #[error("sound: {device}: {call}: {source}")]
    Call {
        /// The device, as ALSA names it.
        device: String,
        /// The function of ALSA's library.
        call: &'static str,
        /// The driver's answer.
        source: io::Error,
    },
    /// The device went away, or another program changed it; it must be looked for again.
    #[error("sound: {device} went away; check its cable")]
    Unplugged {
        /// The device, as ALSA names it.
        device: String,
    },
    /// The device says that it runs, but its position stands still.
    #[error("sound: {device} stands still; unplug it and plug it in again")]
    Stalled {
        /// The device, as ALSA names it.
        device: String,
    },
    /// Resampling between the card's rate and ours failed.
    #[error("sound: {device}: cannot resample from or to {rate_hz} Hz: {why}")]
    Resample {
        /// The device, as ALSA names it.
        device: String,
        /// The card's rate.
        rate_hz: u32,
        /// The resampler's answer.
        why: String,
    },
}

impl Error {
    /// What became of a call to ALSA; a device that is gone is [`Error::Unplugged`].
    pub(super) fn from_alsa(device: &str, error: alsa::Error) -> Self {
        use nix::libc::{EBADFD, EIO, ENODEV};
        if matches!(error.errno(), ENODEV | EBADFD | EIO) {
            return Self::Unplugged { device: device.to_owned() };
        }
        let source = io::Error::from_raw_os_error(error.errno());
        Self::Call { device: device.to_owned(), call: error.func(), source }
    }
}
