//! When the datagrams of the other booth came: what is told to it, and what turns away repetitions. No I/O.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::link::media::feedback::{Arrivals, MAX_ARRIVALS, MAX_SPAN_US};

/// Datagrams that are remembered; a repetition of an older one counts as one all the same.
const KEPT: usize = 8_192;
/// No datagram is so far ahead of the newest: a session in which so many are missing has long ended.
const FAR_AHEAD: u32 = KEPT as u32;

/// What a datagram's number says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// Not seen before.
    New,
    /// Seen before, or too old to know.
    Repeated,
    /// So far ahead that it cannot be.
    Absurd,
}

/// The log of arrivals of one session.
#[derive(Debug, Default)]
pub(crate) struct ArrivalLog {
    /// The number of the first in `came`; none before anything came.
    base: Option<u32>,
    /// From `base` to the newest, when it came in µs.
    came: VecDeque<Option<u64>>,
    /// Where the report before began to be new, and the one before that.
    told: (u32, u32),
    /// Whether something came since the last report.
    news: bool,
}

impl ArrivalLog {
    /// Datagram `number` came at `now_us`.
    pub(crate) fn push(&mut self, number: u32, now_us: u64) -> Number {
        let base = match self.base {
            Some(base) => base,
            None => {
                self.told = (number, number);
                *self.base.insert(number)
            }
        };
        let ahead = number.wrapping_sub(base);
        if ahead >= 1 << 31 {
            return Number::Repeated;
        }
        if ahead as usize >= self.came.len() + FAR_AHEAD as usize {
            return Number::Absurd;
        }
        while self.came.len() <= ahead as usize {
            self.came.push_back(None);
        }
        let Some(slot) = self.came.get_mut(ahead as usize) else { return Number::Absurd };
        if slot.is_some() {
            return Number::Repeated;
        }
        *slot = Some(now_us);
        self.news = true;
        let over = self.came.len().saturating_sub(KEPT);
        self.came.drain(..over);
        self.base = Some(base.wrapping_add(over as u32));
        Number::New
    }

    /// What to tell: all since the report before the last, so that each arrival is told twice.
    pub(crate) fn report(&mut self, mut tell: impl FnMut(Bytes)) {
        let Some(base) = self.base.filter(|_| self.news) else { return };
        self.news = false;
        let end = base.wrapping_add(self.came.len() as u32);
        // What fell out of memory since cannot be told.
        let from = if self.told.0.wrapping_sub(base) < 1 << 31 { self.told.0 } else { base };
        let mut at = from.wrapping_sub(base) as usize;
        while at < self.came.len() {
            let count = self.tellable(at);
            tell(Arrivals::write(base.wrapping_add(at as u32), self.came.range(at..at + count).copied()));
            at += count;
        }
        self.told = (self.told.1, end);
    }

    /// How many from the `at`th on one message can tell. After a pause of the camera a second one is needed.
    fn tellable(&self, at: usize) -> usize {
        let (mut earliest_us, mut latest_us) = (u64::MAX, 0);
        let fits = |came: &&Option<u64>| {
            if let Some(us) = **came {
                (earliest_us, latest_us) = (us.min(earliest_us), us.max(latest_us));
            }
            latest_us.saturating_sub(earliest_us) <= MAX_SPAN_US
        };
        self.came.range(at..).take(MAX_ARRIVALS).take_while(fits).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::media::feedback::Feedback;

    fn told(log: &mut ArrivalLog) -> Vec<(u32, Vec<Option<u64>>)> {
        let mut all = Vec::new();
        log.report(|bytes| match Feedback::parse(bytes) {
            Some(Feedback::Arrivals(arrivals)) => all.push((arrivals.base, arrivals.iter().collect())),
            other => panic!("{other:?}"),
        });
        all
    }

    #[test]
    fn every_arrival_is_told_twice() {
        let mut log = ArrivalLog::default();
        log.push(10, 800);
        log.push(12, 1_600);
        assert_eq!(told(&mut log), [(10, vec![Some(800), None, Some(1_600)])]);
        log.push(13, 2_400);
        assert_eq!(told(&mut log), [(10, vec![Some(800), None, Some(1_600), Some(2_400)])]);
        log.push(14, 3_200);
        assert_eq!(told(&mut log), [(13, vec![Some(2_400), Some(3_200)])]);
        assert!(told(&mut log).is_empty(), "nothing new");
    }

    #[test]
    fn what_comes_after_a_pause_is_told_with_its_own_time() {
        let mut log = ArrivalLog::default();
        log.push(10, 800);
        log.push(11, 1_600);
        log.push(13, 900_000);
        log.push(14, 900_800);
        let after = vec![Some(900_000), Some(900_800)];
        assert_eq!(told(&mut log), [(10, vec![Some(800), Some(1_600), None]), (13, after)]);
    }

    #[test]
    fn repetitions_and_absurd_numbers_are_turned_away() {
        let mut log = ArrivalLog::default();
        assert_eq!(log.push(u32::MAX, 1), Number::New);
        assert_eq!(log.push(0, 2), Number::New);
        assert_eq!(log.push(u32::MAX, 3), Number::Repeated);
        assert_eq!(log.push(100_000, 4), Number::Absurd);
        assert_eq!(log.push(u32::MAX - 1, 5), Number::Repeated);
        for n in 1..30_000 {
            assert_eq!(log.push(n, n.into()), Number::New);
            assert!(log.came.len() <= KEPT);
        }
        assert_eq!(log.push(5, 6), Number::Repeated, "too old to know");
    }
}
