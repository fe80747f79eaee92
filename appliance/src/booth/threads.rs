//! What the video threads are given, and what becomes of what they report. Each loop is its room's.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::error::Error;
use super::shared::Shared;
use crate::camera;
use crate::codec::{self, DecodeEvent, EncodeEvent, Spec};
use crate::health::{CameraState, ScreenState};
use crate::media::picture::Stamps;
use crate::screen::{self, Event};
use crate::units::{Format, LipSync};

/// A picture's delay counts for one in so many: 2 s of them at 30 fps.
const SMOOTHING: i64 = 64;

/// Camera to mailbox.
pub(super) fn capture(shared: &Shared, cheapest: Format) {
    let handles = camera::Handles {
        samples: &shared.samples,
        heartbeat: &shared.heartbeats.capture,
        stop: &shared.stop,
    };
    shared.live().camera.state = CameraState::Searching;
    camera::run(&shared.config.camera.request(), cheapest, handles, |event| match event {
        camera::Event::Missing(e) => no_camera(shared, &e),
        camera::Event::Opened(device, mode) => {
            let mut live = shared.live();
            live.camera.device = device;
            live.camera.mode = mode.to_string();
        }
        camera::Event::Captured { first, lost } => {
            shared.counts.camera_frames.fetch_add(1, Relaxed);
            if first {
                shared.link.camera.store(true, Relaxed);
                let mut live = shared.live();
                log::info!("camera: {} {}", live.camera.device, live.camera.mode);
                live.camera.state = CameraState::Streaming;
                live.camera.trouble.clear();
            }
            if lost > 0 {
                shared.live().camera.lost = lost;
            }
        }
        camera::Event::Failed(e) => {
            shared.live().camera.restarts += 1;
            no_camera(shared, &e);
        }
    });
}

fn no_camera(shared: &Shared, error: &camera::Error) {
    shared.link.camera.store(false, Relaxed);
    let text = error.to_string();
    let mut live = shared.live();
    live.camera.state = CameraState::Searching;
    if live.camera.trouble != text {
        log::warn!("{text}");
        live.camera.trouble = text;
    }
}

/// Mailbox to hand-over.
///
/// # Errors
/// When the encoder `name` works no more.
pub(super) fn encode(shared: &Shared, name: &str, base: &Spec) -> Result<(), Error> {
    let handles = codec::EncodeHandles {
        samples: &shared.samples,
        outgoing: &shared.link.outgoing,
        commands: &shared.link.encoder,
        heartbeat: &shared.heartbeats.encode,
        stop: &shared.stop,
    };
    let on_event = |event| match event {
        EncodeEvent::Planned { plan, fps } => shared.live().plan = Some((plan, fps)),
        EncodeEvent::Thinned => {
            shared.counts.thinned.fetch_add(1, Relaxed);
        }
        EncodeEvent::Dropped => {
            shared.counts.send_dropped.fetch_add(1, Relaxed);
        }
    };
    Ok(codec::encode(name, base, handles, on_event)?)
}

/// Hand-over to mailbox, for the peer at `slot`.
pub(super) fn decode(shared: &Shared, slot: usize, name: &str, threads: u32) {
    let peer = &shared.link.peers[slot];
    let handles = codec::DecodeHandles {
        incoming: &peer.incoming,
        pictures: &shared.pictures,
        presentation: &shared.presentations[slot],
        shown: &shared.shown[slot],
        heartbeat: &shared.heartbeats.decode[slot],
        stop: &shared.stop,
    };
    codec::decode(name, threads, handles, |event| match event {
        DecodeEvent::NeedsKeyframe(needed) => {
            peer.counters.decoded.fetch_add(u64::from(!needed), Relaxed);
            peer.needs_keyframe.store(needed, Relaxed);
        }
        DecodeEvent::Skipped => {
            peer.counters.decode_skipped.fetch_add(1, Relaxed);
        }
        DecodeEvent::Failed => {
            peer.counters.decode_errors.fetch_add(1, Relaxed);
        }
    });
}

/// Mailbox to light.
pub(super) fn display(shared: &Shared) {
    let mut last_trouble = String::new();
    let handles = screen::Handles {
        pictures: &shared.pictures,
        cards: &shared.cards,
        marks: &shared.marks,
        heartbeat: &shared.heartbeats.display,
        stop: &shared.stop,
    };
    screen::run(&shared.config.screen.request(), handles, |event| match event {
        Event::On { device, mode, monitor } => {
            log::info!("screen: {device} {mode}");
            last_trouble.clear();
            let mut live = shared.live();
            live.screen.state = ScreenState::On;
            live.screen.trouble.clear();
            (live.screen.device, live.screen.mode, live.monitor) = (device, mode, monitor);
        }
        Event::Off(e) => {
            let text = e.to_string();
            let mut live = shared.live();
            if live.screen.state == ScreenState::On {
                live.screen.restarts += 1;
            }
            live.screen.state = ScreenState::Searching;
            live.screen.card = None;
            live.screen.trouble.clone_from(&text);
            if last_trouble != text {
                log::warn!("{text}");
                last_trouble = text;
            }
        }
        Event::Route(format) => {
            log::info!("screen: pictures as {format}");
            shared.live().screen.format = format;
        }
        Event::Card(kind) => {
            shared.live().screen.card = kind;
            if kind.is_some() {
                no_picture(shared);
            }
        }
        Event::Undrawable(text) => {
            if last_trouble != text {
                log::error!("screen: a picture cannot be drawn: {text}");
                last_trouble = text;
            }
        }
        Event::Shown { session, number, stamps } => {
            shared.counts.shown.fetch_add(1, Relaxed);
            let mut live = shared.live();
            let newer = |last: u32| number != last && number.wrapping_sub(last) < 1 << 31;
            match live.last_shown {
                Some((s, last)) if s == session && !newer(last) => {
                    shared.counts.out_of_order.fetch_add(1, Relaxed);
                }
                Some((s, _)) if s != session => {
                    live.stages.clear();
                    no_picture(shared);
                }
                _ => {}
            }
            live.last_shown = Some((session, number));
            live.stages.shown(&stamps);
            drop(live);
            lip_sync(shared, &stamps);
        }
    });
}

/// Tells sound and picture of the shown peer when the other is due. Smoothed, for a flip waits for the blank and
/// so comes up to a refresh later or earlier than the one before, and a voice that followed each would never stand
/// still.
fn lip_sync(shared: &Shared, stamps: &Stamps) {
    let Some(slot) = shared.shown.iter().position(|shown| shown.load(Relaxed)) else { return };
    let sound = &shared.sound.peers[slot];
    let pictures = sound.pictures.fetch_add(1, Relaxed) + 1;
    let smooth = |mean: &AtomicI64, now_us: i64| {
        let before_us = mean.load(Relaxed);
        let us = before_us + (now_us - before_us) / pictures.min(SMOOTHING);
        mean.store(us.max(1), Relaxed);
        us
    };
    let panel_us = i64::from(*shared.config.screen.delay_ms.get_ref()) * 1000;
    let between = |from_us: u64, to_us: u64| to_us as i64 - from_us as i64;
    let flip_us = between(stamps.released_us, stamps.flipped_us) + panel_us;
    smooth(&sound.picture_delay_us, between(stamps.capture_us, stamps.flipped_us) + panel_us);
    smooth(&sound.picture_least_us, between(stamps.capture_us, stamps.decoded_us) + flip_us);
    let flip_us = smooth(&sound.flip_us, flip_us);
    // As it is heard, not as early as it could be: it waits for the pictures' mean, and of these every second is earlier.
    let voice_us = sound.voice_delay_us.load(Relaxed);
    let waits = shared.config.sound.lip_sync == LipSync::Sync && voice_us > 0;
    shared.presentations[slot].set(if waits { voice_us - flip_us } else { 0 });
}

/// No sound waits for a picture that is not there.
fn no_picture(shared: &Shared) {
    for sound in &shared.sound.peers {
        for value in [&sound.pictures, &sound.picture_delay_us, &sound.picture_least_us, &sound.flip_us] {
            value.store(0, Relaxed);
        }
    }
}
