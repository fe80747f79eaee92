//! Marks over the picture that are understood across a room: a microphone that is off.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use drm::buffer::DrmFourcc;

use super::buffer::Buffer;
use super::paint::Rect;

/// What marks say.
#[derive(Debug, Default)]
pub struct Marks {
    /// This booth's microphone is off: a mark at the lower left.
    pub own_muted: AtomicBool,
    /// The microphone of the booth that is shown is off: a mark at the lower right.
    pub peer_muted: AtomicBool,
}

/// Of the picture's height, a mark takes one in so many: 20 cm on a person of 1.8 m. From four metres that is
/// what a letter of 1 cm is at arm's length.
const HEIGHT: u32 = 9;
/// Samples in each direction for a pixel's coverage.
const SUB: usize = 3;

/// White on red, as Y'CbCr (BT.709, limited range) and as B, G, R.
const SYMBOL: ([u8; 3], [u8; 3]) = ([235, 128, 128], [255, 255, 255]);
const DISC: ([u8; 3], [u8; 3]) = ([63, 105, 212], [30, 30, 205]);

/// Coverage of a mark's pixels by its disc and its symbol, of 255.
struct Mask {
    size: usize,
    disc: Vec<u8>,
    symbol: Vec<u8>,
}

/// Draws marks; keeps the shape from picture to picture.
#[derive(Default)]
pub(super) struct Marker {
    mask: Option<Mask>,
}

/// Distance of (x, y) from the line between two points.
fn distance((x, y): (f32, f32), (ax, ay): (f32, f32), (bx, by): (f32, f32)) -> f32 {
    let (dx, dy) = (bx - ax, by - ay);
    let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (x - ax - along * dx).hypot(y - ay - along * dy)
}

/// Whether (x, y), each 0 to 1, belongs to a microphone with a bar through it.
fn is_symbol(at: (f32, f32)) -> bool {
    let (x, y) = at;
    let bar = distance(at, (0.25, 0.22), (0.75, 0.78));
    if bar < 0.035 {
        return true;
    }
    // A rim sets the bar off from what it crosses.
    if bar < 0.065 {
        return false;
    }
    let capsule = distance(at, (0.5, 0.32), (0.5, 0.44)) < 0.095;
    let holder = y > 0.44 && ((x - 0.5).hypot(y - 0.44) - 0.17).abs() < 0.025;
    let stem = distance(at, (0.5, 0.62), (0.5, 0.74)) < 0.025;
    let foot = distance(at, (0.4, 0.75), (0.6, 0.75)) < 0.025;
    capsule || holder || stem || foot
}

impl Mask {
    fn new(size: usize) -> Self {
        let coverage = |inside: &dyn Fn((f32, f32)) -> bool| {
            let pixel = |n: usize| {
                let sub = |k: usize, s: usize| (k as f32 + (s as f32 + 0.5) / SUB as f32) / size as f32;
                let hits = (0..SUB * SUB)
                    .filter(|s| inside((sub(n % size, s % SUB), sub(n / size, s / SUB))))
                    .count();
                (hits * 255 / (SUB * SUB)) as u8
            };
            (0..size * size).map(pixel).collect()
        };
        let disc = coverage(&|(x, y)| (x - 0.5).hypot(y - 0.5) < 0.49);
        Self { size, disc, symbol: coverage(&is_symbol) }
    }
}

impl Marker {
    /// Draws the marks that are on over the picture, which is at `picture` in `buffer`.
    pub(super) fn draw(&mut self, marks: &Marks, buffer: &mut Buffer, picture: Rect) {
        let (x, y, width, height) = picture;
        let size = (height / HEIGHT).min(width / 3) & !1;
        let margin = (size / 3) & !1;
        let top = (y + height).saturating_sub(size + margin) & !1;
        let right = (x + width).saturating_sub(size + margin) & !1;
        let places =
            [(marks.own_muted.load(Relaxed), (x + margin) & !1), (marks.peer_muted.load(Relaxed), right)];
        for (_, left) in places.into_iter().filter(|(on, _)| *on) {
            let kept = self.mask.take().filter(|mask| mask.size == size as usize);
            let mask = self.mask.insert(kept.unwrap_or_else(|| Mask::new(size as usize)));
            for index in 0..buffer.planes.len() {
                stamp(mask, buffer, index, left as usize, top as usize);
            }
        }
    }
}

/// Blends the mark into plane `index`, its upper left corner at pixel (left, top), both even.
fn stamp(mask: &Mask, buffer: &mut Buffer, index: usize, left: usize, top: usize) {
    let fourcc = buffer.fourcc;
    let (bytes, plane) = buffer.plane(index);
    // Samples a pixel, the step in pixels, and which components lie side by side.
    let (step, components, first, rgb): (usize, usize, usize, bool) = match (fourcc, index) {
        (DrmFourcc::Xrgb8888, _) => (1, 4, 0, true),
        (_, 0) => (1, 1, 0, false),
        (DrmFourcc::Nv12, _) => (2, 2, 1, false),
        _ => (2, 1, index, false),
    };
    for row in (0..mask.size).step_by(step) {
        let start = (top + row) / step * plane.stride + left / step * components;
        let Some(line) = bytes.get_mut(start..) else { return };
        for (cell, column) in line.chunks_exact_mut(components).zip((0..mask.size).step_by(step)) {
            let at = row * mask.size + column;
            let (disc, symbol) = (i32::from(mask.disc[at]), i32::from(mask.symbol[at]));
            for (n, value) in cell.iter_mut().take(if rgb { 3 } else { components }).enumerate() {
                let colour = |of: ([u8; 3], [u8; 3])| i32::from(if rgb { of.1[n] } else { of.0[first + n] });
                let mut v = i32::from(*value);
                v += (colour(DISC) - v) * disc / 255;
                v += (colour(SYMBOL) - v) * symbol / 255;
                *value = v.clamp(0, 255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_disc_with_a_symbol_in_it() {
        let mask = Mask::new(90);
        let share = |part: &[u8]| part.iter().map(|&c| f64::from(c)).sum::<f64>() / 255.0 / (90.0 * 90.0);
        assert!((0.70..0.80).contains(&share(&mask.disc)), "{}", share(&mask.disc));
        assert!((0.08..0.25).contains(&share(&mask.symbol)), "{}", share(&mask.symbol));
        let outside = mask.disc.iter().zip(&mask.symbol).filter(|(disc, symbol)| **disc == 0 && **symbol > 0);
        assert_eq!(outside.count(), 0);
    }

    #[test]
    fn the_bar_crosses_the_microphone() {
        assert!(is_symbol((0.5, 0.5)) && is_symbol((0.3, 0.28)) && is_symbol((0.5, 0.75)));
        assert!(!is_symbol((0.05, 0.5)) && !is_symbol((0.8, 0.3)));
    }
}
