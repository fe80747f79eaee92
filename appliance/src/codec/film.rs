//! What encoders are tested with.

use ffmpeg_next::{format::Pixel, frame};

use crate::media::picture::{Picture, Stamps};

/// A film made of noise: blotches of all sizes that drift, with a disc of faster ones before them, and grain.
pub(super) struct Film {
    blotches: Vec<u8>,
    random: fastrand::Rng,
    speed: f64,
    grain: u32,
}

const SIDE: usize = 512;

impl Film {
    /// `speed` 0 stands still; `grain` is how many levels a pixel changes by.
    pub(super) fn new(speed: f64, grain: u32) -> Self {
        let mut film = Self { blotches: Vec::new(), random: fastrand::Rng::with_seed(1), speed, grain };
        let mut sum = vec![128.0f32; SIDE * SIDE];
        for size in [2, 4, 8, 16, 32, 64] {
            let n = SIDE / size;
            let grid: Vec<f32> = (0..n * n).map(|_| film.random.u32(..256) as f32 - 128.0).collect();
            for (i, value) in sum.iter_mut().enumerate() {
                let (x, y) = (i % SIDE, i / SIDE);
                let at = |dx: usize, dy: usize| grid[(y / size + dy) % n * n + (x / size + dx) % n];
                let (fx, fy) = ((x % size) as f32 / size as f32, (y % size) as f32 / size as f32);
                let (top, bottom) =
                    (at(0, 0) * (1.0 - fx) + at(1, 0) * fx, at(0, 1) * (1.0 - fx) + at(1, 1) * fx);
                *value += (top * (1.0 - fy) + bottom * fy) * size as f32 / 90.0;
            }
        }
        film.blotches = sum.iter().map(|v| v.clamp(16.0, 235.0) as u8).collect();
        film
    }

    /// Its picture `number`, of 30 a second.
    pub(super) fn picture(&mut self, number: u32, width: u32, height: u32) -> Picture {
        let mut frame = frame::Video::new(Pixel::YUV420P, width, height);
        for plane in 1..3 {
            frame.data_mut(plane).fill(128);
        }
        let t = f64::from(number) / 30.0 * self.speed;
        let (pan_x, pan_y) = ((80.0 * t) as usize, (40.0 + 20.0 * (2.0 * t).sin()) as usize);
        let (cx, cy) = (f64::from(width) * (0.5 + 0.25 * (1.7 * t).sin()), f64::from(height) * 0.5);
        let (radius, fast) = (f64::from(height) / 4.0, (t * 90.0) as usize);
        let stride = frame.stride(0);
        for (y, row) in frame.data_mut(0).chunks_mut(stride).enumerate() {
            let half = (radius * radius - (y as f64 - cy).powi(2)).max(0.0).sqrt();
            let disc = (cx - half) as usize..(cx + half) as usize;
            for (x, pixel) in row[..width as usize].iter_mut().enumerate() {
                let (u, v) = if disc.contains(&x) { (2 * x, 2 * y + fast) } else { (x + pan_x, y + pan_y) };
                let grain = self.random.u32(..self.grain) as u8;
                *pixel = self.blotches[v % SIDE * SIDE + u % SIDE].saturating_add(grain);
            }
        }
        Picture { frame, number, session: 0, stamps: Stamps::default() }
    }
}
