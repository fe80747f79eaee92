//! Spectra of two frames, and the transform that makes them, without an allocation.

use std::array::from_fn;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::sound::rate::FRAME;

/// Samples of a transform: a frame, and the one before it.
pub(super) const SIZE: usize = 2 * FRAME;
/// Frequencies, 50 Hz apart.
pub(super) const BINS: usize = FRAME + 1;

/// A real value for each frequency.
pub(super) type Real = [f32; BINS];

/// A complex value for each frequency; real and imaginary parts apart, for loops over them to be vectorized.
#[derive(Debug, Clone)]
pub(super) struct Spectrum {
    pub(super) re: Real,
    pub(super) im: Real,
}

impl Spectrum {
    pub(super) const ZERO: Self = Self { re: [0.0; BINS], im: [0.0; BINS] };

    /// Squared magnitudes.
    pub(super) fn powers(&self) -> Real {
        from_fn(|k| self.re[k] * self.re[k] + self.im[k] * self.im[k])
    }

    /// Adds the product of two others.
    pub(super) fn add_product(&mut self, a: &Self, b: &Self) {
        for k in 0..BINS {
            self.re[k] += a.re[k] * b.re[k] - a.im[k] * b.im[k];
            self.im[k] += a.re[k] * b.im[k] + a.im[k] * b.re[k];
        }
    }
}

/// Transforms of [`SIZE`] real samples.
pub(super) struct Fft {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    samples: Vec<f32>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Fft {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(SIZE), planner.plan_fft_inverse(SIZE));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            samples: forward.make_input_vec(),
            bins: forward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }

    /// The spectrum of `samples`.
    pub(super) fn forward(&mut self, samples: &[f32; SIZE], spectrum: &mut Spectrum) {
        self.samples.copy_from_slice(samples);
        // It fails for buffers of another length only.
        let _ = self.forward.process_with_scratch(&mut self.samples, &mut self.bins, &mut self.scratch);
        for (k, bin) in self.bins.iter().enumerate() {
            (spectrum.re[k], spectrum.im[k]) = (bin.re, bin.im);
        }
    }

    /// The samples of `spectrum`.
    pub(super) fn inverse(&mut self, spectrum: &Spectrum, samples: &mut [f32; SIZE]) {
        for (k, bin) in self.bins.iter_mut().enumerate() {
            *bin = Complex { re: spectrum.re[k], im: spectrum.im[k] };
        }
        // Real samples have real values there; anything else is an error.
        self.bins[0].im = 0.0;
        self.bins[BINS - 1].im = 0.0;
        let _ = self.inverse.process_with_scratch(&mut self.bins, &mut self.samples, &mut self.scratch);
        for (sample, whole) in samples.iter_mut().zip(&self.samples) {
            *sample = whole / SIZE as f32;
        }
    }
}
