//! What a loudspeaker adds of its own: the second and third power of what is played, each with one factor.
//!
//! A loudspeaker's distortion goes the same way through the room as what is played, so that it needs no path of its
//! own to be learnt, and stays as it is when the path changes (a Hammerstein model; Stenger and Kellermann,
//! "Adaptation of a memoryless preprocessor for nonlinear acoustic echo cancelling", Signal Processing 80(9), 2000).
//! The factors are found by recursive least squares over all frequencies, each weighted by the power of what else is
//! heard there.

use super::spectrum::{BINS, Fft, Real, SIZE, Spectrum};
use crate::sound::rate::FRAME;

/// Of what is known about the factors, what is kept from frame to frame while something is played: 2 s.
const KEPT: f64 = 0.995;
/// Most of each factor: a quarter of the amplitude at -6 dB. What asks for more is no loudspeaker.
const MOST: [f64; 2] = [0.5, 1.0];
/// How far a factor is from 0 as long as nothing is heard.
const EXPECTED: [f64; 2] = [0.1, 0.4];
/// The lowest bin that counts: 150 Hz.
const LOWEST: usize = 3;
const NOTHING: f32 = 1e-11 * SIZE as f32;

/// The factors of both powers, and what is known of them.
pub(super) struct Distortion {
    factors: [f64; 2],
    /// The inverse of their covariance: `[second, both, third]`.
    information: [f64; 3],
    spectra: [Spectrum; 2],
    samples: Box<[f32; SIZE]>,
}

impl Distortion {
    pub(super) fn new() -> Self {
        Self {
            factors: [0.0; 2],
            information: [0.0; 3],
            spectra: [Spectrum::ZERO, Spectrum::ZERO],
            samples: Box::new([0.0; SIZE]),
        }
    }

    /// The second and third power of what is played.
    pub(super) fn powers(reference: &[f32; FRAME]) -> [[f32; FRAME]; 2] {
        let clipped = reference.map(|sample| sample.clamp(-1.0, 1.0));
        [clipped.map(|x| x * x), clipped.map(|x| x * x * x)]
    }

    /// What both powers are multiplied with.
    pub(super) fn factors(&self) -> [f32; 2] {
        self.factors.map(|factor| factor as f32)
    }

    /// Learns from a frame: `echoes` are those of both powers, `error` is the spectrum of what was left of the
    /// microphone, `other` the power of all in it that is neither.
    pub(super) fn learn(
        &mut self,
        fft: &mut Fft,
        echoes: &[[f32; FRAME]; 2],
        error: &Spectrum,
        other: &Real,
    ) {
        for (spectrum, echo) in self.spectra.iter_mut().zip(echoes) {
            self.samples[..FRAME].fill(0.0);
            self.samples[FRAME..].copy_from_slice(echo);
            fft.forward(&self.samples, spectrum);
        }
        let [second, third] = &self.spectra;
        let (mut seen, mut slope) = ([0.0_f64; 3], [0.0_f64; 2]);
        for k in LOWEST..BINS {
            // Half, for every other bin of a frame that is half empty says nothing new.
            let weight = 0.5 / (other[k] + NOTHING);
            let product =
                |a: &Spectrum, b: &Spectrum| f64::from(weight * (a.re[k] * b.re[k] + a.im[k] * b.im[k]));
            seen[0] += product(second, second);
            seen[1] += product(second, third);
            seen[2] += product(third, third);
            slope[0] += product(second, error);
            slope[1] += product(third, error);
        }
        for (known, seen) in self.information.iter_mut().zip(seen) {
            *known = KEPT * *known + seen;
        }
        let [a, b, c] = self.information;
        let (a, c) = (a + EXPECTED[0].powi(-2), c + EXPECTED[1].powi(-2));
        let determinant = a * c - b * b;
        let steps =
            [(c * slope[0] - b * slope[1]) / determinant, (a * slope[1] - b * slope[0]) / determinant];
        if !steps.iter().all(|step| step.is_finite()) {
            self.information = [0.0; 3];
            return;
        }
        for ((factor, step), most) in self.factors.iter_mut().zip(steps).zip(MOST) {
            *factor = (*factor + step).clamp(-most, most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loudspeakers_factors_are_found_beside_a_voice() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut noise = move |size: f32| size * (random.f32() - 0.5);
        let (mut fft, mut distortion) = (Fft::new(), Distortion::new());
        let other = [1e-4 / 12.0 * FRAME as f32; BINS];
        let bent = [0.1, -0.5];
        for at in 0..500 {
            let loudness = 0.3 + 0.7 * (at % 7) as f32 / 7.0;
            let played: [f32; FRAME] = std::array::from_fn(|_| noise(loudness));
            let powers = Distortion::powers(&played);
            let factors = distortion.factors();
            let mut samples = [0.0; SIZE];
            for (n, sample) in samples[FRAME..].iter_mut().enumerate() {
                let left = |power: usize| (bent[power] - factors[power]) * powers[power][n];
                *sample = left(0) + left(1) + noise(0.01);
            }
            let mut error = Spectrum::ZERO;
            fft.forward(&samples, &mut error);
            distortion.learn(&mut fft, &powers, &error, &other);
        }
        for (found, bent) in distortion.factors().iter().zip(bent) {
            assert!((found - bent).abs() < 0.01, "{found} for {bent}");
        }
    }

    #[test]
    fn absurd_powers_leave_factors_of_a_loudspeaker() {
        let (mut fft, mut distortion) = (Fft::new(), Distortion::new());
        for wild in [f32::NAN, f32::INFINITY, 1e30, -1e10] {
            let mut error = Spectrum::ZERO;
            error.re.fill(wild);
            distortion.learn(&mut fft, &[[wild; FRAME]; 2], &error, &[1e-9; BINS]);
            distortion.learn(&mut fft, &[[0.1; FRAME]; 2], &error, &[1e-9; BINS]);
        }
        assert!(distortion.factors().iter().all(|factor| factor.abs() <= 1.0));
    }
}
