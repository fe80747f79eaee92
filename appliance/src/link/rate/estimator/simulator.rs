//! A bottleneck, a paced video sender and a reporting receiver in virtual time, by seed.

use std::collections::VecDeque;

use super::{Arrival, Estimator, Limits};

const STEP_US: u64 = 200;
const REPORT_US: u64 = 25_000;
const BYTES: u64 = 1_100;
/// Where the peer's clock stands when ours stands at 0.
const PEER_US: f64 = 7e9;

/// A small generator (splitmix64), the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly from 0 to 1.
    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What controls the sender.
pub(crate) trait Control {
    fn report(&mut self, arrivals: &[Arrival], lost: u32, now_us: u64);
    fn tick(&mut self, now_us: u64, unanswered_us: Option<u64>);
    fn target_kbps(&self) -> f64;
    fn queue_us(&self) -> u64;
    /// Rate and bytes of padding.
    fn probe(&mut self, now_us: u64) -> Option<(f64, u64)>;
}

impl Control for Estimator {
    fn report(&mut self, arrivals: &[Arrival], lost: u32, now_us: u64) {
        Estimator::report(self, arrivals, lost, now_us);
    }
    fn tick(&mut self, now_us: u64, unanswered_us: Option<u64>) {
        Estimator::tick(self, now_us, unanswered_us);
    }
    fn target_kbps(&self) -> f64 {
        Estimator::target_kbps(self).into()
    }
    fn queue_us(&self) -> u64 {
        Estimator::queue_us(self)
    }
    fn probe(&mut self, now_us: u64) -> Option<(f64, u64)> {
        Estimator::probe(self, false, now_us).map(|probe| (probe.kbps.into(), probe.bytes.into()))
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Loss {
    None,
    Random(f64),
    /// Share lost, in bursts of four to eight.
    Bursts(f64),
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) limits: Limits,
    /// From when (s), link rate in Mbit/s.
    pub(crate) rate: Vec<(f64, f64)>,
    /// From when (s), delay one way in ms.
    pub(crate) delay: Vec<(f64, f64)>,
    /// Packets that fit before the bottleneck.
    pub(crate) buffer: usize,
    pub(crate) loss: Loss,
    /// A token bucket of 20 ms at this rate in Mbit/s drops what is over it.
    pub(crate) policer: Option<f64>,
    /// Evenly ± ms.
    pub(crate) jitter: f64,
    pub(crate) reorders: bool,
    /// Every second nothing moves for so many ms.
    pub(crate) stall: f64,
    /// Peer's clock, parts per million.
    pub(crate) drift: f64,
    /// From, to (s), Mbit/s of another flow.
    pub(crate) rival: (f64, f64, f64),
    pub(crate) fps: f64,
    /// The most that the encoder makes, in Mbit/s, from when (s).
    pub(crate) encoder: Vec<(f64, f64)>,
    /// Share of the frame interval over which a frame is paced.
    pub(crate) pace: f64,
    /// How long the encoder takes to follow, in ms.
    pub(crate) follow: f64,
    /// No reports come through from, to (s).
    pub(crate) deaf: (f64, f64),
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            seed: 1,
            limits: Limits { start_kbps: 4_000, floor_kbps: 500, ceiling_kbps: 60_000 },
            rate: vec![(0.0, 20.0)],
            delay: vec![(0.0, 20.0)],
            buffer: 1000,
            loss: Loss::None,
            policer: None,
            jitter: 0.0,
            reorders: false,
            stall: 0.0,
            drift: 0.0,
            rival: (0.0, 0.0, 0.0),
            fps: 60.0,
            encoder: vec![(0.0, 16.0)],
            pace: 0.6,
            follow: 0.0,
            deaf: (0.0, 0.0),
        }
    }
}

/// What stood at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) s: f64,
    /// What a packet would wait in the bottleneck, in ms.
    pub(crate) queue_ms: f64,
    pub(crate) seen_ms: f64,
    pub(crate) target: f64,
    /// Delivered to the peer since the moment before, in Mbit/s.
    pub(crate) got: f64,
    pub(crate) sent: f64,
    pub(crate) lost: u64,
    pub(crate) padding: u64,
}

/// What happened, every 10 ms.
pub(crate) struct Trace(pub(crate) Vec<Moment>);

impl Trace {
    pub(crate) fn within(&self, from_s: f64, to_s: f64) -> impl Iterator<Item = &Moment> {
        self.0.iter().filter(move |moment| moment.s >= from_s && moment.s < to_s)
    }

    pub(crate) fn mean(&self, from_s: f64, to_s: f64, of: impl Fn(&Moment) -> f64) -> f64 {
        let (sum, n) = self.within(from_s, to_s).fold((0.0, 0.0), |(sum, n), m| (sum + of(m), n + 1.0));
        sum / n
    }

    pub(crate) fn most(&self, from_s: f64, to_s: f64, of: impl Fn(&Moment) -> f64) -> f64 {
        self.within(from_s, to_s).map(of).fold(f64::MIN, f64::max)
    }

    pub(crate) fn least(&self, from_s: f64, to_s: f64, of: impl Fn(&Moment) -> f64) -> f64 {
        self.within(from_s, to_s).map(of).fold(f64::MAX, f64::min)
    }

    /// The queue that stands: the least of every 40 ms, the most of these.
    pub(crate) fn standing(&self, from_s: f64, to_s: f64) -> f64 {
        let queue: Vec<f64> = self.within(from_s, to_s).map(|moment| moment.queue_ms).collect();
        let least = |four: &[f64]| four.iter().copied().fold(f64::MAX, f64::min);
        queue.windows(4).map(least).fold(0.0, f64::max)
    }

    /// Seconds after `from_s` until `holds` holds for half a second; infinite for never.
    pub(crate) fn until(&self, from_s: f64, holds: impl Fn(&Moment) -> bool) -> f64 {
        let mut since: Option<f64> = None;
        for moment in self.within(from_s, f64::MAX) {
            match (holds(moment), since) {
                (true, Some(s)) if moment.s - s >= 0.5 => return s - from_s,
                (true, None) => since = Some(moment.s),
                (true, _) => {}
                (false, _) => since = None,
            }
        }
        f64::INFINITY
    }

    /// Share of what was sent that got lost.
    pub(crate) fn loss(&self, from_s: f64, to_s: f64) -> f64 {
        let sent = self.mean(from_s, to_s, |moment| moment.sent) * (to_s - from_s) * 1e6 / 8.0 / BYTES as f64;
        self.within(from_s, to_s).map(|moment| moment.lost as f64).sum::<f64>() / sent
    }

    pub(crate) fn print(&self, from_s: f64, to_s: f64, every: usize) {
        println!(
            "{:>7} {:>9} {:>8} {:>8} {:>8} {:>8} {:>5} {:>7}",
            "s", "queue ms", "seen ms", "target", "sent", "got", "lost", "padding"
        );
        let moments: Vec<&Moment> = self.within(from_s, to_s).collect();
        for some in moments.chunks(every) {
            let n = some.len() as f64;
            let mean = |of: fn(&Moment) -> f64| some.iter().map(|moment| of(moment)).sum::<f64>() / n;
            println!(
                "{:>7.2} {:>9.1} {:>8.1} {:>8.2} {:>8.2} {:>8.2} {:>5} {:>7}",
                some[0].s,
                mean(|moment| moment.queue_ms),
                mean(|moment| moment.seen_ms),
                mean(|moment| moment.target),
                mean(|moment| moment.sent),
                mean(|moment| moment.got),
                some.iter().map(|moment| moment.lost).sum::<u64>(),
                some.iter().map(|moment| moment.padding).sum::<u64>(),
            );
        }
    }
}

fn at(schedule: &[(f64, f64)], s: f64) -> f64 {
    schedule.iter().rev().find(|(from, _)| *from <= s).map_or(0.0, |(_, value)| *value)
}

struct Flight {
    sent_us: u64,
    /// `None`: lost.
    arrives_us: Option<u64>,
    probe: bool,
}

/// Runs `control` through `world` for `seconds`.
pub(crate) fn run(world: &World, control: &mut impl Control, seconds: f64) -> Trace {
    let mut dice = Dice::new(world.seed);
    let mut trace = Trace(Vec::new());
    let mut leaving: VecDeque<u64> = VecDeque::new(); // when each packet in the buffer leaves it
    let mut free_us = 0.0f64; // when the bottleneck is free
    let mut last_arrival_us = 0u64;
    let mut flights: VecDeque<Flight> = VecDeque::new();
    let mut arrived: Vec<u64> = Vec::new(); // not yet counted in the trace
    let mut reports: VecDeque<(u64, Vec<Arrival>, u32)> = VecDeque::new();
    let mut reported_us: VecDeque<u64> = VecDeque::new(); // sending times not yet answered
    let (mut frame_due_us, mut report_due_us, mut moment_due_us) = (0.0, 0, 10_000);
    let (mut video, mut video_due_us, mut video_gap_us) = (0.0f64, 0.0f64, 0.0f64);
    let (mut padding, mut padding_due_us, mut padding_gap_us) = (0.0f64, 0.0f64, 0.0f64);
    let mut rival_due_us = world.rival.0 * 1e6;
    let mut burst = 0u32;
    let mut tokens = 0.0f64;
    let mut encoder = 0.0f64;
    let (mut sent, mut lost, mut padded) = (0u64, 0u64, 0u64);
    let (mut got_total, mut now_us) = (0u64, 0u64);
    while now_us < (seconds * 1e6) as u64 {
        now_us += STEP_US;
        let (now, s) = (now_us as f64, now_us as f64 / 1e6);
        let link = at(&world.rate, s);
        tokens = (tokens + world.policer.unwrap_or(0.0) * STEP_US as f64 / 8.0)
            .min(world.policer.unwrap_or(0.0) * 20_000.0 / 8.0);

        // The sender.
        if now >= frame_due_us {
            let interval_us = 1e6 / world.fps;
            frame_due_us += interval_us;
            let wanted = (control.target_kbps() / 1000.0).min(at(&world.encoder, s));
            let share =
                if world.follow == 0.0 { 1.0 } else { (interval_us / 1000.0 / world.follow).min(1.0) };
            encoder += (wanted - encoder) * share;
            video += encoder * interval_us / 8.0 * (0.8 + 0.4 * dice.roll());
            let packets = (video / BYTES as f64).ceil().max(1.0);
            video_gap_us = interval_us * world.pace / packets;
            video_due_us = video_due_us.max(now);
        }
        let mut out: Vec<Option<bool>> = Vec::new();
        while video >= BYTES as f64 && now >= video_due_us {
            video -= BYTES as f64;
            video_due_us += video_gap_us;
            out.push(Some(false));
        }
        if now_us.is_multiple_of(2_000)
            && let Some((kbps, bytes)) = control.probe(now_us)
        {
            padding = bytes as f64;
            padding_gap_us = BYTES as f64 * 8_000.0 / kbps;
            padding_due_us = now;
        }
        while padding > 0.0 && now >= padding_due_us {
            padding -= BYTES as f64;
            padding_due_us += padding_gap_us;
            padded += BYTES;
            out.push(Some(true));
        }
        while s < world.rival.1 && s >= world.rival.0 && now >= rival_due_us {
            rival_due_us += BYTES as f64 * 8.0 / world.rival.2;
            out.push(None);
        }

        // The way there.
        for ours in out {
            while leaving.front().is_some_and(|&us| us <= now_us) {
                leaving.pop_front();
            }
            let mut fate = Some(());
            if leaving.len() >= world.buffer {
                fate = None;
            }
            if world.policer.is_some() && ours.is_some() {
                if tokens < BYTES as f64 { fate = None } else { tokens -= BYTES as f64 }
            }
            let chance = dice.roll();
            match world.loss {
                Loss::Random(share) if chance < share => fate = None,
                Loss::Bursts(share) if burst == 0 && chance < share / 6.0 => {
                    burst = 4 + (dice.roll() * 5.0) as u32
                }
                _ => {}
            }
            if burst > 0 && ours.is_some() {
                burst -= 1;
                fate = None;
            }
            let arrives_us = fate.map(|()| {
                free_us = free_us.max(now) + BYTES as f64 * 8.0 / link;
                let into_second = free_us % 1e6;
                if world.stall > 0.0 && s > 1.0 && into_second < world.stall * 1000.0 {
                    free_us += world.stall * 1000.0 - into_second;
                }
                leaving.push_back(free_us as u64);
                let jitter_us = world.jitter * 1000.0 * (2.0 * dice.roll() - 1.0);
                let us = (free_us + at(&world.delay, s) * 1000.0 + jitter_us).max(now) as u64;
                if world.reorders { us } else { us.max(last_arrival_us) }
            });
            if ours.is_some() {
                last_arrival_us = arrives_us.map_or(last_arrival_us, |us| us.max(last_arrival_us));
            }
            if let Some(probe) = ours {
                sent += BYTES;
                lost += u64::from(arrives_us.is_none());
                arrived.extend(arrives_us);
                reported_us.push_back(now_us);
                flights.push_back(Flight { sent_us: now_us, arrives_us, probe });
            }
        }

        // The receiver: whatever has come, in the order of sending, and gaps before the newest of it.
        if now_us >= report_due_us {
            report_due_us += REPORT_US;
            let newest = flights.iter().rposition(|flight| flight.arrives_us.is_some_and(|us| us <= now_us));
            let (mut came, mut missing) = (Vec::new(), 0);
            let mut late = VecDeque::new();
            for flight in flights.drain(..newest.map_or(0, |newest| newest + 1)) {
                match flight.arrives_us {
                    None => missing += 1,
                    Some(us) if us > now_us => late.push_back(flight),
                    Some(us) => came.push(Arrival {
                        sent_us: flight.sent_us,
                        received_us: (PEER_US + us as f64 * (1.0 + world.drift / 1e6)) as u64,
                        bytes: BYTES as u32,
                        probe: flight.probe,
                    }),
                }
            }
            late.append(&mut flights);
            flights = late;
            if !(came.is_empty() || s >= world.deaf.0 && s < world.deaf.1) {
                reports.push_back((now_us + (at(&world.delay, s) * 1000.0) as u64, came, missing));
            }
        }

        // Back at the sender.
        while reports.front().is_some_and(|(us, ..)| *us <= now_us) {
            let Some((_, came, missing)) = reports.pop_front() else { break };
            let newest_us = came.last().map_or(0, |arrival| arrival.sent_us);
            while reported_us.front().is_some_and(|&us| us <= newest_us) {
                reported_us.pop_front();
            }
            control.report(&came, missing, now_us);
        }
        if now_us.is_multiple_of(5_000) {
            control.tick(now_us, reported_us.front().copied());
        }

        if now_us >= moment_due_us {
            moment_due_us += 10_000;
            let before = arrived.len();
            arrived.retain(|&us| us > now_us);
            let got = (before - arrived.len()) as u64 * BYTES;
            got_total += got;
            trace.0.push(Moment {
                s,
                queue_ms: (free_us - now).max(0.0) / 1000.0,
                seen_ms: control.queue_us() as f64 / 1000.0,
                target: control.target_kbps() / 1000.0,
                got: got as f64 * 8.0 / 10_000.0,
                sent: sent as f64 * 8.0 / 10_000.0,
                lost,
                padding: padded,
            });
            (sent, lost, padded) = (0, 0, 0);
        }
    }
    assert!(got_total > 0, "nothing arrived");
    trace
}
