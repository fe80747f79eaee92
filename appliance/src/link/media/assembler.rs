//! Shards in, whole frames out, in order; and what to ask for again. No I/O.
//!
//! ```text
//!            first shard                 any `data` of its shards              all before it are out
//! (unseen) ───────────────► open ─────────────────────────────────► whole ─────────────────────────► out
//!     │                     │  ▲ │
//!     └──── a later frame ──┘  └─┘ too much missing: asked for again, once a round trip
//!           has begun       │
//!                           └─► given up: the deadline is so far gone that starting afresh is quicker
//! ```

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::link::media::fec;
use crate::link::media::feedback::Nack;
use crate::link::media::packet::{self, Part, Shard};
use crate::link::media::rx_frame::{Frame, due_us, given_up_us, nack, waited_for_until_us};
use crate::media::picture::AccessUnit;

/// Frames under way at once, from the first that is not out to the newest seen.
const OPEN: usize = 64;
/// A frame so far ahead of the newest cannot be: a session in which so many are missing has long ended.
const FAR_AHEAD: u32 = 1_000;
/// A frame whose last shards are missing is thought to have ended after so long a silence, in µs, or after so
/// many times the longest of late between two shards, but not after more.
const TAIL_US: std::ops::RangeInclusive<u64> = 5_000..=40_000;
const TAIL_GAPS: u64 = 2;
/// Access units that the decoder may still hold when their memory is looked for, and how much free memory is
/// kept, in frames.
const LENT: usize = 16;
const FREE: usize = 4;
/// What frames under way may hold, in bytes: many times the largest keyframe.
const HELD_BYTES: usize = 32 << 20;
/// Memory of a larger frame is given back, in bytes.
const SPARE_BYTES: usize = 1 << 20;
/// What was made of one shard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It has its place.
    Used,
    /// Nobody needs it any more.
    Late,
    /// It contradicts what came before.
    Malformed,
}

/// A frame that is out.
#[derive(Debug)]
pub(crate) struct Out {
    /// The access unit, with the sender's stamps.
    pub(crate) unit: AccessUnit,
    /// Frames missing between this one and the one before.
    pub(crate) lost: u32,
}

/// Puts the frames of one session together.
#[derive(Default)]
pub(crate) struct Assembler {
    /// The frame that is to come out next; none before anything came.
    next: Option<u32>,
    /// From `next` on, without a gap.
    frames: VecDeque<Frame>,
    /// Frames given up since the last that came out.
    lost: u32,
    /// What came out last can be decoded, as far as frames given up tell.
    sound: bool,
    /// When the last shard came, and the longest time of late between two of one frame, in µs.
    last_us: u64,
    gap_us: u64,
    decoder: fec::Decoder,
    spare: Vec<Frame>,
    /// Access units on their way to the decoder, whose memory comes back, and what has come back.
    lent: VecDeque<Bytes>,
    free: Vec<BytesMut>,
}

impl Assembler {
    /// Takes a shard that came at `now_us`, `way_us` after it was sent.
    pub(crate) fn push(&mut self, shard: Shard, now_us: u64, way_us: u64) -> Made {
        let next = *self.next.get_or_insert(shard.frame);
        let ahead = shard.frame.wrapping_sub(next);
        if ahead >= 1 << 31 {
            return Made::Late;
        }
        if ahead > FAR_AHEAD {
            return Made::Malformed;
        }
        let deadline_us = now_us + shard.left_us.saturating_sub(way_us);
        let ahead = self.open(shard.frame, now_us, deadline_us);
        let held_bytes = self.frames.iter().map(|f| f.buffer.len()).sum::<usize>();
        let Some(frame) = self.frames.get_mut(ahead) else { return Made::Late };
        let counts = (usize::from(shard.data), usize::from(shard.parity));
        let (index, length) = (usize::from(shard.index), shard.length);
        let most_bytes = HELD_BYTES - held_bytes.saturating_sub(frame.buffer.len()).min(HELD_BYTES);
        if frame.counts.0 == 0 {
            if (counts.0 + counts.1) * length > most_bytes {
                return Made::Malformed;
            }
            if frame.buffer.capacity() == 0 {
                frame.buffer = self.free.pop().unwrap_or_default();
            }
            frame.lay_out(counts, length);
            frame.deadline_us = deadline_us;
        }
        if frame.counts != counts {
            return Made::Malformed;
        }
        if frame.whole.is_some() || frame.have.get(index) != Some(&false) {
            return Made::Late;
        }
        if length > frame.length && frame.only_last() {
            if (counts.0 + counts.1) * length > most_bytes {
                return Made::Malformed;
            }
            frame.stretch(length);
        }
        let (place, size) = (shard.part.bytes(frame.length), shard.piece.len());
        // The last of the data may be without the zeros behind the frame.
        let fits = size == place.len() || (size < place.len() && index + 1 == counts.0);
        if !fits || (shard.part != Part::Whole && length != frame.length) {
            return Made::Malformed;
        }
        // What was asked for says nothing of how the line delivers what is on its way.
        if frame.got > 0 && index > 0 && frame.asked.is_none() {
            let gap_us = now_us.saturating_sub(self.last_us);
            self.gap_us = gap_us.max(self.gap_us - self.gap_us / 64);
        }
        self.last_us = now_us;
        frame.heard_us = now_us;
        // The one copy of the coded bytes on this side: into their place.
        frame.buffer[index * frame.length + place.start..][..size].copy_from_slice(&shard.piece);
        if !frame.whole_with(index, shard.part) {
            return Made::Used;
        }
        frame.have[index] = true;
        frame.got += 1;
        frame.reached = frame.reached.max(index + 1);
        if frame.got < counts.0 {
            return Made::Used;
        }
        if self.complete(ahead) { Made::Used } else { Made::Malformed }
    }

    /// Makes room for frame `number` and all before it; gives its place.
    fn open(&mut self, number: u32, now_us: u64, deadline_us: u64) -> usize {
        loop {
            let Some(next) = self.next else { return 0 };
            let ahead = number.wrapping_sub(next) as usize;
            if ahead < OPEN {
                while self.frames.len() <= ahead {
                    let mut frame = self.spare.pop().unwrap_or_else(Frame::empty);
                    frame.number = next.wrapping_add(self.frames.len() as u32);
                    frame.heard_us = now_us;
                    frame.deadline_us = deadline_us;
                    self.frames.push_back(frame);
                }
                return ahead;
            }
            self.give_up();
        }
    }

    /// Gives up the oldest frame.
    fn give_up(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.recycle(frame);
        }
        self.lost = self.lost.saturating_add(1);
        self.sound = false;
        self.next = self.next.map(|next| next.wrapping_add(1));
    }

    fn recycle(&mut self, mut frame: Frame) {
        if self.spare.len() < OPEN {
            (frame.counts, frame.got, frame.reached, frame.asked, frame.whole) = ((0, 0), 0, 0, None, None);
            frame.have.clear();
            if frame.buffer.capacity() > SPARE_BYTES {
                frame.buffer = BytesMut::new();
            }
            self.spare.push(frame);
        }
    }

    /// All that is needed of a frame is there. Whether it makes sense; if not, nothing of it has come.
    fn complete(&mut self, at: usize) -> bool {
        let Some(frame) = self.frames.get_mut(at) else { return false };
        let (counts, length) = (frame.counts, frame.length);
        let whole = frame.have[..counts.0].iter().all(|&have| have)
            || self.decoder.restore(&mut frame.buffer, counts, length, |i| frame.have[i]).is_ok();
        let mut bytes = std::mem::take(&mut frame.buffer);
        bytes.truncate(counts.0 * length);
        let bytes = bytes.freeze();
        frame.whole = packet::read_frame(frame.number, bytes.clone()).filter(|_| whole);
        let sensible = frame.whole.is_some();
        if !sensible {
            (frame.counts, frame.got, frame.reached) = ((0, 0), 0, 0);
            frame.have.clear();
        }
        self.lend(bytes);
        sensible
    }

    /// Remembers `bytes`, and takes back into use what nobody holds any more.
    fn lend(&mut self, bytes: Bytes) {
        self.lent.push_back(bytes);
        if self.lent.len() < LENT {
            return;
        }
        let Some(oldest) = self.lent.pop_front().filter(|oldest| oldest.len() <= SPARE_BYTES) else { return };
        if let Ok(free) = oldest.try_into_mut()
            && self.free.len() < FREE
        {
            self.free.push(free);
        }
    }

    /// The next frame that is ready, in order; what was given up before it is told with it.
    pub(crate) fn take(&mut self) -> Option<Out> {
        let unit = self.frames.front_mut()?.whole.take()?;
        self.sound |= unit.keyframe;
        if let Some(frame) = self.frames.pop_front() {
            self.recycle(frame);
        }
        self.next = self.next.map(|next| next.wrapping_add(1));
        Some(Out { unit, lost: std::mem::take(&mut self.lost) })
    }

    /// The newest whole keyframe with a hole before it, and until when it waits for the hole to be filled.
    /// When what came before the hole cannot be decoded, nor can what is in it.
    fn keyframe_behind_a_hole(&self, rtt_us: u64) -> Option<(usize, u64)> {
        let whole = |f: &Frame| f.whole.as_ref().is_some_and(|unit| unit.keyframe);
        let keyframe = self.frames.iter().rposition(whole)?;
        let holes = self.frames.iter().take(keyframe).filter(|f| f.whole.is_none());
        let until_us = holes.map(|f| waited_for_until_us(f, rtt_us)).min()?;
        Some((keyframe, if self.sound { until_us } else { 0 }))
    }

    /// What comes after a hole can be decoded from a keyframe on: gives up what stands before the newest
    /// whole one, unless the hole may still be filled in time.
    fn skip_to_keyframe(&mut self, now_us: u64, rtt_us: u64) {
        if let Some((keyframe, until_us)) = self.keyframe_behind_a_hole(rtt_us)
            && now_us >= until_us
        {
            (0..keyframe).for_each(|_| self.give_up());
        }
    }

    /// Lets time pass: gives up what is beyond hope, and tells through `ask` what to ask for again, until
    /// that says that it is enough for now. Whether it takes a keyframe to go on.
    pub(crate) fn tick(&mut self, now_us: u64, rtt_us: u64, mut ask: impl FnMut(Nack) -> bool) -> bool {
        self.skip_to_keyframe(now_us, rtt_us);
        let mut broken = false;
        while let Some(front) = self.frames.front()
            && front.whole.is_none()
            && now_us >= given_up_us(front, rtt_us)
        {
            self.give_up();
            broken = true;
        }
        let tail_us = self.tail_us();
        let newest = self.frames.len().saturating_sub(1);
        for (at, frame) in self.frames.iter_mut().enumerate() {
            if frame.whole.is_none() && now_us >= due_us(frame, at < newest, tail_us, rtt_us) {
                let round = frame.asked.map_or(1, |(_, round)| round.saturating_add(1));
                if !ask(nack(frame, round)) {
                    break;
                }
                frame.asked = Some((now_us, round));
            }
        }
        broken
    }

    /// How long after its last shard a frame is thought to have ended.
    fn tail_us(&self) -> u64 {
        (self.gap_us * TAIL_GAPS).clamp(*TAIL_US.start(), *TAIL_US.end())
    }

    /// When [`Assembler::tick`] has something to do next, in µs; `u64::MAX` for never.
    pub(crate) fn next_us(&self, rtt_us: u64) -> u64 {
        let newest = self.frames.len().saturating_sub(1);
        let front = self.frames.front().filter(|f| f.whole.is_none()).map(|f| given_up_us(f, rtt_us));
        let due = self.frames.iter().enumerate().filter(|(_, f)| f.whole.is_none());
        due.map(|(at, f)| due_us(f, at < newest, self.tail_us(), rtt_us))
            .chain(front)
            .chain(self.keyframe_behind_a_hole(rtt_us).map(|(_, until_us)| until_us))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Bytes that lie here, for tests of what a peer can make us keep.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        let frames = self.frames.iter().chain(&self.spare).map(|f| f.buffer.capacity()).sum::<usize>();
        frames + self.lent.iter().map(Bytes::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::media::rx_frame::{ANSWER_US, REORDER_US, UNSEEN_US};
    use crate::link::media::test_frames::shards;
    use crate::link::media::test_frames::unit;

    const RTT_US: u64 = 40_000;

    /// Pushes all, and takes what is ready.
    fn push(a: &mut Assembler, shards: impl IntoIterator<Item = Shard>, now_us: u64) -> Vec<(u32, u32)> {
        for shard in shards {
            assert_ne!(a.push(shard, now_us, 0), Made::Malformed);
        }
        std::iter::from_fn(|| a.take()).map(|out| (out.unit.number, out.lost)).collect()
    }

    fn ask(a: &mut Assembler, now_us: u64) -> Vec<(u32, u16)> {
        let mut asked = Vec::new();
        a.tick(now_us, RTT_US, |nack| {
            asked.push((nack.frame, nack.need));
            true
        });
        asked
    }

    #[test]
    fn whatever_order_shards_come_in_frames_go_out_in_order_and_once() {
        let mut a = Assembler::default();
        let mut all: Vec<_> = (1..20).flat_map(|n| shards(&unit(n, 700 * n as usize), n, 2)).collect();
        let first = all.remove(0);
        let again = all.clone();
        fastrand::Rng::with_seed(3).shuffle(&mut all);
        let mut out = push(&mut a, [first], 0);
        out.extend(push(&mut a, all, 0));
        out.extend(push(&mut a, again, 0));
        assert_eq!(out, (1..20).map(|n| (n, 0)).collect::<Vec<_>>());
    }

    #[test]
    fn parity_stands_in_for_what_is_lost() {
        let mut a = Assembler::default();
        let original = unit(1, 20_000);
        let mut some = shards(&original, 1, 4);
        some.drain(3..7);
        for shard in some {
            a.push(shard, 0, 0);
        }
        let out = a.take().unwrap();
        assert_eq!((out.unit.data, out.unit.stamps), (original.data, original.stamps));
    }

    #[test]
    fn what_is_missing_is_asked_for_once_a_round_trip_and_then_given_up() {
        let mut a = Assembler::default();
        let mut holed = shards(&unit(1, 10_000), 1, 1);
        let late = holed.drain(4..7).collect::<Vec<_>>();
        assert!(push(&mut a, holed, 1_000).is_empty());
        assert!(push(&mut a, shards(&unit(2, 10_000), 2, 1), 2_000).is_empty());
        assert!(ask(&mut a, 2_500).is_empty(), "it may only have been overtaken");
        let due = a.next_us(RTT_US);
        assert_eq!(ask(&mut a, due), [(1, 2)]);
        assert!(ask(&mut a, due + RTT_US).is_empty(), "the answer is on its way");
        let again = a.next_us(RTT_US);
        assert_eq!(ask(&mut a, again), [(1, 2)]);
        assert_eq!(push(&mut a, late, again + 1), [(1, 0), (2, 0)]);

        let mut holed = shards(&unit(3, 10_000), 3, 1);
        holed.drain(4..7);
        push(&mut a, holed, 300_000);
        push(&mut a, shards(&unit(4, 10_000), 4, 1), 300_000);
        let mut broken = false;
        for ms in 300..1_000 {
            broken |= a.tick(ms * 1_000, RTT_US, |_| true);
        }
        assert!(broken);
        assert_eq!(a.take().map(|out| (out.unit.number, out.lost)), Some((4, 1)));
    }

    #[test]
    fn a_lost_answer_costs_one_round_trip_and_who_stays_silent_is_asked_less() {
        let mut a = Assembler::default();
        let mut holed = shards(&unit(1, 10_000), 1, 1);
        holed.drain(4..7);
        push(&mut a, holed, 1_000);
        push(&mut a, shards(&unit(2, 10_000), 2, 1), 2_000);
        // Far from being given up.
        a.frames[0].deadline_us = 10_000_000;
        let mut at = Vec::new();
        for us in (0..500_000).step_by(1_000) {
            at.extend(ask(&mut a, us).iter().map(|_| us));
        }
        let waits: Vec<_> = at.windows(2).map(|two| (two[1] - two[0]) / RTT_US).collect();
        assert_eq!(waits[..4], [1, 1, 2, 2], "{at:?}");
    }

    #[test]
    fn a_frame_of_which_nothing_came_is_asked_for_too() {
        let mut a = Assembler::default();
        push(&mut a, shards(&unit(1, 5_000), 1, 1), 0);
        push(&mut a, shards(&unit(3, 5_000), 3, 1), 1_000);
        let due = a.next_us(RTT_US);
        let mut runs = None;
        a.tick(due, RTT_US, |nack| {
            runs = Some((nack.frame, nack.need, nack.count));
            true
        });
        assert_eq!(runs, Some((2, u16::MAX, 0)));
    }

    #[test]
    fn what_was_asked_for_does_not_make_the_end_of_the_next_frame_wait() {
        let mut a = Assembler::default();
        let mut holed = shards(&unit(1, 10_000), 1, 0);
        let missing = holed.pop();
        push(&mut a, holed, 0);
        let due = a.next_us(RTT_US);
        assert_eq!((due, ask(&mut a, due)), (*TAIL_US.start(), vec![(1, 1)]));
        assert_eq!(push(&mut a, missing, due + RTT_US), [(1, 0)]);
        let mut holed = shards(&unit(2, 10_000), 2, 0);
        holed.pop();
        push(&mut a, holed, 60_000);
        assert_eq!(a.next_us(RTT_US), 60_000 + TAIL_US.start());
    }

    #[test]
    fn whichever_shard_comes_first_tells_how_long_they_are() {
        for size in [700, 1_500, 2_300, 9_000] {
            let original = unit(1, size);
            let all = shards(&original, 1, 2);
            let data = usize::from(all[0].data);
            assert!(data == 1 || all[data - 1].piece.len() < all[0].piece.len());
            for first in 0..all.len() {
                for lost in [None, Some(0), Some(data - 1)] {
                    let mut a = Assembler::default();
                    let mut order = all.clone();
                    order.swap(0, first);
                    if let Some(lost) = lost {
                        order.retain(|shard| usize::from(shard.index) != lost);
                    }
                    for shard in order {
                        assert_ne!(a.push(shard, 0, 0), Made::Malformed, "{size} {first} {lost:?}");
                    }
                    assert_eq!(a.take().map(|out| out.unit.data), Some(original.data.clone()));
                }
            }
        }
    }

    #[test]
    fn halves_make_a_shard_and_nothing_else_does() {
        let original = unit(1, 5_500);
        let all = shards(&original, 1, 0);
        let half = |shard: &Shard, part: Part| {
            let bytes = part.bytes(1_000);
            let piece = shard.piece.slice(bytes.start..bytes.end.min(shard.piece.len()));
            Shard { part, piece, length: 1_000, ..shard.clone() }
        };
        let split: Vec<Shard> = all[1..]
            .iter()
            .flat_map(|shard| [Part::First, Part::Second].map(|part| half(shard, part)))
            .collect();
        for seed in 0..20 {
            let mut a = Assembler::default();
            let mut order = split.clone();
            order.push(all[0].clone());
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
            let cut = Shard { piece: order[0].piece.slice(2..), ..order[0].clone() };
            if cut.part != Part::Whole && cut.index + 1 != cut.data {
                assert_eq!(a.push(cut, 0, 0), Made::Malformed);
            }
            for (at, shard) in order.into_iter().enumerate() {
                assert!(a.take().is_none(), "{seed}: whole with {at} of {}", split.len() + 1);
                assert_eq!(a.push(shard.clone(), 0, 0), Made::Used);
                assert_ne!(a.push(shard, 0, 0), Made::Malformed, "the same again");
            }
            assert_eq!(a.take().map(|out| out.unit.data), Some(original.data.clone()));
        }
    }

    /// When keyframe 30 goes out, whole at 0, with what before it, when a shard of frame 29 is missing and
    /// comes on being asked for the `answered`th time.
    fn keyframe_out(a: &mut Assembler, rtt_us: u64, answered: Option<usize>) -> (u64, Vec<(u32, u32)>) {
        let mut holed = shards(&unit(29, 2_900), 29, 0);
        let missing = holed.remove(1);
        assert!(push(a, holed, 0).is_empty() && push(a, shards(&unit(30, 900), 30, 0), 0).is_empty());
        let (mut now_us, mut asked, mut out) = (0, 0, Vec::new());
        while out.is_empty() {
            now_us = a.next_us(rtt_us).max(now_us + 1);
            a.tick(now_us, rtt_us, |_| {
                asked += 1;
                true
            });
            out.extend(std::iter::from_fn(|| a.take()).map(|out| (out.unit.number, out.lost)));
            if answered == Some(asked) && out.is_empty() {
                now_us += rtt_us;
                out = push(a, [missing.clone()], now_us);
            }
        }
        (now_us, out)
    }

    #[test]
    fn a_keyframe_behind_a_hole_goes_out_once_the_hole_cannot_be_filled_in_time() {
        let begun = || {
            let mut a = Assembler::default();
            push(&mut a, shards(&unit(28, 900), 28, 0), 0);
            a.sound = true;
            a
        };
        let (filled, given_up) = (vec![(29, 0), (30, 0)], vec![(30, 1)]);
        assert_eq!(keyframe_out(&mut begun(), RTT_US, Some(1)), (REORDER_US + RTT_US, filled.clone()));
        let again_us = REORDER_US + RTT_US + ANSWER_US;
        assert_eq!(keyframe_out(&mut begun(), RTT_US, None), (again_us + 1, given_up.clone()));
        let twice_us = REORDER_US + RTT_US / 2 + ANSWER_US + RTT_US / 2;
        assert_eq!(keyframe_out(&mut begun(), RTT_US / 2, Some(2)), (twice_us, filled));
        assert_eq!(keyframe_out(&mut begun(), 2 * RTT_US, None), (REORDER_US, given_up), "no answer in time");
    }

    #[test]
    fn a_keyframe_that_mends_waits_for_nothing() {
        let mut a = Assembler::default();
        push(&mut a, shards(&unit(27, 900), 27, 0), 0);
        a.sound = true;
        a.give_up();
        assert_eq!(keyframe_out(&mut a, RTT_US, Some(1)), (1, vec![(30, 2)]));
        assert!(a.sound);
        // A meeting that begins in the middle has nothing to show before its first keyframe.
        let mut a = Assembler::default();
        push(&mut a, shards(&unit(28, 900), 28, 0), 0);
        assert_eq!(keyframe_out(&mut a, RTT_US, Some(1)), (1, vec![(30, 1)]));
    }

    #[test]
    fn a_keyframe_waits_for_one_of_which_nothing_came_while_that_can_still_be_in_time() {
        for (rtt_us, until_us) in [(RTT_US, 80_000 - UNSEEN_US), (RTT_US * 3 / 2, REORDER_US)] {
            let mut a = Assembler::default();
            push(&mut a, shards(&unit(0, 900), 0, 0), 0);
            assert!(push(&mut a, shards(&unit(30, 900), 2, 0), 0).is_empty());
            let mut now_us = 0;
            while a.frames.len() > 1 {
                assert!(a.take().is_none());
                now_us = a.next_us(rtt_us).max(now_us + 1);
                assert!(!a.tick(now_us, rtt_us, |_| true), "no keyframe needed");
            }
            assert_eq!(a.take().map(|out| (out.unit.number, out.lost)), Some((2, 1)));
            assert_eq!(now_us, until_us);
        }
    }

    #[test]
    fn numbers_wrap() {
        let mut a = Assembler::default();
        let all = [u32::MAX - 1, u32::MAX, 0, 1].into_iter().flat_map(|n| shards(&unit(n, 3_000), n, 1));
        assert_eq!(push(&mut a, all, 0).len(), 4);
    }

    #[test]
    fn contradictions_and_absurd_numbers_change_nothing() {
        let mut a = Assembler::default();
        let mut s = shards(&unit(1, 6_000), 1, 1);
        let whole = s.clone();
        s[1].data += 1;
        s[2].piece = s[2].piece.slice(2..);
        assert_eq!(a.push(s[0].clone(), 0, 0), Made::Used);
        assert_eq!(a.push(s[1].clone(), 0, 0), Made::Malformed);
        assert_eq!(a.push(s[2].clone(), 0, 0), Made::Malformed);
        assert_eq!(a.push(Shard { frame: 1 << 30, ..s[3].clone() }, 0, 0), Made::Malformed);
        assert_eq!(push(&mut a, whole, 0), [(1, 0)]);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut a = Assembler::default();
        let mut most = 0;
        for n in 0..3_000 {
            let mut one = shards(&unit(n, 6_000), n * 37, 1);
            a.push(one.remove(0), u64::from(n) * 1_000, 0);
            a.tick(u64::from(n) * 1_000, RTT_US, |_| true);
            while a.take().is_some() {}
            most = most.max(a.held());
            assert!(a.frames.len() <= OPEN);
        }
        assert!(most <= 2 * OPEN * 10_000, "{most}");
    }
}
