//! A fixed gain, and a limiter after it: no sample leaves above the ceiling, and nothing else is touched.

use super::rate::FRAME;

/// Samples that are looked at ahead of their turn: 1 ms, which is what the limiter delays.
pub const LOOKAHEAD: usize = 48;
/// Highest magnitude that leaves: 1 dB below full scale, so that a codec's overshoot does not clip.
const CEILING: f32 = 0.891;
/// How fast the gain comes back, for each [`LOOKAHEAD`]: 63 % in 50 ms.
const RELEASE: f32 = 0.02;

/// Fixed gain and limiter. The gain is a straight line within each millisecond, and at both ends low enough
/// for all samples between, so that peaks neither pass nor are cut off.
#[derive(Debug, Clone)]
pub struct Limiter {
    gain: f32,
    waiting: [f32; LOOKAHEAD],
    /// What the samples that wait allow.
    allowed: f32,
    /// Where the line stands at the first of the samples that wait.
    now: f32,
}

impl Limiter {
    /// A limiter after a gain of `gain_db`.
    #[must_use]
    pub fn new(gain_db: f32) -> Self {
        Self { gain: 10f32.powf(gain_db / 20.0), waiting: [0.0; LOOKAHEAD], allowed: 1.0, now: 1.0 }
    }

    /// Applies gain and limiter in place, [`LOOKAHEAD`] samples late.
    pub fn process(&mut self, frame: &mut [f32; FRAME]) {
        for chunk in frame.as_chunks_mut::<LOOKAHEAD>().0 {
            let mut next = *chunk;
            let mut peak = 0f32;
            for sample in &mut next {
                // A NaN would stay for ever.
                *sample = if sample.is_finite() { *sample * self.gain } else { 0.0 };
                peak = peak.max(sample.abs());
            }
            let allowed = if peak > CEILING { CEILING / peak } else { 1.0 };
            let released = self.now + (1.0 - self.now) * RELEASE;
            let end = released.min(self.allowed).min(allowed);
            let slope = (end - self.now) / LOOKAHEAD as f32;
            for (at, (out, waited)) in chunk.iter_mut().zip(&self.waiting).enumerate() {
                *out = waited * (self.now + slope * at as f32);
            }
            self.waiting = next;
            self.allowed = allowed;
            self.now = end;
        }
    }

    /// By how much the limiter holds back now, in dB: 0 where it does nothing.
    #[must_use]
    pub fn reduction_db(&self) -> f32 {
        -20.0 * self.now.log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(amplitude: f32, frames: usize) -> Vec<f32> {
        (0..frames * FRAME)
            .map(|n| amplitude * (2.0 * std::f32::consts::PI * 997.0 * n as f32 / 48_000.0).sin())
            .collect()
    }

    fn run(limiter: &mut Limiter, input: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for frame in input.as_chunks::<FRAME>().0 {
            let mut frame = *frame;
            limiter.process(&mut frame);
            out.extend_from_slice(&frame);
        }
        out
    }

    #[test]
    fn what_is_below_the_ceiling_is_only_amplified() {
        let input = sine(0.4, 20);
        let out = run(&mut Limiter::new(6.0), &input);
        let gain = 10f32.powf(0.3);
        for (at, sample) in out.iter().enumerate().skip(LOOKAHEAD) {
            assert!((sample - gain * input[at - LOOKAHEAD]).abs() < 1e-6);
        }
    }

    #[test]
    fn no_sample_leaves_above_the_ceiling() {
        let mut random = fastrand::Rng::with_seed(1);
        let input: Vec<f32> = (0..200 * FRAME)
            .map(|at| {
                let loud = if at / 5_000 % 2 == 0 { 0.1 } else { 8.0 };
                loud * (2.0 * random.f32() - 1.0)
            })
            .collect();
        let out = run(&mut Limiter::new(0.0), &input);
        let peak = out.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
        assert!(peak <= CEILING * 1.000_01, "{peak}");
        assert!(peak > 0.8 * CEILING, "{peak}");
    }

    #[test]
    fn the_gain_comes_back_after_a_shout() {
        let mut limiter = Limiter::new(0.0);
        run(&mut limiter, &sine(4.0, 10));
        assert!(limiter.reduction_db() > 12.0);
        run(&mut limiter, &sine(0.1, 30));
        assert!(limiter.reduction_db() < 0.1, "{}", limiter.reduction_db());
    }

    #[test]
    fn what_is_no_number_does_not_stay() {
        let mut limiter = Limiter::new(0.0);
        let mut frame = [f32::NAN; FRAME];
        limiter.process(&mut frame);
        let out = run(&mut limiter, &sine(0.4, 5));
        assert!(out.iter().all(|sample| sample.is_finite()));
        assert!(out.iter().any(|sample| sample.abs() > 0.39));
    }
}
