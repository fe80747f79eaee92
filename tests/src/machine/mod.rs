//! A booth's image in a machine: QEMU with its firmware, or User-Mode Linux with software cameras and
//! screens.

mod error;
pub mod picture;
mod process;
pub mod qemu;
mod qmp;
pub mod server;
pub mod stick;
pub mod uml;

use std::path::PathBuf;

pub use error::Error;
pub use picture::Screenshot;
pub use process::copy;
pub use qemu::{Machine, Options};

/// The disk's image of a version, that `cargo xtask` made.
///
/// # Errors
/// When it did not say where.
pub fn image(version: &str) -> Result<PathBuf, Error> {
    const VARIABLE: &str = "HOLOBOOTH_IMAGES";
    let folder = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or(Error::NoImage(VARIABLE))?;
    Ok(folder.join(version).join("disk.raw"))
}
