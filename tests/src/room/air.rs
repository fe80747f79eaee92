//! The way from loudspeaker to microphone: the impulse response of a room, and the step from one card's clock
//! to the other's, which sound takes for nothing.

use std::f32::consts::PI;

use super::clock_line::ClockLine;
use super::convolver::{BLOCK, Convolver};
use super::track::RATE_HZ;

/// What a room is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Acoustics {
    /// Until the direct sound arrives, in µs: mostly the delay of a television. 60 ms at least.
    pub bulk_us: i64,
    /// Until the echo has decayed by 60 dB, in seconds.
    pub rt60_s: f32,
    /// Energy of the echo to that of what the loudspeaker plays, in dB; a room that is deaf has none.
    pub echo_db: Option<f32>,
    /// Of its reflections.
    pub seed: u64,
}

/// The least bulk delay: what the room needs to have heard what it is to give on.
pub(super) const LEAST_BULK_US: i64 = 60_000;
/// The direct sound's share of the energy.
const DIRECT: f32 = 0.5;
/// Reflections one by one come within so many ms, and then all at once.
const EARLY_MS: usize = 20;
const EARLY: usize = 12;

impl Acoustics {
    /// A booth of glass and cloth with a television: 60 ms, 0.25 s, and an echo as loud as the voice.
    pub fn booth(seed: u64) -> Self {
        Self { bulk_us: LEAST_BULK_US, rt60_s: 0.25, echo_db: Some(0.0), seed }
    }

    /// Nothing comes from the loudspeaker to the microphone.
    pub fn deaf() -> Self {
        Self { echo_db: None, ..Self::booth(0) }
    }

    /// From the direct sound on, 48 kHz, its energy as `echo_db` says.
    fn response(&self) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let rate = RATE_HZ as f32;
        let decay = |n: usize| (-6.908 * n as f32 / rate / self.rt60_s).exp();
        let mut response = vec![0.0_f32; (self.rt60_s * rate) as usize];
        let early_end = EARLY_MS * 48;
        for _ in 0..EARLY {
            let n = random.usize(48..early_end);
            response[n] += (random.f32() - 0.5).signum() * decay(n);
        }
        for (n, tap) in response.iter_mut().enumerate().skip(early_end / 2) {
            *tap += 0.15 * (random.f32() * 2.0 - 1.0) * decay(n);
        }
        let energy: f32 = response.iter().map(|tap| tap * tap).sum();
        let gain = self.echo_db.map_or(0.0, |db| 10_f32.powf(db / 20.0));
        let scale = gain * ((1.0 - DIRECT) / energy).sqrt();
        response.iter_mut().for_each(|tap| *tap *= scale);
        response[0] = gain * DIRECT.sqrt();
        response
    }
}

/// How much echo is kept, in samples; the oldest is overwritten.
const KEPT: usize = 16_384;
/// Taps and phases of the interpolation between two samples.
const TAPS: usize = 32;
const PHASES: usize = 256;
/// Within this time after the start the echo's place is set, and from then on moved only slowly.
const SETTLED: u64 = 2 * RATE_HZ as u64;
/// How fast it is moved then, in parts of a sample a sample: what is left of a wrong ratio of both clocks.
const SLOWLY: f64 = 1e-6;

/// Fed with what a loudspeaker plays, it gives what a microphone hears of it.
pub(super) struct Air {
    bulk_us: f64,
    convolver: Convolver,
    block: [f32; BLOCK],
    filled: usize,
    echo: Vec<f32>,
    /// Samples of echo made so far, on the loudspeaker's clock.
    made: u64,
    kernel: Vec<[f32; TAPS]>,
    /// The place in the echo of the microphone's next sample.
    place: f64,
    given: u64,
    /// Samples of echo that were asked for before they were there.
    pub(super) missing: u64,
    silent: bool,
}

impl Air {
    pub(super) fn new(acoustics: Acoustics) -> Self {
        Self {
            bulk_us: acoustics.bulk_us.max(LEAST_BULK_US) as f64,
            convolver: Convolver::new(&acoustics.response()),
            block: [0.0; BLOCK],
            filled: 0,
            echo: vec![0.0; KEPT],
            made: 0,
            kernel: kernel(),
            place: 0.0,
            given: 0,
            missing: 0,
            silent: acoustics.echo_db.is_none(),
        }
    }

    /// What the loudspeaker played next.
    pub(super) fn hear(&mut self, samples: &[i16]) {
        if self.silent {
            return;
        }
        for &sample in samples {
            self.block[self.filled] = f32::from(sample) / 32_768.0;
            self.filled += 1;
            if self.filled == BLOCK {
                self.filled = 0;
                let mut out = [0.0; BLOCK];
                self.convolver.process(&self.block, &mut out);
                let at = (self.made % KEPT as u64) as usize;
                for (n, out) in out.into_iter().enumerate() {
                    self.echo[(at + n) % KEPT] = out;
                }
                self.made += BLOCK as u64;
            }
        }
    }

    /// Adds the echo to the microphone's samples from `index` on. What the air does at a moment is the same for
    /// both cables, so each sample's place follows from when it passes; in steady state it moves on by the
    /// ratio of both rates, and is corrected by no more than 1 ppm.
    pub(super) fn add(
        &mut self,
        loudspeaker: &ClockLine,
        microphone: &ClockLine,
        index: u64,
        out: &mut [f32],
    ) {
        if self.silent {
            return;
        }
        let due = loudspeaker.index_at(microphone.time_us(index as f64) - self.bulk_us);
        let slowly = SLOWLY * out.len() as f64;
        self.place =
            if self.given < SETTLED { due } else { self.place + (due - self.place).clamp(-slowly, slowly) };
        self.given += out.len() as u64;
        let ratio = loudspeaker.rate_hz() / microphone.rate_hz();
        for out in out {
            *out += self.sample(self.place);
            self.place += ratio;
        }
    }

    fn sample(&mut self, place: f64) -> f32 {
        let (first, part) = (place.floor() as i64 - TAPS as i64 / 2 + 1, place - place.floor());
        if first < 0 {
            return 0.0;
        }
        if first as u64 + TAPS as u64 > self.made {
            self.missing += 1;
            return 0.0;
        }
        let phase = part * PHASES as f64;
        let (low, between) = (phase as usize, (phase - phase.floor()) as f32);
        let (low, high) = (&self.kernel[low], &self.kernel[low + 1]);
        let start = (first as u64 % KEPT as u64) as usize;
        let taps = low.iter().zip(high).enumerate();
        taps.map(|(n, (low, high))| self.echo[(start + n) % KEPT] * (low + between * (high - low))).sum()
    }
}

/// A windowed sinc (Hann) for each phase, and one beyond the last.
fn kernel() -> Vec<[f32; TAPS]> {
    let phase = |phase: usize| {
        let part = phase as f32 / PHASES as f32;
        std::array::from_fn(|n| {
            let x = n as f32 - (TAPS / 2 - 1) as f32 - part;
            let sinc = if x.abs() < 1e-6 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let window = (0.5 + 0.5 * (PI * x / (TAPS / 2) as f32).cos()).max(0.0);
            if x.abs() < (TAPS / 2) as f32 { sinc * window } else { 0.0 }
        })
    };
    (0..=PHASES).map(phase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
    }

    #[test]
    fn the_response_has_the_energy_asked_for_and_decays() {
        let response = Acoustics { echo_db: Some(-6.0), ..Acoustics::booth(1) }.response();
        let energy: f32 = response.iter().map(|tap| tap * tap).sum();
        assert!((10.0 * energy.log10() + 6.0).abs() < 0.1);
        let tail = |from_ms: usize| rms(&response[from_ms * 48..(from_ms + 20) * 48]);
        assert!((20.0 * (tail(40) / tail(140)).log10() - 24.0).abs() < 3.0);
    }

    /// A tone that the loudspeaker plays is heard 60 ms later with the same frequency in real time, whatever
    /// both clocks are.
    #[test]
    fn the_air_takes_a_tone_from_one_clock_to_the_other() {
        let dry = Acoustics { rt60_s: 0.03, ..Acoustics::booth(1) };
        let mut air = Air::new(dry);
        air.convolver = Convolver::new(&[1.0]);
        let (mut loudspeaker, mut microphone) = (ClockLine::new(47_995.2), ClockLine::new(48_004.8));
        loudspeaker.observe(0, 1_000_000);
        microphone.observe(0, 1_000_000);
        let tone = |at_us: f64| (at_us / 1e6 * 997.0 * std::f64::consts::TAU).sin() as f32 * 0.5;
        let mut worst = 0.0_f32;
        for block in 0..1_200_u64 {
            let samples: Vec<i16> = (0..BLOCK as u64)
                .map(|n| (tone(loudspeaker.time_us((block * BLOCK as u64 + n) as f64)) * 32_768.0) as i16)
                .collect();
            air.hear(&samples);
            // The microphone's samples are made 30 ms ahead of what the loudspeaker has played.
            let index = (block + 6) * BLOCK as u64;
            let mut out = [0.0; BLOCK];
            air.add(&loudspeaker, &microphone, index, &mut out);
            if block > 20 {
                for (n, out) in out.iter().enumerate() {
                    let expected = tone(microphone.time_us((index + n as u64) as f64) - 60_000.0);
                    worst = worst.max((out - expected).abs());
                }
            }
        }
        assert!(worst < 2e-3, "{worst}");
        assert_eq!(air.missing, 0);
    }
}
