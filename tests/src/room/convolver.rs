//! What an impulse response makes of a sound: convolution in blocks, by FFT (uniformly partitioned overlap-save).

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Samples in a block: 5 ms.
pub(super) const BLOCK: usize = 240;

type Spectrum = Vec<Complex<f32>>;

/// A filter that is fed block by block.
pub(super) struct Convolver {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Of the parts of the response.
    parts: Vec<Spectrum>,
    /// Of the last two blocks as they came, the newest at `newest`.
    history: Vec<Spectrum>,
    newest: usize,
    window: Vec<f32>,
    work: Vec<f32>,
    sum: Spectrum,
    scratch: Spectrum,
}

impl Convolver {
    pub(super) fn new(response: &[f32]) -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(2 * BLOCK), planner.plan_fft_inverse(2 * BLOCK));
        let empty = forward.make_output_vec();
        let part = |samples: &[f32]| {
            let mut padded = vec![0.0; 2 * BLOCK];
            padded[..samples.len()].copy_from_slice(samples);
            let mut spectrum = forward.make_output_vec();
            let _ = forward.process(&mut padded, &mut spectrum);
            spectrum
        };
        let parts: Vec<Spectrum> = response.chunks(BLOCK).map(part).collect();
        let scratch_len = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            history: vec![empty.clone(); parts.len()],
            parts,
            newest: 0,
            window: vec![0.0; 2 * BLOCK],
            work: vec![0.0; 2 * BLOCK],
            sum: empty,
            scratch: vec![Complex::default(); scratch_len],
            forward,
            inverse,
        }
    }

    /// Filters one block; allocates nothing.
    pub(super) fn process(&mut self, block: &[f32; BLOCK], out: &mut [f32; BLOCK]) {
        self.window.copy_within(BLOCK.., 0);
        self.window[BLOCK..].copy_from_slice(block);
        let count = self.parts.len();
        self.newest = (self.newest + count - 1) % count.max(1);
        self.work.copy_from_slice(&self.window);
        // Lengths are those that were planned: it cannot fail.
        let _ = self.forward.process_with_scratch(
            &mut self.work,
            &mut self.history[self.newest],
            &mut self.scratch,
        );
        self.sum.fill(Complex::default());
        for (age, part) in self.parts.iter().enumerate() {
            let past = &self.history[(self.newest + age) % count];
            for ((sum, part), past) in self.sum.iter_mut().zip(part).zip(past) {
                *sum += part * past;
            }
        }
        // What rounding left there, the inverse refuses.
        if let Some(last) = self.sum.last_mut() {
            last.im = 0.0;
        }
        self.sum[0].im = 0.0;
        let _ = self.inverse.process_with_scratch(&mut self.sum, &mut self.work, &mut self.scratch);
        let scale = 1.0 / (2 * BLOCK) as f32;
        for (out, work) in out.iter_mut().zip(&self.work[BLOCK..]) {
            *out = work * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_what_the_sum_gives() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut noise = |count: usize| -> Vec<f32> { (0..count).map(|_| random.f32() - 0.5).collect() };
        let (response, sound) = (noise(700), noise(10 * BLOCK));
        let mut convolver = Convolver::new(&response);
        let mut found = Vec::new();
        for block in sound.as_chunks::<BLOCK>().0 {
            let mut out = [0.0; BLOCK];
            convolver.process(block, &mut out);
            found.extend(out);
        }
        for (n, found) in found.iter().enumerate() {
            let expected: f32 =
                response.iter().enumerate().filter(|(k, _)| *k <= n).map(|(k, h)| h * sound[n - k]).sum();
            assert!((found - expected).abs() < 1e-4, "{n}: {found} {expected}");
        }
    }
}
