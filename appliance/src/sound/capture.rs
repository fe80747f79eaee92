//! The capture loop: what the microphone hears, without what the loudspeaker plays, coded into a mailbox;
//! through every unplugging.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::card_clock::{CardClock, Rate};
use super::card_event::CardEvent;
use super::card_loop::{self, CardHandles, POLL_INTERVAL, Server};
use super::counters::SoundCounters;
use super::device::{BLOCK, CapturePcm, Captured, Error as DeviceError, Opened, Params};
use super::echo::{ADAPTIVE_DELAY, AdaptiveCanceller, EchoCanceller, ReferenceReader};
use super::error::Error;
use super::fade::{FADE, fade_in};
use super::handles::Handles;
use super::level::Level;
use super::limiter::{LOOKAHEAD, Limiter};
use super::open;
use super::voice_codec::VoiceEncoder;
use crate::media::mailbox::Mailbox;
use crate::media::voice::{SAMPLE_RATE_HZ, VOICE_FRAME, VoiceFrame};
use crate::units::SoundRequest;

/// Silent frames that a microphone ends with when it is muted: what the other end then invents for frames that
/// do not come is silence, too.
const LAST_FRAMES: u32 = 3;
/// A gap of so many frames or more is a new beginning: the receiver does not conceal it.
const LONGEST_GAP: u64 = 20;
/// Added to the frames' numbers at a new beginning, so that the receiver sees one.
const BEGINNING: u32 = 1_000;

/// The handles of the capture loop.
#[derive(Clone, Copy)]
pub struct CaptureHandles<'a> {
    /// Where coded frames are put.
    pub voice: &'a Mailbox<VoiceFrame>,
    /// What the sound threads share.
    pub sound: &'a Handles,
}

/// Runs the microphone that `request` names until it is stopped.
///
/// # Errors
/// When there is no encoder to be had. A card that is missing or fails is an event.
pub fn capture(
    request: &SoundRequest,
    reference: ReferenceReader,
    handles: CaptureHandles<'_>,
    card: CardHandles<'_>,
    on_event: impl FnMut(CardEvent),
) -> Result<(), Error> {
    let mut microphone = Microphone::new(request, reference, handles)?;
    card_loop::run(&mut microphone, &handles.sound.counters, card, on_event);
    Ok(())
}

/// From blocks of the card to coded frames.
struct Microphone<'a> {
    request: &'a SoundRequest,
    handles: CaptureHandles<'a>,
    reference: ReferenceReader,
    canceller: Option<AdaptiveCanceller>,
    limiter: Limiter,
    encoder: VoiceEncoder,
    clock: CardClock,
    level: Level,
    frame: [f32; VOICE_FRAME],
    filled: usize,
    /// The index of the frame's first sample.
    index: i64,
    number: u32,
    /// Silent frames that are still to be sent since the microphone was muted.
    last_frames: u32,
    /// The next frame does not follow on the one before it.
    begins: bool,
}

impl<'a> Microphone<'a> {
    fn new(
        request: &'a SoundRequest,
        reference: ReferenceReader,
        handles: CaptureHandles<'a>,
    ) -> Result<Self, Error> {
        Ok(Self {
            request,
            handles,
            reference,
            canceller: request.echo_canceller.then(AdaptiveCanceller::new),
            limiter: Limiter::new(request.gain_db as f32),
            encoder: VoiceEncoder::new()?,
            clock: CardClock::default(),
            level: Level::default(),
            frame: [0.0; VOICE_FRAME],
            filled: 0,
            index: 0,
            number: 0,
            last_frames: 0,
            begins: true,
        })
    }

    /// Nothing follows on what was heard before, and the card's line begins again.
    fn interrupted(&mut self) {
        self.filled = 0;
        self.begins = true;
        if let Some(canceller) = &mut self.canceller {
            canceller.interrupt();
        }
    }

    /// Samples were lost: the frames' numbers go on as time does.
    fn skip(&mut self, lost: u64) {
        self.interrupted();
        let frames = lost.div_ceil(VOICE_FRAME as u64);
        let ahead = if frames >= LONGEST_GAP { BEGINNING } else { frames as u32 };
        self.number = self.number.wrapping_add(ahead);
    }

    fn take(&mut self, captured: Captured, block: &[f32; BLOCK]) {
        if self.filled == 0 {
            self.index = captured.index;
        }
        let end = (self.filled + BLOCK).min(VOICE_FRAME);
        self.frame[self.filled..end].copy_from_slice(&block[..end - self.filled]);
        self.filled = end;
    }

    /// A frame is whole.
    fn finish(&mut self) {
        let counters = &self.handles.sound.counters;
        counters.captured.fetch_add(1, Relaxed);
        let line = self.clock.line();
        let check = &self.handles.sound.check;
        check.heard(self.index, &self.frame, line);
        let mut late = LOOKAHEAD;
        if let Some(canceller) = &mut self.canceller {
            let mut reference = [0.0; VOICE_FRAME];
            if self.reference.read(line.time_us(self.index as f64), line.rate_hz, &mut reference).is_err() {
                reference.fill(0.0);
            }
            if self.reference.take_interrupted() {
                canceller.interrupt();
            }
            canceller.process(&reference, &mut self.frame);
            let report = canceller.report();
            counters.erle_db.store(report.erle_db.max(0.0) as u64, Relaxed);
            counters.echo_delay_us.store(u64::from(report.delay_ms) * 1000, Relaxed);
            counters.ducked.store(report.ducked, Relaxed);
            counters.reference_late.store(self.reference.late_samples(), Relaxed);
            counters.reference_jumps.store(self.reference.jumps(), Relaxed);
            late += canceller.delay();
        }
        self.limiter.process(&mut self.frame);
        if std::mem::take(&mut self.begins) {
            // What canceller and limiter still held is of before the gap, and so is what the encoder predicts from.
            fade_in(&mut self.frame, late);
            self.encoder.reset();
        }
        counters.limited.fetch_add(u64::from(self.limiter.reduction_db() > 0.5), Relaxed);
        if let Some(below_db) = self.level.add(&self.frame) {
            counters.microphone_below_db.store(below_db, Relaxed);
        }
        let number = self.number;
        self.number = number.wrapping_add(1);
        if self.handles.sound.muted.load(Relaxed) || check.is_active() {
            if self.last_frames == 0 {
                return;
            }
            self.last_frames -= 1;
            self.frame.fill(0.0);
        } else {
            self.last_frames = LAST_FRAMES;
        }
        let Ok(data) = self.encoder.encode(&self.frame) else { return };
        let capture_us = line.time_us(self.index as f64 - late as f64).max(0.0) as u64;
        let refused = self.handles.voice.put(VoiceFrame { number, capture_us, data }).is_some();
        counters.coded.fetch_add(u64::from(!refused), Relaxed);
        counters.send_dropped.fetch_add(u64::from(refused), Relaxed);
    }
}

impl Server for Microphone<'_> {
    type Pcm = CapturePcm;

    fn open(&self) -> Result<Opened<CapturePcm>, DeviceError> {
        open::microphone(self.request)
    }

    fn params(pcm: &CapturePcm) -> Params {
        pcm.params()
    }

    fn waited(pcm: &CapturePcm) -> Duration {
        pcm.waited()
    }

    fn busy_us(counters: &SoundCounters) -> &AtomicU64 {
        &counters.microphone_busy_us
    }

    fn begin(&mut self, kept_hz: Option<f64>) {
        self.handles.sound.check.capture_interrupted();
        self.clock.begin(kept_hz);
        self.interrupted();
        self.number = self.number.wrapping_add(BEGINNING);
    }

    fn turn(&mut self, pcm: &mut CapturePcm) -> Result<Option<Rate>, DeviceError> {
        let mut block = [0.0; BLOCK];
        let Some(captured) = pcm.read(&mut block, POLL_INTERVAL)? else { return Ok(None) };
        if let Some(lost) = captured.lost {
            self.handles.sound.counters.capture_xruns.fetch_add(1, Relaxed);
            self.clock.restart();
            self.skip(lost);
        }
        let rate = self.clock.add(captured.position.index, captured.position.at_us);
        self.take(captured, &block);
        if self.filled == VOICE_FRAME {
            self.filled = 0;
            self.finish();
        }
        Ok(rate)
    }
}

/// What begins is as loud as it should be before its first frame ends.
const _: () = assert!(LOOKAHEAD + ADAPTIVE_DELAY + FADE <= VOICE_FRAME);
const _: () = assert!(SAMPLE_RATE_HZ as usize / 100 == VOICE_FRAME && VOICE_FRAME.is_multiple_of(BLOCK));
