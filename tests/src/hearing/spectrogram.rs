//! Sound as a picture: time to the right, pitch upwards, brighter is louder.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use realfft::RealFftPlanner;

const WINDOW: usize = 1_024;
/// Rows of a band; of the lower half of all pitches, up to 12 kHz.
const HEIGHT: usize = WINDOW / 4;
/// Columns at most.
const WIDTH: usize = 3_000;
/// At 100 columns a second, if that is not too many.
const HOP: usize = 480;
const GAP: usize = 4;
/// The darkest and the brightest, in dB of full scale.
const DARK_DB: f32 = -110.0;
const BRIGHT_DB: f32 = -30.0;

/// Draws tracks of 48 kHz one under the other into a PNG.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(path: &Path, tracks: &[&[f32]]) -> io::Result<()> {
    let longest = tracks.iter().map(|track| track.len()).max().unwrap_or(0);
    let hop = HOP.max(longest / WIDTH);
    let width = (longest.saturating_sub(WINDOW) / hop).max(1);
    let height = tracks.len() * (HEIGHT + GAP);
    let mut pixels = vec![255_u8; width * height];
    let fft = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
    let (mut input, mut spectrum) = (fft.make_input_vec(), fft.make_output_vec());
    for (band, track) in tracks.iter().enumerate() {
        for column in 0..width {
            let part = track.get(column * hop..column * hop + WINDOW).unwrap_or(&[]);
            input.fill(0.0);
            for (n, (input, sample)) in input.iter_mut().zip(part).enumerate() {
                let turn = std::f32::consts::TAU * n as f32 / WINDOW as f32;
                *input = sample * (0.5 - 0.5 * turn.cos());
            }
            fft.process(&mut input, &mut spectrum).map_err(io::Error::other)?;
            for row in 0..HEIGHT {
                let level_db =
                    20.0 * (spectrum[HEIGHT - 1 - row].norm() * 4.0 / WINDOW as f32).max(1e-9).log10();
                let light = ((level_db - DARK_DB) / (BRIGHT_DB - DARK_DB)).clamp(0.0, 1.0);
                pixels[(band * (HEIGHT + GAP) + row) * width + column] = (light * 255.0) as u8;
            }
        }
    }
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&pixels).map_err(io::Error::other)
}
