//! A frame that comes in: where its shards lie, and when it is asked for, waited for and given up. No I/O.
//!
//! ```text
//!   a shard                     enough shards             all before it are out
//!  ─────────► assembling ──────────────────────► whole ─────────────────────────► out
//!              │    ▲
//!              │    │ something is missing and can still come in time: NACK, a repair
//!              │    └──────┐
//!              ├───────────┘
//!              └─► given up: nothing decodes before a keyframe, which is asked for
//! ```

use bytes::BytesMut;

use crate::link::media::feedback::{MAX_RUNS, Nack, Run};
use crate::link::media::packet::Part;
use crate::media::picture::AccessUnit;

/// How much earlier than in the order of sending a datagram may come, in µs.
pub(crate) const REORDER_US: u64 = 2_000;
/// A frame of which nothing came is due at least so much before the one that showed its absence, in µs: a
/// picture of 30 a second.
pub(crate) const UNSEEN_US: u64 = 33_000;
/// What an answer may take beyond the round trip, in µs.
pub(crate) const ANSWER_US: u64 = 6_000;
/// How long past its deadline a frame is still worth repairing, in round trips and µs: starting afresh takes
/// longer.
const OVERTIME: (u64, u64) = (2, 30_000);
/// A frame of which nothing came for so long beyond a round trip is not coming in any more, in µs.
const SILENCE_US: u64 = 20_000;
/// No frame is waited for longer than this past its deadline, in µs.
const TIMEOUT_US: u64 = 1_000_000;

/// A frame of which something has come, or should have.
pub(crate) struct Frame {
    pub(crate) number: u32,
    /// Data and parity shards; 0 while nothing of it has come.
    pub(crate) counts: (usize, usize),
    /// Bytes of a shard; those of the last data shard while nothing else has come.
    pub(crate) length: usize,
    pub(crate) buffer: BytesMut,
    pub(crate) have: Vec<bool>,
    /// Shards of which one half has come.
    pub(crate) split: Vec<(usize, Part)>,
    pub(crate) got: usize,
    /// One past the last shard that has come in the first sending.
    pub(crate) reached: usize,
    /// When something was last heard of it, or, unseen, when its absence was noticed.
    pub(crate) heard_us: u64,
    /// When its deadline passes.
    pub(crate) deadline_us: u64,
    /// When it was last asked for, and how often.
    pub(crate) asked: Option<(u64, u8)>,
    pub(crate) whole: Option<AccessUnit>,
}

impl Frame {
    /// One of which nothing has come.
    pub(crate) fn empty() -> Self {
        Self {
            number: 0,
            counts: (0, 0),
            length: 0,
            buffer: BytesMut::new(),
            have: Vec::new(),
            split: Vec::new(),
            got: 0,
            reached: 0,
            heard_us: 0,
            deadline_us: 0,
            asked: None,
            whole: None,
        }
    }

    /// How many more shards it takes; `None` while that is unknown.
    pub(crate) fn need(&self) -> Option<usize> {
        (self.counts.0 > 0).then(|| self.counts.0.saturating_sub(self.got))
    }

    /// Whether the last data shard alone has come, so that it is not known how long the others are.
    pub(crate) fn only_last(&self) -> bool {
        self.got == 1 && self.have[self.counts.0 - 1] && self.split.is_empty()
    }

    /// A part of shard `index` has come. Whether the shard is whole with it.
    pub(crate) fn whole_with(&mut self, index: usize, part: Part) -> bool {
        let other = self.split.iter().position(|&(of, _)| of == index);
        match other {
            _ if part == Part::Whole => true,
            Some(at) if self.split[at].1 != part => {
                self.split.swap_remove(at);
                true
            }
            Some(_) => false,
            None => {
                self.split.push((index, part));
                false
            }
        }
    }

    /// Makes places for shards of `length` bytes.
    pub(crate) fn lay_out(&mut self, counts: (usize, usize), length: usize) {
        let total = counts.0 + counts.1;
        (self.counts, self.length) = (counts, length);
        self.have.clear();
        self.have.resize(total, false);
        self.split.clear();
        self.buffer.clear();
        self.buffer.resize(total * length, 0);
    }

    /// Makes places for shards of `length` bytes, where the last data shard alone has come, which was
    /// shorter.
    pub(crate) fn stretch(&mut self, length: usize) {
        let last = self.counts.0 - 1;
        let (was, short) = (last * self.length, self.length);
        self.length = length;
        self.buffer.resize(self.have.len() * length, 0);
        self.buffer.copy_within(was..was + short, last * length);
        let end = (was + short).min(last * length);
        self.buffer[was..end].fill(0);
    }
}

/// When `frame` is beyond hope: its deadline is long past, and it is not still coming in.
pub(crate) fn given_up_us(frame: &Frame, rtt_us: u64) -> u64 {
    let hope = frame.deadline_us.saturating_add(OVERTIME.0 * rtt_us + OVERTIME.1);
    let silence = frame.heard_us.saturating_add(rtt_us + SILENCE_US);
    hope.max(silence).min(frame.deadline_us.saturating_add(TIMEOUT_US))
}

/// Until when a whole keyframe waits for `frame` before it: while a question about it can be answered before
/// its deadline.
pub(crate) fn waited_for_until_us(frame: &Frame, rtt_us: u64) -> u64 {
    let ahead_us = if frame.counts.0 == 0 { UNSEEN_US } else { 0 };
    let deadline_us = frame.deadline_us.saturating_sub(ahead_us);
    let in_time = |asked_us: u64| asked_us.saturating_add(rtt_us) <= deadline_us;
    match frame.asked {
        Some((asked_us, _)) if in_time(asked_us) => deadline_us,
        Some(_) => 0,
        None if in_time(due_us(frame, true, 0, rtt_us)) => deadline_us,
        // It may only have been overtaken.
        None => frame.heard_us.saturating_add(REORDER_US),
    }
}

/// When `frame` is to be asked for (again); `followed` when a later one has begun, otherwise after `tail_us`
/// of silence.
pub(crate) fn due_us(frame: &Frame, followed: bool, tail_us: u64, rtt_us: u64) -> u64 {
    let answer_us = rtt_us + ANSWER_US;
    let due = match frame.asked {
        // A doubled wait every other time: an answer may be lost, but whoever cannot answer is not helped by
        // more questions.
        Some((asked_us, round)) => asked_us + (answer_us << u32::from((round - 1) / 2).min(4)),
        None if followed => frame.heard_us + REORDER_US,
        None => {
            let (data, parity) = frame.counts;
            let missing = frame.have[..frame.reached].iter().filter(|have| !**have).count();
            // What is still to come cannot make up for what is missing.
            let beyond = data > 0 && missing > parity;
            frame.heard_us + if beyond { REORDER_US } else { tail_us }
        }
    };
    // An answer that comes when all hope is gone is not worth asking for.
    if due + rtt_us > given_up_us(frame, rtt_us) { u64::MAX } else { due }
}

/// The question about `frame`, asked for the `round`th time.
pub(crate) fn nack(frame: &Frame, round: u8) -> Nack {
    let mut runs = [Run::default(); MAX_RUNS];
    let mut count = 0;
    for (index, have) in frame.have.iter().enumerate() {
        if *have {
            continue;
        }
        let index = index as u16;
        match runs[..count].last_mut() {
            Some(run) if run.start + run.length == index => run.length += 1,
            _ if count < MAX_RUNS => {
                runs[count] = Run { start: index, length: 1 };
                count += 1;
            }
            _ => break,
        }
    }
    let need = frame.need().map_or(u16::MAX, |need| need as u16);
    Nack { frame: frame.number, round, need, runs, count }
}
