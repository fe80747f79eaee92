//! What is heard in a booth: a room, its clocks, and who speaks when.

use std::f64::consts::PI;
use std::fmt;
use std::ops::Range;

use super::fft::convolve;
use super::room;
use crate::interpolate::Interpolator;

/// Nominal samples a second of both cards.
pub const RATE_HZ: f64 = 48_000.0;
/// Samples in 10 ms.
pub const FRAME: usize = 480;

/// Who speaks when, in seconds: the far voice alone, the near one, both, the far one again; then the echo's
/// path changes while the far voice goes on.
pub const FAR_ONLY: Range<f64> = 1.0..16.0;
/// The near voice alone.
pub const NEAR_ONLY: Range<f64> = 16.0..22.0;
/// Both.
pub const BOTH: Range<f64> = 22.0..38.0;
/// When the path changes.
pub const STEP_S: f64 = 44.0;
/// When it ends.
pub const END_S: f64 = 56.0;

/// What the far voice has at the loudspeaker, while it speaks.
const FAR_DB: f64 = -20.0;
/// What the louder of near voice and echo has at the microphone.
const LOUDER_DB: f64 = -26.0;
/// A slow wobble of the microphone's clock, and its period.
const WOBBLE_PPM: f64 = 2.0;
const WOBBLE_S: f64 = 40.0;

const LOUDSPEAKER: [f64; 3] = [0.6, 0.3, 1.2];
const OTHER_LOUDSPEAKER: [f64; 3] = [2.0, 0.3, 1.2];
const MICROPHONE: [f64; 3] = [1.3, 0.35, 1.6];
const OTHER_MICROPHONE: [f64; 3] = [1.3, 0.5, 1.1];
const PERSON: [f64; 3] = [1.3, 1.9, 1.6];

/// What happens to the echo's path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// The loudspeaker's delay changes by so many ms, and the room as well.
    Delay(i32),
    /// The room alone changes.
    Room,
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Reverberation time in s.
    pub rt60_s: f64,
    /// The near voice over the microphone's noise.
    pub snr_db: f64,
    /// The near voice over the echo.
    pub ser_db: f64,
    /// By how much the microphone's clock is faster than the loudspeaker's.
    pub ppm: f64,
    /// Whether the microphone's clock wobbles as well.
    pub wobble: bool,
    /// The loudspeaker's harmonic distortion at -10 dB.
    pub distortion_percent: f64,
    /// Delay of the echo beside the room's.
    pub bulk_ms: u32,
    /// How the path changes.
    pub step: Step,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rt60_s, snr_db, ser_db, ppm, distortion_percent, bulk_ms, .. } = self;
        let wobble = if self.wobble { "~" } else { "" };
        write!(
            f,
            "{rt60_s:.2}s {snr_db:.0}dB {ser_db:.0}dB {wobble}{ppm:+.0}ppm {distortion_percent:.0}% {bulk_ms}ms "
        )?;
        match self.step {
            Step::Delay(ms) => write!(f, "{ms:+}ms"),
            Step::Room => write!(f, "room"),
        }
    }
}

/// A card's true clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    ppm: f64,
    wobble_ppm: f64,
}

impl Clock {
    /// Which sample is at the converter at `time_s`.
    pub fn index(&self, time_s: f64) -> f64 {
        let turn = WOBBLE_S / (2.0 * PI);
        let wobbled = self.wobble_ppm * turn * (1.0 - (time_s / turn).cos());
        RATE_HZ * (time_s + 1e-6 * (self.ppm * time_s + wobbled))
    }

    /// When sample `index` is at the converter, in s.
    pub fn time_s(&self, index: f64) -> f64 {
        let mut time_s = index / RATE_HZ;
        for _ in 0..3 {
            time_s -= (self.index(time_s) - index) / RATE_HZ;
        }
        time_s
    }
}

/// What a case sounds like. What the microphone hears is on its own clock.
pub struct Scene {
    /// What the loudspeaker plays, on its clock.
    pub far: Vec<f32>,
    /// What the microphone hears: the sum of the next three.
    pub microphone: Vec<f32>,
    /// The near voice, at the microphone.
    pub near: Vec<f32>,
    /// The echo.
    pub echo: Vec<f32>,
    /// The microphone's noise.
    pub noise: Vec<f32>,
    /// The loudspeaker's clock.
    pub dac: Clock,
    /// The microphone's clock.
    pub adc: Clock,
}

fn at(time_s: f64) -> usize {
    (time_s * RATE_HZ) as usize
}

impl Case {
    /// The case's name.
    pub fn title(&self) -> String {
        self.to_string()
    }

    /// Plays it. `voices` are the far and the near one.
    pub fn play(&self, voices: &[Vec<f32>; 2], seed: u64) -> Scene {
        let mut random = fastrand::Rng::with_seed(seed);
        let length = at(END_S);
        let far_parts = [FAR_ONLY, BOTH.start..END_S];
        let far = scaled(speak(&voices[0], &far_parts, length), FAR_DB);
        let near_dry = speak(&voices[1], &[NEAR_ONLY.start..BOTH.end], length);
        let near_db = LOUDER_DB + self.ser_db.min(0.0);
        let near_room = room::response(self.rt60_s, PERSON, MICROPHONE);
        let near = scaled(convolve(&near_dry, &near_room), near_db);

        let amount = self.distortion_percent;
        // Half of the harmonics' amplitude each in the second and the third.
        let bend = |x: f32| {
            let x = f64::from(x);
            (x + amount * (0.044_7 * x * x - 0.28 * x * x * x)) as f32
        };
        let played: Vec<f32> = far.iter().copied().map(bend).collect();
        let before = convolve(&played, &room::response(self.rt60_s, LOUDSPEAKER, MICROPHONE));
        let other = room::response(self.rt60_s, OTHER_LOUDSPEAKER, OTHER_MICROPHONE);
        let after = convolve(&played, &other);
        let step_ms = match self.step {
            Step::Delay(ms) => ms,
            Step::Room => 0,
        };
        let half = self.ppm / 2.0;
        let dac = Clock { ppm: -half, wobble_ppm: 0.0 };
        let adc = Clock { ppm: half, wobble_ppm: if self.wobble { WOBBLE_PPM } else { 0.0 } };
        let same = self.ppm == 0.0 && !self.wobble;
        let interpolator = Interpolator::new(1.0);
        let bulk = f64::from(self.bulk_ms) * 48.0;
        let later = bulk + f64::from(step_ms) * 48.0;
        let echo = (0..length)
            .map(|k| {
                let played_at = if same { k as f64 } else { dac.index(adc.time_s(k as f64)) };
                let (path, delay) = if k < at(STEP_S) { (&before, bulk) } else { (&after, later) };
                interpolator.at(path, played_at - delay)
            })
            .collect();
        let echo = scaled(echo, near_db - self.ser_db);
        let noise = noise(&mut random, length, near_db - self.snr_db);
        let microphone = near.iter().zip(&echo).zip(&noise).map(|((a, b), c)| a + b + c).collect();
        Scene { far, microphone, near, echo, noise, dac, adc }
    }
}

/// One part of the voice after the other; the same again when the voice is at its end.
fn speak(voice: &[f32], parts: &[Range<f64>], length: usize) -> Vec<f32> {
    let mut out = vec![0.0; length];
    let mut words = voice.iter().cycle();
    for part in parts {
        for (sample, word) in out[at(part.start)..at(part.end)].iter_mut().zip(&mut words) {
            *sample = *word;
        }
    }
    out
}

/// Mean squares of frames of 10 ms.
pub fn powers(signal: &[f32]) -> Vec<f64> {
    signal
        .chunks_exact(FRAME)
        .map(|frame| frame.iter().map(|x| f64::from(x * x)).sum::<f64>() / FRAME as f64)
        .collect()
}

/// The mean square of those frames that are less than 40 dB below the loudest.
pub fn active_power(signal: &[f32]) -> f64 {
    let powers = powers(signal);
    let loudest = powers.iter().copied().fold(0.0, f64::max);
    let active: Vec<f64> = powers.into_iter().filter(|power| *power > 1e-4 * loudest).collect();
    active.iter().sum::<f64>() / active.len().max(1) as f64
}

fn scaled(mut signal: Vec<f32>, db: f64) -> Vec<f32> {
    let gain = (10f64.powf(db / 10.0) / active_power(&signal).max(1e-20)).sqrt() as f32;
    for sample in &mut signal {
        *sample *= gain;
    }
    signal
}

/// Noise that falls with frequency, as a fan's.
fn noise(random: &mut fastrand::Rng, length: usize, db: f64) -> Vec<f32> {
    let (mut low, mut last) = (0.0, 0.0);
    let colored = (0..length)
        .map(|_| {
            let white: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            low = 0.85 * low + white + 0.4 * last;
            last = white;
            low as f32
        })
        .collect();
    scaled(colored, db)
}
