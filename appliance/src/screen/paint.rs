//! Putting a picture into a framebuffer: copied where format and size agree, else converted and scaled by
//! FFmpeg.

use std::ptr;

use drm::buffer::DrmFourcc;
use ffmpeg_next::{Error, color, ffi, format::Pixel, frame, software::scaling};

use super::buffer::Buffer;
use crate::media::scaler::ScalerCache;

/// x, y, width, height in pixels.
pub(super) type Rect = (u32, u32, u32, u32);

/// FFmpeg's name of a KMS format that we write.
pub(super) fn pixel(fourcc: DrmFourcc) -> Pixel {
    match fourcc {
        DrmFourcc::Nv12 => Pixel::NV12,
        DrmFourcc::Yuv420 => Pixel::YUV420P,
        _ => Pixel::BGRZ,
    }
}

/// KMS's name of a pixel format that screens can take as it is.
pub(super) fn fourcc(pixel: Pixel) -> Option<DrmFourcc> {
    match pixel {
        Pixel::NV12 => Some(DrmFourcc::Nv12),
        Pixel::YUV420P | Pixel::YUVJ420P => Some(DrmFourcc::Yuv420),
        _ => None,
    }
}

/// KMS's names of a picture's Y'CbCr encoding and range.
pub(super) fn colour(frame: &frame::Video) -> (&'static str, &'static str) {
    let encoding = match frame.color_space() {
        color::Space::BT709 => "ITU-R BT.709 YCbCr",
        color::Space::BT2020NCL => "ITU-R BT.2020 YCbCr",
        _ => "ITU-R BT.601 YCbCr",
    };
    let range = if full_range(frame) { "YCbCr full range" } else { "YCbCr limited range" };
    (encoding, range)
}

fn full_range(frame: &frame::Video) -> bool {
    frame.color_range() == color::Range::JPEG || frame.format() == Pixel::YUVJ420P
}

/// What a scaler is created for.
#[derive(PartialEq, Clone, Copy)]
struct Parameters {
    from: (Pixel, u32, u32),
    to: (Pixel, u32, u32),
    space: color::Space,
    full: bool,
}

/// Puts pictures into framebuffers; keeps its scaler from picture to picture.
#[derive(Default)]
pub(super) struct Painter(ScalerCache<Parameters>);

impl Painter {
    /// Draws `frame` into `target` of `buffer`. Chroma is halved, so `target` begins on even pixels.
    ///
    /// # Errors
    /// When FFmpeg knows no way from one format to the other.
    pub(super) fn paint(
        &mut self,
        frame: &frame::Video,
        buffer: &mut Buffer,
        target: Rect,
    ) -> Result<(), Error> {
        let (x, y, width, height) = target;
        let to = pixel(buffer.fourcc);
        if fourcc(frame.format()) == Some(buffer.fourcc) && (frame.width(), frame.height()) == (width, height)
        {
            copy(frame, buffer, x as usize, y as usize);
            return Ok(());
        }
        let parameters = Parameters {
            from: (frame.format(), frame.width(), frame.height()),
            to: (to, width, height),
            space: frame.color_space(),
            full: full_range(frame),
        };
        let scaler = self.0.get(parameters, scaler)?;
        let mut out = frame::Video::empty();
        out.set_format(to);
        out.set_width(width);
        out.set_height(height);
        for index in 0..buffer.planes.len() {
            let offset = offset(buffer, index, x as usize, y as usize);
            let (bytes, plane) = buffer.plane(index);
            let start = bytes.get_mut(offset..).map_or(ptr::null_mut(), <[u8]>::as_mut_ptr);
            // SAFETY: the frame only borrows the buffer's memory for the call below; `target` lies within the
            // buffer, so every row that the scaler writes lies within its plane.
            unsafe {
                (*out.as_mut_ptr()).data[index] = start;
                (*out.as_mut_ptr()).linesize[index] = plane.stride as i32;
            }
        }
        scaler.run(frame, &mut out)
    }
}

fn scaler(parameters: &Parameters) -> Result<scaling::Context, Error> {
    let flags = scaling::Flags::BILINEAR;
    let mut scaler = scaling::Context::get(
        parameters.from.0,
        parameters.from.1,
        parameters.from.2,
        parameters.to.0,
        parameters.to.1,
        parameters.to.2,
        flags,
    )?;
    let matrix = match parameters.space {
        color::Space::BT709 => ffi::SWS_CS_ITU709,
        color::Space::BT2020NCL => ffi::SWS_CS_BT2020,
        _ => ffi::SWS_CS_ITU601,
    };
    let full = i32::from(parameters.full);
    let to_full = if parameters.to.0 == Pixel::BGRZ { 1 } else { full };
    // SAFETY: the context is ours; the coefficient table is static.
    unsafe {
        let table = ffi::sws_getCoefficients(matrix);
        ffi::sws_setColorspaceDetails(scaler.as_mut_ptr(), table, full, table, to_full, 0, 1 << 16, 1 << 16);
    }
    Ok(scaler)
}

/// Byte offset of pixel (x, y) in plane `index`.
fn offset(buffer: &Buffer, index: usize, x: usize, y: usize) -> usize {
    let stride = buffer.planes.get(index).map_or(0, |p| p.stride);
    match (buffer.fourcc, index) {
        (DrmFourcc::Xrgb8888, _) => y * stride + 4 * x,
        (_, 0) => y * stride + x,
        (DrmFourcc::Nv12, _) => y / 2 * stride + x / 2 * 2,
        _ => y / 2 * stride + x / 2,
    }
}

/// The one copy between decoder and screen.
fn copy(frame: &frame::Video, buffer: &mut Buffer, x: usize, y: usize) {
    for index in 0..buffer.planes.len() {
        let offset = offset(buffer, index, x, y);
        let width = match (buffer.fourcc, index) {
            (_, 0) => frame.width() as usize,
            (DrmFourcc::Nv12, _) => frame.width().div_ceil(2) as usize * 2,
            _ => frame.width().div_ceil(2) as usize,
        };
        let rows = frame.plane_height(index) as usize;
        let (from, stride) = (frame.data(index), frame.stride(index));
        let (to, plane) = buffer.plane(index);
        let Some(to) = to.get_mut(offset..) else { continue };
        for (to, from) in to.chunks_mut(plane.stride).zip(from.chunks(stride)).take(rows) {
            let width = width.min(to.len()).min(from.len());
            to[..width].copy_from_slice(&from[..width]);
        }
    }
}

/// Makes what is in `buffer` darker: `level` of 256.
pub(super) fn dim(buffer: &mut Buffer, level: u16) {
    let rgb = buffer.fourcc == DrmFourcc::Xrgb8888;
    for index in 0..buffer.planes.len() {
        let black: i32 = match (rgb, index) {
            (true, _) => 0,
            (false, 0) => 16,
            (false, _) => 128,
        };
        let table: [u8; 256] = std::array::from_fn(|v| {
            (black + (v as i32 - black) * i32::from(level) / 256).clamp(0, 255) as u8
        });
        for value in buffer.plane(index).0 {
            *value = table[usize::from(*value)];
        }
    }
}

/// The largest rectangle of `picture`'s shape in the middle of `screen`, on even pixels.
pub(super) fn fit(picture: (u32, u32), screen: (u32, u32)) -> Rect {
    let (pw, ph) = (u64::from(picture.0.max(1)), u64::from(picture.1.max(1)));
    let (sw, sh) = (u64::from(screen.0), u64::from(screen.1));
    let (w, h) = if sw * ph <= sh * pw { (sw, sw * ph / pw) } else { (sh * pw / ph, sh) };
    let even = |v: u64| (v & !1) as u32;
    let (w, h) =
        (if w == sw { sw as u32 } else { even(w).max(2) }, if h == sh { sh as u32 } else { even(h).max(2) });
    (even((sw - u64::from(w)) / 2), even((sh - u64::from(h)) / 2), w, h)
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn fits_in_the_middle_on_even_pixels() {
        assert_eq!(fit((640, 480), (640, 480)), (0, 0, 640, 480));
        assert_eq!(fit((640, 480), (1920, 1080)), (240, 0, 1440, 1080));
        assert_eq!(fit((1920, 1080), (1080, 1920)), (0, 656, 1080, 606));
        assert_eq!(fit((1080, 1920), (3840, 2160)), (1312, 0, 1214, 2160));
        assert_eq!(fit((0, 0), (2, 2)), (0, 0, 2, 2));
    }
}
