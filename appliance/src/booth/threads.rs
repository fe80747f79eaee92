//! The bodies of the video threads. Each owns its device or codec, from opening to dropping.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Shared;
use crate::camera::{self, Device, Sample, Stream, jpeg_bytes};
use crate::clock::now_us;
use crate::codec::{Decoder, Encoder, JpegDecoder, Spec};
use crate::config::Format;
use crate::health::{CameraState, ScreenState};
use crate::screen::{self, Event};
use crate::stage::Converter;

/// How long a thread waits before it looks at `stop` again, in ms.
const LOOK_MS: u16 = 100;
/// How often a missing camera is looked for.
const CAMERA_RETRY: Duration = Duration::from_millis(250);

/// Camera to mailbox, through every unplugging.
pub(super) fn capture(shared: &Shared) {
    let camera = &shared.config.camera;
    let wish = camera::Wish {
        width: *camera.width.get_ref(),
        height: *camera.height.get_ref(),
        fps: *camera.fps.get_ref(),
        format: camera.format,
        cheapest: Format::Yu12,
    };
    let mut number = 0;
    let mut lost_before = 0;
    while !shared.stopping() {
        let opened = Device::find(&camera.device).and_then(|device| Stream::start(device, &wish, number));
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(e) => {
                trouble(shared, &e);
                std::thread::sleep(CAMERA_RETRY);
                continue;
            }
        };
        log::info!("camera: {} {}", stream.device().bus, stream.mode());
        {
            let mut live = shared.live();
            live.camera.state = CameraState::Searching;
            live.camera.device = stream.device().bus.clone();
            live.camera.mode = stream.mode().to_string();
        }
        let mut streaming = false;
        let error = loop {
            if shared.stopping() {
                break None;
            }
            match stream.next(LOOK_MS) {
                Ok(Some(sample)) => {
                    shared.counts.camera_frames.fetch_add(1, Relaxed);
                    shared.samples.put(sample);
                    if !streaming {
                        streaming = true;
                        shared.signals.camera.store(true, Relaxed);
                        let mut live = shared.live();
                        live.camera.state = CameraState::Streaming;
                        live.camera_trouble.clear();
                    }
                    if stream.lost() > 0 {
                        shared.live().camera.lost = lost_before + stream.lost();
                    }
                }
                Ok(None) => {}
                Err(e) => break Some(e),
            }
        };
        // The mailbox may hold a buffer of the stream that ends here.
        shared.samples.clear();
        number = stream.number();
        lost_before += stream.lost();
        drop(stream);
        if let Some(e) = error {
            shared.live().camera.restarts += 1;
            trouble(shared, &e);
        }
    }
}

fn trouble(shared: &Shared, error: &camera::Error) {
    shared.signals.camera.store(false, Relaxed);
    let text = error.to_string();
    let mut live = shared.live();
    live.camera.state = CameraState::Searching;
    if live.camera_trouble != text {
        log::warn!("{text}");
        live.camera_trouble = text;
    }
}

/// Mailbox to hand-over: the newest picture, in the encoder's format, coded.
pub(super) fn encode(shared: &Shared, name: &str, base: &Spec) {
    let mut encoder: Option<(Encoder, Spec, Converter)> = None;
    let mut jpeg = None;
    let mut sequence = 0u32;
    while !shared.stopping() {
        let Some(sample) = shared.samples.wait(LOOK_MS) else { continue };
        if !shared.signals.connected.load(Relaxed) {
            continue;
        }
        let picture = match sample {
            Sample::Raw(picture) => picture,
            Sample::Jpeg(picture) => {
                if jpeg.is_none() {
                    jpeg = JpegDecoder::new().map_err(|e| log::error!("codec: {e}")).ok();
                }
                let decoded = jpeg.as_mut().map(|decoder| decoder.decode(&picture, jpeg_bytes(&picture)));
                match decoded {
                    Some(Ok(picture)) => picture,
                    _ => continue,
                }
            }
        };
        let spec = base.fitted(&picture);
        if encoder.as_ref().is_none_or(|(_, s, _)| *s != spec) {
            encoder = match Encoder::open(name, &spec) {
                Ok(opened) => {
                    let converter = Converter::to(opened.input());
                    shared.signals.keyframe_for_peer.store(true, Relaxed);
                    Some((opened, spec, converter))
                }
                Err(e) => {
                    log::error!("codec: {name} at {}x{}: {e}", spec.width, spec.height);
                    std::thread::sleep(CAMERA_RETRY);
                    None
                }
            };
        }
        let Some((open, _, converter)) = &mut encoder else { continue };
        let keyframe = shared.signals.keyframe_for_peer.swap(false, Relaxed);
        let coded =
            converter.convert(picture).map_err(|e| format!("convert: {e}")).and_then(|mut picture| {
                picture.stamps.staged_us = now_us();
                open.encode(&mut picture, keyframe).map_err(|e| e.to_string())
            });
        match coded {
            Ok(mut unit) => {
                unit.number = sequence;
                sequence = sequence.wrapping_add(1);
                if shared.outgoing.put(unit).is_some() {
                    shared.counts.send_dropped.fetch_add(1, Relaxed);
                    shared.signals.keyframe_for_peer.store(true, Relaxed);
                }
            }
            Err(e) => {
                log::error!("codec: {name}: {e}; opening it again");
                encoder = None;
            }
        }
    }
}

/// Hand-over to mailbox: every coded picture decoded, the newest kept.
pub(super) fn decode(shared: &Shared, name: &str, threads: u32) {
    let mut decoder = None;
    let mut session = 0;
    // The number that decoding can go on with; none before a keyframe.
    let mut next: Option<u32> = None;
    while !shared.stopping() {
        let Some(incoming) = shared.incoming.wait(LOOK_MS) else { continue };
        let unit = incoming.unit;
        if incoming.session != session {
            session = incoming.session;
            (decoder, next) = (None, None);
        }
        if !unit.keyframe && next != Some(unit.number) {
            next = None;
            shared.counts.decode_skipped.fetch_add(1, Relaxed);
            shared.signals.keyframe_for_us.store(true, Relaxed);
            continue;
        }
        if decoder.is_none() {
            decoder = Decoder::open(name, threads).map_err(|e| log::error!("codec: {name}: {e}")).ok();
        }
        let Some(open) = &mut decoder else {
            std::thread::sleep(CAMERA_RETRY);
            continue;
        };
        match open.decode(&unit) {
            Ok(picture) => {
                next = Some(unit.number.wrapping_add(1));
                shared.signals.keyframe_for_us.store(false, Relaxed);
                if let Some(picture) = picture {
                    shared.pictures.put(picture);
                }
            }
            Err(e) => {
                log::warn!("{e}");
                next = None;
                shared.counts.decode_errors.fetch_add(1, Relaxed);
                shared.signals.keyframe_for_us.store(true, Relaxed);
            }
        }
    }
}

/// Mailbox to light.
pub(super) fn display(shared: &Shared) {
    let mut last_trouble = String::new();
    screen::run(&shared.config.screen, &shared.pictures, &shared.cards, &shared.stop, |event| match event {
        Event::On(device, mode) => {
            log::info!("screen: {device} {mode}");
            last_trouble.clear();
            let mut live = shared.live();
            live.screen.state = ScreenState::On;
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
        Event::Undrawable(e) => log::error!("screen: a picture cannot be drawn: {e}"),
        Event::Shown(number, stamps) => {
            shared.counts.shown.fetch_add(1, Relaxed);
            let session = shared.counters.connects.load(Relaxed);
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
