//! The receiving half of a session: datagrams in, access units and reports out. No socket and no clock in here.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::assembler::{Assembler, Made};
use super::feedback::{Feedback, PeerClock};
use super::shard::Shard;
use super::{Counters, Doors, Incoming};

/// The least time between keyframes that the other side asks for, in µs: one must have had time to arrive.
const KEYFRAME_SPACING_US: u64 = 250_000;

/// A report older than the newest is an overtaken one, unless nothing newer came for so long, in µs.
const OVERTAKEN_US: u64 = 1_000_000;

/// What a session knows of the other side.
pub(super) struct Receiver<'a> {
    session: u64,
    doors: Doors<'a>,
    assembler: Assembler,
    clock: PeerClock,
    /// `sent_us` of the newest report from the other side, and when it came.
    heard: Option<(u64, u64)>,
    /// When the first report of ours left; none before.
    first_sent_us: Option<u64>,
    /// Whether a report answered one of ours. A relay hands out what it last had of a peer that is long gone.
    met: bool,
    newest: u32,
    keyframe_granted_us: u64,
    asking: bool,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(session: u64, doors: Doors<'a>) -> Self {
        Self {
            session,
            doors,
            assembler: Assembler::default(),
            clock: PeerClock::default(),
            heard: None,
            first_sent_us: None,
            met: false,
            newest: 0,
            keyframe_granted_us: 0,
            asking: false,
        }
    }

    /// Takes a datagram of the `hologram` track that came at `now_us`.
    pub(super) fn shard(&mut self, datagram: Bytes, now_us: u64) {
        let counters = self.doors.counters;
        let made = Shard::parse(datagram).map_or(Made::Nonsense, |shard| self.assembler.push(shard));
        match made {
            Made::Nothing => {}
            Made::Nonsense => Counters::add(&counters.garbage, 1),
            Made::Frame { mut unit, lost } => {
                // Until the clocks have met, the way counts as no time at all.
                let unknown = unit.stamps.sent_us as i64 - now_us as i64;
                let offset = self.clock.offset_us().unwrap_or(unknown);
                unit.stamps = unit.stamps.shifted_us(-offset);
                unit.stamps.received_us = now_us;
                self.newest = unit.number;
                Counters::add(&counters.received_frames, 1);
                Counters::add(&counters.received_bytes, unit.data.len() as u64);
                Counters::add(&counters.lost_frames, lost.into());
                // Refused when the decoder is too slow; it then sees the gap in the numbers.
                let _ = self.doors.incoming.put(Incoming { session: self.session, unit });
            }
        }
    }

    /// Takes a datagram of the `feedback` track that came at `now_us`.
    pub(super) fn report(&mut self, datagram: Bytes, now_us: u64) {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        let Some(report) = Feedback::parse(datagram) else {
            Counters::add(&counters.garbage, 1);
            return;
        };
        if self.heard.is_some_and(|(newest, at_us)| report.sent_us <= newest && now_us < at_us + OVERTAKEN_US)
        {
            return;
        }
        let answers = self.first_sent_us.is_some_and(|first_us| report.echo_us >= first_us);
        let first = answers && !self.met;
        if first {
            self.met = true;
            // It listens, so what is sent from here on can arrive.
            Counters::add(&counters.connects, 1);
            signals.connected.store(true, Relaxed);
        }
        self.heard = Some((report.sent_us, now_us));
        if answers {
            signals.heard_us.store(now_us, Relaxed);
        }
        self.clock.exchange(&report, now_us);
        if let Some(offset) = self.clock.offset_us() {
            Counters::set(&counters.clock_offset_us, offset as u64);
        }
        signals.peer_has_camera.store(report.camera, Relaxed);
        if first || (report.keyframe && now_us >= self.keyframe_granted_us + KEYFRAME_SPACING_US) {
            self.keyframe_granted_us = now_us;
            signals.keyframe_for_peer.store(true, Relaxed);
        }
    }

    /// Whether the other side is there and hears us.
    pub(super) fn has_met(&self) -> bool {
        self.met
    }

    /// When the other side was last heard, in µs; none before the first report.
    pub(super) fn heard_us(&self) -> Option<u64> {
        self.heard.map(|(_, at_us)| at_us)
    }

    /// What to tell the other side at `now_us`.
    pub(super) fn next_report(&mut self, now_us: u64) -> Feedback {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        self.first_sent_us.get_or_insert(now_us);
        let keyframe = signals.keyframe_for_us.load(Relaxed);
        if keyframe && !self.asking {
            Counters::add(&counters.keyframe_requests, 1);
        }
        self.asking = keyframe;
        let (echo_us, held_us) = self.heard.map_or((0, 0), |(sent_us, at_us)| {
            (sent_us, u32::try_from(now_us.saturating_sub(at_us)).unwrap_or(u32::MAX))
        });
        Feedback {
            keyframe,
            camera: signals.camera.load(Relaxed),
            sent_us: now_us,
            echo_us,
            held_us,
            newest: self.newest,
            received: counters.received_frames.load(Relaxed),
            lost: counters.lost_frames.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::{cut, tests::unit};
    use super::super::tests::End;
    use super::*;

    /// Numbers without a pattern, the same every time (Marsaglia's xorshift).
    fn noise(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn garbage_is_counted_and_changes_nothing() {
        let end = End::new();
        let mut receiver = Receiver::new(1, end.doors());
        let mut seed = 42;
        for n in 0..20_000 {
            let length = noise(&mut seed) as usize % 1_200;
            let bytes: Bytes = (0..length).map(|_| noise(&mut seed) as u8).collect();
            if n % 2 == 0 { receiver.shard(bytes, n) } else { receiver.report(bytes, n) }
        }
        assert!(end.incoming.take().is_none());
        assert!(!end.signals.connected.load(Relaxed));
        let whole: Vec<_> = cut(&unit(3, 5_000), 3).collect();
        for shard in whole {
            receiver.shard(shard, 1_000);
        }
        assert_eq!(end.incoming.take().map(|i| i.unit.number), Some(3));
        assert!(end.counters.garbage.load(Relaxed) > 19_000);
        assert_eq!(end.counters.lost_frames.load(Relaxed), 0);
    }

    #[test]
    fn damaged_datagrams_never_panic() {
        let end = End::new();
        let mut receiver = Receiver::new(1, end.doors());
        let mut seed = 7;
        for n in 0..20_000u32 {
            for shard in cut(&unit(n, 2_500), n) {
                let mut bytes = shard.to_vec();
                let at = noise(&mut seed) as usize % bytes.len().min(60);
                bytes[at] ^= noise(&mut seed) as u8;
                receiver.shard(bytes.into(), u64::from(n) * 1_000);
                while let Some(incoming) = end.incoming.take() {
                    let _ = incoming.unit.stamps.durations_us();
                }
            }
        }
    }

    #[test]
    fn keyframes_are_granted_at_a_bounded_rate() {
        let end = End::new();
        let mut receiver = Receiver::new(1, end.doors());
        let mut granted = 0;
        for ms in 1..=2_000u64 {
            let wish = Feedback { keyframe: true, sent_us: ms * 1_000, ..Feedback::default() };
            receiver.report(wish.write(), ms * 1_000);
            granted += u32::from(end.signals.keyframe_for_peer.swap(false, Relaxed));
        }
        assert_eq!(granted, 8);
    }

    #[test]
    fn only_who_answers_is_there() {
        let end = End::new();
        let mut receiver = Receiver::new(1, end.doors());
        let report = |receiver: &mut Receiver<'_>, echo_us, now_us| {
            receiver.report(Feedback { echo_us, sent_us: now_us, ..Feedback::default() }.write(), now_us);
            end.signals.connected.load(Relaxed)
        };
        assert!(!report(&mut receiver, 900, 1_000), "before we said anything");
        receiver.next_report(2_000);
        assert!(!report(&mut receiver, 1_999, 3_000), "an answer to an earlier session");
        assert_eq!(end.signals.heard_us.load(Relaxed), 0);
        assert!(report(&mut receiver, 2_000, 4_000));
        assert_eq!((end.signals.heard_us.load(Relaxed), end.counters.connects.load(Relaxed)), (4_000, 1));
        assert!(end.signals.keyframe_for_peer.load(Relaxed));
    }

    #[test]
    fn a_report_that_was_heard_before_changes_nothing() {
        let end = End::new();
        let mut receiver = Receiver::new(1, end.doors());
        let old = Feedback { camera: true, sent_us: 10, ..Feedback::default() }.write();
        receiver.report(old.clone(), 100);
        receiver.report(Feedback { camera: false, sent_us: 20, ..Feedback::default() }.write(), 200);
        receiver.report(old, 300);
        assert!(!end.signals.peer_has_camera.load(Relaxed));
        let report = receiver.next_report(1_200);
        assert_eq!((report.echo_us, report.held_us), (20, 1_000));
    }
}
