//! The bodies of the video threads. Each owns its device or codec, from opening to dropping.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Error, Shared};
use crate::camera::{self, Device, Sample, Stream, jpeg_bytes};
use crate::codec::{self, Coder, Decoder, JpegDecoder, Spec};
use crate::health::{CameraState, ScreenState};
use crate::media::clock::now_us;
use crate::media::picture::Picture;
use crate::screen::{self, Event};
use crate::units::Format;

/// How long a thread waits before it looks at `stop` again, in ms.
const POLL_INTERVAL_MS: u16 = 100;
/// What opening a camera may take: one that hangs answers none of a dozen requests, and the kernel waits 5 s for each (uvcvideo.h,
/// UVC_CTRL_CONTROL_TIMEOUT).
const CAMERA_OPENING: Duration = Duration::from_secs(60);
/// How often a missing camera is looked for.
const CAMERA_RETRY: Duration = Duration::from_millis(250);

/// Camera to mailbox, through every unplugging.
pub(super) fn capture(shared: &Shared, cheapest: Format) {
    let request = shared.config.camera.request();
    shared.live().camera.state = CameraState::Searching;
    let mut number = 0;
    let mut lost_before = 0;
    let heartbeat = &shared.heartbeats.capture;
    while !shared.stopping() {
        heartbeat.extend_deadline(CAMERA_OPENING);
        let opened = Device::find(&request.device)
            .and_then(|device| Stream::start(device, &request, cheapest, number));
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(e) => {
                trouble(shared, &e);
                std::thread::sleep(CAMERA_RETRY);
                continue;
            }
        };
        {
            let mut live = shared.live();
            live.camera.device = stream.device().bus.clone();
            live.camera.mode = stream.mode().to_string();
            shared.camera_mfps.store((stream.mode().fps * 1000.0) as u64, Relaxed);
        }
        let mut streaming = false;
        let error = loop {
            if shared.stopping() {
                break None;
            }
            heartbeat.beat();
            match stream.next(POLL_INTERVAL_MS) {
                Ok(Some(sample)) => {
                    shared.counts.camera_frames.fetch_add(1, Relaxed);
                    shared.samples.put(sample);
                    if !streaming {
                        streaming = true;
                        log::info!("camera: {} {}", stream.device().bus, stream.mode());
                        shared.link.signals.camera.store(true, Relaxed);
                        let mut live = shared.live();
                        live.camera.state = CameraState::Streaming;
                        live.camera.trouble.clear();
                    }
                    if stream.lost() > 0 {
                        shared.live().camera.lost = lost_before + stream.lost();
                    }
                }
                Ok(None) => {}
                Err(e) => break Some(e),
            }
        };
        heartbeat.extend_deadline(CAMERA_OPENING);
        // The mailbox may hold a buffer of the stream that ends here.
        shared.samples.clear();
        number = stream.number();
        lost_before += stream.lost();
        drop(stream);
        if let Some(e) = error {
            shared.live().camera.restarts += 1;
            trouble(shared, &e);
            if !streaming {
                std::thread::sleep(CAMERA_RETRY);
            }
        }
    }
}

fn trouble(shared: &Shared, error: &camera::Error) {
    shared.link.signals.camera.store(false, Relaxed);
    let text = error.to_string();
    let mut live = shared.live();
    live.camera.state = CameraState::Searching;
    if live.camera.trouble != text {
        log::warn!("{text}");
        live.camera.trouble = text;
    }
}

/// After so many failures in a row the encoder is given up, and with it this run of the booth: the next one tries them all anew.
/// A decoder is not: what it fails on comes from the other booth.
const FAILURES: u32 = 100;

/// Counts failures in a row, and tells of the first.
#[derive(Default)]
struct Trouble(u32);

impl Trouble {
    fn met(&mut self, codec: &str, error: &codec::Error) {
        self.0 = self.0.saturating_add(1);
        if self.0 == 1 {
            log::error!("codec: {codec}: {error}");
        }
    }

    fn over(&mut self) {
        self.0 = 0;
    }
}

/// Mailbox to hand-over: the newest picture, coded within what the line gives.
///
/// # Errors
/// When the encoder `name` works no more.
pub(super) fn encode(shared: &Shared, name: &str, base: &Spec) -> Result<(), Error> {
    let mut coder = Coder::new(name, base);
    let mut told = None;
    let mut jpeg = JpegDecoder::new()?;
    let (mut trouble, mut jpeg_trouble) = (Trouble::default(), Trouble::default());
    let mut sequence = 0u32;
    while !shared.stopping() {
        shared.heartbeats.encode.beat();
        let Some(sample) = shared.samples.wait(POLL_INTERVAL_MS) else { continue };
        let connected = shared.link.signals.connected.load(Relaxed);
        if !connected && coder.is_open() {
            continue;
        }
        let (Sample::Raw(taken) | Sample::Jpeg(taken)) = &sample;
        if connected && (!coder.due(taken.number) || shared.link.signals.congested.load(Relaxed)) {
            shared.counts.thinned.fetch_add(1, Relaxed);
            continue;
        }
        let picture = match sample {
            Sample::Raw(picture) => picture,
            Sample::Jpeg(picture) => match jpeg.decode(&picture, jpeg_bytes(&picture)) {
                Ok(picture) => {
                    jpeg_trouble.over();
                    picture
                }
                Err(e) => {
                    jpeg_trouble.met("the camera's JPEG", &e);
                    continue;
                }
            },
        };
        let fps = shared.camera_mfps.load(Relaxed) as f64 / 1000.0;
        let target_kbps = shared.link.signals.target_kbps.load(Relaxed);
        let plan = coder.plan(&picture, fps, target_kbps, now_us());
        let coded = if connected {
            let keyframe = shared.link.signals.keyframe_for_peer.swap(false, Relaxed);
            coder.encode(picture, keyframe).map(Some)
        } else {
            // Only to have it open when somebody comes.
            coder.fit(picture).map(|_| None)
        };
        if told != Some(plan) {
            told = Some(plan);
            shared.live().plan = told;
        }
        match coded {
            Ok(None) => {}
            Ok(Some(mut unit)) => {
                trouble.over();
                unit.number = sequence;
                sequence = sequence.wrapping_add(1);
                if shared.link.outgoing.put(unit).is_some() {
                    shared.counts.send_dropped.fetch_add(1, Relaxed);
                    shared.link.signals.keyframe_for_peer.store(true, Relaxed);
                }
            }
            Err(e) => {
                coder.close();
                trouble.met(name, &e);
                if trouble.0 == FAILURES {
                    return Err(e.into());
                }
            }
        }
    }
    Ok(())
}

/// Hand-over to mailbox: every coded picture decoded, the newest kept.
pub(super) fn decode(shared: &Shared, name: &str, threads: u32) {
    let mut decoder = Decoder::open(name, threads).ok();
    let mut trouble = Trouble::default();
    let mut session = 0;
    // The number that decoding can go on with; none before a keyframe.
    let mut next: Option<u32> = None;
    while !shared.stopping() {
        shared.heartbeats.decode.beat();
        let Some(incoming) = shared.link.incoming.wait(POLL_INTERVAL_MS) else { continue };
        let unit = incoming.unit;
        if incoming.session != session {
            session = incoming.session;
            next = None;
            if let Some(open) = &mut decoder {
                open.reset();
            }
        }
        if !unit.keyframe && next != Some(unit.number) {
            next = None;
            shared.counts.decode_skipped.fetch_add(1, Relaxed);
            shared.link.signals.keyframe_for_us.store(true, Relaxed);
            continue;
        }
        let open = match &mut decoder {
            Some(open) => Ok(open),
            none => Decoder::open(name, threads).map(|opened| none.insert(opened)),
        };
        match open.and_then(|open| open.decode(&unit)) {
            Ok(picture) => {
                trouble.over();
                next = Some(unit.number.wrapping_add(1));
                shared.link.signals.keyframe_for_us.store(false, Relaxed);
                if let Some(picture) = picture {
                    shared.pictures.put(Picture { session, ..picture });
                }
            }
            Err(e) => {
                (decoder, next) = (None, None);
                shared.counts.decode_errors.fetch_add(1, Relaxed);
                shared.link.signals.keyframe_for_us.store(true, Relaxed);
                trouble.met(name, &e);
            }
        }
    }
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
