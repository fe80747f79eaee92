//! The echo's delay, roughly: how many frames after it was played it is heard.
//!
//! For each delay the coherence of what was played and what is heard, over about a second: the partition in which
//! the path begins stands out of the others, whoever speaks besides. It may be the one before: of two frames, a
//! coherence does not tell which is meant.

use super::spectrum::{BINS, Real, Spectrum};

/// Delays that are looked at, in frames: up to 700 ms, for televisions take their time.
pub(super) const DELAYS: usize = 70;
/// Frequencies that count, from 200 Hz to 6 kHz.
const FROM: usize = 4;
const COUNT: usize = 116;
/// How far back the means reach, for each frame: a second.
const KEPT: f32 = 0.99;
/// Of the mean over all delays, what the best one must have.
const STANDS_OUT: f32 = 3.0;
/// The least coherence; of what has nothing to do with each other it is half a per cent, and more at first.
const COHERENT: f32 = 0.03;
/// Frames with sound before anything is said: a fifth of a second.
const ENOUGH: u32 = 20;
/// Sound is louder than this power of a spectrum: -70 dB.
const LOUD: f32 = 1e-7 * (BINS * BINS) as f32;

/// The finder.
pub(super) struct DelayFinder {
    cross: Vec<[[f32; COUNT]; 2]>,
    played: [f32; COUNT],
    heard: [f32; COUNT],
    frames: u32,
}

impl DelayFinder {
    pub(super) fn new() -> Self {
        Self { cross: vec![[[0.0; COUNT]; 2]; DELAYS], played: [0.0; COUNT], heard: [0.0; COUNT], frames: 0 }
    }

    pub(super) fn forget(&mut self) {
        self.cross.fill([[0.0; COUNT]; 2]);
        self.played = [0.0; COUNT];
        self.heard = [0.0; COUNT];
        self.frames = 0;
    }

    /// Takes the spectra of a frame that is heard, and of what was played so many frames ago.
    pub(super) fn hear<'a>(&mut self, heard: &Spectrum, played: impl Fn(usize) -> &'a Spectrum) {
        let part = |values: &Real| -> [f32; COUNT] { std::array::from_fn(|k| values[FROM + k]) };
        let (d_re, d_im) = (part(&heard.re), part(&heard.im));
        let power = part(&played(0).powers());
        if power.iter().sum::<f32>() > LOUD {
            self.frames = self.frames.saturating_add(1);
        }
        for k in 0..COUNT {
            self.played[k] += (1.0 - KEPT) * (power[k] - self.played[k]);
            self.heard[k] += (1.0 - KEPT) * (d_re[k] * d_re[k] + d_im[k] * d_im[k] - self.heard[k]);
        }
        for (delay, [re, im]) in self.cross.iter_mut().enumerate() {
            let x = played(delay);
            let (x_re, x_im) = (part(&x.re), part(&x.im));
            for k in 0..COUNT {
                re[k] += (1.0 - KEPT) * (d_re[k] * x_re[k] + d_im[k] * x_im[k] - re[k]);
                im[k] += (1.0 - KEPT) * (d_im[k] * x_re[k] - d_re[k] * x_im[k] - im[k]);
            }
        }
    }

    /// The delay, if one stands out.
    pub(super) fn delay(&self) -> Option<usize> {
        if self.frames < ENOUGH {
            return None;
        }
        let coherence = |[re, im]: &[[f32; COUNT]; 2]| -> f32 {
            (0..COUNT)
                .map(|k| (re[k] * re[k] + im[k] * im[k]) / (self.played[k] * self.heard[k]).max(1e-20))
                .sum()
        };
        let (mut best, mut most, mut sum, mut count) = (0, 0.0, 0.0, 0.0);
        for (delay, cross) in self.cross.iter().enumerate() {
            let coherence = coherence(cross) / COUNT as f32;
            if coherence > most {
                (best, most) = (delay, coherence);
            }
            // What was not played yet is not coherent, and says nothing.
            if coherence > 0.0 {
                sum += coherence;
                count += 1.0;
            }
        }
        (most > COHERENT && most * count > STANDS_OUT * sum).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::echo::spectrum::{Fft, SIZE};
    use crate::sound::rate::FRAME;

    /// Plays noise, heard so many frames later, so much louder than something else, in dB.
    fn find(delay: usize, louder_db: f32, frames: usize) -> Option<usize> {
        let (mut random, mut fft) = (fastrand::Rng::with_seed(8), Fft::new());
        let mut noise =
            |amplitude: f32| -> [f32; FRAME] { std::array::from_fn(|_| amplitude * (random.f32() - 0.5)) };
        let mut finder = DelayFinder::new();
        let (mut played, mut spectra) = (vec![[0.0; FRAME]; DELAYS + 1], vec![Spectrum::ZERO; DELAYS]);
        for _ in 0..frames {
            played.rotate_right(1);
            played[0] = noise(0.1);
            let mut samples = [0.0; SIZE];
            samples[..FRAME].copy_from_slice(&played[1]);
            samples[FRAME..].copy_from_slice(&played[0]);
            spectra.rotate_right(1);
            fft.forward(&samples, &mut spectra[0]);
            let near = noise(0.1 / 10f32.powf(louder_db / 20.0));
            samples[..FRAME].fill(0.0);
            for (n, sample) in samples[FRAME..].iter_mut().enumerate() {
                *sample = played[delay][n] + near[n];
            }
            let mut heard = Spectrum::ZERO;
            fft.forward(&samples, &mut heard);
            finder.hear(&heard, |ago| &spectra[ago]);
        }
        finder.delay()
    }

    #[test]
    fn a_delay_is_found_beside_a_louder_voice() {
        for delay in [1, 3, 41, 65] {
            for (louder_db, frames) in [(20.0, 90), (-10.0, 150)] {
                let found = find(delay, louder_db, frames);
                assert!(found == Some(delay) || found == Some(delay - 1), "{found:?} for {delay}");
            }
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is_heard() {
        assert_eq!(find(5, -60.0, 150), None);
        assert_eq!(find(5, 20.0, 10), None, "too soon");
    }
}
