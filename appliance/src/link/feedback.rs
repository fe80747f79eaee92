//! The `feedback` track: what goes back to the sender, and the clock that both booths share. Pure.
//!
//! ```text
//! version:8  flags:8  sent_us:64  echo_us:64  held_us:32  newest:32  received:64  lost:64      (big endian)
//! ```

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::shard::MAX_TIME_US;

const VERSION: u8 = 1;
const LENGTH: usize = 42;
const KEYFRAME: u8 = 1;
const CAMERA: u8 = 2;

/// One report to the other booth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Feedback {
    /// We cannot decode without a keyframe.
    pub(super) keyframe: bool,
    /// Our camera gives pictures.
    pub(super) camera: bool,
    /// When this was sent, on the sender's clock, in µs.
    pub(super) sent_us: u64,
    /// `sent_us` of the newest report that came from the other side; 0 for none.
    pub(super) echo_us: u64,
    /// How long ago that one came, in µs.
    pub(super) held_us: u32,
    /// The newest frame received whole.
    pub(super) newest: u32,
    /// Frames received whole, in all.
    pub(super) received: u64,
    /// Frames lost, in all.
    pub(super) lost: u64,
}

impl Feedback {
    pub(super) fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(LENGTH);
        out.put_u8(VERSION);
        out.put_u8(if self.keyframe { KEYFRAME } else { 0 } | if self.camera { CAMERA } else { 0 });
        out.put_u64(self.sent_us);
        out.put_u64(self.echo_us);
        out.put_u32(self.held_us);
        out.put_u32(self.newest);
        out.put_u64(self.received);
        out.put_u64(self.lost);
        out.freeze()
    }

    /// Reads a datagram; `None` when it makes no sense.
    pub(super) fn parse(mut datagram: Bytes) -> Option<Self> {
        if datagram.len() != LENGTH || datagram.get_u8() != VERSION {
            return None;
        }
        let flags = datagram.get_u8();
        let report = Self {
            keyframe: flags & KEYFRAME != 0,
            camera: flags & CAMERA != 0,
            sent_us: datagram.get_u64(),
            echo_us: datagram.get_u64(),
            held_us: datagram.get_u32(),
            newest: datagram.get_u32(),
            received: datagram.get_u64(),
            lost: datagram.get_u64(),
        };
        (report.sent_us <= MAX_TIME_US && report.echo_us <= MAX_TIME_US).then_some(report)
    }
}

/// How many exchanges the clock remembers: at ten a second, long enough to meet a quiet moment, short enough to follow drift.
const MEMORY: usize = 64;

/// The other booth's clock, from exchanges of reports.
///
/// The exchange with the shortest round trip met the least queueing, so its two ways are the most alike and its offset is the
/// best (RFC 5905, section 10, the clock filter).
#[derive(Debug, Default)]
pub(super) struct PeerClock {
    /// (round trip, offset) in µs.
    exchanges: VecDeque<(u64, i64)>,
}

impl PeerClock {
    /// A report that answers one of ours came at `now_us`. Returns the round trip in µs; `None` when its times are absurd.
    pub(super) fn exchange(&mut self, report: &Feedback, now_us: u64) -> Option<u64> {
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
    pub(super) fn offset_us(&self) -> Option<i64> {
        self.exchanges.iter().min_by_key(|e| e.0).map(|e| e.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_read_what_they_write() {
        let f = Feedback {
            keyframe: true,
            camera: false,
            sent_us: 1,
            echo_us: 2,
            held_us: 3,
            newest: 4,
            received: 5,
            lost: 6,
        };
        assert_eq!(Feedback::parse(f.write()), Some(f));
        let bytes = f.write();
        for length in 0..LENGTH {
            assert_eq!(Feedback::parse(bytes.slice(..length)), None);
        }
        let mut other = bytes.to_vec();
        other[0] = 9;
        assert_eq!(Feedback::parse(other.into()), None);
    }

    #[test]
    fn the_clock_is_found_through_queues() {
        let (offset, one_way) = (-5_000_000_i64, 20_000);
        let mut clock = PeerClock::default();
        for (i, queue) in [9_000, 0, 30_000, 700].into_iter().enumerate() {
            let t0 = 10_000_000 + i as u64 * 100_000;
            let (there, held) = ((t0 + one_way + queue).saturating_add_signed(offset), 1_000);
            let report =
                Feedback { echo_us: t0, sent_us: there + held, held_us: held as u32, ..Feedback::default() };
            let back = t0 + one_way + queue + held + one_way;
            assert_eq!(clock.exchange(&report, back), Some(2 * one_way + queue));
        }
        assert_eq!(clock.offset_us(), Some(offset));
    }

    #[test]
    fn absurd_times_change_nothing() {
        let mut clock = PeerClock::default();
        for (echo_us, held_us, sent_us) in [(0, 0, 5), (u64::MAX, 0, 5), (100, u32::MAX, 5), (100, 50, 5)] {
            let report = Feedback { echo_us, held_us, sent_us, ..Feedback::default() };
            assert_eq!(clock.exchange(&report, 1_000), None);
        }
        assert_eq!(clock.offset_us(), None);
    }
}
