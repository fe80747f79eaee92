//! What can go wrong with sound.

use super::resampler;

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libopus refused.
    #[error("sound: Opus: {what}: {why}")]
    Opus {
        /// What was tried.
        what: &'static str,
        /// libopus' reason.
        why: &'static str,
    },
    /// The resampler refused.
    #[error(transparent)]
    Resampler(#[from] resampler::Error),
}
