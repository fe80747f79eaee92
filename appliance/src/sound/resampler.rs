//! A resampler that is steered by where in its input its output should stand.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Adjustable, Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction};

use super::rate::FRAME;

/// Length of the interpolating filter, in input samples.
pub const TAPS: usize = 64;
/// Places of the filter between two samples.
const OVERSAMPLING: usize = 128;
/// Where rubato's filter has its middle: the first output after a reset stands so many input samples before
/// the first input, and one step on. Measured: the middle is one place beside the middle tap.
const DELAY: f64 = (TAPS / 2 - 1) as f64 - 1.0 / OVERSAMPLING as f64;

/// Why a resampler cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// rubato refused its parameters.
    #[error("sound: the resampler cannot be made: {0}; this is a bug in the steering limit")]
    Construction(#[from] rubato::ResamplerConstructionError),
    /// rubato refused a frame.
    #[error("sound: the resampler refused a frame: {0}; pass as many samples as steer() asked for")]
    Frame(#[from] rubato::ResampleError),
}

/// Gives mono frames of `N` samples from an input whose clock is another: each call says where in the
/// input the last sample of the frame should stand, and the ratio follows, within a limit. Positions are in
/// input samples, on a scale that [`SteeredResampler::reset`] sets.
///
/// Nothing is allocated after construction.
pub struct SteeredResampler<const N: usize = FRAME> {
    inner: Async<f32>,
    limit: f64,
    position: f64,
    /// Input samples an output sample, of the frame to come.
    step: f64,
}

impl<const N: usize> SteeredResampler<N> {
    /// A resampler whose ratio may leave 1 by `limit`: 0.005 follows up to half a percent.
    ///
    /// # Errors
    /// When rubato refuses the limit: it must be positive and finite.
    pub fn new(limit: f64) -> Result<Self, Error> {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2)
            .oversampling_factor(OVERSAMPLING);
        // A little more than the limit, so that rounding never makes rubato refuse a ratio.
        let inner = Async::new_sinc(1.0, 1.0 + 1.01 * limit, &parameters, N, 1, FixedAsync::Output)?;
        let mut resampler = Self { inner, limit, position: 0.0, step: 1.0 };
        resampler.reset(0.0);
        Ok(resampler)
    }

    /// Forgets the input so far; the next input sample stands at `first_input`.
    pub fn reset(&mut self, first_input: f64) {
        self.inner.reset();
        self.position = first_input - DELAY - 1.0;
        self.step = 1.0;
    }

    /// Where the last sample of the last frame stood. Right after a reset: one sample before where the next
    /// frame begins, which is [`TAPS`]` / 2` before the first input, so that the frame begins with silence.
    #[must_use]
    pub fn position(&self) -> f64 {
        self.position
    }

    /// Output samples an input sample, of the last frame or the next.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        1.0 / self.step
    }

    /// Sets the ratio so that the last sample of the next frame stands at `wanted_end`, or as near as the
    /// limit lets it, and gives how many input samples that frame takes.
    ///
    /// # Errors
    /// When rubato refuses the ratio, which would be a bug.
    pub fn steer(&mut self, wanted_end: f64) -> Result<usize, Error> {
        let step = (wanted_end - self.position) / N as f64;
        // NaN would pass a clamp.
        let step = if step.is_finite() { step.clamp(1.0 - self.limit, 1.0 + self.limit) } else { 1.0 };
        // Without a ramp: a frame then advances by exactly `N` steps, and a wanted end that is met exactly
        // does not make the step swing from frame to frame.
        self.inner.set_resample_ratio(1.0 / step, false)?;
        self.step = step;
        Ok(self.inner.input_frames_next())
    }

    /// Makes a frame of the samples that [`SteeredResampler::steer`] asked for.
    ///
    /// # Errors
    /// When there are fewer samples.
    pub fn process(&mut self, input: &[f32], output: &mut [f32; N]) -> Result<(), Error> {
        let mut to = InterleavedSlice::new_mut(output.as_mut_slice(), 1, N).map_err(|_| wrong_size(N, 0))?;
        let from = InterleavedSlice::new(input, 1, input.len()).map_err(|_| wrong_size(input.len(), 0))?;
        self.inner.process_into_buffer(&from, &mut to, None)?;
        self.position += self.step * N as f64;
        Ok(())
    }
}

fn wrong_size(expected: usize, actual: usize) -> rubato::ResampleError {
    rubato::ResampleError::InsufficientInputBufferSize { expected, actual }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    fn tone(position: f64) -> f64 {
        (2.0 * PI * 997.0 * position / 48_000.0).sin()
    }

    /// Runs so many frames over a tone, each to where `wanted` says, and gives what came out.
    fn run(resampler: &mut SteeredResampler, frames: u32, wanted: impl Fn(u32) -> f64) -> Vec<f32> {
        let mut next = 0.0;
        let mut output = Vec::new();
        let mut frame = [0.0; FRAME];
        for at in 0..frames {
            let needed = resampler.steer(wanted(at)).unwrap();
            let input: Vec<f32> = (0..needed).map(|k| tone(next + k as f64) as f32).collect();
            next += needed as f64;
            resampler.process(&input, &mut frame).unwrap();
            output.extend_from_slice(&frame);
        }
        output
    }

    #[test]
    fn position_is_exact_after_ten_minutes_at_200_ppm() {
        let mut resampler = SteeredResampler::new(0.002).unwrap();
        let step = 480.0 * 1.000_2;
        let start = resampler.position();
        let output = run(&mut resampler, 60_000, |at| start + step * f64::from(at + 1));
        assert!((resampler.position() - start - 60_000.0 * step).abs() < 1e-6);
        // And that is where the samples stand: the last second as a tone of unknown phase.
        let position = |back: usize| resampler.position() - back as f64 * 1.000_2;
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (back, sample) in output.iter().rev().take(48_000).enumerate() {
            let phase = 2.0 * PI * 997.0 * position(back) / 48_000.0;
            sine += f64::from(*sample) * phase.sin();
            cosine += f64::from(*sample) * phase.cos();
        }
        let off = cosine.atan2(sine) * 48_000.0 / (2.0 * PI * 997.0);
        assert!(off.abs() < 0.002, "{off} samples off");
    }

    /// How far all that is not the tone lies below it, in dB.
    fn purity_db(output: &[f32], positions: &[f64]) -> f64 {
        let mut off = 0.0;
        for (sample, position) in output.iter().zip(positions) {
            off += (f64::from(*sample) - tone(*position)).powi(2);
        }
        10.0 * (0.5 * output.len() as f64 / off).log10()
    }

    #[test]
    fn a_tone_stays_pure_while_the_ratio_is_steered() {
        let mut resampler = SteeredResampler::new(0.005).unwrap();
        let mut next = 0.0;
        let (mut output, mut positions) = (Vec::new(), Vec::new());
        let mut frame = [0.0; FRAME];
        for at in 0..500u32 {
            let before = resampler.position();
            // To and fro by the whole limit, twice a second.
            let wanted = before + 480.0 * (1.0 + 0.005 * (f64::from(at) * 0.126).sin());
            let needed = resampler.steer(wanted).unwrap();
            let input: Vec<f32> = (0..needed).map(|k| tone(next + k as f64) as f32).collect();
            next += needed as f64;
            resampler.process(&input, &mut frame).unwrap();
            let step = (resampler.position() - before) / 480.0;
            output.extend_from_slice(&frame);
            positions.extend((1..=FRAME).map(|k| before + k as f64 * step));
        }
        let purity = purity_db(&output[FRAME..], &positions[FRAME..]);
        assert!(purity > 80.0, "{purity} dB");
    }

    #[test]
    fn a_position_out_of_reach_is_approached_within_the_limit() {
        let mut resampler = SteeredResampler::new(0.005).unwrap();
        let start = resampler.position();
        run(&mut resampler, 10, |_| start + 1e6);
        assert!((resampler.position() - start - 4_800.0 * 1.005).abs() < 1e-6);
        run(&mut resampler, 10, |_| f64::NAN);
        assert!((resampler.position() - start - 4_800.0 * 2.005).abs() < 1e-6);
    }

    #[test]
    fn after_a_reset_the_input_stands_where_it_was_said_to() {
        let mut resampler = SteeredResampler::new(0.002).unwrap();
        run(&mut resampler, 5, |_| 0.0);
        resampler.reset(1_000.0);
        let mut frame = [0.0; FRAME];
        let mut input = vec![0.0; resampler.steer(resampler.position() + 480.0).unwrap()];
        input[200] = 1.0;
        let first = resampler.position() + 1.0;
        resampler.process(&input, &mut frame).unwrap();
        let loudest = (0..FRAME).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
        assert!((first + loudest as f64 - 1_200.0).abs() < 0.01, "{}", first + loudest as f64);
    }

    #[test]
    fn too_few_samples_are_an_error() {
        let mut resampler = SteeredResampler::new(0.002).unwrap();
        let needed = resampler.steer(480.0).unwrap();
        assert!(resampler.process(&vec![0.0; needed - 1], &mut [0.0; FRAME]).is_err());
    }
}
