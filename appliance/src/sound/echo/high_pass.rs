//! Takes away what is below a voice: a converter's offset, and the rumble of a hall.

use std::f64::consts::PI;

use crate::sound::rate::{FRAME, RATE_HZ};

/// No converter gives more; what is beyond would be too much for squares of it.
const MOST: f32 = 4.0;
/// Where it has lost 3 dB, in Hz.
const CORNER_HZ: f64 = 80.0;

/// A Butterworth high-pass filter of second order, as the bilinear transform makes it (Oppenheim and Schafer,
/// "Discrete-Time Signal Processing", section 7.1).
#[derive(Debug, Clone)]
pub(super) struct HighPass {
    gain: f64,
    feedback: [f64; 2],
    state: [f64; 2],
}

impl HighPass {
    pub(super) fn new() -> Self {
        let w = (PI * CORNER_HZ / RATE_HZ).tan();
        let a0 = 1.0 + 2f64.sqrt() * w + w * w;
        let feedback = [2.0 * (w * w - 1.0) / a0, (1.0 - 2f64.sqrt() * w + w * w) / a0];
        Self { gain: 1.0 / a0, feedback, state: [0.0; 2] }
    }

    pub(super) fn process(&mut self, frame: &mut [f32; FRAME]) {
        for sample in frame {
            // A NaN would stay for ever.
            let x = if sample.is_nan() { 0.0 } else { self.gain * f64::from(sample.clamp(-MOST, MOST)) };
            let y = x + self.state[0];
            self.state[0] = self.state[1] - 2.0 * x - self.feedback[0] * y;
            self.state[1] = x - self.feedback[1] * y;
            *sample = y as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_goes_and_a_voice_stays() {
        let mut filter = HighPass::new();
        let level = |filter: &mut HighPass, hz: f64| {
            let (mut peak, mut at) = (0f32, 0.0);
            for block in 0..100 {
                let mut frame: [f32; FRAME] =
                    std::array::from_fn(|n| (2.0 * PI * hz * (at + n as f64) / RATE_HZ).cos() as f32);
                at += FRAME as f64;
                filter.process(&mut frame);
                if block >= 50 {
                    peak = frame.iter().fold(peak, |peak, x| peak.max(x.abs()));
                }
            }
            20.0 * peak.log10()
        };
        assert!(level(&mut filter, 0.0) < -100.0);
        assert!((level(&mut filter, CORNER_HZ) + 3.0).abs() < 0.1);
        assert!(level(&mut filter, 300.0) > -0.1);
        filter.process(&mut [f32::NAN; FRAME]);
        assert!(level(&mut filter, 1_000.0).abs() < 0.1);
    }
}
