//! Whether a place is noisy enough for noise to be suppressed: how far the voice stands above it decides.

use super::least::Least;

/// Below this the noise is suppressed, above the other no longer.
const NOISY_DB: f64 = 20.0;
const CLEAN_DB: f64 = 23.0;
/// Frames for which it must say so before anything is switched.
const SWITCH_FRAMES: u32 = 300;
/// A reference below this mean square is no echo: -60 dB.
const QUIET: f64 = 1e-6;
/// Frames for which an echo hangs in a room after the reference fell silent, the screen's delay included.
const HANGOVER_FRAMES: u32 = 100;
/// Frames of a window of the least power, which is the noise.
const WINDOW_FRAMES: u32 = 100;
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
    least: Least,
    first: bool,
    voice: f64,
    voice_frames: u32,
    echo_frames: u32,
}

impl SnrMeter {
    pub(super) fn new() -> Self {
        Self {
            smooth: 0.0,
            least: Least::new(WINDOW_FRAMES),
            first: true,
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
        let weight = if self.first { 1.0 } else { 0.2 };
        self.first = false;
        self.smooth += weight * (captured - self.smooth);
        self.least.add(self.smooth as f32);
        if captured > VOICE * self.noise() {
            self.voice_frames = self.voice_frames.saturating_add(1);
            let weight = (1.0 / f64::from(self.voice_frames)).max(0.003);
            self.voice += weight * (captured - self.voice);
        }
    }

    fn noise(&self) -> f64 {
        (LEAST_TO_MEAN * f64::from(self.least.get())).max(LEAST_NOISE)
    }

    /// Voice over noise in dB, once there was enough of a voice.
    pub(super) fn snr_db(&self) -> Option<f64> {
        let noise = self.noise();
        let voice = (self.voice - noise).max(0.1 * noise);
        (self.voice_frames >= ENOUGH_VOICE_FRAMES).then(|| 10.0 * (voice / noise).log10())
    }
}

/// Whether noise is suppressed: what the meter says for long enough.
#[derive(Debug)]
pub(super) struct NoiseSwitch {
    meter: SnrMeter,
    on: bool,
    /// Frames for which the meter has wished for the other state.
    wished: u32,
}

impl NoiseSwitch {
    pub(super) fn new() -> Self {
        Self { meter: SnrMeter::new(), on: false, wished: 0 }
    }

    pub(super) fn snr_db(&self) -> Option<f64> {
        self.meter.snr_db()
    }

    pub(super) fn suppresses(&self) -> bool {
        self.on
    }

    /// Takes the mean squares of a frame of the reference and of the microphone, full scale being 1.
    pub(super) fn hear(&mut self, reference: f64, captured: f64) {
        self.meter.add(reference, captured);
        let wishes =
            self.meter.snr_db().is_some_and(|snr| if self.on { snr > CLEAN_DB } else { snr < NOISY_DB });
        self.wished = if wishes { self.wished + 1 } else { 0 };
        if self.wished >= SWITCH_FRAMES {
            self.wished = 0;
            self.on = !self.on;
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
        let mut switch = NoiseSwitch::new();
        let mut run = |switch: &mut NoiseSwitch, snr_db: f64, frames: u32| {
            for at in 0..frames {
                switch.hear(0.0, frame(&mut random, at, snr_db));
            }
        };
        run(&mut switch, 30.0, 2_000);
        assert!(!switch.suppresses());
        run(&mut switch, 12.0, 3_000);
        assert!(switch.suppresses());
        // In between, it stays as it is.
        run(&mut switch, 21.0, 3_000);
        assert!(switch.suppresses());
        run(&mut switch, 30.0, 3_000);
        assert!(!switch.suppresses());
    }
}
