//! The receiving half of a meeting with one peer: datagrams and time in, events and answers out. No I/O.
//!
//! ```text
//!   datagram, report ──► Receiver ──► poll_event: frames, sound, what the peer says of itself
//!   tick(now)                  └────► poll: answers for the peer
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use crate::link::media::arrivals::{ArrivalLog, Number};
use crate::link::media::assembler::{Assembler, Made};
use crate::link::media::feedback::{Feedback, MAX_NACKS, Nack, PeerClock, Report};
use crate::link::media::packet::Datagram;
use crate::link::media::voice::{VoiceDatagram, VoiceReceiver};
use crate::media::picture::AccessUnit;
use crate::media::voice::VoiceFrame;

/// The least time between keyframes that the other side asks for, in µs and round trips: one must have had
/// time to arrive.
const KEYFRAME_SPACING: (u64, u64) = (250_000, 2);
/// A report older than the newest is an overtaken one, unless nothing newer came for so long, in µs.
const OVERTAKEN_US: u64 = 1_000_000;
/// A report that answers one of ours so long after, in µs, has been held back: it says nothing of now.
const STALE_US: u64 = 3_000_000;
/// How often arrivals are told, in µs.
const ARRIVALS_EVERY_US: u64 = 15_000;
/// How often a report is sent with nothing urgent in it, in µs.
const REPORT_EVERY_US: u64 = 100_000;
/// How often it is sent with something urgent in it, in µs.
const URGENT_EVERY_US: u64 = 30_000;
/// A question is sent twice, so far apart in µs.
const MIN_SPACING_US: u64 = 3_000;
/// After so many shards in a row that are of no use, and so long, in µs, numbers are believed again.
pub(crate) const ASTRAY_US: u64 = 500_000;
pub(crate) const ASTRAY: u32 = 500;
/// The round trip before it is known, in µs.
const UNKNOWN_RTT_US: u64 = 100_000;

/// What comes out of a [`Receiver`].
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame is whole, and all before it are given out or given up. Its stamps are on our clock.
    Frame(AccessUnit),
    /// A voice frame came; its time is on our clock.
    Voice(VoiceFrame),
    /// The peer hears us: from here on what is sent to it can arrive.
    Connected,
    /// The peer wants a keyframe.
    KeyframeRequested,
    /// A frame was given up: nothing decodes before a keyframe.
    Broken,
}

/// What was counted since it was last taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) malformed: u64,
    pub(crate) repeated: u64,
    pub(crate) nacks: u64,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) voice: u64,
    pub(crate) voice_lost: u64,
}

/// What we tell the peer of ourselves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    /// We cannot decode without a keyframe.
    pub(crate) needs_keyframe: bool,
    /// Our camera gives pictures.
    pub(crate) camera: bool,
    /// Our microphone is off.
    pub(crate) muted: bool,
    /// The path to the peer is too slow for the meeting.
    pub(crate) too_slow: bool,
    /// The secret of our sender's key.
    pub(crate) secret: Option<[u8; 32]>,
    /// The peer has given us its own.
    pub(crate) has_key: bool,
}

/// What a session knows of one peer.
pub(crate) struct Receiver {
    /// What is told of ourselves from here on.
    pub(crate) own: Own,
    /// See [`Tally`].
    pub(crate) tally: Tally,
    events: VecDeque<Event>,
    log: ArrivalLog,
    assembler: Assembler,
    voice: VoiceReceiver,
    clock: PeerClock,
    /// `sent_us` of the newest report from the peer, and when it came.
    heard: Option<(u64, u64)>,
    /// When the peer last answered a report of ours, in µs.
    answered_us: Option<u64>,
    /// When the first report of ours left; none before.
    first_sent_us: Option<u64>,
    /// Whether a report answered one of ours, and the peer can decrypt what we send. A relay hands out what it
    /// last had of a peer that is long gone.
    met: bool,
    /// What the peer's newest report says of it.
    peer: Report,
    newest: u32,
    /// Frames received and lost, in all.
    totals: (u64, u64),
    keyframe_granted_us: u64,
    asking: bool,
    /// Answers on their way out, each with when it may go.
    answers: VecDeque<(u64, Bytes)>,
    arrivals_due_us: u64,
    report_due_us: u64,
    nacks: Vec<Nack>,
    /// Datagrams in a row that were of no use.
    turned_away: u32,
    /// When one was not, in µs.
    new_us: u64,
    /// When the last report was sent, in µs.
    reported_us: u64,
}

impl Receiver {
    pub(crate) fn new(own: Own) -> Self {
        Self {
            own,
            tally: Tally::default(),
            events: VecDeque::new(),
            log: ArrivalLog::default(),
            assembler: Assembler::default(),
            voice: VoiceReceiver::default(),
            clock: PeerClock::default(),
            heard: None,
            answered_us: None,
            first_sent_us: None,
            met: false,
            peer: Report::default(),
            newest: 0,
            totals: (0, 0),
            keyframe_granted_us: 0,
            asking: false,
            answers: VecDeque::new(),
            arrivals_due_us: 0,
            report_due_us: 0,
            nacks: Vec::with_capacity(MAX_NACKS),
            turned_away: 0,
            new_us: 0,
            reported_us: 0,
        }
    }

    /// The round trip without queues, in µs.
    pub(crate) fn shortest_us(&self) -> u64 {
        self.clock.shortest_us().unwrap_or(UNKNOWN_RTT_US)
    }

    /// The round trip, in µs; a guess before the first exchange.
    pub(crate) fn rtt_us(&self) -> u64 {
        self.clock.rtt_us().unwrap_or(UNKNOWN_RTT_US)
    }

    /// The peer's clock minus ours, in µs; none before the first exchange.
    pub(crate) fn clock_offset_us(&self) -> Option<i64> {
        self.clock.offset_us()
    }

    /// What the peer last said of itself.
    pub(crate) fn peer(&self) -> &Report {
        &self.peer
    }

    /// Takes a datagram of the `hologram` track that came at `now_us`.
    pub(crate) fn datagram(&mut self, bytes: Bytes, now_us: u64) {
        let Some(datagram) = Datagram::parse(bytes) else {
            self.tally.malformed += 1;
            return;
        };
        if !self.arrived(datagram.packet, now_us) {
            return;
        }
        let Some(shard) = datagram.shard else { return };
        let way_us = self.clock.shortest_us().unwrap_or(0) / 2;
        match self.assembler.push(shard, now_us, way_us) {
            Made::Used | Made::Late => {}
            Made::Malformed => self.tally.malformed += 1,
        }
    }

    /// Takes a datagram of the `voice` track that came at `now_us`.
    pub(crate) fn voice(&mut self, bytes: Bytes, now_us: u64) {
        let Some(datagram) = VoiceDatagram::parse(bytes) else {
            self.tally.malformed += 1;
            return;
        };
        if !self.arrived(datagram.packet, now_us) {
            return;
        }
        let offset_us = self.clock.offset_us().unwrap_or(0);
        for mut frame in datagram.frames.into_iter().rev() {
            if self.voice.is_new(frame.number) {
                frame.capture_us = frame.capture_us.saturating_add_signed(-offset_us);
                self.tally.voice += 1;
                self.events.push_back(Event::Voice(frame));
            }
        }
        self.tally.voice_lost = self.voice.lost;
    }

    /// Datagram `packet` came. Whether it is of use.
    fn arrived(&mut self, packet: u32, now_us: u64) -> bool {
        if self.turned_away > ASTRAY && now_us > self.new_us + ASTRAY_US {
            // The other side has started again, or one false number was believed: all true ones look false.
            (self.log, self.assembler) = (ArrivalLog::default(), Assembler::default());
        }
        let number = self.log.push(packet, now_us);
        match number {
            Number::New => (self.turned_away, self.new_us) = (0, now_us),
            Number::Repeated => self.tally.repeated += 1,
            Number::Absurd => self.tally.malformed += 1,
        }
        if number != Number::New {
            self.turned_away += 1;
        }
        number == Number::New
    }

    /// Lets time pass and makes what is ready available; to be called after datagrams and at
    /// [`Receiver::next_us`].
    pub(crate) fn tick(&mut self, now_us: u64) {
        let rtt_us = self.rtt_us();
        loop {
            self.ask(now_us, rtt_us);
            self.hand_out(now_us);
            // Behind what went out there may be what is to be given up.
            if self.assembler.next_us(rtt_us) > now_us {
                break;
            }
        }
    }

    /// Asks for what is missing and can still come in time.
    fn ask(&mut self, now_us: u64, rtt_us: u64) {
        let mut broken = false;
        loop {
            let nacks = &mut self.nacks;
            nacks.clear();
            broken |= self.assembler.tick(now_us, rtt_us, |nack| {
                let room = nacks.len() < MAX_NACKS;
                if room {
                    nacks.push(nack);
                }
                room
            });
            if nacks.is_empty() {
                break;
            }
            let question = Nack::write(nacks);
            self.tally.nacks += nacks.len() as u64;
            self.answers.push_front((now_us, question.clone()));
            self.answers.push_back((now_us + MIN_SPACING_US, question));
        }
        if broken {
            self.own.needs_keyframe = true;
            self.events.push_back(Event::Broken);
        }
    }

    /// Gives out what is ready.
    fn hand_out(&mut self, now_us: u64) {
        while let Some(out) = self.assembler.take() {
            let mut unit = out.unit;
            // Until the clocks have met, the way counts as no time at all.
            let unknown = unit.stamps.sent_us as i64 - now_us as i64;
            let offset = self.clock.offset_us().unwrap_or(unknown);
            unit.stamps = unit.stamps.shifted_us(-offset);
            unit.stamps.received_us = now_us;
            self.newest = unit.number;
            self.tally.frames += 1;
            self.tally.bytes += unit.data.len() as u64;
            self.tally.lost += u64::from(out.lost);
            self.totals = (self.totals.0 + 1, self.totals.1 + u64::from(out.lost));
            self.events.push_back(Event::Frame(unit));
        }
    }

    /// What happened, in order.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes a report that came at `now_us`.
    pub(crate) fn report(&mut self, report: &Report, now_us: u64) {
        if self.heard.is_some_and(|(newest, at_us)| report.sent_us <= newest && now_us < at_us + OVERTAKEN_US)
        {
            self.tally.repeated += u64::from(self.heard.is_some_and(|h| h.0 == report.sent_us));
            return;
        }
        let answers = self.first_sent_us.is_some_and(|first_us| report.echo_us >= first_us);
        let way_us = now_us.saturating_sub(report.echo_us).saturating_sub(report.held_us.into());
        if answers && way_us > STALE_US {
            self.tally.repeated += 1;
            return;
        }
        // What is sent before the peer can decrypt it is lost.
        let ready = self.own.secret.is_none() || report.has_key;
        let first = answers && ready && !self.met;
        if first {
            self.met = true;
            self.events.push_back(Event::Connected);
        }
        self.heard = Some((report.sent_us, now_us));
        if answers {
            self.answered_us = Some(now_us);
            self.clock.exchange(report, now_us);
        }
        self.peer = *report;
        let spacing_us = KEYFRAME_SPACING.0.max(KEYFRAME_SPACING.1 * self.rtt_us());
        if first || (report.keyframe && now_us >= self.keyframe_granted_us + spacing_us) {
            self.keyframe_granted_us = now_us;
            self.events.push_back(Event::KeyframeRequested);
        }
    }

    /// Whether the peer is there and hears us.
    pub(crate) fn has_met(&self) -> bool {
        self.met
    }

    /// When the peer was last heard, in µs; none before the first report.
    pub(crate) fn heard_us(&self) -> Option<u64> {
        self.heard.map(|(_, at_us)| at_us)
    }

    /// When the peer last answered us, in µs.
    pub(crate) fn answered_us(&self) -> Option<u64> {
        self.answered_us
    }

    /// The next answer for the `feedback` track that is due at `now_us`.
    pub(crate) fn poll(&mut self, now_us: u64) -> Option<Bytes> {
        if now_us >= self.arrivals_due_us {
            self.arrivals_due_us = now_us + ARRIVALS_EVERY_US;
            let answers = &mut self.answers;
            self.log.report(|bytes| answers.push_back((now_us, bytes)));
            // The decoder may have come to need a keyframe since.
            let unknown = self.own.secret.is_some() && !self.peer.has_key;
            if self.own.needs_keyframe || !self.met || unknown {
                self.report_due_us = self.report_due_us.min(self.reported_us + URGENT_EVERY_US);
            }
        }
        if now_us >= self.report_due_us {
            self.report_due_us = now_us + REPORT_EVERY_US;
            self.reported_us = now_us;
            // Until the peer says that it has come, the secret goes with every report.
            if let Some(secret) = self.own.secret.filter(|_| !self.peer.has_key) {
                self.answers.push_back((now_us, Feedback::write_key(&secret)));
            }
            let report = self.next_report(now_us).write();
            self.answers.push_back((now_us, report));
        }
        let due = self.answers.iter().position(|(due_us, _)| *due_us <= now_us)?;
        self.answers.remove(due).map(|(_, bytes)| bytes)
    }

    /// When [`Receiver::tick`] or [`Receiver::poll`] has something to do next, in µs.
    pub(crate) fn next_us(&self) -> u64 {
        let answers = self.answers.iter().map(|(due_us, _)| *due_us).min().unwrap_or(u64::MAX);
        let repair = self.assembler.next_us(self.rtt_us());
        answers.min(repair).min(self.arrivals_due_us).min(self.report_due_us)
    }

    /// What to tell the peer at `now_us`.
    fn next_report(&mut self, now_us: u64) -> Report {
        self.first_sent_us.get_or_insert(now_us);
        let keyframe = self.own.needs_keyframe;
        self.tally.keyframe_requests += u64::from(keyframe && !self.asking);
        self.asking = keyframe;
        let (echo_us, held_us) = self.heard.map_or((0, 0), |(sent_us, at_us)| {
            (sent_us, u32::try_from(now_us.saturating_sub(at_us)).unwrap_or(u32::MAX))
        });
        Report {
            keyframe,
            camera: self.own.camera,
            muted: self.own.muted,
            too_slow: self.own.too_slow,
            has_key: self.own.has_key,
            sent_us: now_us,
            echo_us,
            held_us,
            newest: self.newest,
            received: self.totals.0,
            lost: self.totals.1,
        }
    }

    /// Bytes that lie here, for tests of what a peer can make us keep.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.assembler.held() + self.answers.iter().map(|(_, b)| b.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
