//! What can be wrong with a camera.

use std::io;
use std::path::PathBuf;

use crate::units::Format;

/// The formats that we take, by name.
fn taken() -> String {
    Format::ALL.map(Format::name).join(", ")
}

/// What can be wrong with a camera, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device goes by the configured name.
    #[error("camera: no capture device `{wanted}` (there are: {present}); plug it in, or set camera.device")]
    NotFound {
        /// The configured name.
        wanted: String,
        /// Names of the devices that are there.
        present: String,
    },
    /// The device has none of the formats that we take.
    #[error("camera: {device} offers no format that we take ({}; it has: {offered})", taken())]
    NoMode {
        /// The device.
        device: String,
        /// Its pixel formats.
        offered: String,
    },
    /// The source sends half pictures.
    #[error("camera: {device} sends interlaced pictures; set its source to a progressive mode")]
    Interlaced {
        /// The device.
        device: String,
    },
    /// A call to the driver failed.
    #[error("camera: {path}: {call}: {source}")]
    Driver {
        /// The device node.
        path: PathBuf,
        /// The V4L2 call.
        call: &'static str,
        /// The driver's answer.
        source: io::Error,
    },
    /// The device streams but gives no frame: no signal, a frozen camera.
    #[error("camera: {path} gives no picture; check cable and signal")]
    Silent {
        /// The device node.
        path: PathBuf,
    },
}
