//! From the formats that planes take to R'G'B'.

use drm::buffer::DrmFourcc;

use super::card::Matrix;
use super::error::Error;

/// Says no to formats that are not decoded here, and to framebuffers that lack one of their planes.
pub(super) fn check(format: DrmFourcc, planes: usize) -> Result<(), Error> {
    let needed = match format {
        DrmFourcc::Xrgb8888 | DrmFourcc::Argb8888 => 1,
        DrmFourcc::Nv12 | DrmFourcc::P010 => 2,
        DrmFourcc::Yuv420 => 3,
        other => return Err(Error::Unsupported(format!("framebuffer format {other}"))),
    };
    if planes < needed {
        return Err(Error::Unsupported(format!("a {format} framebuffer with {planes} planes")));
    }
    Ok(())
}

/// Y' of a pixel, or what stands for it in an R'G'B' format. `byte` gives a plane's byte at a column (in
/// bytes) and a row.
pub(super) fn luma(format: DrmFourcc, byte: impl Fn(usize, usize, usize) -> u8, x: u32, y: u32) -> u8 {
    let (x, y) = (x as usize, y as usize);
    match format {
        DrmFourcc::Nv12 | DrmFourcc::Yuv420 => byte(0, x, y),
        DrmFourcc::P010 => byte(0, x * 2 + 1, y),
        _ => {
            let [blue, green, red] = [0, 1, 2].map(|c| u32::from(byte(0, x * 4 + c, y)));
            u8::try_from((red * 77 + green * 150 + blue * 29) >> 8).unwrap_or(u8::MAX)
        }
    }
}

/// R'G'B' of a pixel and how far it covers what lies below, 0 to 255. `byte` as for [`luma`].
pub(super) fn rgb(
    format: DrmFourcc,
    byte: impl Fn(usize, usize, usize) -> u8,
    x: u32,
    y: u32,
    matrix: Matrix,
    full_range: bool,
) -> ([u8; 3], u8) {
    let (x, y) = (x as usize, y as usize);
    let (half_x, half_y) = (x / 2, y / 2);
    let eight = |plane, x, y| f32::from(byte(plane, x, y));
    let ten = |plane, x: usize, y| {
        let word = u16::from_le_bytes([byte(plane, x * 2, y), byte(plane, x * 2 + 1, y)]);
        f32::from(word >> 6) / 4.0
    };
    let [luma, blue, red] = match format {
        DrmFourcc::Nv12 => [eight(0, x, y), eight(1, half_x * 2, half_y), eight(1, half_x * 2 + 1, half_y)],
        DrmFourcc::Yuv420 => [eight(0, x, y), eight(1, half_x, half_y), eight(2, half_x, half_y)],
        DrmFourcc::P010 => [ten(0, x, y), ten(1, half_x * 2, half_y), ten(1, half_x * 2 + 1, half_y)],
        _ => {
            let [blue, green, red, alpha] = [0, 1, 2, 3].map(|c| byte(0, x * 4 + c, y));
            let alpha = if format == DrmFourcc::Argb8888 { alpha } else { u8::MAX };
            return ([red, green, blue], alpha);
        }
    };
    (to_rgb(luma, blue, red, matrix, full_range), u8::MAX)
}

fn to_rgb(luma: f32, blue: f32, red: f32, matrix: Matrix, full_range: bool) -> [u8; 3] {
    let (weight_red, weight_blue) = match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let weight_green = 1.0 - weight_red - weight_blue;
    let (black, luma_span, chroma_span) = if full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
    let luma = (luma - black) / luma_span;
    let (blue, red) = ((blue - 128.0) / chroma_span, (red - 128.0) / chroma_span);
    let to_red = luma + 2.0 * (1.0 - weight_red) * red;
    let to_blue = luma + 2.0 * (1.0 - weight_blue) * blue;
    let to_green = (luma - weight_red * to_red - weight_blue * to_blue) / weight_green;
    // Float to integer saturates.
    [to_red, to_green, to_blue].map(|value| (value * 255.0).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primaries_come_back_from_limited_range() {
        assert_eq!(to_rgb(235.0, 128.0, 128.0, Matrix::Bt709, false), [255, 255, 255]);
        assert_eq!(to_rgb(16.0, 128.0, 128.0, Matrix::Bt601, false), [0, 0, 0]);
        let near = |rgb: [u8; 3], want: [u8; 3]| rgb.iter().zip(want).all(|(&a, b)| a.abs_diff(b) <= 2);
        assert!(near(to_rgb(81.0, 90.0, 240.0, Matrix::Bt601, false), [255, 0, 0]));
        assert!(near(to_rgb(63.0, 102.0, 240.0, Matrix::Bt709, false), [255, 0, 0]));
    }

    #[test]
    fn full_range_is_not_stretched() {
        assert_eq!(to_rgb(128.0, 128.0, 128.0, Matrix::Bt601, true), [128, 128, 128]);
    }
}
