//! The decoding loop of one peer: every access unit decoded, the newest picture kept.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::decoder::Decoder;
use super::failures::Failures;
use crate::media::clock::now_us;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::picture::{Incoming, Picture, Stamps};
use crate::media::presentation::Presentation;

/// How long an access unit is waited for before `stop` is looked at, in ms.
const POLL_INTERVAL_MS: u16 = 100;

/// What the decoding loop reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Whether decoding cannot go on without a keyframe; after every access unit.
    NeedsKeyframe(bool),
    /// An access unit was left out: what it refers to is missing.
    Skipped,
    /// An access unit could not be decoded.
    Failed,
}

/// The handles of the decoding loop.
#[derive(Clone, Copy)]
pub struct Handles<'a> {
    /// What the peer sent, in order.
    pub incoming: &'a Mailbox<Incoming>,
    /// Where the newest picture is put.
    pub pictures: &'a Mailbox<Picture>,
    /// When its pictures may go there.
    pub presentation: &'a Presentation,
    /// Whether the screen shows this peer; pictures of others are decoded, so that they can be shown at any time, and dropped.
    pub shown: &'a AtomicBool,
    /// That the loop makes progress.
    pub heartbeat: &'a Heartbeat,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// Decodes with the decoder called `name`, on up to `threads` threads, until it is stopped. A decoder that fails is reopened: what it
/// fails on comes from the other booth.
pub fn decode(name: &str, threads: u32, handles: Handles<'_>, mut on_event: impl FnMut(Event)) {
    let Handles { incoming, pictures, presentation, shown, heartbeat, stop } = handles;
    // Before anybody waits for it; one that fails now is tried again with the first access unit.
    let mut decoder = Decoder::open(name, threads).ok();
    let mut failures = Failures::default();
    let mut session = 0;
    // The number that decoding can go on with; none before a keyframe.
    let mut next: Option<u32> = None;
    while !stop.load(Relaxed) {
        heartbeat.beat();
        let Some(received) = incoming.wait(POLL_INTERVAL_MS) else { continue };
        let unit = received.unit;
        if received.session != session {
            session = received.session;
            next = None;
            if let Some(open) = &mut decoder {
                open.reset();
            }
        }
        if !unit.keyframe && next != Some(unit.number) {
            next = None;
            on_event(Event::Skipped);
            on_event(Event::NeedsKeyframe(true));
            continue;
        }
        let open = match &mut decoder {
            Some(open) => Ok(open),
            none => Decoder::open(name, threads).map(|opened| none.insert(opened)),
        };
        match open.and_then(|open| open.decode(&unit)) {
            Ok(picture) => {
                failures.over();
                next = Some(unit.number.wrapping_add(1));
                on_event(Event::NeedsKeyframe(false));
                if let Some(picture) = picture
                    && shown.load(Relaxed)
                {
                    let mut picture = Picture { session, ..picture };
                    wait(presentation, &mut picture.stamps);
                    pictures.put(picture);
                }
            }
            Err(e) => {
                (decoder, next) = (None, None);
                on_event(Event::Failed);
                on_event(Event::NeedsKeyframe(true));
                failures.count(name, &e);
            }
        }
    }
}

/// Waits until the picture is due. What comes meanwhile waits in the hand-over, and is decoded before it is due
/// itself, for it is due a picture later.
fn wait(presentation: &Presentation, stamps: &mut Stamps) {
    let due_us = presentation.due_us(stamps.capture_us, stamps.decoded_us);
    let now_us = now_us();
    if due_us > now_us {
        std::thread::sleep(Duration::from_micros(due_us - now_us));
    }
    stamps.released_us = now_us.max(due_us);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoder::{Encoder, Spec};
    use crate::codec::error::init;
    use crate::codec::film::Film;
    use crate::media::picture::AccessUnit;

    fn units(count: u32) -> Vec<AccessUnit> {
        let spec = Spec::for_tests((320, 240), 2_000);
        let (mut encoder, mut film) = (Encoder::open("libx265", &spec).unwrap(), Film::new(1.0, 4));
        (0..count)
            .map(|number| encoder.encode(&mut film.picture(number, 320, 240), number % 4 == 0).unwrap())
            .collect()
    }

    /// What the loop reports of `received`, and the pictures that come out, by session and number.
    fn run(received: Vec<Incoming>) -> (Vec<Event>, Vec<(u64, u32)>) {
        let incoming = Mailbox::bounded("test", received.len()).unwrap();
        let pictures = Mailbox::latest("test").unwrap();
        let (heartbeat, stop) = (Heartbeat::new("test"), AtomicBool::new(false));
        let (mut left, mut events, mut out) = (received.len(), Vec::new(), Vec::new());
        received.into_iter().for_each(|unit| assert!(incoming.put(unit).is_none()));
        let handles = Handles {
            incoming: &incoming,
            pictures: &pictures,
            presentation: &Presentation::default(),
            shown: &AtomicBool::new(true),
            heartbeat: &heartbeat,
            stop: &stop,
        };
        decode("hevc", 1, handles, |event| {
            out.extend(pictures.take().map(|picture| (picture.session, picture.number)));
            events.push(event);
            if matches!(event, Event::NeedsKeyframe(_)) {
                left -= 1;
                stop.store(left == 0, Relaxed);
            }
        });
        out.extend(pictures.take().map(|picture| (picture.session, picture.number)));
        (events, out)
    }

    #[test]
    fn what_misses_something_is_left_out_until_a_keyframe() {
        init().unwrap();
        let received = units(6).into_iter().filter(|unit| unit.number != 1);
        let (events, out) = run(received.map(|unit| Incoming { session: 7, unit }).collect());
        let (skipped, decoded) =
            ([Event::Skipped, Event::NeedsKeyframe(true)], [Event::NeedsKeyframe(false)]);
        assert_eq!(events, [&decoded[..], &skipped, &skipped, &decoded, &decoded].concat());
        assert_eq!(out, [(7, 0), (7, 4), (7, 5)]);
    }

    #[test]
    fn another_session_begins_with_a_keyframe_of_its_own() {
        init().unwrap();
        let units = units(3);
        let from = |session| units.iter().cloned().map(move |unit| Incoming { session, unit });
        let (events, out) = run(from(1).take(2).chain(from(2).skip(2)).chain(from(2).take(1)).collect());
        assert_eq!(events.iter().filter(|event| **event == Event::Skipped).count(), 1);
        assert_eq!(out, [(1, 0), (1, 1), (2, 0)]);
    }

    #[test]
    fn a_broken_unit_is_reported_and_decoding_goes_on_at_the_next_keyframe() {
        init().unwrap();
        let mut units = units(5);
        units[1].data = vec![0, 0, 0, 1, 0x26, 1, 0xff, 0x55, 0x13].into();
        let (events, out) = run(units.into_iter().map(|unit| Incoming { session: 1, unit }).collect());
        assert_eq!(events.iter().filter(|event| **event == Event::Failed).count(), 1, "{events:?}");
        assert_eq!(events.last(), Some(&Event::NeedsKeyframe(false)));
        assert_eq!(out, [(1, 0), (1, 4)]);
    }
}
