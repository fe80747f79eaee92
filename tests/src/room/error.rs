//! What can go wrong in a room.

use std::io;
use std::path::PathBuf;

/// Why a room could not be, or not be listened to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A cable could not be used.
    #[error("room: {what}: {source}: has the rig a snd-aloop card for each booth?")]
    Cable {
        /// What was tried.
        what: String,
        /// Why not.
        source: alsa::Error,
    },
    /// A cable's clock could not be set.
    #[error("room: rate of {cable}: {source}")]
    Rate {
        /// Which.
        cable: String,
        /// Why not.
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("room: {what}: {source}")]
    Thread {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The thread ended by itself.
    #[error("room: its thread ended")]
    Ended,
    /// A WAV.
    #[error("room: {}: {source}", .path.display())]
    Wav {
        /// Which.
        path: PathBuf,
        /// What was wrong.
        source: hound::Error,
    },
    /// No voice.
    #[error("room: {0}")]
    Voice(io::Error),
}

impl Error {
    /// Whether the card has been pulled.
    pub(super) fn is_unplugged(&self) -> bool {
        use nix::libc::{EBADFD, ENODEV};
        matches!(self, Self::Cable { source, .. } if matches!(source.errno(), ENODEV | EBADFD))
    }
}

/// What ALSA refused, for `map_err`.
pub(super) fn refused(what: impl Into<String>) -> impl FnOnce(alsa::Error) -> Error {
    let what = what.into();
    move |source| Error::Cable { what, source }
}
