//! What is on the screen, as R'G'B'.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use super::card::Placement;
use super::error::Error;
use super::mapping::Mapped;

/// A picture of the screen, 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<[u8; 3]>,
}

impl Picture {
    /// A black picture of so many pixels.
    pub fn black(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![[0; 3]; width as usize * height as usize] }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The colour of a pixel; black outside.
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let index = self.index(x, y);
        index.and_then(|index| self.rgb.get(index)).copied().unwrap_or_default()
    }

    /// Mean of the three channels over all pixels, 0 to 255.
    pub fn brightness(&self) -> f64 {
        let sum: u64 = self.rgb.iter().flatten().map(|&channel| u64::from(channel)).sum();
        sum as f64 / (self.rgb.len().max(1) * 3) as f64
    }

    /// The share of pixels, 0 to 1, where any channel differs by more than `tolerance`; 1 when sizes differ.
    pub fn difference(&self, other: &Self, tolerance: u8) -> f64 {
        if self.size() != other.size() {
            return 1.0;
        }
        let apart = |(a, b): (&[u8; 3], &[u8; 3])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > tolerance);
        let count = self.rgb.iter().zip(&other.rgb).filter(|&pair| apart(pair)).count();
        count as f64 / self.rgb.len().max(1) as f64
    }

    /// Writes a PNG file, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let failed = |reason: String| Error::Save { path: path.to_owned(), reason };
        let part = path.with_extension("png.part");
        let file = File::create(&part).map_err(|error| failed(error.to_string()))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(self.rgb.as_flattened())?;
            writer.finish()
        });
        written.map_err(|error| failed(error.to_string()))?;
        fs::rename(&part, path).map_err(|error| failed(error.to_string()))
    }

    /// Draws one plane over what is there.
    pub(super) fn draw(&mut self, mapped: &Mapped, placed: &Placement) {
        let [width, height] = placed.size;
        let (left, top) = (placed.at[0], placed.at[1]);
        for row in 0..height {
            let y = top + row.cast_signed();
            let from_y = middle_of(placed.source[1], placed.source[3], row, height, mapped.size.1);
            for column in 0..width {
                let x = left + column.cast_signed();
                let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { continue };
                let Some(index) = self.index(x, y) else { continue };
                let from_x = middle_of(placed.source[0], placed.source[2], column, width, mapped.size.0);
                let (colour, cover) = mapped.rgb(from_x, from_y, placed.matrix, placed.full_range);
                if let Some(pixel) = self.rgb.get_mut(index) {
                    *pixel = blend(*pixel, colour, cover);
                }
            }
        }
    }

    fn index(&self, x: u32, y: u32) -> Option<usize> {
        (x < self.width && y < self.height).then_some(y as usize * self.width as usize + x as usize)
    }
}

/// The source pixel under the middle of destination pixel `step` of `steps`, from 16.16 fixed point.
fn middle_of(start: u64, span: u64, step: u64, steps: u64, limit: u32) -> u32 {
    let fixed = start + span * (2 * step + 1) / (2 * steps.max(1));
    u32::try_from(fixed >> 16).unwrap_or(u32::MAX).min(limit.saturating_sub(1))
}

/// `above` is premultiplied, as planes take it by default.
fn blend(below: [u8; 3], above: [u8; 3], cover: u8) -> [u8; 3] {
    let through = u32::from(u8::MAX - cover);
    let mut out = above;
    for (out, below) in out.iter_mut().zip(below) {
        let sum = u32::from(*out) + (u32::from(below) * through + 127) / 255;
        *out = u8::try_from(sum).unwrap_or(u8::MAX);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_samples_the_middle() {
        assert_eq!(middle_of(0, 640 << 16, 0, 640, 640), 0);
        assert_eq!(middle_of(0, 640 << 16, 639, 640, 640), 639);
        assert_eq!(middle_of(0, 320 << 16, 639, 640, 320), 319);
        assert_eq!(middle_of(8 << 16, 320 << 16, 0, 320, 640), 8);
    }

    #[test]
    fn blending_follows_the_cover() {
        assert_eq!(blend([200; 3], [10; 3], 255), [10; 3]);
        assert_eq!(blend([200; 3], [0; 3], 0), [200; 3]);
        assert_eq!(blend([200; 3], [50; 3], 128), [150; 3]);
    }

    #[test]
    fn differing_pixels_are_counted() {
        let (black, mut other) = (Picture::black(2, 2), Picture::black(2, 2));
        other.rgb[3] = [0, 9, 0];
        assert!((black.difference(&other, 8) - 0.25).abs() < 1e-9);
        assert!(black.difference(&other, 9).abs() < 1e-9);
    }
}
