//! A short sound whose moment is known to a fraction of a millisecond wherever it is heard.

use std::sync::Arc;

use super::correlate::align;
use crate::room::{RATE_HZ, Track};

/// From the lowest to the highest of its pitches, in Hz: a codec for voices passes all of them.
const FROM_HZ: f32 = 600.0;
const TO_HZ: f32 = 6_000.0;
const MS: usize = 20;
const FADE_MS: usize = 1;
/// In full scale.
const LOUDNESS: f32 = 0.25;
/// Less alike is something else.
const ALIKE: f32 = 0.5;

/// It begins at once and lasts 20 ms.
#[derive(Debug, Clone)]
pub struct Chirp {
    samples: Arc<[f32]>,
}

/// One that was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// When it began, in µs of CLOCK_MONOTONIC.
    pub at_us: i64,
    /// How alike it was, 0 to 1.
    pub likeness: f32,
}

impl Default for Chirp {
    fn default() -> Self {
        let (count, fade) = (MS * RATE_HZ as usize / 1_000, FADE_MS * RATE_HZ as usize / 1_000);
        let length_s = MS as f32 / 1_000.0;
        let sample = |n: usize| {
            let t = n as f32 / RATE_HZ as f32;
            let turns = FROM_HZ * t + (TO_HZ - FROM_HZ) * t * t / (2.0 * length_s);
            let edge = n.min(count - 1 - n).min(fade) as f32 / fade as f32;
            LOUDNESS * edge * (std::f32::consts::TAU * turns).sin()
        };
        Self { samples: (0..count).map(sample).collect() }
    }
}

impl Chirp {
    /// Its samples, 48 kHz.
    pub fn samples(&self) -> Arc<[f32]> {
        Arc::clone(&self.samples)
    }

    /// Where it began in a track, between two times of CLOCK_MONOTONIC; none when it was not heard.
    pub fn find(&self, track: &Track, from_us: i64, to_us: i64) -> Option<Heard> {
        let length_us = MS as i64 * 1_000;
        let found = align(&self.samples, &track.between(from_us, to_us + length_us))?;
        let at_us = from_us + (found.lag as f64 * 1e6 / f64::from(RATE_HZ)) as i64;
        (found.likeness > ALIKE).then_some(Heard { at_us, likeness: found.likeness })
    }
}
