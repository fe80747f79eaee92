//! Pixel formats of cameras.
//!
//! Source: V4L2 API, "Image Formats".

use std::fmt;

use serde::Deserialize;

/// A camera's pixel format, by its V4L2 name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Format {
    /// Whatever gives the closest mode.
    #[serde(rename = "auto")]
    Auto,
    /// Luma plane, then interleaved chroma, 4:2:0.
    #[serde(rename = "NV12")]
    Nv12,
    /// Three planes, 4:2:0.
    #[serde(rename = "YU12")]
    Yu12,
    /// Packed 4:2:2.
    #[serde(rename = "YUYV")]
    Yuyv,
    /// A JPEG a picture.
    #[serde(rename = "MJPG")]
    Mjpg,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nv12 => "NV12",
            Self::Yu12 => "YU12",
            Self::Yuyv => "YUYV",
            Self::Mjpg => "MJPG",
        })
    }
}
