//! What can be wrong with an input device.

use std::io;
use std::path::PathBuf;

/// What can be wrong with an input device, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened, or does not answer what keys it has.
    #[error(
        "input: {}: {source}; whether it has the key is not known: give the booth read access (group input)",
        path.display()
    )]
    Open {
        /// The device node.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It was read, and is no more.
    #[error("input: {name} ({}): {source}; its key does nothing until it is plugged in again", path.display())]
    Read {
        /// What the device calls itself.
        name: String,
        /// The device node.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}
