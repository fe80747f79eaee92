//! Which of a camera's modes comes closest to what was asked for. No I/O: no device here.

use std::fmt;

use crate::units::{CameraRequest, Format};

/// One of the modes of a camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mode {
    /// Pixel format; never [`Format::Auto`].
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures per second.
    pub fps: f64,
}

impl Mode {
    /// How far this mode is from `request`; smaller is closer.
    ///
    /// Motion before sharpness before convenience: a picture rate below the request weighs most, then pixels
    /// that are missing, then pixels too many, then the work of converting the format to `cheapest`, which
    /// the encoder takes as it is.
    fn distance(&self, request: &CameraRequest, cheapest: Format) -> f64 {
        let short = |have: f64, want: f64| ((want - have) / want).max(0.0);
        let over = |have: f64, want: f64| ((have - want) / want).max(0.0);
        let fps = f64::from(request.fps);
        let (width, height) = (f64::from(request.width), f64::from(request.height));
        let conversion = match self.format {
            format if format == cheapest => 0.0,
            format => format.conversion(),
        };
        100.0 * short(self.fps, fps)
            + 50.0 * (short(self.width.into(), width) + short(self.height.into(), height))
            + 10.0 * (over(self.width.into(), width) + over(self.height.into(), height))
            + 5.0 * over(self.fps, fps)
            + 0.1 * conversion
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {} {:.3} fps", self.width, self.height, self.format, self.fps)
    }
}

/// The mode closest to `request`; none when `modes` has none of the format insisted on.
pub(super) fn closest(modes: &[Mode], request: &CameraRequest, cheapest: Format) -> Option<Mode> {
    modes
        .iter()
        .filter(|m| request.format == Format::Auto || m.format == request.format)
        .min_by(|a, b| a.distance(request, cheapest).total_cmp(&b.distance(request, cheapest)))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(format: Format, width: u32, height: u32, fps: f64) -> Mode {
        Mode { format, width, height, fps }
    }

    fn request(width: u32, height: u32, fps: u32) -> CameraRequest {
        CameraRequest { device: "auto".into(), width, height, fps, format: Format::Auto }
    }

    fn closest(modes: &[Mode], request: &CameraRequest) -> Option<Mode> {
        super::closest(modes, request, Format::Yu12)
    }

    #[test]
    fn exact_size_and_rate_win() {
        let modes = [
            mode(Format::Yuyv, 1920, 1080, 5.0),
            mode(Format::Mjpg, 1920, 1080, 30.0),
            mode(Format::Yuyv, 1280, 720, 30.0),
        ];
        assert_eq!(closest(&modes, &request(1920, 1080, 30)), Some(modes[1]));
    }

    #[test]
    fn among_equals_the_cheapest_format_wins() {
        let modes = [
            mode(Format::Yuyv, 640, 480, 30.0),
            mode(Format::Nv12, 640, 480, 30.0),
            mode(Format::Yu12, 640, 480, 30.0),
        ];
        assert_eq!(closest(&modes, &request(640, 480, 30)), Some(modes[2]));
        assert_eq!(closest(&modes[..2], &request(640, 480, 30)), Some(modes[1]));
    }

    #[test]
    fn motion_before_sharpness() {
        let modes = [mode(Format::Yuyv, 3840, 2160, 5.0), mode(Format::Yuyv, 1920, 1080, 30.0)];
        assert_eq!(closest(&modes, &request(3840, 2160, 30)), Some(modes[1]));
    }

    #[test]
    fn a_configured_format_is_insisted_on() {
        let modes = [mode(Format::Yu12, 640, 480, 30.0)];
        let request = CameraRequest { format: Format::Mjpg, ..request(640, 480, 30) };
        assert_eq!(closest(&modes, &request), None);
    }
}
