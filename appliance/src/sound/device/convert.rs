//! Between a card's frames and ours: format, channels, rate. Allocates nothing once it is made.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction};

use super::params::{Layout, RATE_HZ};
use super::samples::{from_stereo, to_mono};

/// Frames of 48 kHz that go in or come out at once: 5 ms.
pub const BLOCK: usize = crate::sound::rate::PERIOD;
/// Taps of the resampler for a card without 48 kHz: 1.3 ms of delay, 100 dB.
const TAPS: usize = 128;

/// Why a block could not be resampled.
pub(super) type Refusal = String;

fn resampler(ratio: f64, channels: usize, fixed: FixedAsync) -> Result<Async<f32>, Refusal> {
    let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2);
    Async::new_sinc(ratio, 1.0, &parameters, BLOCK, channels, fixed).map_err(|e| e.to_string())
}

/// From a microphone's frames.
pub(super) struct FromCard {
    layout: Layout,
    resampler: Option<Async<f32>>,
    bytes: Vec<u8>,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
}

impl FromCard {
    pub(super) fn new(layout: Layout) -> Result<Self, Refusal> {
        let resampler = match layout.rate_hz {
            RATE_HZ => None,
            rate_hz => Some(resampler(f64::from(RATE_HZ) / f64::from(rate_hz), 1, FixedAsync::Output)?),
        };
        let most = resampler.as_ref().map_or(BLOCK, Resampler::input_frames_max);
        let samples = most * layout.channels as usize;
        Ok(Self {
            layout,
            resampler,
            bytes: vec![0; samples * layout.format.bytes()],
            interleaved: vec![0.0; samples],
            mono: vec![0.0; most],
        })
    }

    /// How many frames of the card the next block needs.
    pub(super) fn needed(&self) -> usize {
        self.resampler.as_ref().map_or(BLOCK, Resampler::input_frames_next)
    }

    /// How many samples at 48 kHz the resampler holds back.
    pub(super) fn delay(&self) -> usize {
        self.resampler.as_ref().map_or(0, Resampler::output_delay)
    }

    /// Forgets what came before a gap.
    pub(super) fn reset(&mut self) {
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
    }

    /// Where the card's bytes of the next block from frame `from` on go.
    pub(super) fn bytes_from(&mut self, from: usize) -> &mut [u8] {
        let frame = self.layout.channels as usize * self.layout.format.bytes();
        let end = self.needed() * frame;
        self.bytes.get_mut(from * frame..end).unwrap_or_default()
    }

    /// The next block, of the bytes that are there now.
    pub(super) fn block(&mut self, out: &mut [f32; BLOCK]) -> Result<(), Refusal> {
        let needed = self.needed();
        let channels = self.layout.channels as usize;
        let interleaved = self.interleaved.get_mut(..needed * channels).unwrap_or_default();
        self.layout.format.decode(&self.bytes, interleaved);
        let Some(resampler) = &mut self.resampler else {
            to_mono(interleaved, channels, out);
            return Ok(());
        };
        to_mono(interleaved, channels, &mut self.mono);
        let from = InterleavedSlice::new(&self.mono[..], 1, needed).map_err(|e| e.to_string())?;
        let mut to = InterleavedSlice::new_mut(&mut out[..], 1, BLOCK).map_err(|e| e.to_string())?;
        resampler.process_into_buffer(&from, &mut to, None).map(drop).map_err(|e| e.to_string())
    }
}

/// To a loudspeaker's frames.
pub(super) struct ToCard {
    layout: Layout,
    resampler: Option<Async<f32>>,
    stereo: Vec<[f32; 2]>,
    interleaved: Vec<f32>,
    bytes: Vec<u8>,
}

impl ToCard {
    pub(super) fn new(layout: Layout) -> Result<Self, Refusal> {
        let resampler = match layout.rate_hz {
            RATE_HZ => None,
            rate_hz => Some(resampler(f64::from(rate_hz) / f64::from(RATE_HZ), 2, FixedAsync::Input)?),
        };
        let most = resampler.as_ref().map_or(BLOCK, Resampler::output_frames_max);
        let samples = most * layout.channels as usize;
        Ok(Self {
            layout,
            resampler,
            stereo: vec![[0.0; 2]; most],
            interleaved: vec![0.0; samples],
            bytes: vec![0; samples * layout.format.bytes()],
        })
    }

    /// The most frames that the card gets for a block.
    pub(super) fn most(&self) -> usize {
        self.stereo.len()
    }

    /// How many samples at 48 kHz the resampler holds back.
    pub(super) fn delay(&self) -> f64 {
        let delay = self.resampler.as_ref().map_or(0, Resampler::output_delay);
        delay as f64 * f64::from(RATE_HZ) / f64::from(self.layout.rate_hz)
    }

    /// Forgets what came before a gap.
    pub(super) fn reset(&mut self) {
        if let Some(resampler) = &mut self.resampler {
            resampler.reset();
        }
    }

    /// The card's bytes for a block.
    pub(super) fn bytes(&mut self, block: &[[f32; 2]; BLOCK]) -> Result<&[u8], Refusal> {
        let frames = match &mut self.resampler {
            None => {
                self.stereo.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
                BLOCK
            }
            Some(resampler) => {
                let most = self.stereo.len();
                let from =
                    InterleavedSlice::new(block.as_flattened(), 2, BLOCK).map_err(|e| e.to_string())?;
                let mut to = InterleavedSlice::new_mut(self.stereo.as_flattened_mut(), 2, most)
                    .map_err(|e| e.to_string())?;
                resampler.process_into_buffer(&from, &mut to, None).map_err(|e| e.to_string())?.1
            }
        };
        let channels = self.layout.channels as usize;
        let stereo = self.stereo.get(..frames).unwrap_or_default();
        from_stereo(stereo, channels, &mut self.interleaved);
        let samples = self.interleaved.get(..frames * channels).unwrap_or_default();
        self.layout.format.encode(samples, &mut self.bytes);
        Ok(self.bytes.get(..samples.len() * self.layout.format.bytes()).unwrap_or_default())
    }

    /// The card's bytes for so many frames of silence, at most those of a block.
    pub(super) fn silence(&mut self, frames: usize) -> &[u8] {
        let bytes = frames * self.layout.channels as usize * self.layout.format.bytes();
        let bytes = bytes.min(self.bytes.len());
        self.bytes.fill(0);
        self.bytes.get(..bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::SampleFormat;
    use super::*;

    const HZ: f64 = 1_000.0;

    /// The signal-to-noise ratio in dB of `signal` against the best tone of the test's frequency in it.
    fn snr_db(signal: &[f32]) -> f64 {
        let (mut cos, mut sin, mut power) = (0.0, 0.0, 0.0);
        for (n, &sample) in signal.iter().enumerate() {
            let angle = std::f64::consts::TAU * HZ * n as f64 / 48_000.0;
            cos += f64::from(sample) * angle.cos();
            sin += f64::from(sample) * angle.sin();
            power += f64::from(sample).powi(2);
        }
        let length = signal.len() as f64;
        let tone = 2.0 * (cos * cos + sin * sin) / length;
        10.0 * (tone / (power - tone).max(1e-12)).log10()
    }

    #[test]
    fn any_rate_comes_through_both_ways_in_place() {
        for rate_hz in [48_000, 44_100, 96_000, 32_000, 16_000, 192_000] {
            let layout = Layout { rate_hz, format: SampleFormat::S32, channels: 2 };
            let (mut to, mut from) = (ToCard::new(layout).unwrap(), FromCard::new(layout).unwrap());
            let mut wire: Vec<u8> = Vec::new();
            let mut back = Vec::new();
            let mut n = 0;
            while back.len() < 48_000 {
                let block = std::array::from_fn(|i| {
                    let angle = std::f64::consts::TAU * HZ * f64::from(n + i as u32) / 48_000.0;
                    [(0.5 * angle.sin()) as f32; 2]
                });
                n += BLOCK as u32;
                wire.extend(to.bytes(&block).unwrap());
                while wire.len() >= from.needed() * 8 {
                    let rest = wire.split_off(from.needed() * 8);
                    from.bytes_from(0).copy_from_slice(&wire);
                    wire = rest;
                    let mut out = [0.0; BLOCK];
                    from.block(&mut out).unwrap();
                    back.extend(out);
                }
            }
            // Whole periods of the tone.
            let settled = &back[4_800..4_800 + 28_800];
            assert!(snr_db(settled) > 60.0, "{rate_hz}: {} dB", snr_db(settled));
            let expected = to.delay() + from.delay() as f64;
            let at = |n: f64| (0.5 * (std::f64::consts::TAU * HZ * (n - expected) / 48_000.0).sin()) as f32;
            let worst = (10_000..11_000).map(|n| (back[n] - at(n as f64)).abs()).fold(0.0, f32::max);
            // The tone moves by 0.065 from one sample to the next where it is steepest. The resamplers know
            // their delay to about a sample of the lower rate.
            let most = 0.065 * 1.6 * (48_000.0 / rate_hz as f32).max(1.0);
            assert!(worst < most, "{rate_hz}: {worst} off after {expected} samples");
        }
    }
}
