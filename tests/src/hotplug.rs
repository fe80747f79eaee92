//! The screen's cable: configfs says whether anything is connected.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::child::Side;

/// Plugs the screen of a side in, or pulls its plug.
///
/// # Errors
/// When the screen was not made through configfs, or the kernel refuses.
pub fn connect(side: Side, connected: bool) -> io::Result<()> {
    let connectors = PathBuf::from("/sys/kernel/config/vkms").join(side.screen()).join("connectors");
    for connector in fs::read_dir(connectors)? {
        fs::write(connector?.path().join("status"), if connected { "1" } else { "2" })?;
    }
    Ok(())
}
