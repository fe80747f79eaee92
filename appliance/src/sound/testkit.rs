//! A voice on its way from one clock to another, in virtual time, and what a booth's sound takes of a processor: for
//! scenarios and tests.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use super::card_clock::CardClock;
use super::clock_line::ClockLine;
use super::echo::{AdaptiveCanceller, EchoCanceller, reference};
use super::error::Error;
use super::limiter::Limiter;
use super::playout::{Arrived, Playout};
use super::rate::{PERIOD, RATE_HZ as RATE};
use super::voice_codec::{DECODER_DELAY, VoiceEncoder};
use crate::media::voice::{VOICE_FRAME, VoiceFrame};

/// What is spoken: a tone, in Hz, so that every click is seen.
const TONE_HZ: f64 = 440.0;
const AMPLITUDE: f64 = 0.3;
/// A tone follows from the two samples before; what is off by more is a click, of full scale: −30 dB. Opus
/// itself is off by a tenth of that at 64 kbit/s.
const CLICK: f64 = 0.03;
/// What the first second does is not judged: a tone that begins is no tone yet.
const SETTLING_S: f64 = 1.0;
/// For so long after a frame that was invented, the tone is what libopus makes of it, in periods: the frame,
/// what waits of it, and the one that the decoder blends with it.
const CONCEALED_PERIODS: u32 = 8;
/// The first and the last part of a run that are held against each other.
const PART: f64 = 1.0 / 30.0;
/// Each datagram carries so many frames, and the line takes at least so long, in s.
const COPIES: usize = 3;
const LINE_S: f64 = 0.02;
/// Of a booth whose processor time is measured: frames from the loudspeaker to the microphone, and how much earlier than
/// it is written the reference is asked for, in µs.
const ECHO_FRAMES: usize = 6;
const READ_LATE_US: f64 = 20_000.0;
/// Time 0 on CLOCK_MONOTONIC, in µs.
const START_US: f64 = 1e6;
/// Numbers of frames that are told apart; those half as far away are forgotten.
const REMEMBERED: usize = 4096;
/// Samples until the frames' numbers begin again.
const NUMBERS: f64 = 4_294_967_296.0 * VOICE_FRAME as f64;

/// The line and the clocks of a [`run`].
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// How much faster the microphone's clock runs than the loudspeaker's, in ppm; CLOCK_MONOTONIC is half way
    /// between them.
    pub ppm: f64,
    /// The positions of both cards are read late at random, so much at most, in µs.
    pub read_late_us: f64,
    /// What each frame is late at random, at most, in ms.
    pub jitter_ms: f64,
    /// Share of the datagrams that are lost; each carries three frames.
    pub loss: f64,
    /// Datagrams that are lost in a row, on average (Gilbert's model); none where each is lost by itself.
    pub burst: Option<f64>,
    /// At this second all frames become later by so many ms; earlier when negative.
    pub step: Option<(f64, f64)>,
    /// The number of the first frame.
    pub first: u32,
    /// For the random numbers.
    pub seed: u64,
}

/// What came of a [`run`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Samples that do not follow from those before them, where no frame was invented.
    pub clicks: u64,
    /// The same where one was.
    pub concealed_clicks: u64,
    /// By how much any sample was off the tone at most, of full scale, where no frame was invented.
    pub roughest: f64,
    /// Frames that came and were played.
    pub decoded: u64,
    /// Frames invented.
    pub concealed: u64,
    /// Pitch periods put in or taken out.
    pub jumps: u64,
    /// From mouth to ear without the hardware, in ms, at most, in a thirtieth of the time after settling and in
    /// the last one, a second at least.
    pub delay_ms: [f64; 2],
    /// The longest it was.
    pub most_delay_ms: f64,
    /// By how much what the booth knows of that delay, by both cards' clocks, was off at most in the last part,
    /// in ms.
    pub known_off_ms: f64,
    /// What waited to be played, in samples, at most, in the same parts.
    pub waiting: [usize; 2],
    /// The clock's error as it was found at the end, in ppm.
    pub drift_ppm: f64,
}

impl Outcome {
    /// Share of the frames that were invented.
    pub fn concealed_share(&self) -> f64 {
        self.concealed as f64 / (self.concealed + self.decoded).max(1) as f64
    }
}

/// Speaks for `seconds`.
///
/// # Errors
/// When there is no codec to be had.
pub fn run(line: Line, seconds: f64) -> Result<Outcome, Error> {
    let mut random = fastrand::Rng::with_seed(line.seed);
    let mut mouth = Mouth::new(&line)?;
    let mut road = Road::default();
    let mut ear = Ear::new(&line, seconds)?;
    while (ear.output as f64) < seconds * RATE {
        let now_s = ear.now_s();
        while mouth.next_s() <= now_s {
            let spoken_s = mouth.next_s();
            let datagram = mouth.speak(&line, &mut random)?;
            road.send(datagram, spoken_s, now_s, &line, &mut random);
        }
        road.arrived(now_s, |frame| ear.hear(frame));
        ear.play(&line, &mut random);
    }
    Ok(ear.end())
}

/// What a booth's sound takes of a core for each frame, without the cards: the microphone's side (reference, canceller,
/// limiter, encoder) while the first of `voices` is played and comes back and the second is spoken; and the
/// loudspeaker's, the playout of both as two peers. In wall-clock time: nothing else should
/// run on the core.
///
/// # Errors
/// When there is no codec to be had.
pub fn processor(voices: [&[f32]; 2], frames: usize) -> Result<[Duration; 2], Error> {
    let line = ClockLine { index: 0.0, at_us: START_US, rate_hz: rate_hz(100.0) };
    let (mut writer, mut reader) = reference(0.0)?;
    let (mut canceller, mut limiter) = (AdaptiveCanceller::new(), Limiter::new(0.0));
    let mut encoders = [VoiceEncoder::new()?, VoiceEncoder::new()?];
    let mut peers = [Playout::new()?, Playout::new()?];
    let mut arrived = Arrived::default();
    let mut took = [Duration::ZERO; 2];
    let said = |voice: &[f32], frame: usize| -> [f32; VOICE_FRAME] {
        let from = frame * VOICE_FRAME;
        std::array::from_fn(|n| voice.get((from + n) % voice.len().max(1)).copied().unwrap_or(0.0))
    };
    for at in 0..frames {
        let [far, near] = voices.map(|voice| said(voice, at));
        let echo = if at < ECHO_FRAMES { [0.0; VOICE_FRAME] } else { said(voices[0], at - ECHO_FRAMES) };
        let mut heard: [f32; VOICE_FRAME] = std::array::from_fn(|n| near[n] + 0.5 * echo[n]);
        writer.write((at * VOICE_FRAME) as u64, &far, line);
        let began = Instant::now();
        let mut played = [0.0; VOICE_FRAME];
        let start_us = line.time_us((at * VOICE_FRAME) as f64) - READ_LATE_US;
        reader.read(start_us, RATE, &mut played)?;
        canceller.process(&played, &mut heard);
        limiter.process(&mut heard);
        let data = encoders[0].encode(&heard)?;
        took[0] += began.elapsed();
        let number = at as u32;
        let capture_us = line.time_us((at * VOICE_FRAME) as f64) as u64;
        let frames = [
            VoiceFrame { number, capture_us, data },
            VoiceFrame { number, capture_us, data: encoders[1].encode(&far)? },
        ];
        let began = Instant::now();
        for (peer, frame) in peers.iter_mut().zip(frames) {
            peer.arrived(frame, (at * VOICE_FRAME) as i64, &mut arrived);
            for period in 0..VOICE_FRAME / PERIOD {
                peer.render((at * VOICE_FRAME + period * PERIOD) as i64, &mut [0.0; PERIOD]);
            }
        }
        took[1] += began.elapsed();
    }
    Ok(took.map(|took| took / frames.max(1) as u32))
}

/// How a card's clock runs whose error is `ppm`, in Hz.
fn rate_hz(ppm: f64) -> f64 {
    RATE * (1.0 + ppm * 1e-6)
}

/// The microphone, and who speaks into it.
struct Mouth {
    encoder: VoiceEncoder,
    clock: CardClock,
    rate_hz: f64,
    phase: f64,
    frames: u32,
    earlier: VecDeque<VoiceFrame>,
}

impl Mouth {
    fn new(line: &Line) -> Result<Self, Error> {
        let mut clock = CardClock::default();
        clock.begin(None);
        let rate_hz = rate_hz(line.ppm / 2.0);
        let earlier = VecDeque::with_capacity(COPIES + 1);
        Ok(Self { encoder: VoiceEncoder::new()?, clock, rate_hz, phase: 0.0, frames: 0, earlier })
    }

    /// When the next frame is complete.
    fn next_s(&self) -> f64 {
        f64::from(self.frames + 1) * VOICE_FRAME as f64 / self.rate_hz
    }

    /// The next frame, behind it those before it.
    fn speak(&mut self, line: &Line, random: &mut fastrand::Rng) -> Result<Vec<VoiceFrame>, Error> {
        let mut samples = [0f32; VOICE_FRAME];
        for sample in &mut samples {
            *sample = (AMPLITUDE * f64::sin(self.phase)) as f32;
            self.phase = (self.phase + TAU * TONE_HZ / RATE) % TAU;
        }
        let index = f64::from(self.frames) * VOICE_FRAME as f64;
        for read in [index + PERIOD as f64, index + VOICE_FRAME as f64] {
            let late_us = random.f64() * line.read_late_us;
            self.clock.add(read, START_US + read / self.rate_hz * 1e6 + late_us);
        }
        let number = line.first.wrapping_add(self.frames);
        let capture_us = self.clock.line().time_us(index).max(0.0) as u64;
        self.earlier.push_front(VoiceFrame { number, capture_us, data: self.encoder.encode(&samples)? });
        self.earlier.truncate(COPIES);
        self.frames += 1;
        Ok(self.earlier.iter().cloned().collect())
    }
}

/// Datagrams under way, by arrival.
#[derive(Default)]
struct Road {
    under_way: VecDeque<(f64, Vec<VoiceFrame>)>,
    /// A burst of losses goes on.
    losing: bool,
}

impl Road {
    fn send(
        &mut self,
        datagram: Vec<VoiceFrame>,
        spoken_s: f64,
        now_s: f64,
        line: &Line,
        random: &mut fastrand::Rng,
    ) {
        let draw = random.f64();
        self.losing = match line.burst {
            None => draw < line.loss,
            Some(length) if self.losing => draw >= 1.0 / length,
            Some(length) => draw < line.loss / (1.0 - line.loss) / length,
        };
        if self.losing {
            return;
        }
        let step_s = line.step.filter(|(at_s, _)| now_s >= *at_s).map_or(0.0, |(_, ms)| ms * 1e-3);
        let late_s = (random.f64() * line.jitter_ms * 1e-3 + LINE_S + step_s).max(0.0);
        self.under_way.push_back((spoken_s + late_s, datagram));
    }

    fn arrived(&mut self, now_s: f64, mut take: impl FnMut(&VoiceFrame)) {
        self.under_way.retain(|(arrives_s, frames)| {
            let waits = *arrives_s > now_s;
            if !waits {
                frames.iter().for_each(&mut take);
            }
            waits
        });
    }
}

/// The loudspeaker, and who listens to it.
struct Ear {
    playout: Playout,
    clock: CardClock,
    rate_hz: f64,
    /// The microphone's, for the truth about the delay.
    mouth_hz: f64,
    first: u32,
    output: i64,
    seconds: f64,
    part_s: f64,
    /// Frames that were given to the playout: the link gives each once.
    given: Box<[Option<u32>; REMEMBERED]>,
    arrived: Arrived,
    /// The two samples before.
    last: [f64; 2],
    /// Periods in which what was invented is still heard.
    concealed: u32,
    outcome: Outcome,
}

impl Ear {
    fn new(line: &Line, seconds: f64) -> Result<Self, Error> {
        let mut clock = CardClock::default();
        clock.begin(None);
        let outcome = Outcome {
            clicks: 0,
            concealed_clicks: 0,
            roughest: 0.0,
            decoded: 0,
            concealed: 0,
            jumps: 0,
            delay_ms: [0.0; 2],
            most_delay_ms: 0.0,
            known_off_ms: 0.0,
            waiting: [0; 2],
            drift_ppm: 0.0,
        };
        Ok(Self {
            playout: Playout::new()?,
            clock,
            rate_hz: rate_hz(-line.ppm / 2.0),
            mouth_hz: rate_hz(line.ppm / 2.0),
            first: line.first,
            output: 0,
            seconds,
            part_s: (seconds * PART).max(1.0),
            given: Box::new([None; REMEMBERED]),
            arrived: Arrived::default(),
            last: [0.0; 2],
            concealed: 0,
            outcome,
        })
    }

    fn now_s(&self) -> f64 {
        self.output as f64 / self.rate_hz
    }

    fn hear(&mut self, frame: &VoiceFrame) {
        let slot = &mut self.given[frame.number as usize % REMEMBERED];
        if slot.replace(frame.number) != Some(frame.number) {
            self.playout.arrived(frame.clone(), self.output, &mut self.arrived);
        }
    }

    /// Plays a period.
    fn play(&mut self, line: &Line, random: &mut fastrand::Rng) {
        let now_s = self.now_s();
        let late_us = random.f64() * line.read_late_us;
        self.clock.add(self.output as f64, START_US + now_s * 1e6 + late_us);
        let captured_us = self.playout.captured_us(DECODER_DELAY);
        let place = self.output as f64 - self.playout.delay(self.output) - DECODER_DELAY as f64;
        let mut out = [0f32; PERIOD];
        let played = self.playout.render(self.output, &mut out);
        let settled = now_s > SETTLING_S;
        self.concealed =
            if played.concealed > 0 { CONCEALED_PERIODS } else { self.concealed.saturating_sub(1) };
        self.look(&out, settled);
        let outcome = &mut self.outcome;
        outcome.decoded += u64::from(played.decoded);
        outcome.concealed += u64::from(played.concealed);
        outcome.jumps += u64::from(played.jumps);
        if let Some(captured_us) = captured_us.filter(|_| settled) {
            // Places count on when numbers begin again at 0, until the stream begins anew.
            let spoken = (place - f64::from(self.first) * VOICE_FRAME as f64).rem_euclid(NUMBERS);
            let delay_ms = (now_s - spoken / self.mouth_hz) * 1e3;
            outcome.most_delay_ms = outcome.most_delay_ms.max(delay_ms);
            let parts = [now_s < SETTLING_S + self.part_s, now_s > self.seconds - self.part_s];
            for (at, _) in parts.iter().enumerate().filter(|(_, inside)| **inside) {
                outcome.delay_ms[at] = outcome.delay_ms[at].max(delay_ms);
                outcome.waiting[at] = outcome.waiting[at].max(self.playout.waiting());
            }
            if parts[1] {
                let known_us = self.clock.line().time_us(self.output as f64) - captured_us;
                outcome.known_off_ms = outcome.known_off_ms.max((known_us / 1e3 - delay_ms).abs());
            }
        }
        self.output += PERIOD as i64;
    }

    /// Looks for what does not belong to the tone.
    fn look(&mut self, out: &[f32; PERIOD], settled: bool) {
        let follows = 2.0 * (TAU * TONE_HZ / RATE).cos();
        for sample in out.map(f64::from) {
            let off = (sample - follows * self.last[0] + self.last[1]).abs();
            self.last = [sample, self.last[0]];
            if !settled {
                continue;
            }
            let clicks = u64::from(off > CLICK);
            if self.concealed > 0 {
                self.outcome.concealed_clicks += clicks;
            } else {
                self.outcome.clicks += clicks;
                self.outcome.roughest = self.outcome.roughest.max(off);
            }
        }
    }

    fn end(mut self) -> Outcome {
        self.outcome.drift_ppm = self.playout.drift_ppm(self.clock.line().rate_hz);
        self.outcome
    }
}
