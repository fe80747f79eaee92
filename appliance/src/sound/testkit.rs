//! A voice on its way from one clock to another, in virtual time: for scenarios and tests.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use super::error::Error;
use super::playout::{Arrived, Playout};
use super::rate::{PERIOD, RATE_HZ as RATE};
use super::voice_codec::{DECODER_DELAY, VoiceEncoder};
use crate::media::voice::{VOICE_FRAME, VOICE_FRAME_US, VoiceFrame};

/// What is spoken: a tone, in Hz, so that every click is seen.
const TONE_HZ: f64 = 440.0;
const AMPLITUDE: f64 = 0.3;
/// A tone follows from the two samples before; what is off by more is a click, of full scale. Opus itself is off
/// by a tenth of that at 64 kbit/s.
const CLICK: f64 = 0.03;
/// What the first second does is not judged: a tone that begins is no tone yet.
const SETTLING_S: f64 = 1.0;

/// The line and the clocks of a [`run`].
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// How much faster the microphone's clock runs than the loudspeaker's, in ppm.
    pub ppm: f64,
    /// What each frame is late at random, at most, in ms.
    pub jitter_ms: f64,
    /// Share of the datagrams that are lost; each carries three frames.
    pub loss: f64,
    /// At this second all frames become later by so many ms; earlier when negative.
    pub step: Option<(f64, f64)>,
    /// For the random numbers.
    pub seed: u64,
}

/// What came of a [`run`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Samples that do not follow from those before them.
    pub clicks: u64,
    /// Frames invented.
    pub concealed: u64,
    /// Pitch periods put in or taken out.
    pub jumps: u64,
    /// From mouth to ear without the hardware, in ms, at most, in the second after settling and in the last one.
    pub delay_ms: [f64; 2],
    /// The longest it was.
    pub most_delay_ms: f64,
    /// What waited to be played, in samples, at most, in the same seconds.
    pub waiting: [usize; 2],
    /// The clock's error as it was found at the end, in ppm.
    pub drift_ppm: f64,
}

/// Speaks for `seconds`.
///
/// # Errors
/// When there is no codec to be had.
pub fn run(line: Line, seconds: f64) -> Result<Outcome, Error> {
    let mut random = fastrand::Rng::with_seed(line.seed);
    let (mut encoder, mut playout) = (VoiceEncoder::new()?, Playout::new()?);
    let mut outcome = Outcome {
        clicks: 0,
        concealed: 0,
        jumps: 0,
        delay_ms: [0.0; 2],
        most_delay_ms: 0.0,
        waiting: [0; 2],
        drift_ppm: 0.0,
    };
    let frame_s = VOICE_FRAME_US as f64 * 1e-6 / (1.0 + line.ppm * 1e-6);
    // Datagrams under way, by arrival; the frames of the last ones travel again.
    let mut under_way: VecDeque<(f64, Vec<VoiceFrame>)> = VecDeque::new();
    let mut earlier: VecDeque<VoiceFrame> = VecDeque::new();
    let (mut number, mut phase, mut output) = (0u32, 0.0, 0i64);
    let mut last = [0f64; 2];
    let follows = 2.0 * (TAU * TONE_HZ / RATE).cos();
    let mut given = [false; 4096];
    while (output as f64) < seconds * RATE {
        let now_s = output as f64 / RATE;
        while f64::from(number + 1) * frame_s <= now_s {
            let mut samples = [0f32; VOICE_FRAME];
            for sample in &mut samples {
                *sample = (AMPLITUDE * f64::sin(phase)) as f32;
                phase = (phase + TAU * TONE_HZ / RATE) % TAU;
            }
            let capture_us = (f64::from(number) * frame_s * 1e6) as u64 + 1_000_000;
            let frame = VoiceFrame { number, capture_us, data: encoder.encode(&samples)? };
            earlier.push_front(frame);
            earlier.truncate(3);
            let late_ms = line.step.filter(|(at_s, _)| now_s >= *at_s).map_or(0.0, |(_, ms)| ms);
            if random.f64() >= line.loss {
                let arrives_s = f64::from(number + 1) * frame_s
                    + (random.f64() * line.jitter_ms + 20.0 + late_ms).max(0.0) * 1e-3;
                under_way.push_back((arrives_s, earlier.iter().cloned().collect()));
            }
            number += 1;
        }
        let mut arrived = Arrived::default();
        under_way.retain(|(arrives_s, frames)| {
            if *arrives_s > now_s {
                return true;
            }
            for frame in frames {
                let known = &mut given[frame.number as usize % 4096];
                // The link gives each frame once.
                if !std::mem::replace(known, true) {
                    given_once(&mut playout, frame, output, &mut arrived);
                }
            }
            false
        });
        // What is a ring's length away is forgotten.
        given[(number as usize + 2048) % 4096] = false;
        let capture_us = playout.captured_us(DECODER_DELAY);
        let mut out = [0f32; PERIOD];
        let played = playout.render(output, &mut out);
        outcome.concealed += u64::from(played.concealed);
        outcome.jumps += u64::from(played.jumps);
        let settled = now_s > SETTLING_S;
        for sample in out.map(f64::from) {
            let off = (sample - follows * last[0] + last[1]).abs();
            outcome.clicks += u64::from(settled && off > CLICK);
            last = [sample, last[0]];
        }
        if let Some(capture_us) = capture_us.filter(|_| settled) {
            let delay_ms = now_s * 1e3 - (capture_us - 1_000_000.0) / 1e3;
            outcome.most_delay_ms = outcome.most_delay_ms.max(delay_ms);
            let seconds_of = [now_s < SETTLING_S + 1.0, now_s > seconds - 1.0];
            for (at, _) in seconds_of.iter().enumerate().filter(|(_, inside)| **inside) {
                outcome.delay_ms[at] = outcome.delay_ms[at].max(delay_ms);
                outcome.waiting[at] = outcome.waiting[at].max(playout.waiting());
            }
        }
        output += PERIOD as i64;
    }
    outcome.drift_ppm = playout.drift_ppm(RATE);
    Ok(outcome)
}

fn given_once(playout: &mut Playout, frame: &VoiceFrame, output: i64, arrived: &mut Arrived) {
    playout.arrived(frame.clone(), output, arrived);
}
