//! A session: everything that goes over one connection, to and from all peers that are met there.
//!
//! ```text
//!             join              the first report of ours is answered
//!   (no peer) ────► joined ──────────────────────────────────────────► connected
//!                     │   nothing but feedback goes                     │   frames and sound go both ways
//!                     └────────────── no report for 3 s, tracks end, or leave ──────────► gone
//! ```
//! What a frame's life looks like: it is packetized once ([`Sender`]), leaves shard by shard as the scheduler
//! admits, is repaired as long as it can come in time, and is forgotten half a second after its deadline. At
//! the other end ([`Receiver`]) it is assembling, then whole or given up; whole ones leave in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::link::carrier::{Carrier, Event, Slot};
use crate::link::counters::{self, PeerCounters};
use crate::link::error::{Ended, UNHEARD_US};
use crate::link::handles::Handles;
use crate::link::media::feedback::Feedback;
use crate::link::media::receiver::{self, Own, Receiver, Tally};
use crate::link::media::sender::{Plan, Refused, Sender};
use crate::link::rate::encoder_control::{EncoderControl, Offer};
use crate::link::rate::scheduler::{Class, admits};
use crate::link::sizes::MAX_PEERS;
use crate::link::track::Track;
use crate::media::picture::{AccessUnit, Incoming};
use crate::media::voice::VoiceFrame;

/// How long a loop waits for a carrier that has enough to do, in µs.
const BREATH_US: u64 = 1_000;
/// How often it looks around, in µs.
const POLL_INTERVAL_US: u64 = 25_000;
/// Access units that wait for the session, at most: it is on the same thread as what puts them.
const UNITS: usize = 8;
/// The same of voice frames.
const VOICES: usize = 16;
/// A voice frame that leaves later than this after it was put in, in µs, was delayed.
const VOICE_DELAYED_US: u64 = 5_000;
/// After a keyframe was asked for, frames that still refer to what never went do not ask again for so long,
/// in µs.
const ASKED_US: u64 = 500_000;

/// What is to be sent over one connection: between the thread's own hand-over and the session, without
/// waiting.
#[derive(Default)]
pub(crate) struct Feed {
    units: RefCell<VecDeque<AccessUnit>>,
    voices: RefCell<VecDeque<VoiceFrame>>,
    /// Whether anybody would receive it.
    open: Cell<bool>,
    /// Something did not fit.
    skipped: Cell<bool>,
    filled: Notify,
}

impl Feed {
    /// Puts an access unit in, if anybody would receive it.
    pub(crate) fn put(&self, unit: &AccessUnit) {
        if !self.open.get() {
            return;
        }
        let mut units = self.units.borrow_mut();
        if units.len() < UNITS {
            units.push_back(unit.clone());
        } else {
            self.skipped.set(true);
        }
        self.filled.notify_one();
    }

    /// Puts a voice frame in; the oldest goes when there is no room.
    pub(crate) fn put_voice(&self, frame: &VoiceFrame) {
        if !self.open.get() {
            return;
        }
        let mut voices = self.voices.borrow_mut();
        if voices.len() == VOICES {
            voices.pop_front();
        }
        voices.push_back(frame.clone());
        self.filled.notify_one();
    }
}

/// What a session is told while it runs.
pub(crate) enum Control<P> {
    /// A peer is met: at this place, as the session of this number.
    Join(Slot, u64, Box<P>),
    /// It is not met any more.
    Leave(Slot),
}

/// What a session tells of its peers.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The peer answered at this time, in µs.
    Answered(u64),
    /// It is over with the peer, not with the session.
    Over(Ended),
}

/// What all sessions of a link share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) handles: &'a Handles,
    pub(crate) control: &'a RefCell<EncoderControl>,
}

/// One peer of a session.
struct Member {
    /// Tells this session from those before.
    number: u64,
    receiver: Receiver,
    since_us: u64,
    /// What was counted of its tally already.
    counted: Tally,
    /// The answer that was told last, in µs.
    told_us: u64,
}

/// Sends what `feed` is given and takes what comes, from and to the peers that `control` brings, until the
/// session ends. `notice` is told of peers.
pub(crate) async fn drive<C: Carrier>(
    carrier: &mut C,
    plan: Plan,
    feed: &Feed,
    control: &mut mpsc::UnboundedReceiver<Control<C::Peer>>,
    context: Context<'_>,
    notice: impl FnMut(Slot, Notice),
) -> Result<Infallible, Ended> {
    let now = carrier.now_us();
    let mut session = Session {
        sender: Sender::new(plan, now),
        members: Default::default(),
        feed,
        context,
        notice,
        asked_us: 0,
        datagram: carrier.datagram(),
        leaving: VecDeque::new(),
        now_us: now,
    };
    session.run(carrier, control, now).await
}

struct Session<'a, N> {
    sender: Sender,
    members: [Option<Member>; MAX_PEERS],
    feed: &'a Feed,
    context: Context<'a>,
    notice: N,
    /// When a keyframe was last asked for because of what could not be sent, in µs.
    asked_us: u64,
    datagram: usize,
    /// Voice frames on their way out: when each was put in, in µs, and what the carrier's count will be when
    /// it has left.
    leaving: VecDeque<(u64, u64)>,
    /// As of the last turn.
    now_us: u64,
}

impl<N> Drop for Session<'_, N> {
    fn drop(&mut self) {
        (0..MAX_PEERS).for_each(|slot| self.drop_member(slot));
    }
}

impl<N> Session<'_, N> {
    fn drop_member(&mut self, slot: Slot) {
        if self.members[slot].take().is_some() {
            self.sender.remove(slot);
            let mut control = self.context.control.borrow_mut();
            control.withdraw(slot);
            self.context.handles.encoder.put(control.command(self.now_us));
        }
        self.set_open();
    }

    fn set_open(&self) {
        let open = self.members.iter().flatten().any(|member| member.receiver.has_met());
        if !open {
            self.feed.units.borrow_mut().clear();
            self.feed.voices.borrow_mut().clear();
        }
        self.feed.open.set(open);
    }
}

impl<N: FnMut(Slot, Notice)> Session<'_, N> {
    async fn run<C: Carrier>(
        &mut self,
        carrier: &mut C,
        control: &mut mpsc::UnboundedReceiver<Control<C::Peer>>,
        mut now: u64,
    ) -> Result<Infallible, Ended> {
        loop {
            self.tick(carrier, now);
            self.send(carrier, now)?;
            let next_us = |class, us: u64| {
                if self.may_send(carrier, class) { us } else { us.max(now + BREATH_US) }
            };
            let video_us = next_us(Class::Video, self.sender.next_video_us());
            let bulk_us = next_us(Class::Bulk, self.sender.next_bulk_us());
            let left_us = if self.leaving.is_empty() { u64::MAX } else { now + BREATH_US };
            let receivers = self.members.iter().flatten().map(|member| member.receiver.next_us());
            let until_us = receivers
                .fold(video_us.min(bulk_us).min(left_us), u64::min)
                .min(now + POLL_INTERVAL_US)
                .max(now);
            tokio::select! {
                biased;
                Some(control) = control.recv() => {
                    now = carrier.now_us();
                    self.control(carrier, control, now);
                }
                () = self.feed.filled.notified() => now = carrier.now_us(),
                event = carrier.next(until_us) => {
                    let event = event?;
                    now = carrier.now_us();
                    self.event(carrier, event, now);
                }
            }
        }
    }

    fn counters(&self, slot: Slot) -> &PeerCounters {
        &self.context.handles.peers[slot].counters
    }

    fn control<C: Carrier>(&mut self, carrier: &mut C, control: Control<C::Peer>, now: u64) {
        match control {
            Control::Join(slot, number, peer) => {
                self.drop_member(slot);
                carrier.join(slot, *peer);
                let handles = self.context.handles;
                let own = Own {
                    secret: carrier.secret(),
                    camera: handles.camera.load(Relaxed),
                    muted: handles.muted.load(Relaxed),
                    ..Own::default()
                };
                let receiver = Receiver::new(own);
                handles.peers[slot].needs_keyframe.store(false, Relaxed);
                let was_too_slow = self.context.control.borrow().is_too_slow(slot);
                self.sender.add(slot, receiver.rtt_us(), was_too_slow, now);
                self.members[slot] =
                    Some(Member { number, receiver, since_us: now, counted: Tally::default(), told_us: 0 });
            }
            Control::Leave(slot) => self.leave(carrier, slot),
        }
    }

    fn leave<C: Carrier>(&mut self, carrier: &mut C, slot: Slot) {
        carrier.leave(slot);
        self.drop_member(slot);
    }

    /// Counts voice frames that have left.
    fn count_left<C: Carrier>(&mut self, carrier: &C, now: u64) {
        if self.leaving.is_empty() {
            return;
        }
        let left = carrier.left();
        while let Some(&(put_us, at)) = self.leaving.front()
            && (at <= left || now > put_us + UNHEARD_US)
        {
            self.leaving.pop_front();
            if now > put_us + VOICE_DELAYED_US {
                self.count_sent(|c| counters::add(&c.voice_delayed, 1));
            }
        }
    }

    /// What time brings: for the peers, for the sender, and for those who want to know.
    fn tick<C: Carrier>(&mut self, carrier: &mut C, now: u64) {
        self.now_us = now;
        self.count_left(carrier, now);
        let before = std::mem::replace(&mut self.datagram, carrier.datagram());
        self.sender.fit(self.datagram);
        let handles = self.context.handles;
        for slot in 0..MAX_PEERS {
            let Some(member) = &mut self.members[slot] else { continue };
            let peer = &handles.peers[slot];
            counters::add(&peer.counters.mtu_drops, u64::from(self.datagram < before));
            counters::set(&peer.counters.datagram_bytes, self.datagram as u64);
            member.receiver.own.needs_keyframe = peer.needs_keyframe.load(Relaxed);
            member.receiver.own.camera = handles.camera.load(Relaxed);
            member.receiver.own.muted = handles.muted.load(Relaxed);
            member.receiver.own.too_slow = self.context.control.borrow().is_too_slow(slot);
            self.sender.set_participant(slot, !member.receiver.own.too_slow);
            member.receiver.tick(now);
            let (rtt_us, shortest_us) = (member.receiver.rtt_us(), member.receiver.shortest_us());
            self.sender.set_rtt_us(slot, rtt_us, shortest_us);
            self.hand_out(slot, now);
            self.publish(slot, now);
        }
        self.sender.tick(now);
        let unheard =
            |member: &Member| now > member.receiver.heard_us().unwrap_or(member.since_us) + UNHEARD_US;
        for slot in 0..MAX_PEERS {
            if self.members[slot].as_ref().is_some_and(unheard) {
                self.leave(carrier, slot);
                (self.notice)(slot, Notice::Over(Ended::Unheard));
            }
        }
        carrier.allow(self.sender.in_flight_bytes(now));
        handles.encoder.put(self.context.control.borrow_mut().command(now));
    }

    /// What came out of the receiver of the peer at `slot` goes where it belongs.
    fn hand_out(&mut self, slot: Slot, now: u64) {
        let peer = &self.context.handles.peers[slot];
        let Some(member) = &mut self.members[slot] else { return };
        let mut connected = false;
        while let Some(event) = member.receiver.poll_event() {
            match event {
                // Refused when the decoder is too slow; it then sees the gap in the numbers.
                receiver::Event::Frame(unit) => {
                    let _ = peer.incoming.put(Incoming { session: member.number, unit });
                }
                receiver::Event::Voice(frame) => {
                    let _ = peer.voice.put(frame);
                }
                receiver::Event::Broken => peer.needs_keyframe.store(true, Relaxed),
                receiver::Event::Connected => {
                    counters::add(&peer.counters.connects, 1);
                    connected = true;
                }
                receiver::Event::KeyframeRequested => {
                    self.context.control.borrow_mut().request_keyframe(slot, now);
                    self.asked_us = now;
                }
            }
        }
        if connected {
            self.set_open();
        }
    }

    /// What the encoder, status and the connection manager must know of the peer at `slot`.
    fn publish(&mut self, slot: Slot, now: u64) {
        let peer = &self.context.handles.peers[slot];
        let Some(member) = &mut self.members[slot] else { return };
        let c = &peer.counters;
        let (tally, counted) =
            (member.receiver.tally, std::mem::replace(&mut member.counted, member.receiver.tally));
        counters::add(&c.malformed, tally.malformed - counted.malformed);
        counters::add(&c.repeated, tally.repeated - counted.repeated);
        counters::add(&c.nacks, tally.nacks - counted.nacks);
        counters::add(&c.received_frames, tally.frames - counted.frames);
        counters::add(&c.received_bytes, tally.bytes - counted.bytes);
        counters::add(&c.lost_frames, tally.lost - counted.lost);
        counters::add(&c.keyframe_requests, tally.keyframe_requests - counted.keyframe_requests);
        counters::add(&c.voice_received, tally.voice - counted.voice);
        counters::add(&c.voice_lost, tally.voice_lost.saturating_sub(counted.voice_lost));
        counters::add(&c.repairs, std::mem::take(&mut self.sender.repairs_sent[slot]));
        counters::set(&c.rtt_us, member.receiver.rtt_us());
        if let Some((queue_us, path_kbps, loss)) = self.sender.path(slot) {
            counters::set(&c.queue_us, queue_us);
            counters::set(&c.path_kbps, path_kbps.into());
            counters::set(&c.loss_permille, (loss * 1000.0) as u64);
        }
        if let Some(offset_us) = member.receiver.clock_offset_us() {
            peer.clock_offset_us.store(offset_us, Relaxed);
        }
        peer.has_camera.store(member.receiver.peer().camera, Relaxed);
        peer.muted.store(member.receiver.peer().muted, Relaxed);
        peer.gets_fewer_pictures.store(member.receiver.peer().too_slow, Relaxed);
        peer.too_slow.store(member.receiver.own.too_slow, Relaxed);
        if member.receiver.has_met()
            && let Some(target_kbps) = self.sender.video_kbps(slot)
        {
            let offer = Offer { target_kbps, congested: self.sender.congested() };
            self.context.control.borrow_mut().offer(slot, offer, now);
        }
        if let Some(answered_us) = member.receiver.answered_us().filter(|&us| us > member.told_us) {
            member.told_us = answered_us;
            (self.notice)(slot, Notice::Answered(answered_us));
        }
    }

    fn may_send<C: Carrier>(&self, carrier: &C, class: Class) -> bool {
        let beside_voice = self.sender.beside_voice(self.now_us);
        carrier.ready() && admits(class, carrier.waiting_bytes(), self.sender.pace_kbps(), beside_voice)
    }

    /// Gives the carrier what may go: voice, feedback, video, bulk.
    fn send<C: Carrier>(&mut self, carrier: &mut C, now: u64) -> Result<(), Ended> {
        while self.may_send(carrier, Class::Voice) {
            let Some(frame) = self.feed.voices.borrow_mut().pop_front() else { break };
            let late = Track::Voice.info().deadline_us.is_some_and(|us| now > frame.capture_us + us);
            let put_us = frame.capture_us;
            if !late && let Some(datagram) = self.sender.voice(frame, now) {
                self.leaving.push_back((put_us, carrier.leaves_at()));
                carrier.send_all(Track::Voice, datagram)?;
                self.count_sent(|c| counters::add(&c.voice_sent, 1));
            }
        }
        for slot in 0..MAX_PEERS {
            while self.may_send(carrier, Class::Feedback)
                && let Some(answer) = self.members[slot].as_mut().and_then(|member| member.receiver.poll(now))
            {
                carrier.send_feedback(slot, answer)?;
            }
        }
        if self.feed.skipped.take() {
            self.sender.skip();
            self.refused(now);
        }
        loop {
            let Some(unit) = self.feed.units.borrow_mut().pop_front() else { break };
            self.frame(unit, now);
        }
        while self.may_send(carrier, Class::Video)
            && let Some(datagram) = self.sender.poll_video(now)
        {
            carrier.send_all(Track::Hologram, datagram)?;
        }
        while self.may_send(carrier, Class::Bulk)
            && let Some(datagram) = self.sender.poll_bulk(now)
        {
            carrier.send_all(Track::Hologram, datagram)?;
        }
        Ok(())
    }

    /// Counts for every peer that is sent to.
    fn count_sent(&self, count: impl Fn(&PeerCounters)) {
        for (slot, member) in self.members.iter().enumerate() {
            if member.as_ref().is_some_and(|member| member.receiver.has_met()) {
                count(self.counters(slot));
            }
        }
    }

    /// Gives a frame to the sender.
    fn frame(&mut self, mut unit: AccessUnit, now: u64) {
        unit.stamps.sent_us = now;
        match self.sender.frame(&unit, now) {
            Ok(()) => self.count_sent(|c| {
                counters::add(&c.sent_frames, 1);
                counters::add(&c.sent_bytes, unit.data.len() as u64);
                counters::add(&c.sent_keyframes, unit.keyframe.into());
            }),
            Err(refused) => {
                if refused == Refused::TooLarge {
                    let bytes = unit.data.len();
                    log::error!(
                        "link: a frame of {bytes} bytes is too large to send; lower codec.bitrate_kbps"
                    );
                }
                if refused != Refused::NeedsKeyframe || now >= self.asked_us + ASKED_US {
                    self.refused(now);
                }
                self.count_sent(|c| counters::add(&c.dropped_frames, 1));
            }
        }
    }

    /// A frame could not be sent: nothing after it decodes before a keyframe.
    fn refused(&mut self, now: u64) {
        self.asked_us = now;
        for (slot, member) in self.members.iter().enumerate() {
            if member.is_some() {
                self.context.control.borrow_mut().request_keyframe(slot, now);
            }
        }
    }

    fn event<C: Carrier>(&mut self, carrier: &mut C, event: Event, now: u64) {
        match event {
            Event::Time => {}
            Event::DecryptFailed(slot) => counters::add(&self.counters(slot).decrypt_failed, 1),
            Event::Over(slot, ended) => {
                self.leave(carrier, slot);
                (self.notice)(slot, Notice::Over(ended));
            }
            Event::Datagram(slot, Track::Feedback, datagram) => self.feedback(carrier, slot, datagram, now),
            Event::Datagram(slot, track, datagram) => {
                let Some(member) = &mut self.members[slot] else { return };
                // What a relay still had of an instance that is over is no picture of now.
                if member.receiver.answered_us().is_some() {
                    match track {
                        Track::Voice => member.receiver.voice(datagram, now),
                        Track::Hologram | Track::Feedback => member.receiver.datagram(datagram, now),
                    }
                }
            }
        }
    }

    fn feedback<C: Carrier>(&mut self, carrier: &mut C, slot: Slot, datagram: Bytes, now: u64) {
        let Some(member) = &mut self.members[slot] else { return };
        match Feedback::parse(datagram) {
            Some(Feedback::Report(report)) => member.receiver.report(&report, now),
            Some(Feedback::Arrivals(arrivals)) if self.sender.arrivals(slot, &arrivals, now) => {}
            Some(Feedback::Nacks(nacks)) => nacks.iter().for_each(|nack| self.sender.nack(slot, nack, now)),
            Some(Feedback::Key(secret)) => {
                carrier.learn(slot, &secret);
                member.receiver.own.has_key = true;
            }
            Some(Feedback::Arrivals(_)) | None => counters::add(&self.counters(slot).malformed, 1),
        }
    }
}
