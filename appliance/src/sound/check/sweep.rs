//! The sweep that a sound check plays, and the impulse response that follows from what was heard of it. No I/O.
//!
//! An exponential sweep (Farina, "Simultaneous measurement of impulse response and distortion with a swept-sine
//! technique", AES 108, 2000), and the recording divided by it in the frequency domain.

use std::f64::consts::{PI, TAU};

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use crate::sound::rate::RATE_HZ;

/// Length of the sweep, in samples: 1 s.
pub(super) const LENGTH: usize = RATE_HZ as usize;
/// Where it begins and ends, in Hz.
const FROM_HZ: f64 = 150.0;
const TO_HZ: f64 = 12_000.0;
/// Amplitude: 12 dB below full scale, as the peaks of a voice.
const AMPLITUDE: f64 = 0.25;
/// Fade at both ends, in samples: 10 ms, so that nothing clicks.
const FADE: f64 = 480.0;
/// The part of the sweep's band that is used, in Hz: where its spectrum is free of the ends' ripple.
pub(super) const WHOLE_BAND_HZ: (f64, f64) = (200.0, 11_000.0);
/// What reverberation is told by, in Hz: the octaves of 500 Hz and 1 kHz (ISO 3382-2, 8).
pub(super) const MIDDLE_BAND_HZ: (f64, f64) = (354.0, 1_414.0);
/// Width of a band's edges, outside of it, as a ratio of frequencies.
const EDGE: f64 = 1.08;

/// The sweep at `n` samples, on the clock of whoever plays it; 0 outside of it.
fn wave(n: f64) -> f64 {
    let rise = (TO_HZ / FROM_HZ).ln();
    let (last, length) = (LENGTH as f64 - 1.0, LENGTH as f64);
    if !(0.0..=last).contains(&n) {
        return 0.0;
    }
    let phase = TAU * FROM_HZ * length / RATE_HZ / rise * ((n / length * rise).exp() - 1.0);
    let edge = n.min(last - n).min(FADE) / FADE;
    AMPLITUDE * phase.sin() * (0.5 - 0.5 * (edge * PI).cos())
}

/// The samples that are played.
pub(super) fn samples() -> impl Iterator<Item = f32> {
    (0..LENGTH).map(|n| wave(n as f64) as f32)
}

/// What a recording says about the way that the sweep took: its transfer function.
pub(super) struct Transfer {
    /// For each frequency up to half the rate.
    spectrum: Vec<Complex<f64>>,
    /// The sweep's magnitude there.
    sweep: Vec<f64>,
    size: usize,
    planner: RealFftPlanner<f64>,
}

impl Transfer {
    /// From `recorded`, in which the sweep's first sample would be the first, were there no delay. `ratio` is how
    /// many samples are played while one is recorded: the two clocks are not the same, and a sweep that is
    /// longer than what it is divided by smears the response.
    pub(super) fn new(recorded: &[f32], ratio: f64) -> Option<Self> {
        // Room for all of both, so that nothing comes round from the end.
        let size = (recorded.len() + 2 * LENGTH).next_power_of_two();
        let mut planner = RealFftPlanner::<f64>::new();
        let forward = planner.plan_fft_forward(size);
        let transform = |samples: &mut dyn Iterator<Item = f64>| {
            let mut time: Vec<f64> = samples.take(size).collect();
            time.resize(size, 0.0);
            let mut spectrum = forward.make_output_vec();
            forward.process(&mut time, &mut spectrum).ok().map(|()| spectrum)
        };
        let played = (LENGTH as f64 / ratio).ceil() as usize;
        let sweep = transform(&mut (0..played).map(|n| wave(n as f64 * ratio)))?;
        let heard = transform(&mut recorded.iter().map(|&x| f64::from(x)))?;
        let divide =
            |(x, y): (&Complex<f64>, Complex<f64>)| y * x.conj() / x.norm_sqr().max(f64::MIN_POSITIVE);
        let spectrum = sweep.iter().zip(heard).map(divide).collect();
        Some(Self { spectrum, sweep: sweep.iter().map(|x| x.norm()).collect(), size, planner })
    }

    /// How much of each frequency is used.
    fn weights(&self, (low_hz, high_hz): (f64, f64)) -> impl Iterator<Item = f64> {
        let width = EDGE.ln();
        let bin_hz = RATE_HZ / self.size as f64;
        (0..self.spectrum.len()).map(move |bin| {
            let hz = (bin as f64 * bin_hz).max(f64::MIN_POSITIVE);
            let outside = (low_hz / hz).ln().max((hz / high_hz).ln()).max(0.0) / width;
            if outside < 1.0 { 0.5 + 0.5 * (PI * outside).cos() } else { 0.0 }
        })
    }

    /// The impulse response in a band. One that only delays has a peak of its gain, whatever the band.
    pub(super) fn response(&mut self, band_hz: (f64, f64)) -> Option<Vec<f64>> {
        let weights: Vec<f64> = self.weights(band_hz).collect();
        let peak = 2.0 * weights.iter().sum::<f64>();
        self.inverse(weights.iter().map(|weight| weight / peak))
    }

    /// The same with each frequency as strong as in the sweep, all octaves alike, as they more or less are in a
    /// voice: one that only delays has an energy of its gain, squared.
    pub(super) fn weighted_response(&mut self, band_hz: (f64, f64)) -> Option<Vec<f64>> {
        let weights: Vec<f64> =
            self.weights(band_hz).zip(&self.sweep).map(|(weight, sweep)| weight * sweep).collect();
        let energy = 2.0 * weights.iter().map(|x| x * x).sum::<f64>() / self.size as f64;
        let scale = 1.0 / (energy.sqrt() * self.size as f64);
        self.inverse(weights.iter().map(|weight| weight * scale))
    }

    fn inverse(&mut self, weights: impl Iterator<Item = f64>) -> Option<Vec<f64>> {
        let inverse = self.planner.plan_fft_inverse(self.size);
        let mut spectrum: Vec<_> = self.spectrum.iter().zip(weights).map(|(x, weight)| x * weight).collect();
        // Both are real but for rounding, and the transform insists.
        for edge in [0, spectrum.len().saturating_sub(1)] {
            if let Some(edge) = spectrum.get_mut(edge) {
                edge.im = 0.0;
            }
        }
        let mut response = inverse.make_output_vec();
        inverse.process(&mut spectrum, &mut response).ok()?;
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(delay: usize, gain: f32) -> Vec<f32> {
        std::iter::repeat_n(0.0, delay).chain(samples().map(|x| gain * x)).chain([0.0; LENGTH]).collect()
    }

    #[test]
    fn the_sweep_is_as_loud_as_a_voice_s_peaks_and_does_not_click() {
        let sweep: Vec<f32> = samples().collect();
        let peak = sweep.iter().fold(0f32, |peak, x| peak.max(x.abs()));
        assert!((0.24..=0.25).contains(&peak), "{peak}");
        assert!(sweep[0] == 0.0 && sweep[LENGTH - 1].abs() < 1e-6);
        let mean = sweep.iter().map(|x| x * x).sum::<f32>() / LENGTH as f32;
        assert!((10.0 * mean.log10() + 15.05).abs() < 0.2, "{mean}");
    }

    #[test]
    fn a_delay_is_one_peak_of_its_gain_in_every_band() {
        let mut transfer = Transfer::new(&through(1_234, 0.5), 1.0).unwrap();
        for band_hz in [WHOLE_BAND_HZ, MIDDLE_BAND_HZ] {
            let response = transfer.response(band_hz).unwrap();
            let peak = response.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
            assert!(peak.0 == 1_234 && (peak.1 - 0.5).abs() < 1e-3, "{peak:?}");
        }
        let weighted = transfer.weighted_response(WHOLE_BAND_HZ).unwrap();
        let energy = weighted.iter().map(|x| x * x).sum::<f64>();
        assert!((energy - 0.25).abs() < 1e-3, "{energy}");
    }

    #[test]
    fn clocks_that_differ_smear_nothing_once_that_is_known() {
        let ratio = 1.000_3;
        let recorded: Vec<f32> = (0..2 * LENGTH).map(|n| wave((n as f64 - 500.0) * ratio) as f32).collect();
        let peak = |ratio: f64| {
            let response = Transfer::new(&recorded, ratio).unwrap().response(WHOLE_BAND_HZ).unwrap();
            response.iter().copied().fold(0.0, f64::max)
        };
        assert!((peak(ratio) - 1.0).abs() < 1e-2, "{}", peak(ratio));
        assert!(peak(1.0) < 0.8, "{}", peak(1.0));
    }
}
