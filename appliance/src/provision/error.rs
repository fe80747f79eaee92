//! What went wrong with a stick.

use std::path::PathBuf;

use super::{mount, network, sandbox, store};
use crate::config;

/// What went wrong with a stick or with what it brought, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stick.
    #[error(transparent)]
    Mount(#[from] mount::Error),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The configuration in force.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The network's files.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A file of this system's.
    #[error("provision: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}
