//! One peer's voice, from the frames that the link gives to samples on the loudspeaker's clock. No I/O.
//!
//! ```text
//!   frames ─► jitter buffer ─► Opus, PLC ─► stretch ─► resampler ─► samples
//!                  ▲                            ▲          ▲
//!               lateness ──► delay estimator ───┴──────────┘
//! ```
//! The delay between a frame's place in the stream and the place where it is played is steered: by resampling
//! at up to ±0.5 %, which nobody hears, by whole pitch periods where it is off by more than [`JUMP`] samples, and at
//! once while nobody speaks.

mod delay;
mod jitter_buffer;
mod stretch;

use std::collections::VecDeque;

use self::delay::DelayEstimator;
use self::jitter_buffer::{Inserted, JitterBuffer};
use self::stretch::Background;
use super::clock_fit::ClockFit;
use super::clock_line::ClockLine;
use super::error::Error;
use super::fade::{FADE, fade_in, fade_out};
use super::rate::{PERIOD, RATE_HZ};
use super::resampler::{SteeredResampler, TAPS};
use super::voice_codec::VoiceDecoder;
use crate::media::voice::{VOICE_FRAME, VoiceFrame};

const FRAME: i64 = VOICE_FRAME as i64;
/// How much faster or slower a voice is played to change its delay. Half a per cent is a twelfth of a
/// semitone; a listener notices about three times as much (Moore, An Introduction to the Psychology of
/// Hearing, chapter 6).
const STEER: f64 = 0.005;
/// A delay that is off by more is changed by whole pitch periods: 20 ms.
const JUMP: i64 = 960;
/// In a pause of the voice it is changed when it is off by more than this already: 5 ms.
const SHIFT: i64 = 240;
/// A delay that is too short by at least so much is made longer by a frame when a frame is missing: 5 ms.
const EXPAND: i64 = 240;
/// After so many frames in a row that did not come, whoever speaks is gone, or muted: 200 ms.
const GONE: usize = 20;
/// The first frames of a stream, of which only the last is heard, as it comes up: a decoder that joins in the
/// middle does not know the spectrum that the encoder predicts from (RFC 6716, section 4.3.2.1), and is off by as
/// much as the voice in the first frame and by a fifth of it in the second.
const UNHEARD: u32 = 2;
/// Full scale less 66 dB: nobody speaks, and no room is silent enough for a microphone that is on.
const SILENCE: f32 = 5e-4;
/// Samples that the resampler's filter wants beyond the one it gives.
const LOOKAHEAD: i64 = TAPS as i64 / 2 - 1;
/// Decoded samples that wait for a stretch, at most.
const DECODED: usize = 4 * stretch::NEEDED;

/// What was done to the frames of a call of [`Playout::render`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Played {
    /// Frames decoded.
    pub(crate) decoded: u32,
    /// Frames invented because they did not come in time, while somebody spoke.
    pub(crate) concealed: u32,
    /// Frames that no decoder would take; concealed as well.
    pub(crate) malformed: u32,
    /// Whole pitch periods put in or taken out.
    pub(crate) jumps: u32,
}

/// What came of the frames that the link gave.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Frames that came after their time.
    pub(crate) late: u32,
    /// Frames for which there was no room, or that came twice.
    pub(crate) dropped: u32,
    /// Times that a stream began.
    pub(crate) begun: u32,
}

/// One peer's voice.
pub(crate) struct Playout {
    decoder: VoiceDecoder,
    frames: JitterBuffer,
    delay: DelayEstimator,
    resampler: SteeredResampler<PERIOD>,
    /// Decoded, and not yet resampled.
    decoded: VecDeque<f32>,
    scratch: Vec<f32>,
    /// By how much the delay is shorter than it should be, in samples, in the period that is rendered.
    short: i64,
    /// What stretching has put in, less what it has taken out: the resampler's input is so far ahead of the
    /// peer's stream.
    inserted: i64,
    /// The delay that is wanted for the sake of the picture, in samples.
    at_least: Option<i64>,
    missing: usize,
    /// Frames invented while one was waited for that has not come.
    waited: u32,
    /// The last frame was silent: whoever is muted ends with such, and what is missing after it is silence.
    quiet: bool,
    playing: bool,
    /// Frames that are still not heard.
    unheard: u32,
    background: Background,
    /// Another stream has begun: this one ends with the next period.
    ending: bool,
    /// The peer's microphone on our clock: its samples count from frame 0 of its stream.
    capture_fit: ClockFit,
    capture_line: Option<ClockLine>,
    /// The newest frame that the fit has seen.
    newest: i64,
}

impl Playout {
    /// Nobody has spoken yet.
    ///
    /// # Errors
    /// When there is no decoder or no resampler to be had.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            decoder: VoiceDecoder::new()?,
            frames: JitterBuffer::new(),
            delay: DelayEstimator::new(),
            resampler: SteeredResampler::new(STEER)?,
            decoded: VecDeque::with_capacity(DECODED),
            scratch: vec![0.0; DECODED],
            short: 0,
            inserted: 0,
            at_least: None,
            missing: 0,
            waited: 0,
            quiet: false,
            playing: false,
            unheard: 0,
            background: Background::UNKNOWN,
            ending: false,
            capture_fit: ClockFit::of_unknown(),
            capture_line: None,
            newest: 0,
        })
    }

    /// Takes in a frame that was there when the samples from `output` on were about to be rendered.
    pub(crate) fn arrived(&mut self, frame: VoiceFrame, output: i64, came: &mut Arrived) {
        let (number, capture_us) = (frame.number, frame.capture_us);
        if !self.playing {
            came.begun += 1;
            self.begin(number, output, frame);
            return;
        }
        let place = match self.frames.insert(frame) {
            Inserted::Waits(place) => place,
            Inserted::Late(place) => {
                came.late += 1;
                place
            }
            Inserted::Dropped => {
                came.dropped += 1;
                return;
            }
            Inserted::Restarted => {
                self.ending = true;
                return;
            }
        };
        self.delay.arrived(place * FRAME, output);
        if place > self.newest {
            self.stamp(place, capture_us);
        }
    }

    fn stamp(&mut self, place: i64, capture_us: u64) {
        self.newest = place;
        let (index, at_us) = ((place * FRAME) as f64, capture_us as f64);
        self.capture_fit.push(index, at_us);
        let nominal = ClockLine { index, at_us, rate_hz: RATE_HZ };
        self.capture_line = Some(self.capture_fit.line().unwrap_or(nominal));
    }

    /// Somebody begins to speak. Nothing of a stream before this one counts: its places were others.
    fn begin(&mut self, number: u32, output: i64, frame: VoiceFrame) {
        self.frames.restart(number);
        self.delay.reset();
        let capture_us = frame.capture_us;
        let place = self.frames.next();
        self.frames.insert(frame);
        self.delay.arrived(place * FRAME, output);
        self.capture_fit.restart();
        self.stamp(place, capture_us);
        self.decoder.reset();
        self.decoded.clear();
        self.inserted = 0;
        (self.missing, self.waited) = (0, 0);
        self.quiet = false;
        self.at_least = None;
        (self.playing, self.ending) = (true, false);
        self.unheard = UNHEARD;
        self.background = Background::UNKNOWN;
        // Silence leads up to the first frame, and through the resampler's filter.
        let first = output - self.wanted() + LOOKAHEAD;
        self.resampler.reset(first as f64);
        let lead = place * FRAME - first;
        self.decoded.extend(std::iter::repeat_n(0.0, lead.clamp(0, DECODED as i64 / 2) as usize));
    }

    /// The shortest delay with which frames are in time, as [`Playout::delay`] counts it.
    pub(crate) fn least_delay(&self) -> i64 {
        self.delay.target().unwrap_or_default() + LOOKAHEAD + PERIOD as i64
    }

    /// The delay that is steered for.
    fn wanted(&self) -> i64 {
        let least = self.least_delay();
        least.max(self.at_least.unwrap_or(least))
    }

    /// The picture needs so much delay, as [`Playout::delay`] counts it; none when there is no picture.
    pub(crate) fn wait_for_picture(&mut self, at_least: Option<i64>) {
        self.at_least = at_least;
    }

    /// From a sample's place in the peer's stream to the `output` position where it is played, in samples.
    pub(crate) fn delay(&self, output: i64) -> f64 {
        output as f64 - (self.resampler.position() + 1.0 - self.inserted as f64)
    }

    /// When the next sample that is played was captured, on our clock, in µs; none while nobody speaks. The
    /// stream is `decoder_delay` samples older than its frames say.
    pub(crate) fn captured_us(&self, decoder_delay: usize) -> Option<f64> {
        let line = self.capture_line.filter(|_| self.playing)?;
        let place = self.resampler.position() + 1.0 - self.inserted as f64;
        Some(line.time_us(place - decoder_delay as f64))
    }

    /// How much faster the peer's microphone runs than a loudspeaker of `rate_hz`, in ppm.
    pub(crate) fn drift_ppm(&self, rate_hz: f64) -> f64 {
        self.capture_line.map_or(0.0, |line| (line.rate_hz / rate_hz - 1.0) * 1e6)
    }

    /// Nothing is played any more.
    pub(crate) fn stop(&mut self) {
        self.playing = false;
    }

    /// Whether somebody speaks, or is silent at an open microphone.
    pub(crate) fn is_playing(&self) -> bool {
        self.playing
    }

    /// Samples that wait to be played.
    pub(crate) fn waiting(&self) -> usize {
        self.frames.waiting() * VOICE_FRAME + self.decoded.len()
    }

    /// Fills `out` with the samples that are to be played from `output` on.
    pub(crate) fn render(&mut self, output: i64, out: &mut [f32; PERIOD]) -> Played {
        let mut played = Played::default();
        if !self.playing {
            out.fill(0.0);
            return played;
        }
        self.short = self.wanted() - self.delay(output) as i64;
        if self.short.abs() > SHIFT {
            self.jump(self.short, &mut played);
        }
        let end = (output + PERIOD as i64 - 1 - self.wanted() + self.inserted) as f64;
        let Ok(needed) = self.resampler.steer(end) else { return self.silence(out) };
        self.fill(needed, &mut played);
        for (to, from) in self.scratch.iter_mut().zip(self.decoded.drain(..needed)) {
            *to = from;
        }
        if self.resampler.process(&self.scratch[..needed], out).is_err() {
            return self.silence(out);
        }
        if self.ending || self.missing >= GONE {
            fade_out(out);
            self.playing = false;
        }
        played
    }

    /// A bug in the steering: the voice begins anew, and nobody's process ends.
    fn silence(&mut self, out: &mut [f32; PERIOD]) -> Played {
        out.fill(0.0);
        self.playing = false;
        Played::default()
    }

    /// Decodes until `needed` samples wait.
    fn fill(&mut self, needed: usize, played: &mut Played) {
        let mut samples = [0.0; VOICE_FRAME];
        while self.decoded.len() < needed {
            let decoded = self.frames.take().map(|frame| self.decoder.decode(&frame.data, &mut samples));
            match decoded {
                Some(Ok(())) => {
                    played.decoded += 1;
                    (self.missing, self.waited) = (0, 0);
                    self.quiet = samples.iter().all(|x| x.abs() < SILENCE);
                    self.background.hear(&samples);
                    if self.unheard > 0 {
                        self.unheard -= 1;
                        fade_in(
                            &mut samples,
                            if self.unheard > 0 { VOICE_FRAME } else { VOICE_FRAME - FADE },
                        );
                    }
                }
                None if self.quiet => {
                    self.missing += 1;
                    samples.fill(0.0);
                }
                // Nothing after it is there either, or others were as late before: it may still come. What is
                // invented makes the delay longer, and it is played after that.
                None if self.frames.waiting() == 0 || self.short >= EXPAND => {
                    self.frames.wait();
                    self.short -= FRAME;
                    self.inserted += FRAME;
                    self.missing += 1;
                    self.waited += 1;
                    played.concealed += 1;
                    self.decoder.conceal(&mut samples);
                }
                // It is lost, for others after it are there: what was invented while it was waited for was in its
                // place.
                None if self.waited > 0 && self.short <= -EXPAND => {
                    self.waited -= 1;
                    self.short += FRAME;
                    self.inserted -= FRAME;
                    continue;
                }
                lost => {
                    played.malformed += u32::from(lost.is_some());
                    played.concealed += 1;
                    self.missing += 1;
                    self.decoder.conceal(&mut samples);
                }
            }
            self.decoded.extend(samples);
        }
    }

    /// Makes the delay longer (`off` > 0) or shorter, in a pause; or by a pitch period, where the voice has one and the
    /// delay is off by more than [`JUMP`].
    fn jump(&mut self, off: i64, played: &mut Played) {
        // Decoded a little early; what has not come is not yet given up for it.
        while self.decoded.len() < stretch::NEEDED && self.frames.has_next() {
            self.fill(self.decoded.len() + 1, played);
        }
        // What is cut out may not be what is played now.
        if off < 0 && self.decoded.len() < stretch::NEEDED {
            return;
        }
        let samples = self.decoded.make_contiguous();
        let period = || {
            let period = if off.abs() > JUMP { stretch::period(samples) } else { None };
            period.filter(|&period| period as i64 <= off.abs() + JUMP / 2)
        };
        let pause = stretch::pause(samples, self.background, off.unsigned_abs() as usize);
        let Some(period) = pause.or_else(period) else { return };
        let length = samples.len();
        let gained = if off < 0 {
            let length = stretch::shorten(samples, period);
            self.decoded.truncate(length);
            -(period as i64)
        } else {
            self.decoded.resize(length + period, 0.0);
            stretch::lengthen(self.decoded.make_contiguous(), period);
            period as i64
        };
        self.inserted += gained;
        self.short -= gained;
        played.jumps += 1;
    }
}

#[cfg(test)]
mod tests;
