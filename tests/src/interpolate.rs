//! Samples between samples: how a signal sounds on another clock, made offline and exactly.

use std::f64::consts::PI;

/// Input samples to each side that count at a cutoff of 1.
const REACH: f64 = 32.0;
/// Positions of the kernel that are held, for each sample.
const FINE: usize = 1_024;

/// A windowed sinc.
pub struct Interpolator {
    cutoff: f64,
    table: Vec<f32>,
}

impl Interpolator {
    /// Passes up to `cutoff`, as a share of half the input's rate.
    pub fn new(cutoff: f64) -> Self {
        let reach = REACH / cutoff;
        let count = (reach * FINE as f64) as usize + 2;
        let table = (0..count)
            .map(|at| {
                let x = at as f64 / FINE as f64;
                let window = if x < reach { (PI * x / (2.0 * reach)).cos().powi(2) } else { 0.0 };
                let y = PI * x * cutoff;
                let sinc = if at == 0 { 1.0 } else { y.sin() / y };
                (cutoff * sinc * window) as f32
            })
            .collect();
        Self { cutoff, table }
    }

    fn kernel(&self, x: f64) -> f32 {
        let x = x.abs() * FINE as f64;
        let at = x as usize;
        match self.table.get(at..at + 2) {
            Some(pair) => pair[0] + (pair[1] - pair[0]) * (x - at as f64) as f32,
            None => 0.0,
        }
    }

    /// The signal at `position`, in samples; silence outside.
    pub fn at(&self, signal: &[f32], position: f64) -> f32 {
        let whole = position.round();
        if self.cutoff == 1.0 && (position - whole).abs() < 1e-9 {
            return if whole < 0.0 { 0.0 } else { signal.get(whole as usize).copied().unwrap_or(0.0) };
        }
        let reach = REACH / self.cutoff;
        let first = (position - reach).ceil().max(0.0) as usize;
        let end = ((position + reach).floor() + 1.0).clamp(0.0, signal.len() as f64) as usize;
        let Some(part) = signal.get(first..end) else { return 0.0 };
        part.iter().enumerate().map(|(k, x)| x * self.kernel(position - (first + k) as f64)).sum()
    }

    /// The whole signal at another rate, `ratio` output samples for each of the input.
    pub fn resample(&self, signal: &[f32], ratio: f64) -> Vec<f32> {
        let count = (signal.len() as f64 * ratio) as usize;
        (0..count).map(|at| self.at(signal, at as f64 / ratio)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_keeps_its_shape_on_another_clock() {
        let sine = |t: f64| (2.0 * PI * 5_000.0 * t / 48_000.0).sin();
        let signal: Vec<f32> = (0..4_800).map(|at| sine(at as f64) as f32).collect();
        let interpolator = Interpolator::new(1.0);
        for at in 100..4_000 {
            let position = f64::from(at) * 1.000_2 + 0.3;
            let off = f64::from(interpolator.at(&signal, position)) - sine(position);
            assert!(off.abs() < 1e-4, "{off} at {position}");
        }
    }
}
