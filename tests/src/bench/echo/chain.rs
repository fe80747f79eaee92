//! A scene through the booth's own chain: stamps of both cards, the reference's ring, the canceller.

use std::collections::VecDeque;

use holobooth::sound::clock_line::ClockLine;
use holobooth::sound::echo::{AdaptiveCanceller, EchoCanceller, EchoReport, reference};
use holobooth::sound::rate::PERIOD;
use holobooth::sound::{CardClock, LEAD_US};

use super::case::{Clock, FRAME, RATE_HZ, Scene};
use super::cpu::Stopwatch;

/// The cards have run for so long before anybody speaks: booths are on all day.
const BEFORE_S: f64 = 20.0;
/// What indices count on from, for those before the scene are negative.
const OFFSET: f64 = 1e7;
/// µs on CLOCK_MONOTONIC when the scene begins.
const EPOCH_US: f64 = 1e9;
/// What is written is heard so much later: a card's queue of three periods, of which one is free again.
const AHEAD_S: f64 = 0.01;
/// From a frame's last sample to its processing.
const LATE_S: f64 = 0.001;
/// How far a stamp of a hardware pointer is late: mostly up to this ...
const JITTER_US: f64 = 100.0;
/// ... and one in fifty up to this.
const STRAY_US: f64 = 3_000.0;

/// What came out of a canceller.
pub struct Outcome {
    /// The microphone without the echo.
    pub output: Vec<f32>,
    /// CPU time for each frame of 10 ms, in µs: mean and longest.
    pub cpu_us: [f64; 2],
    /// What our own says of itself at the end.
    pub report: Option<EchoReport>,
    /// How often the guard ducked before the path changed, and after.
    pub ducked: [u64; 2],
}

/// The stamps of one card.
struct Stamps {
    clock: Clock,
    fit: CardClock,
    random: fastrand::Rng,
}

impl Stamps {
    fn new(clock: Clock, seed: u64) -> Self {
        let mut stamps = Self { clock, fit: CardClock::default(), random: fastrand::Rng::with_seed(seed) };
        let frames = (BEFORE_S * 100.0) as i32;
        for frame in -frames..0 {
            stamps.line(f64::from(frame) * FRAME as f64);
        }
        stamps
    }

    /// The line after a stamp at `index`.
    fn line(&mut self, index: f64) -> ClockLine {
        let most_us = if self.random.u8(..) < 5 { STRAY_US } else { JITTER_US };
        let late_us = self.random.f64() * most_us;
        self.fit.add(index + OFFSET, EPOCH_US + 1e6 * self.clock.time_s(index) + late_us);
        self.fit.line()
    }
}

/// Runs our own.
///
/// # Errors
/// When the reference's resampler fails.
pub fn run(scene: &Scene, step_s: f64, seed: u64) -> Result<Outcome, holobooth::sound::resampler::Error> {
    let (mut writer, mut reader) = reference(LEAD_US)?;
    let mut canceller = AdaptiveCanceller::new();
    let (mut dac, mut adc) = (Stamps::new(scene.dac, seed), Stamps::new(scene.adc, seed + 1));
    let mut to_play: VecDeque<(usize, &[f32])> =
        scene.far.chunks_exact(PERIOD).enumerate().map(|(at, block)| (at * PERIOD, block)).collect();
    let mut output = Vec::with_capacity(scene.microphone.len());
    let mut watch = Stopwatch::default();
    let mut ducked = [0; 2];
    let mut played = [0f32; FRAME];
    for (at, frame) in scene.microphone.as_chunks::<FRAME>().0.iter().enumerate() {
        let end = ((at + 1) * FRAME) as f64;
        let now_s = scene.adc.time_s(end) + LATE_S;
        while let Some(&(index, block)) = to_play.front()
            && scene.dac.time_s(index as f64) - AHEAD_S <= now_s
        {
            to_play.pop_front();
            let line = dac.line(index as f64 - AHEAD_S * RATE_HZ);
            writer.write((index as f64 + OFFSET) as u64, block, line);
        }
        let line = adc.line(end);
        let mut frame = *frame;
        watch.start();
        reader.read(line.time_us(end - FRAME as f64 + OFFSET), line.rate_hz, &mut played)?;
        canceller.process(&played, &mut frame);
        watch.stop();
        output.extend_from_slice(&frame);
        let before = at as f64 * 0.01 < step_s;
        ducked[usize::from(!before)] = canceller.report().ducked;
    }
    ducked[1] = ducked[1].saturating_sub(ducked[0]);
    Ok(Outcome { output, cpu_us: watch.frame_us(), report: Some(canceller.report()), ducked })
}
