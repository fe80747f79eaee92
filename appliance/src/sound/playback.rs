//! The playback loop: all peers' voices into the loudspeaker, which never stops; through every unplugging.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::card_clock::{CardClock, Rate};
use super::card_event::CardEvent;
use super::card_loop::{self, CardHandles, POLL_INTERVAL, Server};
use super::counters::SoundCounters;
use super::device::{BLOCK, Error as DeviceError, Opened, Params, PlaybackPcm};
use super::echo::ReferenceWriter;
use super::error::Error;
use super::handles::Handles;
use super::level::Level;
use super::open;
use super::voices::Voices;
use crate::media::mailbox::Mailbox;
use crate::media::voice::VoiceFrame;
use crate::units::{MAX_PEERS, SoundRequest};

/// The handles of the playback loop.
#[derive(Clone, Copy)]
pub struct PlaybackHandles<'a> {
    /// Where each peer's frames come from.
    pub voices: [&'a Mailbox<VoiceFrame>; MAX_PEERS],
    /// What the sound threads share.
    pub sound: &'a Handles,
}

/// Runs the loudspeaker that `request` names until it is stopped; `monitor` is the name of the screen in use, by
/// its EDID.
///
/// # Errors
/// When there are no decoders to be had. A card that is missing or fails is an event.
pub fn playback(
    request: &SoundRequest,
    monitor: impl Fn() -> Option<String>,
    reference: ReferenceWriter,
    handles: PlaybackHandles<'_>,
    card: CardHandles<'_>,
    on_event: impl FnMut(CardEvent),
) -> Result<(), Error> {
    let mut loudspeaker = Loudspeaker {
        request,
        monitor,
        sound: handles.sound,
        voices: Voices::new(handles.sound, handles.voices, request.lip_sync)?,
        clock: CardClock::default(),
        reference,
        level: Level::default(),
        next: 0,
    };
    card_loop::run(&mut loudspeaker, &handles.sound.counters, card, on_event);
    Ok(())
}

/// From the peers' frames to periods of the card.
struct Loudspeaker<'a, M> {
    request: &'a SoundRequest,
    monitor: M,
    sound: &'a Handles,
    voices: Voices<'a>,
    clock: CardClock,
    reference: ReferenceWriter,
    level: Level,
    /// The index of the next sample.
    next: i64,
}

impl<M> Loudspeaker<'_, M> {
    /// The card ran dry: nothing follows on what was played before, and its clock's line begins again.
    fn interrupted(&mut self) {
        self.sound.counters.playback_xruns.fetch_add(1, Relaxed);
        self.voices.discard();
        self.clock.restart();
        self.reference.interrupt();
    }
}

impl<M: Fn() -> Option<String>> Server for Loudspeaker<'_, M> {
    type Pcm = PlaybackPcm;

    fn open(&self) -> Result<Opened<PlaybackPcm>, DeviceError> {
        open::loudspeaker(self.request, (self.monitor)().as_deref())
    }

    fn params(pcm: &PlaybackPcm) -> Params {
        pcm.params()
    }

    fn waited(pcm: &PlaybackPcm) -> Duration {
        pcm.waited()
    }

    fn busy_us(counters: &SoundCounters) -> &AtomicU64 {
        &counters.loudspeaker_busy_us
    }

    fn missing(&mut self) {
        self.voices.discard();
    }

    fn begin(&mut self, kept_hz: Option<f64>) {
        self.sound.check.playback_interrupted();
        self.clock.begin(kept_hz);
        self.reference.interrupt();
        self.voices.discard();
        self.next = 0;
    }

    fn turn(&mut self, pcm: &mut PlaybackPcm) -> Result<Option<Rate>, DeviceError> {
        // Rendered as late as can be: what comes while the card has no room is still heard in time.
        if !pcm.wait(POLL_INTERVAL)? {
            return Ok(None);
        }
        let ran_dry = pcm.has_run_dry();
        if ran_dry {
            self.interrupted();
        }
        let mut block = [[0.0; 2]; BLOCK];
        let peak = self.voices.render(self.next, &self.clock.line(), &mut block);
        self.sound.check.play(&mut block);
        if let Some(below_db) = self.level.add_peak(peak) {
            self.sound.counters.loudspeaker_below_db.store(below_db, Relaxed);
        }
        let Some(written) = pcm.write(&block, POLL_INTERVAL)? else { return Ok(None) };
        if written.silence.is_some() && !ran_dry {
            self.interrupted();
        }
        self.next = written.index + BLOCK as i64;
        let rate = self.clock.add(written.position.index, written.position.at_us);
        self.sound.check.played(written.index, self.clock.line());
        let mut played = [0.0; BLOCK];
        for (mono, [left, right]) in played.iter_mut().zip(&block) {
            *mono = (left + right) / 2.0;
        }
        self.reference.write(written.index.max(0) as u64, &played, self.clock.line());
        Ok(rate)
    }

    fn end(&mut self) {
        // Nobody knows what of the buffer was still heard.
        self.reference.stop(self.clock.line().index.max(0.0) as u64);
    }
}
