//! What can be wrong with a screen.

use std::io;

use crate::units::ModeRequest;

/// What can be wrong with a screen, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device, or none with a connected connector, goes by the configured name.
    #[error(
        "screen: no connected screen `{wanted}` (there are: {present}); plug it in and switch it on, or set \
         screen.device \
         and screen.connector"
    )]
    NotFound {
        /// The configured device and connector.
        wanted: String,
        /// What is there instead.
        present: String,
    },
    /// The screen has no such mode.
    #[error(
        "screen: {connector} has no mode `{wanted}` (it has: {offered}); set screen.mode to one of these or \
         to \"auto\""
    )]
    NoMode {
        /// The connector.
        connector: String,
        /// The configured mode.
        wanted: ModeRequest,
        /// Its modes.
        offered: String,
    },
    /// The device lacks something that every screen needs.
    #[error("screen: {device}: {what}; another device is needed")]
    Unfit {
        /// The device.
        device: String,
        /// What it lacks.
        what: String,
    },
    /// A call to the driver failed.
    #[error("screen: {device}: {call}: {source}{}", hint(source))]
    Driver {
        /// The device.
        device: String,
        /// The call.
        call: &'static str,
        /// The driver's answer.
        source: io::Error,
    },
    /// The cable was pulled or the screen switched off.
    #[error("screen: {0}: unplugged")]
    Unplugged(String),
    /// The driver took a picture but never said that it shows it.
    #[error("screen: {0}: no vblank for {1} ms")]
    Stuck(String, u64),
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EACCES) => "; another program holds the screen (DRM master): stop it",
        Some(nix::libc::ENOENT) => "; is the device's driver loaded?",
        _ => "",
    }
}
