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

impl Format {
    /// Those that we take from a camera; of two that come equally close, the first.
    pub const ALL: [Self; 4] = [Self::Nv12, Self::Yu12, Self::Yuyv, Self::Mjpg];

    /// Its V4L2 name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Nv12 => "NV12",
            Self::Yu12 => "YU12",
            Self::Yuyv => "YUYV",
            Self::Mjpg => "MJPG",
        }
    }

    /// Its code in V4L2: the four letters of its name, the first lowest.
    pub fn fourcc(self) -> u32 {
        self.name().bytes().rev().fold(0, |code, letter| code << 8 | u32::from(letter))
    }

    /// How much work it is to make of it what an encoder takes, beside other formats.
    pub fn conversion(self) -> f64 {
        match self {
            Self::Nv12 | Self::Yu12 => 1.0,
            Self::Yuyv => 2.0,
            Self::Mjpg | Self::Auto => 3.0,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_name_and_by_its_code() {
        #[derive(Deserialize)]
        struct File {
            format: Format,
        }
        assert_eq!(Format::Nv12.fourcc(), u32::from_le_bytes(*b"NV12"));
        for format in Format::ALL {
            let file: File = toml::from_str(&format!("format = \"{format}\"")).unwrap();
            assert_eq!(file.format, format);
            assert_eq!(format.fourcc().to_le_bytes(), format.name().as_bytes());
        }
    }
}
