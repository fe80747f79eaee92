//! Whom a sender serves, and what it follows of their paths: the narrowest rate, the longest round trip, the
//! heaviest loss.

use super::{Destination, EXTRA, FLOOR_KBPS, Padding, Sender};
use crate::link::media::history::History;
use crate::link::media::redundancy::{Loss, LossMeter};
use crate::link::rate::estimator::{Estimator, Limits};

/// A session begins with this, or less where less is asked for, in kbit/s: what any line carries. The first
/// trains of padding find the rest within a second.
const START_KBPS: u32 = 4_000;
/// Bytes of padding that go before the first frame: the first datagrams of a connection find everything
/// asleep.
const WARM_UP: usize = 12_000;
/// Of the line's rate, the share that the video is planned with: frames differ in size.
const HEADROOM: f32 = 0.95;

impl Sender {
    /// Peer `at` is served from now on, over a path with a round trip of `rtt_us`. The path is first warmed
    /// with a little padding; one that was too slow before has to show first that it carries more.
    pub(crate) fn add(&mut self, at: usize, rtt_us: u64, was_too_slow: bool, now_us: u64) {
        let ceiling_kbps = ((self.plan.max_kbps as f32 * EXTRA) as u32).max(FLOOR_KBPS);
        let start_kbps = if was_too_slow { FLOOR_KBPS } else { self.start_kbps() };
        let limits = Limits { start_kbps, floor_kbps: FLOOR_KBPS, ceiling_kbps };
        if let Some(destination) = self.destinations.get_mut(at) {
            *destination = Some(Destination {
                estimator: Estimator::new(limits),
                meter: LossMeter::default(),
                history: History::from(self.packet),
                rtt_us,
                shortest_us: rtt_us,
                participant: !was_too_slow,
            });
            // What this one answered to a question of another is none of its own.
            self.frames.iter_mut().for_each(|frame| frame.rounds[at] = 0);
        }
        if self.is_outpaced() {
            self.pacer.limit(Some(start_kbps));
        }
        if self.probe.is_none() && !was_too_slow {
            self.probe = Some(Padding { left: WARM_UP, kbps: self.start_kbps(), next_us: now_us });
        }
    }

    /// Peer `at` is not served any more.
    pub(crate) fn remove(&mut self, at: usize) {
        if let Some(destination) = self.destinations.get_mut(at) {
            *destination = None;
        }
        self.probing = self.probing.filter(|&probing| probing != at);
    }

    /// Whether rate, parity and repair follow peer `at`. Where it is the only one, they do in any case.
    pub(crate) fn set_participant(&mut self, at: usize, participant: bool) {
        if let Some(destination) = self.destination_mut(at) {
            destination.participant = participant;
        }
    }

    pub(super) fn start_kbps(&self) -> u32 {
        let ceiling_kbps = (self.plan.max_kbps as f32 * EXTRA) as u32;
        START_KBPS.min(ceiling_kbps).max(FLOOR_KBPS)
    }

    pub(super) fn destination_mut(&mut self, at: usize) -> Option<&mut Destination> {
        self.destinations.get_mut(at)?.as_mut()
    }

    /// Those that rate, parity and repair follow: all participants, or all where there is none.
    pub(super) fn followed(&self) -> impl Iterator<Item = (usize, &Destination)> + Clone {
        let all = self.destinations.iter().enumerate().filter_map(|(at, d)| Some((at, d.as_ref()?)));
        let any = all.clone().any(|(_, d)| d.participant);
        all.filter(move |(_, d)| d.participant || !any)
    }

    /// Whether the encoder codes more than any path of this connection carries: all of them are too slow.
    pub(super) fn is_outpaced(&self) -> bool {
        self.followed().next().is_some_and(|(_, d)| !d.participant)
    }

    /// What the narrowest followed path carries, in kbit/s.
    pub(super) fn target_kbps(&self) -> u32 {
        let targets = self.followed().map(|(_, d)| d.estimator.target_kbps());
        targets.min().unwrap_or_else(|| self.start_kbps())
    }

    /// The destination with the narrowest path.
    pub(super) fn slowest(&self) -> Option<usize> {
        self.followed().min_by_key(|(_, d)| d.estimator.target_kbps()).map(|(at, _)| at)
    }

    /// The longest round trip of those followed, in µs.
    pub(super) fn rtt_us(&self) -> u64 {
        self.followed().map(|(_, d)| d.rtt_us).max().unwrap_or(0)
    }

    /// The heaviest loss of those followed.
    pub(super) fn worst_loss(&self) -> Loss {
        let losses = self.followed().map(|(_, d)| d.meter.loss());
        losses.reduce(|a, b| if b.share > a.share { b } else { a }).unwrap_or(LossMeter::default().loss())
    }

    /// A datagram goes to all.
    pub(super) fn sent(&mut self, now_us: u64, bytes: usize, frame: Option<u32>, probe: bool) {
        self.packet = self.packet.wrapping_add(1);
        let asked = self.probing;
        for (at, destination) in self.destinations.iter_mut().enumerate() {
            if let Some(destination) = destination {
                let probe = probe && asked.is_none_or(|asked| asked == at);
                destination.history.push(now_us, bytes as u32, frame, probe);
            }
        }
    }

    /// The round trip to peer `at` is now `rtt_us`, and `shortest_us` without queues.
    pub(crate) fn set_rtt_us(&mut self, at: usize, rtt_us: u64, shortest_us: u64) {
        if let Some(destination) = self.destination_mut(at) {
            (destination.rtt_us, destination.shortest_us) = (rtt_us, shortest_us);
        }
    }

    /// What the video to peer `at` may take, in kbit/s; none while it is not served.
    pub(crate) fn video_kbps(&self, at: usize) -> Option<u32> {
        let destination = self.destinations.get(at)?.as_ref()?;
        let video = destination.estimator.target_kbps() as f32 * self.efficiency * HEADROOM;
        Some((video as u32).clamp(FLOOR_KBPS / 2, self.plan.max_kbps))
    }

    /// The path to peer `at`: its estimated queue in µs, its rate in kbit/s, and the share of datagrams lost,
    /// 0 to 1.
    pub(crate) fn path(&self, at: usize) -> Option<(u64, u32, f32)> {
        let Destination { estimator, meter, .. } = self.destinations.get(at)?.as_ref()?;
        Some((estimator.queue_us(), estimator.target_kbps(), meter.loss().share))
    }
}
