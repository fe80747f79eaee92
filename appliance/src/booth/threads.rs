//! What the video threads are given, and what becomes of what they report. Each loop is its room's.

use std::sync::atomic::Ordering::Relaxed;

use super::error::Error;
use super::shared::Shared;
use crate::camera;
use crate::codec::{self, DecodeEvent, EncodeEvent, Spec};
use crate::health::{CameraState, ScreenState};
use crate::screen::{self, Event};
use crate::units::Format;

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
        heartbeat: &shared.heartbeats.display,
        stop: &shared.stop,
    };
    screen::run(&shared.config.screen.request(), handles, |event| match event {
        Event::On(device, mode) => {
            log::info!("screen: {device} {mode}");
            last_trouble.clear();
            let mut live = shared.live();
            live.screen.state = ScreenState::On;
            live.screen.trouble.clear();
            (live.screen.device, live.screen.mode) = (device, mode);
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
        Event::Card(kind) => shared.live().screen.card = kind,
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
                Some((s, _)) if s != session => live.stages.clear(),
                _ => {}
            }
            live.last_shown = Some((session, number));
            live.stages.shown(&stamps);
        }
    });
}
