//! What was sent, datagram by datagram, until the other booth has told what became of it. No I/O.

use std::collections::VecDeque;

use crate::link::media::feedback::Arrivals;
use crate::link::media::redundancy::LossMeter;
use crate::link::rate::estimator::Arrival;
use crate::link::rate::pacer::Train;

/// Datagrams that are remembered: some seconds of the highest rate.
const KEPT: usize = 16_384;

/// One datagram of a media track.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at_us: u64,
    bytes: u32,
    /// The frame of which this is a first sending.
    frame: Option<u32>,
    probe: bool,
    arrived: bool,
}

/// The datagrams sent, in order.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The number of the oldest that is remembered.
    base: u32,
    sent: VecDeque<Sent>,
    /// Up to here fates are settled.
    settled: u32,
    /// One past the newest that has arrived, as the report before said.
    newest: u32,
    arrivals: Vec<Arrival>,
}

/// The shortest train that tells something.
const TRAIN: u32 = 5;

impl History {
    /// One that begins with datagram `number`.
    pub(crate) fn from(number: u32) -> Self {
        Self { base: number, settled: number, newest: number, ..Self::default() }
    }

    /// The number of the next datagram.
    fn next(&self) -> u32 {
        self.base.wrapping_add(self.sent.len() as u32)
    }

    /// The next datagram goes out.
    pub(crate) fn push(&mut self, at_us: u64, bytes: u32, frame: Option<u32>, probe: bool) {
        if self.sent.len() == KEPT {
            self.sent.pop_front();
            self.base = self.base.wrapping_add(1);
        }
        self.sent.push_back(Sent { at_us, bytes, frame, probe, arrived: false });
    }

    /// When the oldest datagram was sent that no report has reached yet, in µs; none when all are answered.
    pub(crate) fn unanswered_us(&self) -> Option<u64> {
        let ahead = self.newest.wrapping_sub(self.base);
        // What fell out of memory unanswered counts as the oldest that did not.
        let at = if ahead < 1 << 31 { ahead as usize } else { 0 };
        self.sent.get(at).map(|sent| sent.at_us)
    }

    fn get(&mut self, number: u32) -> Option<&mut Sent> {
        self.sent.get_mut(number.wrapping_sub(self.base) as usize)
    }

    /// Takes a report: gives the datagrams that arrived and were not known to, and how many turned out lost;
    /// settled fates go to `meter`, trains to `train`. `None` when it tells of what was never sent.
    pub(crate) fn settle(
        &mut self,
        report: &Arrivals,
        meter: &mut LossMeter,
        mut train: impl FnMut(Train),
    ) -> Option<(&[Arrival], u32)> {
        let count = report.iter().count() as u32;
        let end = report.base.wrapping_add(count);
        let ahead = |a: u32, b: u32| a.wrapping_sub(b) as i32;
        if ahead(end, self.next()) > 0 {
            return None;
        }
        self.arrivals.clear();
        let mut group: Option<(u32, Train, u64, u64, u32)> = None;
        let mut newest = self.newest;
        for (i, came_us) in report.iter().enumerate() {
            let (Some(came_us), number) = (came_us, report.base.wrapping_add(i as u32)) else { continue };
            let Some(sent) = self.get(number) else { continue };
            if std::mem::replace(&mut sent.arrived, true) {
                continue;
            }
            let sent = *sent;
            if ahead(number.wrapping_add(1), newest) > 0 {
                newest = number.wrapping_add(1);
            }
            self.arrivals.push(Arrival {
                sent_us: sent.at_us,
                received_us: came_us,
                bytes: sent.bytes,
                probe: sent.probe,
            });
            match &mut group {
                Some((frame, so_far, first_sent, first_came, length)) if sent.frame == Some(*frame) => {
                    so_far.bytes += sent.bytes;
                    so_far.sent_us = sent.at_us.saturating_sub(*first_sent);
                    so_far.came_us = came_us.saturating_sub(*first_came);
                    *length += 1;
                }
                other => {
                    if let Some((_, done, _, _, length)) = other.take()
                        && length >= TRAIN
                    {
                        train(done);
                    }
                    *other = sent.frame.map(|frame| {
                        (frame, Train { bytes: 0, sent_us: 0, came_us: 0 }, sent.at_us, came_us, 1)
                    });
                }
            }
        }
        if let Some((_, done, _, _, length)) = group
            && length >= TRAIN
        {
            train(done);
        }
        // What the report before had passed over and this one still does not have is lost. What neither tells
        // of is unknown.
        let mut lost = 0;
        let mut number = if ahead(report.base, self.settled) > 0 { report.base } else { self.settled };
        while ahead(self.newest, number) > 0 && ahead(end, number) > 0 {
            if let Some(sent) = self.get(number) {
                let gone = !sent.arrived;
                lost += u32::from(gone);
                meter.push(gone);
            }
            number = number.wrapping_add(1);
        }
        if ahead(number, self.settled) > 0 {
            self.settled = number;
        }
        self.newest = newest;
        Some((&self.arrivals, lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::media::feedback::Feedback;

    fn report(base: u32, came: &[Option<u64>]) -> Arrivals {
        match Feedback::parse(Arrivals::write(base, came.iter().copied())) {
            Some(Feedback::Arrivals(arrivals)) => arrivals,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fates_settle_when_told_twice() {
        let mut history = History::default();
        let mut meter = LossMeter::default();
        for n in 0..10 {
            history.push(1_000 * n, 1_100, Some(1), false);
        }
        let first = report(0, &[Some(50_000), None, Some(52_000), Some(53_000)]);
        let (arrivals, lost) = history.settle(&first, &mut meter, |_| {}).unwrap();
        assert_eq!((arrivals.len(), lost), (3, 0));
        let second = report(0, &[Some(50_000), None, Some(52_000), Some(53_000), Some(54_000)]);
        let (arrivals, lost) = history.settle(&second, &mut meter, |_| {}).unwrap();
        assert_eq!((arrivals.len(), lost), (1, 1));
        // A repetition tells nothing new.
        let (arrivals, lost) = history.settle(&second, &mut meter, |_| {}).unwrap();
        assert_eq!((arrivals.len(), lost), (0, 0));
        assert!(history.settle(&report(8, &[Some(1), Some(2), Some(3)]), &mut meter, |_| {}).is_none());
    }

    #[test]
    fn a_frame_that_comes_slower_than_it_went_shows_the_narrowest_place() {
        let mut history = History::default();
        let mut meter = LossMeter::default();
        for n in 0..12 {
            history.push(100 * n, 1_000, Some((n / 6) as u32), false);
        }
        let came: Vec<_> = (0..12).map(|n| Some(90_000 + 400 * n)).collect();
        let mut trains = Vec::new();
        history.settle(&report(0, &came), &mut meter, |train| trains.push(train)).unwrap();
        assert_eq!(trains, [Train { bytes: 5_000, sent_us: 500, came_us: 2_000 }; 2]);
    }
}
