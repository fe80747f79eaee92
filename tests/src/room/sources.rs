//! What is said in a room, and its noise.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::clock_line::ClockLine;

/// Samples from a moment on.
pub(super) struct Sound {
    at_us: i64,
    samples: Arc<[f32]>,
    /// The microphone's sample that its first is added to; none before that is near.
    start: Option<u64>,
}

impl Sound {
    pub(super) fn new(at_us: i64, samples: Arc<[f32]>) -> Self {
        Self { at_us, samples, start: None }
    }
}

/// All that is to be said.
pub(super) struct Voices<'a> {
    asked: &'a Receiver<Sound>,
    sounds: Vec<Sound>,
}

/// So many may be told of at once without allocating.
const SOUNDS: usize = 1_024;

impl<'a> Voices<'a> {
    pub(super) fn new(asked: &'a Receiver<Sound>) -> Self {
        Self { asked, sounds: Vec::with_capacity(SOUNDS) }
    }

    /// Adds what is said during the samples from `index` on.
    pub(super) fn add(&mut self, line: &ClockLine, index: u64, out: &mut [f32]) {
        self.sounds.extend(self.asked.try_iter());
        let end = index + out.len() as u64;
        for sound in &mut self.sounds {
            let start = *match &mut sound.start {
                Some(start) => start,
                none => {
                    let place = line.index_at(sound.at_us as f64).round().max(index as f64) as u64;
                    if place >= end {
                        continue;
                    }
                    none.insert(place)
                }
            };
            for (n, out) in out.iter_mut().enumerate() {
                let place = (index + n as u64).checked_sub(start).and_then(|n| usize::try_from(n).ok());
                *out += place.and_then(|n| sound.samples.get(n)).copied().unwrap_or(0.0);
            }
        }
        let over = |sound: &Sound| sound.start.is_some_and(|start| start + sound.samples.len() as u64 <= end);
        self.sounds.retain(|sound| !over(sound));
    }
}

/// Noise that is the same each time.
pub(super) struct Noise {
    random: fastrand::Rng,
    amplitude: f32,
}

impl Noise {
    /// So loud, in dB of full scale (RMS).
    pub(super) fn new(db: Option<f32>, seed: u64) -> Self {
        // The sum of four numbers evenly spread over one has a variance of a third.
        let amplitude = db.map_or(0.0, |db| 10_f32.powf(db / 20.0) * 3_f32.sqrt());
        Self { random: fastrand::Rng::with_seed(seed), amplitude }
    }

    pub(super) fn add(&mut self, out: &mut [f32]) {
        if self.amplitude == 0.0 {
            return;
        }
        for out in out {
            let sum: f32 = (0..4).map(|_| self.random.f32() - 0.5).sum();
            *out += sum * self.amplitude;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_sound_begins_at_its_time_whatever_the_blocks() {
        let mut line = ClockLine::new(48_000.0);
        line.observe(0, 0);
        let (send, asked) = mpsc::channel();
        send.send(Sound::new(7_500, vec![1.0; 500].into())).unwrap();
        let mut voices = Voices::new(&asked);
        let mut all = Vec::new();
        for block in 0..5 {
            let mut out = [0.0; 240];
            voices.add(&line, block * 240, &mut out);
            all.extend(out);
        }
        assert_eq!(all.iter().position(|&s| s != 0.0), Some(360));
        assert_eq!(all.iter().filter(|&&s| s == 1.0).count(), 500);
        assert!(voices.sounds.is_empty());
    }

    #[test]
    fn noise_is_as_loud_as_asked_for() {
        let mut out = vec![0.0; 48_000];
        Noise::new(Some(-56.0), 1).add(&mut out);
        let power: f32 = out.iter().map(|s| s * s).sum::<f32>() / 48_000.0;
        assert!((10.0 * power.log10() + 56.0).abs() < 0.2);
        let mut out = vec![0.0; 10];
        Noise::new(None, 1).add(&mut out);
        assert_eq!(out, [0.0; 10]);
    }
}
