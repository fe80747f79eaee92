//! Several voices in one pair of loudspeakers, each from where its speaker stands on the screen. No I/O.

use std::f32::consts::FRAC_PI_4;

use crate::units::MAX_PEERS;

use super::rate::PERIOD;

/// A gain reaches a new value over one period, so that no step is heard.
pub(crate) struct Mixer {
    gains: [[f32; 2]; MAX_PEERS],
}

/// Left and right gain of a voice at `place`, −100 (left) to 100 (right): equal power, and 1 in the middle.
fn gains(place: i64) -> [f32; 2] {
    let angle = (place.clamp(-100, 100) as f32 / 100.0 + 1.0) * FRAC_PI_4;
    let (right, left) = angle.sin_cos();
    [left * std::f32::consts::SQRT_2, right * std::f32::consts::SQRT_2]
}

impl Mixer {
    pub(crate) fn new() -> Self {
        Self { gains: [gains(0); MAX_PEERS] }
    }

    /// Adds the voice of the peer at `slot`, who stands at `place`, to what is played.
    pub(crate) fn add(
        &mut self,
        slot: usize,
        place: i64,
        voice: &[f32; PERIOD],
        out: &mut [[f32; 2]; PERIOD],
    ) {
        let wanted = gains(place);
        let from = std::mem::replace(&mut self.gains[slot], wanted);
        for (n, (out, &sample)) in out.iter_mut().zip(voice).enumerate() {
            let there = (n + 1) as f32 / PERIOD as f32;
            for channel in 0..2 {
                let gain = from[channel] + (wanted[channel] - from[channel]) * there;
                out[channel] += sample * gain;
            }
        }
    }
}

/// Keeps several voices at once within full scale: the gain falls at once for a peak and comes back within a
/// second or so. Without look-ahead, since a limiter in the microphone's way has held single voices back
/// already.
#[derive(Debug)]
pub(crate) struct PeakGain {
    gain: f32,
}

/// Full scale less 1 dB.
const CEILING: f32 = 0.89;
/// Of the way back to 1, so much in a period.
const RECOVERY: f32 = 0.01;

impl PeakGain {
    pub(crate) fn new() -> Self {
        Self { gain: 1.0 }
    }

    /// Turns a period down as far as its peak needs; returns its peak afterwards.
    pub(crate) fn apply(&mut self, out: &mut [[f32; 2]; PERIOD]) -> f32 {
        let peak = out.iter().flatten().fold(0.0, |peak: f32, x| peak.max(x.abs()));
        let needed = if peak > CEILING { CEILING / peak } else { 1.0 };
        let from = self.gain.min(needed);
        let to = (self.gain + (1.0 - self.gain) * RECOVERY).min(needed);
        for (n, sample) in out.iter_mut().enumerate() {
            let gain = from + (to - from) * n as f32 / PERIOD as f32;
            sample.iter_mut().for_each(|x| *x *= gain);
        }
        self.gain = to;
        peak * to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_is_the_same_wherever_somebody_stands() {
        for place in [-100, -40, 0, 73, 100, 5_000] {
            let [left, right] = gains(place);
            assert!((left * left + right * right - 2.0).abs() < 1e-5, "{place}");
        }
        assert!(
            gains(-100)[1].abs() < 1e-6 && gains(100)[0].abs() < 1e-6 && (gains(0)[0] - 1.0).abs() < 1e-6
        );
    }

    #[test]
    fn who_walks_across_makes_no_step() {
        let mut mixer = Mixer::new();
        let mut last = [1.0; 2];
        for place in [0, 100, -100] {
            let mut out = [[0.0; 2]; PERIOD];
            mixer.add(2, place, &[1.0; PERIOD], &mut out);
            for sample in out {
                assert!((sample[0] - last[0]).abs() < 0.01 && (sample[1] - last[1]).abs() < 0.01);
                last = sample;
            }
            assert!((last[0] - gains(place)[0]).abs() < 1e-5);
        }
    }

    #[test]
    fn peaks_stay_within_full_scale_and_silence_is_left_alone() {
        let mut gain = PeakGain::new();
        let mut loud = [[3.0, -2.0]; PERIOD];
        assert!(gain.apply(&mut loud) <= CEILING + 1e-6);
        assert!(loud.iter().flatten().all(|x| x.abs() <= CEILING + 1e-6));
        let mut quiet = [[0.1, 0.1]; PERIOD];
        for _ in 0..2_000 {
            quiet = [[0.1, 0.1]; PERIOD];
            gain.apply(&mut quiet);
        }
        assert!((quiet[0][0] - 0.1).abs() < 1e-3);
    }
}
