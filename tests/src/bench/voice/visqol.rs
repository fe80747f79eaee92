//! How good speech sounds: ViSQOL, by a crate.
//!
//! Source: M. Chinen et al., "ViSQOL v3: An Open Source Production Ready Objective Speech and Audio Metric",
//! QoMEX 2020.

use std::io;
use std::num::NonZeroU32;

use audio_samples::AudioSamples;
use audio_samples_qoe::{VisqolOptions, visqol};
use ndarray::Array1;

use crate::room::RATE_HZ;

/// Samples that are judged at a time, 10 s: the crate compares every patch of 400 ms with every other one.
const PART: usize = 10 * RATE_HZ as usize;

/// The quality of `heard` as a mean opinion score (MOS-LQO), 1 to 5, where `reference` would be 5; both at 48 kHz
/// and in step. The mean of parts of 10 s.
///
/// # Errors
/// When the crate has none, as for silence.
pub(super) fn mos(reference: &[f32], heard: &[f32]) -> io::Result<f64> {
    let parts = || reference.chunks_exact(PART).zip(heard.chunks_exact(PART));
    let scores: Vec<f64> =
        parts().map(|(reference, heard)| part(reference, heard)).collect::<io::Result<_>>()?;
    if scores.is_empty() {
        return Err(io::Error::other("less than 10 s of speech"));
    }
    Ok(scores.iter().sum::<f64>() / scores.len() as f64)
}

fn part(reference: &[f32], heard: &[f32]) -> io::Result<f64> {
    let rate = NonZeroU32::new(RATE_HZ).ok_or(io::ErrorKind::InvalidInput)?;
    let samples = |samples: &[f32]| {
        AudioSamples::<f32>::new_mono(Array1::from(samples.to_vec()), rate).map_err(io::Error::other)
    };
    // The crate's errors cannot be sent to another thread.
    visqol(&samples(reference)?, samples(heard)?, &VisqolOptions::speech())
        .map_err(|e| io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two seconds of noise that swells and fades as a voice does, between pauses.
    fn voice(seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut loudness = 0.0;
        (0..PART / 5)
            .map(|at| {
                if at % 4_800 == 0 {
                    loudness = if at / 4_800 % 5 == 0 { 0.0 } else { random.f32() };
                }
                loudness * 0.5 * (random.f32() - 0.5)
            })
            .collect()
    }

    #[test]
    fn what_is_the_same_is_best_and_the_more_is_lost_the_worse_it_is() {
        let said = voice(1);
        let without = |percent: f32| {
            let mut random = fastrand::Rng::with_seed(2);
            let mut heard = said.clone();
            heard
                .chunks_mut(480)
                .filter(|_| random.f32() * 100.0 < percent)
                .for_each(|frame| frame.fill(0.0));
            part(&said, &heard).unwrap()
        };
        let scores = [0.0, 5.0, 20.0].map(without);
        assert!(scores[0] > 4.99 && scores.is_sorted_by(|a, b| a > b), "{scores:?}");
        assert!(part(&said, &voice(3)).unwrap() < scores[2]);
        assert!(mos(&said, &said).is_err(), "too short");
    }
}
