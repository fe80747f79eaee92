//! The receiving half of a session: datagrams in, access units and answers out. No socket and no clock in here.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::arrivals::{ArrivalLog, Number};
use super::assembler::{Assembler, Made};
use super::feedback::{MAX_NACKS, Nack, PeerClock, Report};
use super::shard::Datagram;
use super::{Counters, Doors, Incoming};

/// The least time between keyframes that the other side asks for, in µs and round trips: one must have had time to arrive.
const KEYFRAME_SPACING: (u64, u64) = (250_000, 2);
/// A report older than the newest is an overtaken one, unless nothing newer came for so long, in µs.
const OVERTAKEN_US: u64 = 1_000_000;
/// How often arrivals are told, in µs.
const ARRIVALS_EVERY_US: u64 = 25_000;
/// How often a report is sent with nothing urgent in it, in µs.
const REPORT_EVERY_US: u64 = 100_000;
/// A question is sent twice, so far apart in µs.
const APART_US: u64 = 3_000;
/// The round trip before it is known, in µs.
const UNKNOWN_RTT_US: u64 = 100_000;

/// What a session knows of the other side.
pub(super) struct Receiver<'a> {
    session: u64,
    doors: Doors<'a>,
    log: ArrivalLog,
    assembler: Assembler,
    clock: PeerClock,
    /// `sent_us` of the newest report from the other side, and when it came.
    heard: Option<(u64, u64)>,
    newest: u32,
    keyframe_granted_us: u64,
    asking: bool,
    /// Answers on their way out, each with when it may go, in order.
    answers: VecDeque<(u64, Bytes)>,
    arrivals_due_us: u64,
    report_due_us: u64,
    nacks: Vec<Nack>,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(session: u64, doors: Doors<'a>) -> Self {
        Self {
            session,
            doors,
            log: ArrivalLog::default(),
            assembler: Assembler::default(),
            clock: PeerClock::default(),
            heard: None,
            newest: 0,
            keyframe_granted_us: 0,
            asking: false,
            answers: VecDeque::new(),
            arrivals_due_us: 0,
            report_due_us: 0,
            nacks: Vec::with_capacity(MAX_NACKS),
        }
    }

    /// The round trip, in µs; a guess before the first exchange.
    pub(super) fn rtt_us(&self) -> u64 {
        self.clock.rtt_us().unwrap_or(UNKNOWN_RTT_US)
    }

    /// Takes a datagram of the `hologram` track that came at `now_us`.
    pub(super) fn datagram(&mut self, bytes: Bytes, now_us: u64) {
        let counters = self.doors.counters;
        let Some(datagram) = Datagram::parse(bytes) else {
            Counters::add(&counters.garbage, 1);
            return;
        };
        match self.log.push(datagram.packet, now_us) {
            Number::New => {}
            Number::Repeated => return Counters::add(&counters.repeated, 1),
            Number::Absurd => return Counters::add(&counters.garbage, 1),
        }
        let Some(shard) = datagram.shard else { return };
        let way_us = self.clock.shortest_us().unwrap_or(0) / 2;
        if self.assembler.push(shard, now_us, way_us) == Made::Nonsense {
            Counters::add(&counters.garbage, 1);
        }
    }

    /// Lets time pass and hands out what is ready; to be called after datagrams and at [`Receiver::next_us`].
    pub(super) fn tick(&mut self, now_us: u64) {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        let (rtt_us, nacks) = (self.rtt_us(), &mut self.nacks);
        nacks.clear();
        let broken = self.assembler.tick(now_us, rtt_us, |nack| {
            if nacks.len() < MAX_NACKS {
                nacks.push(nack);
            }
        });
        if !self.nacks.is_empty() {
            let question = Nack::write(&self.nacks);
            Counters::add(&counters.nacks, self.nacks.len() as u64);
            self.answers.push_front((now_us, question.clone()));
            self.answers.push_back((now_us + APART_US, question));
        }
        if broken {
            signals.keyframe_for_us.store(true, Relaxed);
        }
        while let Some(out) = self.assembler.take() {
            let mut unit = out.unit;
            // Until the clocks have met, the way counts as no time at all.
            let unknown = unit.stamps.sent_us as i64 - now_us as i64;
            let offset = self.clock.offset_us().unwrap_or(unknown);
            unit.stamps = unit.stamps.shifted_us(-offset);
            unit.stamps.received_us = now_us;
            self.newest = unit.number;
            Counters::add(&counters.received_frames, 1);
            Counters::add(&counters.received_bytes, unit.data.len() as u64);
            Counters::add(&counters.lost_frames, out.lost.into());
            // Refused when the decoder is too slow; it then sees the gap in the numbers.
            let _ = self.doors.incoming.put(Incoming { session: self.session, unit });
        }
    }

    /// Takes a report that came at `now_us`.
    pub(super) fn report(&mut self, report: &Report, now_us: u64) {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        if self.heard.is_some_and(|(newest, at_us)| report.sent_us <= newest && now_us < at_us + OVERTAKEN_US)
        {
            return Counters::add(
                &counters.repeated,
                u64::from(self.heard.is_some_and(|h| h.0 == report.sent_us)),
            );
        }
        let first = self.heard.is_none();
        if first {
            // It listens, so what is sent from here on can arrive.
            Counters::add(&counters.connects, 1);
            signals.connected.store(true, Relaxed);
        }
        self.heard = Some((report.sent_us, now_us));
        self.clock.exchange(report, now_us);
        if let Some(offset) = self.clock.offset_us() {
            Counters::set(&counters.clock_offset_us, offset as u64);
        }
        signals.peer_has_camera.store(report.camera, Relaxed);
        let spacing_us = KEYFRAME_SPACING.0.max(KEYFRAME_SPACING.1 * self.rtt_us());
        if first || (report.keyframe && now_us >= self.keyframe_granted_us + spacing_us) {
            self.keyframe_granted_us = now_us;
            signals.keyframe_for_peer.store(true, Relaxed);
        }
    }

    /// When the other side was last heard, in µs; none before the first report.
    pub(super) fn heard_us(&self) -> Option<u64> {
        self.heard.map(|(_, at_us)| at_us)
    }

    /// The next answer for the `feedback` track that is due at `now_us`.
    pub(super) fn poll(&mut self, now_us: u64) -> Option<Bytes> {
        if now_us >= self.arrivals_due_us {
            self.arrivals_due_us = now_us + ARRIVALS_EVERY_US;
            let answers = &mut self.answers;
            self.log.report(|bytes| answers.push_back((now_us, bytes)));
            // The decoder may have come to need a keyframe since.
            if self.doors.signals.keyframe_for_us.load(Relaxed) {
                self.report_due_us = now_us;
            }
        }
        if now_us >= self.report_due_us {
            self.report_due_us = now_us + REPORT_EVERY_US;
            let report = self.next_report(now_us).write();
            self.answers.push_back((now_us, report));
        }
        let due = self.answers.iter().position(|(due_us, _)| *due_us <= now_us)?;
        self.answers.remove(due).map(|(_, bytes)| bytes)
    }

    /// When [`Receiver::tick`] or [`Receiver::poll`] has something to do next, in µs.
    pub(super) fn next_us(&self) -> u64 {
        let answers = self.answers.iter().map(|(due_us, _)| *due_us).min().unwrap_or(u64::MAX);
        let repair = self.assembler.next_us(self.rtt_us());
        answers.min(repair).min(self.arrivals_due_us).min(self.report_due_us)
    }

    /// What to tell the other side at `now_us`.
    fn next_report(&mut self, now_us: u64) -> Report {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        let keyframe = signals.keyframe_for_us.load(Relaxed);
        if keyframe && !self.asking {
            Counters::add(&counters.keyframe_requests, 1);
        }
        self.asking = keyframe;
        let (echo_us, held_us) = self.heard.map_or((0, 0), |(sent_us, at_us)| {
            (sent_us, u32::try_from(now_us.saturating_sub(at_us)).unwrap_or(u32::MAX))
        });
        Report {
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

    /// Bytes that lie here, for tests of what a peer can make us keep.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.assembler.held() + self.answers.iter().map(|(_, b)| b.len()).sum::<usize>()
    }
}
