//! The playback loop: all peers' voices into the loudspeaker, which never stops; through every unplugging.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::card_event::{CardEvent, Clock, Rate};
use super::device::{self, BLOCK, Opened, PlaybackPcm};
use super::echo::ReferenceWriter;
use super::error::Error;
use super::handles::Handles;
use super::level::Level;
use super::open;
use super::voices::Voices;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::voice::VoiceFrame;
use crate::units::{MAX_PEERS, SoundRequest};

/// How long room in the card is waited for before `stop` is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// What opening a card may take.
const OPENING: Duration = Duration::from_secs(10);
/// How often a missing card is looked for.
const RETRY: Duration = Duration::from_millis(500);

/// The handles of the playback loop.
#[derive(Clone, Copy)]
pub struct PlaybackHandles<'a> {
    /// Where each peer's frames come from.
    pub voices: [&'a Mailbox<VoiceFrame>; MAX_PEERS],
    /// What the sound threads share.
    pub sound: &'a Handles,
    /// That the loop makes progress.
    pub heartbeat: &'a Heartbeat,
    /// The rate in Hz that a card of this name had when it was used last.
    pub kept_hz: &'a (dyn Fn(&str) -> Option<f64> + Sync),
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// Runs the loudspeaker that `request` names until it is stopped; `monitor` is the name of the screen in use, by
/// its EDID.
///
/// # Errors
/// When there are no decoders to be had. A card that is missing or fails is an event.
pub fn playback(
    request: &SoundRequest,
    monitor: impl Fn() -> Option<String>,
    mut reference: ReferenceWriter,
    handles: PlaybackHandles<'_>,
    mut on_event: impl FnMut(CardEvent),
) -> Result<(), Error> {
    let mut voices = Voices::new(handles.sound, handles.voices, request.lip_sync)?;
    let mut clock = Clock::new();
    let mut level = Level::default();
    while !handles.stop.load(Relaxed) {
        handles.heartbeat.extend_deadline(OPENING);
        let Opened { stream: mut pcm, choice, .. } = match open::loudspeaker(request, monitor().as_deref()) {
            Ok(opened) => opened,
            Err(e) => {
                on_event(CardEvent::Missing(e));
                voices.discard();
                std::thread::sleep(RETRY);
                continue;
            }
        };
        on_event(CardEvent::Running {
            device: open::describe(&choice),
            mode: pcm.params().to_string(),
            key: choice.candidate.key(),
        });
        clock.begin((handles.kept_hz)(&choice.candidate.key()));
        voices.discard();
        let mut next = 0;
        let failure = loop {
            if handles.stop.load(Relaxed) {
                break None;
            }
            handles.heartbeat.beat();
            match turn(
                &mut pcm,
                &mut next,
                &mut voices,
                &mut clock,
                &mut reference,
                &mut level,
                handles.sound,
            ) {
                Ok(Some(rate)) => on_event(CardEvent::Clock(rate)),
                Ok(None) => {}
                Err(e) => break Some(e),
            }
        };
        reference.stop(clock.line().index.max(0.0) as u64);
        if let Some(e) = failure {
            handles.sound.counters.restarts.fetch_add(1, Relaxed);
            on_event(CardEvent::Failed(e));
            std::thread::sleep(RETRY);
        }
    }
    Ok(())
}

/// Waits for room and fills it.
fn turn(
    pcm: &mut PlaybackPcm,
    next: &mut i64,
    voices: &mut Voices<'_>,
    clock: &mut Clock,
    reference: &mut ReferenceWriter,
    level: &mut Level,
    sound: &Handles,
) -> Result<Option<Rate>, device::Error> {
    // Rendered as late as can be: what comes while the card has no room is still heard in time.
    if !pcm.wait(POLL_INTERVAL)? {
        return Ok(None);
    }
    let mut block = [[0.0; 2]; BLOCK];
    let peak = voices.render(*next, &clock.line(), &mut block);
    if let Some(below_db) = level.add_peak(peak) {
        sound.counters.loudspeaker_below_db.store(below_db, Relaxed);
    }
    let Some(written) = pcm.write(&block, POLL_INTERVAL)? else { return Ok(None) };
    if written.silence.is_some() {
        sound.counters.playback_xruns.fetch_add(1, Relaxed);
        voices.discard();
        clock.restart();
    }
    *next = written.index + BLOCK as i64;
    let ppm = clock.add(written.position);
    let mut played = [0.0; BLOCK];
    for (mono, [left, right]) in played.iter_mut().zip(&block) {
        *mono = (left + right) / 2.0;
    }
    reference.write(written.index.max(0) as u64, &played, clock.line());
    Ok(ppm)
}
