//! The Fourier transform, and what follows from it: convolution, and spectra of a signal.

use std::f64::consts::PI;

/// A complex number: real and imaginary part.
pub type Complex = [f64; 2];

/// A transform of one size.
pub struct Fft {
    twiddles: Vec<Complex>,
    reversed: Vec<usize>,
}

impl Fft {
    /// A transform of `size` points, a power of two.
    pub fn new(size: usize) -> Self {
        assert!(size.is_power_of_two() && size > 1, "{size}");
        let twiddles = (0..size / 2)
            .map(|k| {
                let (sin, cos) = (-2.0 * PI * k as f64 / size as f64).sin_cos();
                [cos, sin]
            })
            .collect();
        let bits = size.trailing_zeros();
        let reversed = (0..size).map(|at| at.reverse_bits() >> (usize::BITS - bits)).collect();
        Self { twiddles, reversed }
    }

    /// Transforms in place.
    pub fn forward(&self, data: &mut [Complex]) {
        let size = self.reversed.len();
        assert_eq!(data.len(), size);
        for (at, &other) in self.reversed.iter().enumerate() {
            if at < other {
                data.swap(at, other);
            }
        }
        let mut half = 1;
        while half < size {
            let stride = size / (2 * half);
            for block in data.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for (at, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let turned = multiply(*b, self.twiddles[at * stride]);
                    *b = [a[0] - turned[0], a[1] - turned[1]];
                    *a = [a[0] + turned[0], a[1] + turned[1]];
                }
            }
            half *= 2;
        }
    }

    /// Transforms back in place.
    pub fn inverse(&self, data: &mut [Complex]) {
        for value in data.iter_mut() {
            value[1] = -value[1];
        }
        self.forward(data);
        let scale = 1.0 / data.len() as f64;
        for value in data.iter_mut() {
            *value = [value[0] * scale, -value[1] * scale];
        }
    }
}

/// Their product.
pub fn multiply(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// What `signal` sounds like through `response`, as long as `signal`.
pub fn convolve(signal: &[f32], response: &[f32]) -> Vec<f32> {
    let size = (4 * response.len()).next_power_of_two().max(2);
    let step = size - response.len() + 1;
    let fft = Fft::new(size);
    let load = |samples: &[f32]| {
        let mut data = vec![[0.0; 2]; size];
        for (value, sample) in data.iter_mut().zip(samples) {
            value[0] = f64::from(*sample);
        }
        fft.forward(&mut data);
        data
    };
    let filter = load(response);
    let mut out = vec![0f32; signal.len()];
    for (at, part) in signal.chunks(step).enumerate() {
        let mut data = load(part);
        for (value, factor) in data.iter_mut().zip(&filter) {
            *value = multiply(*value, *factor);
        }
        fft.inverse(&mut data);
        for (out, value) in out[at * step..].iter_mut().zip(&data) {
            *out += value[0] as f32;
        }
    }
    out
}

/// Spectra of windows of `window` samples, each `hop` after the last, padded with zeros to the transform's
/// size; half of each spectrum, and one.
pub fn spectra(signal: &[f32], window: &[f64], hop: usize, fft: &Fft) -> Vec<Vec<Complex>> {
    let size = fft.reversed.len();
    let windows = signal.windows(window.len()).step_by(hop);
    windows
        .map(|part| {
            let mut data = vec![[0.0; 2]; size];
            for ((value, sample), weight) in data.iter_mut().zip(part).zip(window) {
                value[0] = f64::from(*sample) * weight;
            }
            fft.forward(&mut data);
            data.truncate(size / 2 + 1);
            data
        })
        .collect()
}

/// A Hann window without its zeros.
pub fn hann(length: usize) -> Vec<f64> {
    (1..=length).map(|at| 0.5 - 0.5 * (2.0 * PI * at as f64 / (length + 1) as f64).cos()).collect()
}

/// Where in `signal` a copy of `pattern` begins, at most `most` samples in.
pub fn delay(pattern: &[f32], signal: &[f32], most: usize) -> usize {
    let reversed: Vec<f32> = pattern.iter().rev().copied().collect();
    let padded: Vec<f32> = signal.iter().copied().chain((0..pattern.len()).map(|_| 0.0)).collect();
    let correlated = convolve(&padded, &reversed);
    let from = pattern.len() - 1;
    (0..=most.min(signal.len()))
        .max_by(|&a, &b| correlated[from + a].abs().total_cmp(&correlated[from + b].abs()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolution_is_the_sum_of_products() {
        let mut random = fastrand::Rng::with_seed(1);
        let signal: Vec<f32> = (0..3_000).map(|_| random.f32() - 0.5).collect();
        let response: Vec<f32> = (0..100).map(|_| random.f32() - 0.5).collect();
        let out = convolve(&signal, &response);
        for at in [0, 50, 99, 700, 2_999] {
            let sum: f32 = (0..=at.min(99)).map(|k| response[k] * signal[at - k]).sum();
            assert!((out[at] - sum).abs() < 1e-4, "{} for {sum} at {at}", out[at]);
        }
    }

    #[test]
    fn a_delayed_copy_is_found() {
        let mut random = fastrand::Rng::with_seed(1);
        let pattern: Vec<f32> = (0..2_000).map(|_| random.f32() - 0.5).collect();
        let signal: Vec<f32> = (0..123).map(|_| 0.0).chain(pattern.iter().map(|x| 0.3 * x)).collect();
        assert_eq!(delay(&pattern, &signal, 500), 123);
    }
}
