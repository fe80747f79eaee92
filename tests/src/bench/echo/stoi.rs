//! Short-time objective intelligibility: C. H. Taal et al., "An Algorithm for Intelligibility Prediction of
//! Time–Frequency Weighted Noisy Speech", IEEE TASLP 19(7), 2011.

use super::fft::{Fft, hann, spectra};
use crate::interpolate::Interpolator;

const RATE_HZ: f64 = 10_000.0;
const WINDOW: usize = 256;
const HOP: usize = 128;
const SIZE: usize = 512;
/// Third-octave bands, and the middle of the lowest.
const BANDS: usize = 15;
const LOWEST_HZ: f64 = 150.0;
/// Frames in a segment: 384 ms.
const SEGMENT: usize = 30;
/// Signal to distortion below which a band is no worse: -15 dB.
const CLIP_DB: f64 = -15.0;
/// Frames so far below the loudest are silence.
const RANGE_DB: f64 = 40.0;

/// How intelligible `heard` is when `clean` was said, both at 48 kHz and in step: 1 is all of it.
pub fn stoi(clean: &[f32], heard: &[f32]) -> f64 {
    let ratio = RATE_HZ / 48_000.0;
    let interpolator = Interpolator::new(0.95 * ratio);
    let [clean, heard] = [clean, heard].map(|signal| interpolator.resample(signal, ratio));
    let (clean, heard) = without_silence(&clean, &heard);
    let [clean, heard] = [bands(&clean), bands(&heard)];
    let frames = clean[0].len();
    let (mut sum, mut count) = (0.0, 0u32);
    for (clean, heard) in clean.iter().zip(&heard) {
        for end in SEGMENT..=frames {
            let range = end - SEGMENT..end;
            sum += segment(&clean[range.clone()], &heard[range]);
            count += 1;
        }
    }
    sum / f64::from(count.max(1))
}

/// Drops the frames in which the clean signal is silent, from both, and overlaps what is left.
fn without_silence(clean: &[f32], heard: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let window = hann(WINDOW);
    let starts: Vec<usize> = (0..clean.len().saturating_sub(WINDOW)).step_by(HOP).collect();
    let energy = |start: usize| -> f64 {
        clean[start..start + WINDOW].iter().zip(&window).map(|(x, w)| (f64::from(*x) * w).powi(2)).sum()
    };
    let energies: Vec<f64> = starts.iter().map(|start| energy(*start)).collect();
    let least = energies.iter().copied().fold(0.0, f64::max) * 10f64.powf(-RANGE_DB / 10.0);
    let kept: Vec<usize> =
        starts.iter().zip(&energies).filter(|(_, e)| **e > least).map(|(start, _)| *start).collect();
    let joined = |signal: &[f32]| {
        let mut out = vec![0f32; (kept.len() + 1) * HOP];
        for (at, start) in kept.iter().enumerate() {
            let part = signal[*start..start + WINDOW].iter().zip(&window);
            for (out, (x, w)) in out[at * HOP..].iter_mut().zip(part) {
                *out += x * *w as f32;
            }
        }
        out
    };
    (joined(clean), joined(heard))
}

/// The amplitude in each band of each frame.
fn bands(signal: &[f32]) -> Vec<Vec<f64>> {
    let spectra = spectra(signal, &hann(WINDOW), HOP, &Fft::new(SIZE));
    let bin = |hz: f64| (hz * SIZE as f64 / RATE_HZ).round() as usize;
    (0..BANDS)
        .map(|band| {
            let middle = LOWEST_HZ * 2f64.powf(band as f64 / 3.0);
            let edges = bin(middle * 2f64.powf(-1.0 / 6.0))..bin(middle * 2f64.powf(1.0 / 6.0));
            let power = |spectrum: &Vec<[f64; 2]>| -> f64 {
                spectrum[edges.clone()].iter().map(|x| x[0] * x[0] + x[1] * x[1]).sum()
            };
            spectra.iter().map(|spectrum| power(spectrum).sqrt()).collect()
        })
        .collect()
}

/// The correlation of both after the heard one was brought to the clean one's level and clipped.
fn segment(clean: &[f64], heard: &[f64]) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let gain = norm(clean) / norm(heard).max(1e-20);
    let most = 1.0 + 10f64.powf(-CLIP_DB / 20.0);
    let heard: Vec<f64> = clean.iter().zip(heard).map(|(x, y)| (gain * y).min(most * x)).collect();
    let centred = |x: &[f64]| -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|x| x - mean).collect()
    };
    let (clean, heard) = (centred(clean), centred(&heard));
    let product: f64 = clean.iter().zip(&heard).map(|(x, y)| x * y).sum();
    product / (norm(&clean) * norm(&heard)).max(1e-20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise whose bands swell and fade, as a voice's.
    fn voice(seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut low = 0.0;
        (0..5 * 48_000)
            .map(|at| {
                if at % 4_800 == 0 {
                    low = random.f32();
                }
                low * (random.f32() - 0.5)
            })
            .collect()
    }

    #[test]
    fn what_was_said_is_intelligible_and_something_else_is_not() {
        let said = voice(1);
        assert!(stoi(&said, &said) > 0.999);
        let quieter: Vec<f32> = said.iter().map(|x| 0.1 * x).collect();
        assert!(stoi(&said, &quieter) > 0.999);
        assert!(stoi(&said, &voice(2)) < 0.3);
        let noisy: Vec<f32> = said.iter().zip(voice(3)).map(|(a, b)| a + b).collect();
        let noisy = stoi(&said, &noisy);
        assert!((0.3..0.95).contains(&noisy), "{noisy}");
    }
}
