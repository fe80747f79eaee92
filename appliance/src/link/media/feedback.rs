//! The `feedback` track: what goes back to the sender, and the clock that both booths share. No I/O.
//!
//! ```text
//! report:    kind:8=1  flags:8  track:8  sent_us:64  echo_us:64  held_us:32  newest:32  received:64  lost:64
//! arrivals:  kind:8=2  base:32  base_us:64  count:16  {after:16}…
//! nack:      kind:8=3  track:8  {frame:32  round:8  need:16  runs:8  {start:16  length:16}…}…
//! key:       kind:8=4  secret:256
//! ```
//! All numbers are big endian. `track` is the track that a message is about
//! ([`TrackInfo::feedback_id`](crate::link::track::TrackInfo)). `arrivals` tells of the datagrams of all
//! media tracks, which share their numbers, from `base` on when each came, in units of 8 µs after `base_us`
//! on the receiver's clock, or 0xffff for not (yet). `nack` lists frames with how many shards they still need
//! and which are missing; without runs nothing of the frame has come, and with `need` 0xffff not even its
//! size is known. `key` gives the secret under which the sender encrypts what goes to all its peers; it only
//! travels encrypted for one.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::link::media::packet::MAX_TIME_US;
use crate::link::track::Track;

const REPORT: u8 = 1;
const ARRIVALS: u8 = 2;
const NACK: u8 = 3;
const KEY: u8 = 4;
const REPORT_LENGTH: usize = 43;
const ARRIVALS_HEADER: usize = 15;
const KEYFRAME: u8 = 1;
const CAMERA: u8 = 2;
const TOO_SLOW: u8 = 4;
const HAS_KEY: u8 = 8;
const MUTED: u8 = 16;
const MISSING: u16 = u16::MAX;
const AFTER_UNIT_US: u64 = 8;
/// The longest time from the earliest to the latest arrival that one `arrivals` can tell, in µs: about half a
/// second.
pub(crate) const MAX_SPAN_US: u64 = (MISSING as u64 - 1) * AFTER_UNIT_US;
/// The most datagrams that one `arrivals` tells of.
pub(crate) const MAX_ARRIVALS: usize = 512;
/// The most runs of missing shards that are told of one frame.
pub(crate) const MAX_RUNS: usize = 12;
/// The most frames in one `nack`.
pub(crate) const MAX_NACKS: usize = 16;

/// What a datagram of the track says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// How the other booth fares.
    Report(Report),
    /// When our datagrams came.
    Arrivals(Arrivals),
    /// What it wants again.
    Nacks(Vec<Nack>),
    /// Its sender's secret.
    Key([u8; 32]),
}

impl Feedback {
    /// Reads a datagram; `None` when it makes no sense.
    pub(crate) fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        match bytes.get_u8() {
            REPORT => Report::parse(bytes).map(Self::Report),
            ARRIVALS => Arrivals::parse(bytes).map(Self::Arrivals),
            NACK => Nack::parse_all(bytes).map(Self::Nacks),
            KEY => bytes.as_ref().try_into().ok().map(Self::Key),
            _ => None,
        }
    }

    /// A datagram that gives our sender's secret.
    pub(crate) fn write_key(secret: &[u8; 32]) -> Bytes {
        let mut out = BytesMut::with_capacity(33);
        out.put_u8(KEY);
        out.put_slice(secret);
        out.freeze()
    }
}

/// Whether a message is about the one track that is repaired and asked keyframes of.
fn is_about_frames(track: u8) -> bool {
    Track::from_feedback_id(track) == Some(Track::Hologram)
}

/// How a booth fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// We cannot decode without a keyframe.
    pub(crate) keyframe: bool,
    /// Our camera gives pictures.
    pub(crate) camera: bool,
    /// Our microphone is off.
    pub(crate) muted: bool,
    /// The path from us to the receiver of this is too slow for the meeting: it gets fewer pictures.
    pub(crate) too_slow: bool,
    /// The receiver of this has given us its sender's secret.
    pub(crate) has_key: bool,
    /// When this was sent, on the sender's clock, in µs.
    pub(crate) sent_us: u64,
    /// `sent_us` of the newest report that came from the other side; 0 for none.
    pub(crate) echo_us: u64,
    /// How long ago that one came, in µs.
    pub(crate) held_us: u32,
    /// The newest frame received whole.
    pub(crate) newest: u32,
    /// Frames received whole, in all.
    pub(crate) received: u64,
    /// Frames lost, in all.
    pub(crate) lost: u64,
}

impl Report {
    pub(crate) fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(REPORT_LENGTH);
        out.put_u8(REPORT);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(
            flag(self.keyframe, KEYFRAME)
                | flag(self.camera, CAMERA)
                | flag(self.muted, MUTED)
                | flag(self.too_slow, TOO_SLOW)
                | flag(self.has_key, HAS_KEY),
        );
        out.put_u8(Track::Hologram.info().feedback_id);
        out.put_u64(self.sent_us);
        out.put_u64(self.echo_us);
        out.put_u32(self.held_us);
        out.put_u32(self.newest);
        out.put_u64(self.received);
        out.put_u64(self.lost);
        out.freeze()
    }

    fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() != REPORT_LENGTH - 1 {
            return None;
        }
        let (flags, track) = (bytes.get_u8(), bytes.get_u8());
        let report = Self {
            keyframe: flags & KEYFRAME != 0,
            camera: flags & CAMERA != 0,
            muted: flags & MUTED != 0,
            too_slow: flags & TOO_SLOW != 0,
            has_key: flags & HAS_KEY != 0,
            sent_us: bytes.get_u64(),
            echo_us: bytes.get_u64(),
            held_us: bytes.get_u32(),
            newest: bytes.get_u32(),
            received: bytes.get_u64(),
            lost: bytes.get_u64(),
        };
        let sensible =
            is_about_frames(track) && report.sent_us <= MAX_TIME_US && report.echo_us <= MAX_TIME_US;
        sensible.then_some(report)
    }
}

/// When the datagrams from `base` on came, in the order of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrivals {
    /// The number of the first.
    pub(crate) base: u32,
    base_us: u64,
    after: Bytes,
}

impl Arrivals {
    /// `came`: the arrival of each from `base` on, in µs, up to [`MAX_ARRIVALS`] and within [`MAX_SPAN_US`];
    /// what is later than that is told too early.
    pub(crate) fn write(base: u32, came: impl ExactSizeIterator<Item = Option<u64>> + Clone) -> Bytes {
        let base_us = came.clone().flatten().min().unwrap_or(0);
        let count = came.len().min(MAX_ARRIVALS);
        let mut out = BytesMut::with_capacity(ARRIVALS_HEADER + 2 * count);
        out.put_u8(ARRIVALS);
        out.put_u32(base);
        out.put_u64(base_us);
        out.put_u16(count as u16);
        for came_us in came.take(count) {
            let after =
                came_us.map(|us| (us.saturating_sub(base_us) / AFTER_UNIT_US).min((MISSING - 1).into()));
            out.put_u16(after.map_or(MISSING, |after| after as u16));
        }
        out.freeze()
    }

    fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < ARRIVALS_HEADER - 1 {
            return None;
        }
        let (base, base_us, count) = (bytes.get_u32(), bytes.get_u64(), usize::from(bytes.get_u16()));
        let sensible = count <= MAX_ARRIVALS && bytes.len() == 2 * count && base_us <= MAX_TIME_US;
        sensible.then_some(Self { base, base_us, after: bytes })
    }

    /// The arrival of each, in µs on the receiver's clock.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<u64>> {
        self.after.chunks_exact(2).map(|pair| {
            let after = u16::from_be_bytes([pair[0], pair[1]]);
            (after != MISSING).then(|| self.base_us + u64::from(after) * AFTER_UNIT_US)
        })
    }
}

/// Shards in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Run {
    /// The first.
    pub(crate) start: u16,
    /// How many.
    pub(crate) length: u16,
}

/// What one frame lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nack {
    /// The frame.
    pub(crate) frame: u32,
    /// Which time it is asked for; the same question may come twice.
    pub(crate) round: u8,
    /// How many shards make it whole; `u16::MAX` when its size is not known.
    pub(crate) need: u16,
    /// What is missing, the first [`MAX_RUNS`] of it.
    pub(crate) runs: [Run; MAX_RUNS],
    /// How many of `runs` count.
    pub(crate) count: usize,
}

impl Nack {
    /// The runs that count.
    pub(crate) fn runs(&self) -> &[Run] {
        self.runs.get(..self.count).unwrap_or(&[])
    }

    /// One datagram for all of `nacks`, of which there are at most [`MAX_NACKS`].
    pub(crate) fn write(nacks: &[Self]) -> Bytes {
        let mut out = BytesMut::with_capacity(2 + nacks.len() * (8 + 4 * MAX_RUNS));
        out.put_u8(NACK);
        out.put_u8(Track::Hologram.info().feedback_id);
        for nack in nacks.iter().take(MAX_NACKS) {
            out.put_u32(nack.frame);
            out.put_u8(nack.round);
            out.put_u16(nack.need);
            out.put_u8(nack.count as u8);
            for run in nack.runs() {
                out.put_u16(run.start);
                out.put_u16(run.length);
            }
        }
        out.freeze()
    }

    fn parse_all(mut bytes: Bytes) -> Option<Vec<Self>> {
        let mut nacks = Vec::new();
        if !is_about_frames(bytes.try_get_u8().ok()?) {
            return None;
        }
        while !bytes.is_empty() {
            if bytes.len() < 8 || nacks.len() == MAX_NACKS {
                return None;
            }
            let (frame, round, need) = (bytes.get_u32(), bytes.get_u8(), bytes.get_u16());
            let count = usize::from(bytes.get_u8());
            if count > MAX_RUNS || bytes.len() < 4 * count {
                return None;
            }
            let mut runs = [Run::default(); MAX_RUNS];
            for run in runs.iter_mut().take(count) {
                *run = Run { start: bytes.get_u16(), length: bytes.get_u16() };
            }
            nacks.push(Self { frame, round, need, runs, count });
        }
        (!nacks.is_empty()).then_some(nacks)
    }
}

/// How many exchanges the clock remembers: at ten a second, long enough to meet a quiet moment, short enough
/// to follow drift.
const MEMORY: usize = 64;

/// The other booth's clock, from exchanges of reports.
///
/// The exchange with the shortest round trip met the least queueing, so its two ways are the most alike and
/// its offset is the best (RFC 5905, section 10, the clock filter).
#[derive(Debug, Default)]
pub(crate) struct PeerClock {
    /// (round trip, offset) in µs.
    exchanges: VecDeque<(u64, i64)>,
}

impl PeerClock {
    /// A report that answers one of ours came at `now_us`. Returns the round trip in µs; `None` when its
    /// times are absurd.
    pub(crate) fn exchange(&mut self, report: &Report, now_us: u64) -> Option<u64> {
        if report.echo_us == 0 {
            return None;
        }
        let round_trip = now_us.checked_sub(report.echo_us)?.checked_sub(report.held_us.into())?;
        if round_trip > 10_000_000 {
            return None;
        }
        let there = report.sent_us.checked_sub(report.held_us.into())?;
        let half = (round_trip / 2) as i64;
        let offset = (there as i64).wrapping_sub(report.echo_us as i64).wrapping_sub(half);
        if self.exchanges.len() == MEMORY {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back((round_trip, offset));
        Some(round_trip)
    }

    /// The other booth's clock minus ours, in µs; `None` before the first exchange.
    pub(crate) fn offset_us(&self) -> Option<i64> {
        self.exchanges.iter().min_by_key(|e| e.0).map(|e| e.1)
    }

    /// The round trip without queues, in µs, as good as it was of late.
    pub(crate) fn shortest_us(&self) -> Option<u64> {
        self.exchanges.iter().map(|e| e.0).min()
    }

    /// The round trip as it is now, in µs: the median of the last few, so that one late report does not
    /// count.
    pub(crate) fn rtt_us(&self) -> Option<u64> {
        let mut last: [u64; 5] = [u64::MAX; 5];
        let recent = self.exchanges.iter().rev().take(5);
        let count = recent.len();
        last.iter_mut().zip(recent).for_each(|(slot, e)| *slot = e.0);
        last.sort_unstable();
        (count > 0).then(|| last[count / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_again() {
        let report = Report {
            keyframe: true,
            camera: false,
            muted: true,
            too_slow: true,
            has_key: true,
            sent_us: 1,
            echo_us: 2,
            held_us: 3,
            newest: 4,
            received: 5,
            lost: 6,
        };
        assert_eq!(Feedback::parse(report.write()), Some(Feedback::Report(report)));

        assert_eq!(Feedback::parse(Feedback::write_key(&[7; 32])), Some(Feedback::Key([7; 32])));

        let came = [Some(1_000_000), None, Some(1_000_800), Some(999_200)];
        let Some(Feedback::Arrivals(arrivals)) = Feedback::parse(Arrivals::write(7, came.into_iter())) else {
            panic!("no arrivals");
        };
        assert_eq!(arrivals.base, 7);
        assert_eq!(arrivals.iter().collect::<Vec<_>>(), came);

        let mut runs = [Run::default(); MAX_RUNS];
        runs[0] = Run { start: 3, length: 2 };
        runs[1] = Run { start: 9, length: 1 };
        let some = Nack { frame: 12, round: 1, need: 2, runs, count: 2 };
        let all = Nack { frame: 13, round: 2, need: u16::MAX, runs: Default::default(), count: 0 };
        assert_eq!(Feedback::parse(Nack::write(&[some, all])), Some(Feedback::Nacks(vec![some, all])));
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let report = Report { sent_us: 5, ..Report::default() }.write();
        let arrivals = Arrivals::write(1, [Some(5), None].into_iter());
        let nack =
            Nack { frame: 1, round: 1, need: 1, runs: [Run { start: 1, length: 1 }; MAX_RUNS], count: 3 };
        for whole in [report, arrivals, Nack::write(&[nack]), Feedback::write_key(&[1; 32])] {
            for length in 0..whole.len() {
                assert_eq!(Feedback::parse(whole.slice(..length)), None, "{length} of {}", whole.len());
            }
            let mut longer = whole.to_vec();
            longer.push(0);
            assert_eq!(Feedback::parse(longer.into()), None);
            let mut other = whole.to_vec();
            other[0] = 9;
            assert_eq!(Feedback::parse(other.into()), None);
            let mut other = whole.to_vec();
            if other[0] == KEY {
                continue;
            }
            let track = if other[0] == REPORT { 2 } else { 1 };
            other[track] = Track::Voice.info().feedback_id;
            let kept = Feedback::parse(other.into());
            assert!(kept.is_none() || whole[0] == ARRIVALS, "about a track that is not repaired");
        }
    }

    #[test]
    fn the_clock_is_found_through_queues() {
        let (offset, one_way) = (-5_000_000_i64, 20_000);
        let mut clock = PeerClock::default();
        for (i, queue) in [9_000, 0, 30_000, 700].into_iter().enumerate() {
            let t0 = 10_000_000 + i as u64 * 100_000;
            let (there, held) = ((t0 + one_way + queue).saturating_add_signed(offset), 1_000);
            let report =
                Report { echo_us: t0, sent_us: there + held, held_us: held as u32, ..Report::default() };
            let back = t0 + one_way + queue + held + one_way;
            assert_eq!(clock.exchange(&report, back), Some(2 * one_way + queue));
        }
        assert_eq!(clock.offset_us(), Some(offset));
        assert_eq!((clock.shortest_us(), clock.rtt_us()), (Some(40_000), Some(49_000)));
    }

    #[test]
    fn absurd_times_change_nothing() {
        let mut clock = PeerClock::default();
        for (echo_us, held_us, sent_us) in [(0, 0, 5), (u64::MAX, 0, 5), (100, u32::MAX, 5), (100, 50, 5)] {
            let report = Report { echo_us, held_us, sent_us, ..Report::default() };
            assert_eq!(clock.exchange(&report, 1_000), None);
        }
        assert_eq!(clock.offset_us(), None);
        assert_eq!(clock.rtt_us(), None);
    }
}
