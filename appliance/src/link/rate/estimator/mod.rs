//! How much fits through the link: a sender-side bandwidth estimator fed by receive times. Pure: no clock, no
//! I/O, and no allocation.
//!
//! It listens for a queue. The *base delay* is the least one-way delay of ten seconds, the *standing queue*
//! is the least delay of the last 35 ms above it: longer than a frame, so that a frame's own burst does not
//! count (RFC 8698, sections 4.2 and 5.1.1; RFC 8298, section 4.1.2). A queue that stands and does not fall,
//! or that rises steeply, is overuse (draft-ietf-rmcat-gcc-02, sections 5.4 and 5.5). Then whatever comes out
//! of the link is its capacity, and the rate goes below that by as much as drains the queue in a quarter of a
//! second. After that it stays just below, and grows slowly near what is known to be full, faster elsewhere.
//! Trains of padding find room that video alone would not (section 5.5's increase is slow; libwebrtc probes
//! for the same reason).
//!
//! Where it parts from them: a queue which does not fall although less was sent than comes out is no queue
//! but a longer way, and becomes the base. Loss without a queue lowers the rate only where it is heavy, or
//! where growth brought it (gcc-02, section 6): parity and repair live with the rest.

mod arrival;
mod path;
mod prober;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod tests;

pub(crate) use arrival::{Arrival, Limits, Probe};
use path::Path;
use prober::Prober;

/// A standing queue up to this is noise; more noise on the way raises it.
const QUEUE_US: f64 = 10_000.0;
const NOISIEST_QUEUE_US: f64 = 18_000.0;
/// A queue that came from nothing within the newest report: no need to see it stand.
const SUDDEN_US: f64 = 12_000.0;
/// A queue is to be gone in this time.
const DRAIN_US: f64 = 250_000.0;
/// But the rate never falls below this share of what comes out.
const DEEPEST: f64 = 0.35;
/// And without a queue it stays at this share.
const BELOW: f64 = 0.95;
/// A queue which has not fallen after this long at a rate that drains is none.
const STUCK_US: u64 = 500_000;
/// After draining, so long without growth.
const REST_US: u64 = 300_000;
/// And so long without trains.
const PROBE_REST_US: u64 = 1_500_000;
/// Growth per second: far from known capacity, and near it.
const GROWTH: f64 = 0.15;
const GROWTH_NEAR: f64 = 0.01;
/// The rate may be so many times what was really sent, unless a train proved more.
const UNUSED: f64 = 1.5;
/// Loss that lowers the rate: sustained, and sudden.
const HEAVY_LOSS: f64 = 0.11;
const SUDDEN_LOSS: f64 = 0.30;
/// Loss above the usual which, when it came with growth, is ours.
const GROWN_LOSS: f64 = 0.02;
/// So much growth is growth.
const GROWN: f64 = 1.02;
/// A rate lowered within this time after a train raised it by so much: the train misled.
const RAISED: f64 = 1.15;
const PROBATION_US: u64 = 2_000_000;
/// Silence shorter than this is never taken for trouble.
const SILENCE_US: u64 = 150_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Growing,
    /// There was a queue of `queue_us` at `since_us`, and the rate before was `before_kbps`.
    Draining {
        since_us: u64,
        queue_us: u64,
        before_kbps: f64,
    },
    /// The queue is gone; no growth until then.
    Resting {
        until_us: u64,
    },
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Estimator {
    floor_kbps: f64,
    ceiling_kbps: f64,
    target_kbps: f64,
    /// What came out of the link when it was last full.
    capacity_kbps: Option<f64>,
    phase: Phase,
    path: Path,
    prober: Prober,
    /// Mean standing queue without overuse, and mean distance from it: the noise.
    calm_us: f64,
    noise_us: f64,
    /// Least time from sending to report.
    lag_us: u64,
    reported_us: Option<u64>,
    raised_us: Option<u64>,
    /// Losses of datagrams sent before this have been answered.
    answered_us: u64,
    /// Loss that has nothing to do with our rate, and the rate at which it was seen last.
    usual_loss: Option<(f64, f64)>,
    /// Rate before a silence, and when it was last lowered for it.
    silence: Option<(f64, u64)>,
}

impl Estimator {
    pub(crate) fn new(limits: Limits) -> Self {
        let floor_kbps = f64::from(limits.floor_kbps.max(1));
        let ceiling_kbps = f64::from(limits.ceiling_kbps).max(floor_kbps);
        let start_kbps = f64::from(limits.start_kbps).clamp(floor_kbps, ceiling_kbps);
        Self {
            floor_kbps,
            ceiling_kbps,
            target_kbps: start_kbps,
            capacity_kbps: None,
            phase: Phase::Growing,
            path: Path::new(),
            prober: Prober::new(),
            calm_us: 0.0,
            noise_us: 0.0,
            lag_us: 100_000,
            reported_us: None,
            raised_us: None,
            answered_us: 0,
            usual_loss: None,
            silence: None,
        }
    }

    /// Takes in a report: arrivals in the order of sending, and how many datagrams of the same span never
    /// came. Reports should come every 15 to 50 ms. Malformed changes nothing.
    pub(crate) fn report(&mut self, arrivals: &[Arrival], lost: u32, now_us: u64) {
        let mut newest_us = 0;
        let prober = &mut self.prober;
        let sense = self.path.add(arrivals, lost, now_us, |arrival, delay_us| {
            newest_us = newest_us.max(arrival.sent_us);
            prober.arrived(arrival, delay_us);
        });
        if !sense {
            return;
        }
        let passed_us = now_us.saturating_sub(self.reported_us.unwrap_or(now_us)).min(100_000);
        self.reported_us = Some(now_us);
        let lag_us = now_us.saturating_sub(newest_us);
        self.lag_us = if lag_us < self.lag_us { lag_us } else { self.lag_us + (lag_us - self.lag_us) / 32 };
        self.end_silence();
        self.take_verdict(newest_us, now_us);
        match self.phase {
            Phase::Draining { .. } => self.drain(now_us),
            _ if self.overused() => self.begin_draining(now_us),
            _ => self.calm(passed_us, now_us),
        }
        self.target_kbps = self.target_kbps.clamp(self.floor_kbps, self.ceiling_kbps);
    }

    /// Time passes. `unanswered_us`: when the oldest datagram was sent of which no report has spoken yet;
    /// `None` when there is none. Long silence lowers the rate step by step.
    pub(crate) fn tick(&mut self, now_us: u64, unanswered_us: Option<u64>) {
        let Some(sent_us) = unanswered_us else { return };
        let patience_us = SILENCE_US.max(self.lag_us.saturating_mul(2).saturating_add(75_000)).min(1_000_000);
        let (before_kbps, from_us) = self.silence.unwrap_or((self.target_kbps, sent_us));
        if now_us.saturating_sub(from_us) > patience_us {
            self.target_kbps = (self.target_kbps * 0.8).max(self.floor_kbps);
            self.silence = Some((before_kbps, now_us));
        }
    }

    /// Rate that may go on the wire: video, parity, repair and padding together, in kbit/s.
    pub(crate) fn target_kbps(&self) -> u32 {
        self.target_kbps as u32
    }

    /// What came out of the link when it was last full, in kbit/s; none when it never was.
    pub(crate) fn capacity_kbps(&self) -> Option<u32> {
        self.capacity_kbps.map(|kbps| kbps as u32)
    }

    /// The queue that stands on the way there, in µs.
    pub(crate) fn queue_us(&self) -> u64 {
        self.path.queue_us()
    }

    /// Padding worth sending now to learn whether more fits; mostly `None`. Ask every few milliseconds.
    /// `in_demand`: more waits to be sent than the target lets through, although little is sent.
    pub(crate) fn probe(&mut self, in_demand: bool, now_us: u64) -> Option<Probe> {
        let calm = self.phase == Phase::Growing
            && self.silence.is_none()
            && (self.path.queue_us() as f64) < self.threshold_us() / 2.0;
        let wanted = self.target_kbps < self.ceiling_kbps * 0.98
            && (in_demand || self.path.sent_kbps(1_000_000) * 2.0 > self.target_kbps);
        if self.reported_us.is_none() || !calm || !wanted {
            return None;
        }
        self.prober.due(now_us, self.target_kbps, self.ceiling_kbps)
    }

    fn threshold_us(&self) -> f64 {
        (QUEUE_US + self.noise_us).min(NOISIEST_QUEUE_US)
    }

    fn overused(&self) -> bool {
        let Some(trend) = self.path.trend() else { return false };
        let standing = self.path.queue_us() as f64 > self.threshold_us() && trend > -0.05;
        let sudden = self.path.sudden_us() as f64 > SUDDEN_US.max(1.2 * self.threshold_us()) && trend > 0.1;
        standing || sudden
    }

    fn begin_draining(&mut self, now_us: u64) {
        let before_kbps = self.target_kbps;
        if let Some(delivered_kbps) = self.path.delivered_kbps(40_000) {
            self.capacity_kbps = Some(delivered_kbps);
        }
        self.lowered(now_us);
        let queue_us = self.path.newest_queue_us();
        self.phase = Phase::Draining { since_us: now_us, queue_us, before_kbps };
        self.steer(now_us);
    }

    fn drain(&mut self, now_us: u64) {
        let queue_us = self.path.queue_us();
        let trend = self.path.trend().unwrap_or(0.0);
        // Only a queue that moves proves that what comes out is all that fits.
        if let (true, Some(delivered_kbps)) = (trend.abs() > 0.05, self.path.delivered_kbps(60_000)) {
            let known_kbps = self.capacity_kbps.unwrap_or(delivered_kbps);
            self.capacity_kbps = Some((known_kbps + delivered_kbps) / 2.0);
        }
        if (queue_us as f64) < self.threshold_us() / 2.0 {
            self.rest(now_us);
        }
        self.steer(now_us);
        self.find_longer_way(queue_us, now_us);
    }

    /// Below capacity by as much as drains the queue in time.
    fn steer(&mut self, now_us: u64) {
        let Some(capacity_kbps) = self.capacity_kbps else { return };
        let rising = self.path.trend().unwrap_or(0.0).max(0.0);
        let queue_us = self.path.newest_queue_us() as f64 + rising * self.lag_us as f64;
        let share = (1.0 - queue_us / DRAIN_US).clamp(DEEPEST, BELOW);
        let limit_kbps = match self.phase {
            Phase::Draining { before_kbps, .. } => before_kbps,
            _ => self.target_kbps.max(capacity_kbps * BELOW),
        };
        self.target_kbps = (capacity_kbps * share).min(limit_kbps);
        self.answered_us = now_us;
    }

    /// A queue that stays where it is while less is sent than comes out is a longer way.
    fn find_longer_way(&mut self, queue_us: u64, now_us: u64) {
        let Phase::Draining { since_us, queue_us: first_us, before_kbps } = self.phase else { return };
        let capacity_kbps = self.capacity_kbps.unwrap_or(before_kbps);
        let fell = queue_us + (first_us / 4).max(4_000) < first_us;
        let rose = queue_us > first_us + (first_us / 4).max(4_000);
        // What arrives now was sent before the rate was lowered, or the encoder has not followed yet.
        let full = self.path.sent_kbps(150_000) > capacity_kbps * 0.97;
        // What falls was a queue: the line does not carry what it carried before.
        let before_kbps = if fell { before_kbps.min(capacity_kbps) } else { before_kbps };
        if fell || rose || full {
            self.phase = Phase::Draining { since_us: now_us, queue_us, before_kbps };
        } else if now_us.saturating_sub(since_us) > STUCK_US + self.lag_us {
            self.path.rebase();
            self.target_kbps = before_kbps;
            self.capacity_kbps = self.capacity_kbps.filter(|&kbps| before_kbps <= kbps);
            self.rest(now_us);
        }
    }

    /// No overuse: losses, noise, growth.
    fn calm(&mut self, passed_us: u64, now_us: u64) {
        let queue_us = self.path.queue_us() as f64;
        self.noise_us += ((queue_us - self.calm_us).abs() - self.noise_us) / 64.0;
        self.calm_us += (queue_us - self.calm_us) / 64.0;
        if let Phase::Resting { until_us } = self.phase {
            if now_us < until_us {
                return;
            }
            self.phase = Phase::Growing;
        }
        if self.heed_loss(now_us) || queue_us > self.threshold_us() / 2.0 {
            return;
        }
        let near = self.capacity_kbps.is_some_and(|capacity_kbps| {
            self.target_kbps > capacity_kbps * 0.85 && self.target_kbps < capacity_kbps * 1.1
        });
        let growth = if near { GROWTH_NEAR } else { GROWTH };
        let grown_kbps = self.target_kbps * (1.0 + growth * passed_us as f64 / 1e6);
        let used_kbps = self.path.sent_kbps(1_000_000) * UNUSED;
        self.target_kbps = grown_kbps.min(used_kbps).max(self.target_kbps);
    }

    /// Lowers the rate for loss that stands for a full link. True when there is too much of it to grow.
    fn heed_loss(&mut self, now_us: u64) -> bool {
        let sudden = self.path.loss(150_000, 50, self.answered_us);
        let Some((loss, count)) = self.path.loss(1_000_000, 200, self.answered_us) else {
            return sudden.is_some_and(|(loss, _)| loss > SUDDEN_LOSS) && self.lose(now_us);
        };
        // What stays at a lower rate is not ours.
        let (usual, quiet_kbps) = *self.usual_loss.get_or_insert((loss, self.target_kbps));
        // Losses come in bursts of some six: this is how far one second may stray.
        let stray = (6.0 * loss / f64::from(count)).sqrt();
        // Falls soon; rises in some ten seconds, but not with the rate.
        let share = match () {
            () if loss < usual => 1.0 / 16.0,
            () if self.target_kbps <= quiet_kbps * GROWN => 1.0 / 400.0,
            () => 0.0,
        };
        let quiet_kbps = if loss < usual + GROWN_LOSS / 2.0 { self.target_kbps } else { quiet_kbps };
        self.usual_loss = Some((usual + (loss - usual) * share, quiet_kbps));
        let more = loss > usual + GROWN_LOSS + stray;
        if loss > HEAVY_LOSS || more && self.target_kbps > quiet_kbps * GROWN {
            return self.lose(now_us);
        }
        loss > usual + GROWN_LOSS / 2.0 + stray / 2.0
    }

    /// What comes out is all that fits, although nothing waits. True.
    fn lose(&mut self, now_us: u64) -> bool {
        if let Some(delivered_kbps) = self.path.delivered_kbps(150_000) {
            self.capacity_kbps = Some(delivered_kbps);
            self.target_kbps = self.target_kbps.min(delivered_kbps * BELOW);
        }
        self.usual_loss = None;
        self.lowered(now_us);
        self.rest(now_us);
        true
    }

    fn rest(&mut self, now_us: u64) {
        self.phase = Phase::Resting { until_us: now_us.saturating_add(REST_US) };
        self.prober.wait(now_us.saturating_add(PROBE_REST_US));
    }

    fn lowered(&mut self, now_us: u64) {
        self.answered_us = now_us;
        if self.raised_us.take().is_some_and(|raised_us| now_us.saturating_sub(raised_us) < PROBATION_US) {
            self.prober.misled(now_us);
        }
    }

    fn take_verdict(&mut self, newest_us: u64, now_us: u64) {
        let Some(verdict) = self.prober.verdict(newest_us, self.target_kbps, now_us) else { return };
        if self.phase != Phase::Growing {
            return;
        }
        let kbps = if verdict.held_up { verdict.kbps * BELOW } else { verdict.kbps };
        if kbps > self.target_kbps {
            if kbps > self.target_kbps * RAISED {
                self.raised_us = Some(now_us);
            }
            self.target_kbps = kbps;
            self.capacity_kbps = verdict.held_up.then_some(verdict.kbps);
        }
    }

    /// Reports are back: a silence that left no queue behind was the way back's, and costs nothing.
    fn end_silence(&mut self) {
        if let Some((before_kbps, _)) = self.silence.take()
            && (self.path.newest_queue_us() as f64) < self.threshold_us()
        {
            self.target_kbps = self.target_kbps.max(before_kbps * 0.9);
        }
    }
}
