//! Why a screen could not be read.

use std::io;
use std::path::PathBuf;

/// Why a screen could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No DRM device has the name.
    #[error("screen: no DRM device named {0}: is the rig booted with enough screens?")]
    NotFound(String),
    /// The device answered with an error.
    #[error("screen: {operation} on {path}: {source}")]
    Device {
        /// What was asked.
        operation: &'static str,
        /// The device node.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A framebuffer or plane uses what this reader does not decode.
    #[error("screen: cannot decode {0}")]
    Unsupported(String),
    /// A picture could not be saved.
    #[error("screen: cannot write {path}: {reason}")]
    Save {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}
