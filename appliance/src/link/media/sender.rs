//! The sending half of a connection: access units and voice frames in, datagrams out, each at its time; what
//! peers answer in. No I/O.
//!
//! One sender serves all peers that are met over its connection: one directly, several where a relay fans
//! out. What was sent is the same for all; what became of it, the path and its rate are each peer's own
//! ([`Destination`]).

mod destinations;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::link::media::feedback::{Arrivals, Nack, Run};
use crate::link::media::history::History;
use crate::link::media::packet::{self, Part, SHARD_HEADER};
use crate::link::media::packetizer::{Layout, Packetizer};
use crate::link::media::redundancy::{Loss, LossMeter};
use crate::link::media::tx_frame::Frame;
use crate::link::media::voice::VoicePacketizer;
use crate::link::rate::estimator::Estimator;
use crate::link::rate::pacer::Pacer;
use crate::link::sizes::{self, AROUND, MAX_PEERS};
use crate::media::picture::AccessUnit;
use crate::media::voice::VoiceFrame;

/// Sent frames that are kept for repair.
const KEPT: usize = 64;
/// A frame is kept for repair so long after its deadline, in µs.
const KEPT_US: u64 = 500_000;
/// What a repair takes besides one and a half round trips, in µs: noticing, sending.
const REPAIR_US: u64 = 15_000;
/// The two sendings of a repair are so far apart, in µs: a burst of losses seldom takes both.
const MIN_SPACING_US: u64 = 4_000;
/// The encoder is to wait while so much waits here, in µs of the pace.
const BACKLOG_US: u64 = 30_000;
/// Above so much, a frame is not taken any more, in µs of the pace.
const FULL_US: u64 = 300_000;
/// No frame is on its way for longer, however slow the line, in µs.
const LATEST_US: u64 = 5_000_000;
/// Repairs that wait at most; more is asked for than the line can give.
const REPAIRS: usize = 1_024;
/// The least that a line is taken to carry, in kbit/s.
const FLOOR_KBPS: u32 = 150;
/// What video at its highest rate takes with parity, headers and repairs, over the video alone: against
/// bursts, two thirds more and some.
const EXTRA: f32 = 2.0;
/// What a full line is planned with, in frames a second.
const PLANNED_FPS: usize = 30;
/// A rate that the line had is forgotten over this time, in µs.
const FADE_US: f32 = 2_000_000.0;
/// What may be under way beyond a round trip, in µs of the line's rate.
const SLACK_US: u64 = 200_000;
/// Frames leave at least so many times as fast as the line's rate: each is to be gone before the next.
const PACE: f32 = 1.2;
/// The same beside sound, which a queue in the line would hold up, and where the encoder codes for faster
/// lines, so that something always waits: no faster than the line takes them.
const STEADY_PACE: f32 = 1.0;
/// After a voice frame, sound counts as going on for so long, in µs.
const VOICE_US: u64 = 100_000;

/// A shard to be sent again.
#[derive(Debug, Clone, Copy)]
struct Repair {
    frame: u32,
    index: u16,
    /// All of it, or the half that has not gone yet.
    part: Part,
    asked_by: usize,
    not_before_us: u64,
}

/// A burst of padding under way.
#[derive(Debug, Clone, Copy)]
struct Padding {
    left: usize,
    kbps: u32,
    next_us: u64,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It refers to one that was not taken: the next must be a keyframe.
    NeedsKeyframe,
    /// Too much waits: the line is slower than the encoder.
    Full,
    /// No frame may be that large.
    TooLarge,
}

/// What the link is set for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// The highest rate of the video, in kbit/s.
    pub(crate) max_kbps: u32,
    /// From a picture's capture to its being decodable at the other booth, in µs.
    pub(crate) deadline_us: u64,
}

/// One peer, as the sender knows it.
struct Destination {
    estimator: Estimator,
    meter: LossMeter,
    history: History,
    /// The round trip, and the shortest of late, in µs.
    rtt_us: u64,
    shortest_us: u64,
    /// Whether rate, parity and repair follow this peer.
    participant: bool,
}

/// Sends the frames and the sound of one connection.
pub(crate) struct Sender {
    plan: Plan,
    destinations: [Option<Destination>; MAX_PEERS],
    /// The number of the next datagram.
    packet: u32,
    packetizer: Packetizer,
    voice: VoicePacketizer,
    /// When the last voice frame went, in µs.
    voice_us: Option<u64>,
    pacer: Pacer,
    frames: VecDeque<Frame>,
    repairs: VecDeque<Repair>,
    probe: Option<Padding>,
    /// The destination whose estimator asked for the padding.
    probing: Option<usize>,
    spare: Vec<(BytesMut, Vec<(Bytes, u64)>)>,
    next_frame: u32,
    needs_keyframe: bool,
    /// What the path carries at once, in bytes.
    datagram: usize,
    waiting_bytes: usize,
    /// Of the bytes on a full line, the share that is left for coded video.
    efficiency: f32,
    /// Bytes of repairs since the last frame, and their share of all bytes.
    repaired_bytes: usize,
    repaired: f32,
    /// The line's rate, as high as it was of late, in kbit/s, and when that was looked at.
    remembered_kbps: f32,
    remembered_us: u64,
    /// Shards sent again for each peer and not counted yet.
    pub(crate) repairs_sent: [u64; MAX_PEERS],
}

impl Sender {
    /// A sender that serves nobody yet; `now_us` is the time.
    pub(crate) fn new(plan: Plan, now_us: u64) -> Self {
        let ceiling_kbps = (plan.max_kbps as f32 * EXTRA) as u32;
        Self {
            plan,
            destinations: Default::default(),
            packet: 0,
            packetizer: Packetizer::default(),
            voice: VoicePacketizer::default(),
            voice_us: None,
            pacer: Pacer::new(ceiling_kbps * 3),
            frames: VecDeque::new(),
            repairs: VecDeque::new(),
            probe: None,
            probing: None,
            spare: Vec::new(),
            next_frame: 0,
            needs_keyframe: true,
            datagram: sizes::SAFE_DATAGRAM,
            waiting_bytes: 0,
            efficiency: 0.75,
            repaired_bytes: 0,
            repaired: 0.0,
            remembered_kbps: 0.0,
            remembered_us: now_us,
            repairs_sent: [0; MAX_PEERS],
        }
    }

    /// The datagram with a voice frame; it goes at once, whatever waits. None when the frame is too long.
    pub(crate) fn voice(&mut self, frame: VoiceFrame, now_us: u64) -> Option<Bytes> {
        let datagram = self.voice.packetize(frame, self.packet)?;
        self.sent(now_us, datagram.len() + AROUND, None, false);
        self.pacer.spend(datagram.len() + AROUND);
        self.voice_us = Some(now_us);
        Some(datagram)
    }

    /// Whether sound goes on beside video.
    pub(crate) fn beside_voice(&self, now_us: u64) -> bool {
        self.voice_us.is_some_and(|us| now_us < us + VOICE_US)
    }

    /// A frame was left out before it came here: the next must be a keyframe.
    pub(crate) fn skip(&mut self) {
        self.needs_keyframe = true;
    }

    /// Takes a frame to be sent.
    ///
    /// # Errors
    /// [`Refused`]; then the next that is taken is a keyframe.
    pub(crate) fn frame(&mut self, unit: &AccessUnit, now_us: u64) -> Result<(), Refused> {
        if self.needs_keyframe && !unit.keyframe {
            return Err(Refused::NeedsKeyframe);
        }
        self.needs_keyframe = true;
        if self.backlog_us() > FULL_US {
            return Err(Refused::Full);
        }
        let deadline_us = (unit.stamps.capture_us + self.plan.deadline_us).max(self.late_us(unit, now_us));
        let left_us = deadline_us.saturating_sub(now_us);
        let loss = self.worst_loss();
        self.efficiency = self.plan_efficiency(loss, left_us);
        self.forget(now_us);
        let repairable = self.repairable(self.waiting_bytes + unit.data.len(), left_us);
        let (mut waiting, sent) = self.spare.pop().unwrap_or_default();
        let layout = self.packetizer.packetize(unit, self.datagram, loss, repairable, &mut waiting);
        let Layout { data, parity, slot, last } = layout.ok_or(Refused::TooLarge)?;
        self.needs_keyframe = false;
        let again = std::mem::take(&mut self.repaired_bytes) as f32;
        let wire = (usize::from(data + parity) * (slot + AROUND)) as f32 + again;
        self.repaired += (again / wire - self.repaired) * 0.02;
        self.waiting_bytes += waiting.len();
        self.frames.push_back(Frame {
            number: self.next_frame,
            counts: (data, parity),
            slot,
            last,
            deadline_us,
            waiting,
            rest: None,
            sent,
            rounds: [0; MAX_PEERS],
        });
        self.next_frame = self.next_frame.wrapping_add(1);
        Ok(())
    }

    /// When a frame that is coded for faster lines is here at the latest; 0 where the encoder follows the line.
    /// A picture of now and then that comes late is more than none.
    fn late_us(&self, unit: &AccessUnit, now_us: u64) -> u64 {
        let bytes = self.waiting_bytes + unit.data.len();
        let takes_us = || (self.pacer.span_us(bytes) * 2 + self.rtt_us()).min(LATEST_US);
        if self.is_outpaced() { now_us + takes_us() } else { 0 }
    }

    /// The path carries `datagram` bytes at once from now on. What was cut for more goes as split shards.
    pub(crate) fn fit(&mut self, datagram: usize) {
        self.datagram = datagram;
    }

    /// Whether what is found missing of a frame, the last of `bytes` to be sent, can come in time when
    /// `left_us` are left.
    fn repairable(&self, bytes: usize, left_us: u64) -> bool {
        self.pacer.span_us(bytes) + self.rtt_us() * 3 / 2 + REPAIR_US < left_us
    }

    /// The share for video were the line full: a small frame now, with as much around it as a large one,
    /// does not make the line narrower.
    fn plan_efficiency(&mut self, loss: Loss, left_us: u64) -> f32 {
        let bytes = self.target_kbps() as usize * 1000 / 8 / PLANNED_FPS * 3 / 4;
        let repairable = self.repairable(bytes, left_us);
        self.packetizer.share(bytes, self.datagram, loss, repairable) * (1.0 - self.repaired)
    }

    /// Lets go of frames that nobody will ask for.
    fn forget(&mut self, now_us: u64) {
        while let Some(oldest) = self.frames.front()
            && oldest.is_out()
            && (self.frames.len() >= KEPT || now_us > oldest.deadline_us + KEPT_US)
        {
            if let Some(Frame { mut waiting, mut sent, .. }) = self.frames.pop_front() {
                sent.clear();
                waiting.clear();
                if self.spare.len() < KEPT {
                    self.spare.push((waiting, sent));
                }
            }
        }
    }

    /// How long what waits will take, in µs.
    pub(crate) fn backlog_us(&self) -> u64 {
        self.pacer.span_us(self.waiting_bytes)
    }

    /// Whether the encoder had better wait.
    pub(crate) fn congested(&self) -> bool {
        self.backlog_us() > BACKLOG_US
    }

    /// The pace, in kbit/s.
    pub(crate) fn pace_kbps(&self) -> u32 {
        self.pacer.kbps() as u32
    }

    /// What may be under way, in bytes: the line's rate, as high as it was of late, for a round trip and some
    /// queue. What waits outside waits as long as what waits in the line's queue; this does not let a
    /// keyframe or a repair wait twice.
    pub(crate) fn in_flight_bytes(&mut self, now_us: u64) -> u64 {
        let passed_us = now_us.saturating_sub(self.remembered_us) as f32;
        self.remembered_us = now_us;
        let faded = self.remembered_kbps * (1.0 - passed_us / FADE_US).max(0.0);
        self.remembered_kbps = faded.max(self.target_kbps() as f32);
        (self.remembered_kbps * (self.rtt_us() + SLACK_US) as f32 / 8_000.0) as u64
    }

    /// Peer `at` tells of arrivals. Whether that makes sense.
    pub(crate) fn arrivals(&mut self, at: usize, report: &Arrivals, now_us: u64) -> bool {
        let narrowest = self.slowest() == Some(at);
        let before_kbps = self.target_kbps();
        let Some(destination) = self.destinations.get_mut(at).and_then(Option::as_mut) else { return false };
        let pacer = &mut self.pacer;
        let learn = |train| {
            if narrowest {
                pacer.learn(train);
            }
        };
        let Some((arrivals, lost)) = destination.history.settle(report, &mut destination.meter, learn) else {
            return false;
        };
        destination.estimator.report(arrivals, lost, now_us);
        let capacity_kbps = destination.estimator.capacity_kbps();
        let (beside_voice, outpaced) = (self.beside_voice(now_us), self.is_outpaced());
        let pace = if beside_voice || outpaced { STEADY_PACE } else { PACE };
        let pace_kbps = (self.target_kbps() as f32 * pace) as u32;
        if narrowest {
            let capacity_kbps = capacity_kbps.filter(|_| beside_voice);
            self.pacer.limit(if outpaced { Some(pace_kbps) } else { capacity_kbps });
        }
        if pace_kbps < before_kbps
            && let Some(capacity_kbps) = capacity_kbps
        {
            // A target below the capacity is to let a queue drain; what was coded before may go as fast as it
            // drains.
            self.pacer.at_most(capacity_kbps.max(pace_kbps));
        }
        self.pacer.at_least(pace_kbps);
        true
    }

    /// Peer `at` asks for shards again.
    pub(crate) fn nack(&mut self, at: usize, nack: &Nack, now_us: u64) {
        let loss = self.worst_loss();
        let Some((_, destination)) = self.followed().find(|(followed, _)| *followed == at) else { return };
        // What went so lately cannot be what is missed: it only waits in the path's queue.
        let lately_us = destination.shortest_us * 3 / 4 + destination.estimator.queue_us();
        let Some(frame) = self.frames.iter_mut().find(|f| f.number == nack.frame) else { return };
        if nack.round <= frame.rounds[at] || self.repairs.len() >= REPAIRS {
            return;
        }
        let total = u32::from(frame.counts.0 + frame.counts.1);
        let whole = [Run { start: 0, length: frame.counts.0 }];
        let runs = if nack.runs().is_empty() { &whole } else { nack.runs() };
        let (sent, rest) = (&frame.sent, frame.rest.map(u32::from));
        let gone = |i: u32| {
            rest != Some(i) && sent.get(i as usize).is_some_and(|(_, at_us)| at_us + lately_us <= now_us)
        };
        let missing = runs
            .iter()
            .flat_map(|r| u32::from(r.start)..(u32::from(r.start) + u32::from(r.length)).min(total))
            .filter(|&i| gone(i));
        let need = usize::from(nack.need).min(frame.counts.0.into());
        // Of what is missing, enough, and as much again as the loss makes wise; then all of it once more, a
        // little later.
        let spare = self.packetizer.spare(need, loss);
        let chosen = missing.take((need + spare).min(REPAIRS - self.repairs.len()));
        let first = self.repairs.len();
        self.repairs.extend(chosen.map(|index| Repair {
            frame: nack.frame,
            index: index as u16,
            part: Part::Whole,
            asked_by: at,
            not_before_us: now_us,
        }));
        if self.repairs.len() > first {
            frame.rounds[at] = nack.round;
        }
        let enough = self.repairs.len() - first >= need + spare && need > 2;
        if !enough {
            for i in first..self.repairs.len() {
                let again = Repair { not_before_us: now_us + MIN_SPACING_US, ..self.repairs[i] };
                self.repairs.push_back(again);
            }
        }
    }

    /// Lets time pass without an answer.
    pub(crate) fn tick(&mut self, now_us: u64) {
        for destination in self.destinations.iter_mut().flatten() {
            destination.estimator.tick(now_us, destination.history.unanswered_us());
        }
        // Most of what is coded for faster lines is refused here: what goes says nothing of what is wanted.
        let in_demand = self.is_outpaced();
        if self.probe.is_none()
            && self.waiting_bytes == 0
            && let Some(at) = self.slowest()
            && let Some(probe) = self.destination_mut(at).and_then(|d| d.estimator.probe(in_demand, now_us))
        {
            self.probing = Some(at);
            self.probe =
                Some(Padding { left: probe.bytes as usize, kbps: probe.kbps.max(1), next_us: now_us });
        }
    }

    /// The next datagram of video that may go at `now_us`: repairs first, then frames in order.
    pub(crate) fn poll_video(&mut self, now_us: u64) -> Option<Bytes> {
        if !self.pacer.ready(now_us) {
            return None;
        }
        let datagram = self.repair(now_us).or_else(|| self.first_sending(now_us))?;
        self.pacer.spend(datagram.len() + AROUND);
        Some(datagram)
    }

    /// The next datagram of padding that may go at `now_us`.
    pub(crate) fn poll_bulk(&mut self, now_us: u64) -> Option<Bytes> {
        self.padding(now_us)
    }

    /// The next datagram that may go at `now_us`: video, then padding.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn poll(&mut self, now_us: u64) -> Option<Bytes> {
        self.poll_video(now_us).or_else(|| self.poll_bulk(now_us))
    }

    fn repair(&mut self, now_us: u64) -> Option<Bytes> {
        loop {
            // Waiting ones stand behind those that are due, but for a few.
            let at = self.repairs.iter().position(|r| r.not_before_us <= now_us)?;
            let Repair { frame, index, part, asked_by, .. } = self.repairs.remove(at)?;
            let Some(frame) = self.frames.iter_mut().find(|f| f.number == frame) else { continue };
            // Nobody waits for it any more, and what has not gone yet does.
            if now_us > frame.deadline_us + KEPT_US {
                continue;
            }
            let Some((shard, at_us)) = frame.sent.get_mut(usize::from(index)) else { continue };
            *at_us = now_us;
            let shard = shard.clone();
            let part = if part == Part::Whole && shard.len() > self.datagram { Part::First } else { part };
            if part == Part::First {
                let rest = Repair {
                    frame: frame.number,
                    index,
                    part: Part::Second,
                    asked_by,
                    not_before_us: now_us,
                };
                self.repairs.push_front(rest);
            }
            let datagram = frame.datagram_of(index, part, &shard, self.packet, now_us);
            self.sent(now_us, datagram.len() + AROUND, None, false);
            self.repaired_bytes += datagram.len() + AROUND;
            self.repairs_sent[asked_by] += u64::from(part != Part::Second);
            return Some(datagram);
        }
    }

    fn first_sending(&mut self, now_us: u64) -> Option<Bytes> {
        if self.waiting_bytes == 0 {
            return None;
        }
        let frame = self.frames.iter_mut().find(|f| !f.is_out())?;
        let packet = self.packet;
        let datagram = if let Some(index) = frame.rest.take() {
            let (shard, at_us) = frame.sent.get_mut(usize::from(index))?;
            *at_us = now_us;
            let shard = shard.clone();
            frame.datagram_of(index, Part::Second, &shard, packet, now_us)
        } else {
            let (index, mut shard) = frame.next_shard()?;
            let whole = shard.len() <= self.datagram;
            if whole {
                let left_us = frame.deadline_us.saturating_sub(now_us);
                let header = &mut shard[..SHARD_HEADER];
                packet::put_header(header, packet, frame.number, (index, Part::Whole), frame.counts, left_us);
            } else {
                frame.rest = Some(index);
            }
            let shard = shard.freeze();
            frame.sent.push((shard.clone(), now_us));
            if whole { shard } else { frame.datagram_of(index, Part::First, &shard, packet, now_us) }
        };
        let number = frame.number;
        if frame.rest.is_none() {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(frame.slot);
        }
        self.sent(now_us, datagram.len() + AROUND, Some(number), false);
        Some(datagram)
    }

    fn padding(&mut self, now_us: u64) -> Option<Bytes> {
        let probe = self.probe.as_mut().filter(|probe| now_us >= probe.next_us)?;
        let size = sizes::SAFE_DATAGRAM;
        let wire = size + AROUND;
        probe.next_us += wire as u64 * 8_000 / u64::from(probe.kbps);
        probe.left = probe.left.saturating_sub(wire);
        let over = probe.left == 0;
        let mut datagram = BytesMut::with_capacity(size);
        packet::put_padding(&mut datagram, self.packet, size);
        self.sent(now_us, wire, None, true);
        if over {
            (self.probe, self.probing) = (None, None);
        }
        Some(datagram.freeze())
    }

    /// When [`Sender::poll_video`] may have something, in µs; `u64::MAX` for never.
    pub(crate) fn next_video_us(&self) -> u64 {
        let repair = self.repairs.iter().map(|r| r.not_before_us).min();
        let frame = (self.waiting_bytes > 0).then_some(0);
        repair.into_iter().chain(frame).min().map_or(u64::MAX, |us| us.max(self.pacer.next_us()))
    }

    /// When [`Sender::poll_bulk`] has something, in µs; `u64::MAX` for never.
    pub(crate) fn next_bulk_us(&self) -> u64 {
        self.probe.map_or(u64::MAX, |padding| padding.next_us)
    }

    /// The earlier of the two.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn next_us(&self) -> u64 {
        self.next_video_us().min(self.next_bulk_us())
    }
}

#[cfg(test)]
mod tests;
