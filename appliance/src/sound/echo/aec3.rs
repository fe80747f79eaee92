//! AEC3 of the crate `sonora-aec3`, driven block by block, for `sonora`'s own pipeline hides its settings.

use sonora::high_pass_filter::HighPassFilter;
use sonora::three_band_filter_bank::ThreeBandFilterBank;
use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::config::EchoCanceller3Config;

use super::bands::{BAND_FRAME, BANDS, BLOCK, BandQueue, Bands};
use super::canceller::{EchoCanceller, EchoReport};
use super::guard::EchoGuard;
use super::noise::NoiseGate;
use crate::sound::rate::{FRAME, RATE_HZ};

/// AEC3 works at the scale of 16-bit samples.
const SCALE: f32 = 32_768.0;
/// From here on the microphone was overdriven.
const SATURATED: f32 = 0.999;
/// Length of both filters, in blocks: 160 ms, for the reverberation of a booth.
const FILTER_BLOCKS: usize = 40;
/// Each searches 96 ms for the echo's delay, the last one 128: together up to 704 ms, for televisions take
/// their time.
const DELAY_FILTERS: usize = 7;

/// By how many samples the output is behind the input: filter banks there and back, and framing.
const DELAY: usize = 334;

/// The settings, where they are not AEC3's own. Found in simulated booths (`cargo xtask bench echo`).
#[must_use]
fn config() -> EchoCanceller3Config {
    let mut config = EchoCanceller3Config::default();
    config.delay.num_filters = DELAY_FILTERS;
    config.filter.refined.length_blocks = FILTER_BLOCKS;
    config.filter.coarse.length_blocks = FILTER_BLOCKS;
    // The guard looks at it.
    config.filter.export_linear_aec_output = true;
    // Its own bounds of 6 and 2 dB are for laptops whose clocks drift; with one clock it reaches these.
    config.erle.max_l = 32.0;
    config.erle.max_h = 16.0;
    // What is left after each block of reverberation that the filter does not reach: the filter reaches most.
    config.ep_strength.default_len = 0.6;
    config.ep_strength.nearend_len = 0.6;
    let suppressor = &mut config.suppressor;
    // Its own lets nothing above 2 kHz pass better than 2 kHz does, where an echo is louder; this is 6 kHz.
    suppressor.high_frequency_suppression.limiting_gain_band = 48;
    suppressor.high_frequency_suppression.bands_in_limiting_gain = 10;
    // While nobody near speaks, half the residual echo that it would let pass.
    let normal = &mut suppressor.normal_tuning;
    normal.mask_lf.enr_transparent = 0.15;
    normal.mask_lf.enr_suppress = 0.2;
    normal.mask_hf.enr_transparent = 0.035;
    normal.mask_hf.enr_suppress = 0.05;
    // While somebody does, a band comes back faster than 6 dB a block, and more may stay beside an echo.
    let nearend = &mut suppressor.nearend_tuning;
    nearend.max_inc_factor = 8.0;
    nearend.mask_lf.enr_transparent = 4.0;
    nearend.mask_lf.enr_suppress = 5.0;
    nearend.mask_hf.enr_transparent = 1.0;
    nearend.mask_hf.enr_suppress = 2.0;
    config
}

/// The echo canceller, with guard and noise suppression.
pub struct Aec3 {
    config: EchoCanceller3Config,
    processor: BlockProcessor,
    high_pass: HighPassFilter,
    /// One channel of one frame, in the shape that the high-pass filter wants.
    filtered: Vec<Vec<f32>>,
    reference_bank: ThreeBandFilterBank,
    capture_bank: ThreeBandFilterBank,
    bands: Bands,
    reference_blocks: BandQueue,
    capture_blocks: BandQueue,
    cancelled: BandQueue,
    block: Block,
    captured: [f32; BLOCK],
    residual: Block,
    guard: EchoGuard,
    noise: NoiseGate,
}

impl Default for Aec3 {
    fn default() -> Self {
        Self::new()
    }
}

impl Aec3 {
    /// A canceller that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(&config())
    }

    fn with_config(config: &EchoCanceller3Config) -> Self {
        Self {
            config: config.clone(),
            processor: BlockProcessor::new(config, RATE_HZ as usize, 1, 1),
            high_pass: HighPassFilter::new(RATE_HZ as i32, 1),
            filtered: vec![vec![0.0; FRAME]],
            reference_bank: ThreeBandFilterBank::new(),
            capture_bank: ThreeBandFilterBank::new(),
            bands: [[0.0; BAND_FRAME]; BANDS],
            reference_blocks: BandQueue::new(0),
            capture_blocks: BandQueue::new(0),
            // Frames are no whole number of blocks: half a block waits at most.
            cancelled: BandQueue::new(BLOCK / 2),
            block: Block::new(BANDS, 1),
            captured: [0.0; BLOCK],
            residual: Block::new(1, 1),
            guard: EchoGuard::new(),
            noise: NoiseGate::new(),
        }
    }
}

impl EchoCanceller for Aec3 {
    fn process(&mut self, reference: &[f32; FRAME], capture: &mut [f32; FRAME]) {
        let reference_power = mean_square(reference);
        let mut scaled = reference.map(|sample| sample * SCALE);
        self.reference_bank.analysis(&scaled, &mut self.bands);
        self.reference_blocks.push_frame(&self.bands);
        while self.reference_blocks.pop_block(&mut self.block) {
            self.processor.buffer_render(&self.block);
        }

        let saturated = capture.iter().any(|sample| sample.abs() >= SATURATED);
        for (filtered, sample) in self.filtered[0].iter_mut().zip(capture.iter()) {
            *filtered = sample * SCALE;
        }
        self.high_pass.process_channels(&mut self.filtered);
        scaled.copy_from_slice(&self.filtered[0]);
        self.capture_bank.analysis(&scaled, &mut self.bands);
        let captured_power = mean_square(&scaled) / f64::from(SCALE * SCALE);
        self.noise.hear(reference_power, captured_power, &self.bands[0]);
        self.capture_blocks.push_frame(&self.bands);
        while self.capture_blocks.pop_block(&mut self.block) {
            self.captured.copy_from_slice(self.block.view(0, 0));
            self.processor.process_capture(false, saturated, Some(&mut self.residual), &mut self.block);
            self.cancelled.push_block(&self.block);
            if self.guard.look(&self.captured, self.residual.view(0, 0)) {
                self.processor = BlockProcessor::new(&self.config, RATE_HZ as usize, 1, 1);
            }
        }
        if self.cancelled.pop_frame(&mut self.bands) {
            self.noise.process(&mut self.bands);
        }
        self.capture_bank.synthesis(&self.bands, &mut scaled);
        for (sample, scaled) in capture.iter_mut().zip(&scaled) {
            *sample = scaled / SCALE;
        }
        self.guard.duck(capture);
    }

    fn delay(&self) -> usize {
        DELAY
    }

    fn report(&self) -> EchoReport {
        let metrics = self.processor.get_metrics();
        EchoReport {
            erle_db: metrics.echo_return_loss_enhancement,
            delay_ms: u32::try_from(metrics.delay_ms).unwrap_or(0),
            ducked: self.guard.count(),
            ducking: self.guard.ducking(),
            snr_db: self.noise.snr_db(),
            suppresses_noise: self.noise.suppresses(),
        }
    }
}

fn mean_square(frame: &[f32; FRAME]) -> f64 {
    frame.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum::<f64>() / FRAME as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_out_as_much_later_as_it_says() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut canceller = Aec3::new();
        let (mut heard, mut given) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let mut frame: [f32; FRAME] = std::array::from_fn(|_| 0.2 * (random.f32() - 0.5));
            heard.extend(frame);
            canceller.process(&[0.0; FRAME], &mut frame);
            given.extend(frame);
        }
        let from = 24_000;
        let likeness = |delay: usize| -> f32 {
            let late = &given[from + delay..from + delay + 9_600];
            heard[from..from + 9_600].iter().zip(late).map(|(a, b)| a * b).sum()
        };
        let found = (0..1_000).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap();
        assert!(found.abs_diff(canceller.delay()) <= 2, "{found} samples late");
    }
}
