//! Noise suppression, only where the place is noisy: how far the voice stands above the noise decides.

use sonora_ns::config::{NsConfig, SuppressionLevel};
use sonora_ns::noise_suppressor::NoiseSuppressor;

use super::bands::{BAND_FRAME, Bands};

/// Below this the noise is suppressed, above the other no longer.
const NOISY_DB: f64 = 20.0;
const CLEAN_DB: f64 = 23.0;
/// Frames for which it must say so before anything is switched.
const SWITCH_FRAMES: u32 = 300;
/// Frames that the suppressor hears before it is heard, for it learns the noise first.
const LEARN_FRAMES: u32 = 200;
/// A reference below this mean square is no echo: -60 dB.
const QUIET: f64 = 1e-6;
/// Frames for which an echo hangs in a room after the reference fell silent, the screen's delay included.
const HANGOVER_FRAMES: u32 = 100;
/// The noise is the least power within the last eight of these.
const WINDOW_FRAMES: u32 = 100;
const WINDOWS: usize = 8;
/// A least is lower than the mean, by so much for frames averaged as here.
const LEAST_TO_MEAN: f64 = 1.4;
/// A frame is voice from so far above the noise on, as a ratio of powers: 6 dB.
const VOICE: f64 = 4.0;
/// Frames of voice before its level counts.
const ENOUGH_VOICE_FRAMES: u32 = 100;
/// Below this mean square there is no microphone, only digital silence.
const LEAST_NOISE: f64 = 1e-12;

/// Measures voice and noise at the microphone while nothing is played.
#[derive(Debug)]
pub(super) struct SnrMeter {
    smooth: f64,
    least: [f64; WINDOWS],
    frame: u32,
    voice: f64,
    voice_frames: u32,
    echo_frames: u32,
}

impl SnrMeter {
    pub(super) fn new() -> Self {
        Self {
            smooth: 0.0,
            least: [f64::INFINITY; WINDOWS],
            frame: 0,
            voice: 0.0,
            voice_frames: 0,
            echo_frames: HANGOVER_FRAMES,
        }
    }

    /// Takes the mean squares of a frame of the reference and of the microphone, full scale being 1.
    pub(super) fn add(&mut self, reference: f64, captured: f64) {
        self.echo_frames =
            if reference > QUIET { HANGOVER_FRAMES } else { self.echo_frames.saturating_sub(1) };
        if self.echo_frames > 0 || !captured.is_finite() {
            return;
        }
        let weight = if self.frame == 0 { 1.0 } else { 0.2 };
        self.smooth += weight * (captured - self.smooth);
        self.frame += 1;
        if self.frame.is_multiple_of(WINDOW_FRAMES) {
            self.least.rotate_right(1);
            self.least[0] = f64::INFINITY;
        }
        self.least[0] = self.least[0].min(self.smooth);
        if captured > VOICE * self.noise() {
            self.voice_frames = self.voice_frames.saturating_add(1);
            let weight = (1.0 / f64::from(self.voice_frames)).max(0.003);
            self.voice += weight * (captured - self.voice);
        }
    }

    fn noise(&self) -> f64 {
        let least = self.least.iter().copied().fold(f64::INFINITY, f64::min);
        (LEAST_TO_MEAN * least).max(LEAST_NOISE)
    }

    /// Voice over noise in dB, once there was enough of a voice.
    pub(super) fn snr_db(&self) -> Option<f64> {
        let noise = self.noise();
        let voice = (self.voice - noise).max(0.1 * noise);
        (self.voice_frames >= ENOUGH_VOICE_FRAMES).then(|| 10.0 * (voice / noise).log10())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Off,
    /// Hears, and is heard after so many frames.
    Learning(u32),
    On,
}

/// The suppressor behind its switch. It delays what it lets through by 6 ms; a frame of cross-fade hides the
/// step when it is switched.
#[derive(Debug)]
pub(super) struct NoiseGate {
    meter: SnrMeter,
    suppressor: NoiseSuppressor,
    state: State,
    /// Frames for which the meter has wished for the other state.
    wished: u32,
}

impl NoiseGate {
    pub(super) fn new() -> Self {
        let config = NsConfig { target_level: SuppressionLevel::K12dB };
        Self {
            meter: SnrMeter::new(),
            suppressor: NoiseSuppressor::new_with_bands(config, 3),
            state: State::Off,
            wished: 0,
        }
    }

    pub(super) fn snr_db(&self) -> Option<f64> {
        self.meter.snr_db()
    }

    pub(super) fn suppresses(&self) -> bool {
        self.state == State::On
    }

    /// Takes the microphone's frame as it came: mean squares, and its lowest band.
    pub(super) fn hear(&mut self, reference: f64, captured: f64, band: &[f32; BAND_FRAME]) {
        self.meter.add(reference, captured);
        if self.state != State::Off {
            self.suppressor.analyze(band);
        }
    }

    /// Suppresses noise in what the canceller left, if that is called for.
    pub(super) fn process(&mut self, bands: &mut Bands) {
        let before = self.state;
        let wishes = match (before, self.meter.snr_db()) {
            (State::Off, Some(snr)) => snr < NOISY_DB,
            (_, Some(snr)) => snr > CLEAN_DB,
            (_, None) => false,
        };
        self.wished = if wishes { self.wished + 1 } else { 0 };
        let switch = self.wished >= SWITCH_FRAMES;
        if switch {
            self.wished = 0;
        }
        self.state = match before {
            State::Off if switch => State::Learning(LEARN_FRAMES),
            State::Off => return,
            _ if switch => State::Off,
            State::Learning(0) => State::On,
            State::Learning(frames) => State::Learning(frames - 1),
            State::On => State::On,
        };
        let mut suppressed = *bands;
        self.suppressor.process(&mut suppressed[0]);
        let gain = self.suppressor.upper_band_gain();
        self.suppressor.process_upper_band(&mut suppressed[1], 0, gain);
        self.suppressor.process_upper_band(&mut suppressed[2], 1, gain);
        match (before == State::On, self.state == State::On) {
            (false, false) => {}
            (true, true) => *bands = suppressed,
            (false, true) => cross_fade(bands, &suppressed),
            (true, false) => {
                cross_fade(&mut suppressed, bands);
                *bands = suppressed;
            }
        }
    }
}

fn cross_fade(from: &mut Bands, to: &Bands) {
    for (from, to) in from.iter_mut().zip(to) {
        for (at, (from, to)) in from.iter_mut().zip(to).enumerate() {
            *from += (to - *from) * (at as f32 / BAND_FRAME as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A voice that speaks for 0.4 s in each second, `snr_db` above noise of -60 dB.
    fn frame(random: &mut fastrand::Rng, at: u32, snr_db: f64) -> f64 {
        let noise = 1e-6 * (0.8 + 0.4 * random.f64());
        let voice =
            if at % 100 < 40 { 1e-6 * 10f64.powf(snr_db / 10.0) * (0.3 + 1.4 * random.f64()) } else { 0.0 };
        noise + voice
    }

    #[test]
    fn meter_finds_voice_over_noise() {
        for snr_db in [10.0, 20.0, 40.0] {
            let mut random = fastrand::Rng::with_seed(2);
            let mut meter = SnrMeter::new();
            assert_eq!(meter.snr_db(), None);
            for at in 0..2_000 {
                meter.add(0.0, frame(&mut random, at, snr_db));
            }
            let found = meter.snr_db().unwrap();
            assert!((found - snr_db).abs() < 2.0, "{found} for {snr_db}");
        }
    }

    #[test]
    fn an_echo_is_no_voice() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut meter = SnrMeter::new();
        for at in 0..2_000 {
            meter.add(1e-3, frame(&mut random, at, 30.0));
        }
        assert_eq!(meter.snr_db(), None);
    }

    #[test]
    fn noise_is_suppressed_only_in_a_noisy_place() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut gate = NoiseGate::new();
        let mut run = |gate: &mut NoiseGate, snr_db: f64, frames: u32| {
            for at in 0..frames {
                let mean_square = frame(&mut random, at, snr_db);
                let mut bands = [[0.0; BAND_FRAME]; 3];
                for sample in bands.as_flattened_mut() {
                    *sample = 32_768.0 * mean_square.sqrt() as f32 * (2.0 * random.f32() - 1.0);
                }
                gate.hear(0.0, mean_square, &bands[0]);
                gate.process(&mut bands);
            }
        };
        run(&mut gate, 30.0, 2_000);
        assert!(!gate.suppresses());
        run(&mut gate, 12.0, 3_000);
        assert!(gate.suppresses());
        // In between, it stays as it is.
        run(&mut gate, 21.0, 3_000);
        assert!(gate.suppresses());
        run(&mut gate, 30.0, 3_000);
        assert!(!gate.suppresses());
    }
}
