//! Why a booth cannot start, or ends.

use crate::{codec, link, pairing, sound};

/// Why a booth cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No key.
    #[error(transparent)]
    Identity(#[from] pairing::Error),
    /// No codec.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// No socket.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// No voice codec.
    #[error(transparent)]
    Sound(#[from] sound::Error),
    /// The system refused something.
    #[error("booth: {what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A thread ended that never ends.
    #[error("booth: the {0} thread failed; this is a bug in holobooth")]
    Thread(&'static str),
}
