//! A model of the loudspeaker's distortion: the second and third power of what is played, each with one coefficient.
//!
//! What a loudspeaker adds goes the same way through the room as what is played, so that it needs no path of its own to
//! be learnt, and stays as it is when the path changes (a Hammerstein model; Stenger and Kellermann, "Adaptation of a
//! memoryless preprocessor for nonlinear acoustic echo cancelling", Signal Processing 80(9), 2000). The coefficients are
//! found by recursive least squares over all frequencies, each weighted by the power of what else is heard there.

use super::spectrum::{Fft, Real, SIZE, Spectrum};
use crate::sound::rate::FRAME;

/// The forgetting factor, for each frame in which the powers have an echo: 2 s.
const KEPT: f64 = 0.995;
/// Most of each coefficient: a quarter of the amplitude at -6 dB. What asks for more is no loudspeaker.
const MOST: [f64; 2] = [0.5, 1.0];
/// How far coefficients are from 0: a standard deviation that makes the first steps small.
const EXPECTED: [f64; 2] = [0.1, 0.4];
/// The lowest bin that counts: 150 Hz.
const LOWEST: usize = 3;
const NOTHING: f32 = 1e-11 * SIZE as f32;

/// The coefficients of both powers, and what is known of them.
pub(super) struct Distortion {
    coefficients: [f64; 2],
    /// The information matrix, the inverse of their covariance: `[second, both, third]`.
    information: [f64; 3],
    spectra: [Spectrum; 2],
    samples: Box<[f32; SIZE]>,
}

impl Distortion {
    pub(super) fn new() -> Self {
        Self {
            coefficients: [0.0; 2],
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

    /// What the echoes of both powers are multiplied with.
    pub(super) fn coefficients(&self) -> [f32; 2] {
        self.coefficients.map(|coefficient| coefficient as f32)
    }

    /// Learns from a frame: `echoes` are those of both powers, `error` is the spectrum of what was left of the
    /// microphone with the coefficients as they are, `other` the power of all in that which does not come from them.
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
        for (k, other) in other.iter().enumerate().skip(LOWEST) {
            // Half, for every other bin of a frame that is half empty says nothing new.
            let weight = 0.5 / (other + NOTHING);
            let product =
                |a: &Spectrum, b: &Spectrum| f64::from(weight * (a.re[k] * b.re[k] + a.im[k] * b.im[k]));
            seen[0] += product(second, second);
            seen[1] += product(second, third);
            seen[2] += product(third, third);
            slope[0] += product(second, error);
            slope[1] += product(third, error);
        }
        if seen[0] + seen[2] == 0.0 {
            return;
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
        for ((coefficient, step), most) in self.coefficients.iter_mut().zip(steps).zip(MOST) {
            *coefficient = (*coefficient + step).clamp(-most, most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::echo::spectrum::BINS;

    #[test]
    fn a_loudspeakers_coefficients_are_found_in_noise() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut noise = move |size: f32| size * (random.f32() - 0.5);
        let (mut fft, mut distortion) = (Fft::new(), Distortion::new());
        let other = [1e-4 / 12.0 * FRAME as f32; BINS];
        let bent = [0.1, -0.5];
        for at in 0..500 {
            let loudness = 0.3 + 0.7 * (at % 7) as f32 / 7.0;
            let played: [f32; FRAME] = std::array::from_fn(|_| noise(loudness));
            let powers = Distortion::powers(&played);
            let found = distortion.coefficients();
            let mut samples = [0.0; SIZE];
            for (n, sample) in samples[FRAME..].iter_mut().enumerate() {
                let left = |power: usize| (bent[power] - found[power]) * powers[power][n];
                *sample = left(0) + left(1) + noise(0.01);
            }
            let mut error = Spectrum::ZERO;
            fft.forward(&samples, &mut error);
            distortion.learn(&mut fft, &powers, &error, &other);
        }
        for (found, bent) in distortion.coefficients().iter().zip(bent) {
            assert!((found - bent).abs() < 0.01, "{found} for {bent}");
        }
    }

    #[test]
    fn absurd_powers_leave_coefficients_of_a_loudspeaker() {
        let (mut fft, mut distortion) = (Fft::new(), Distortion::new());
        for wild in [f32::NAN, f32::INFINITY, 1e30, -1e10] {
            let mut error = Spectrum::ZERO;
            error.re.fill(wild);
            distortion.learn(&mut fft, &[[wild; FRAME]; 2], &error, &[1e-9; BINS]);
            distortion.learn(&mut fft, &[[0.1; FRAME]; 2], &error, &[1e-9; BINS]);
        }
        assert!(distortion.coefficients().iter().all(|found| found.abs() <= 1.0));
    }
}
