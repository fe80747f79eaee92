//! Short trains of padding that ask whether more would fit.

use super::arrival::{Arrival, Probe};

/// Trains at the beginning, one right after the other while each succeeds.
const QUICK: u8 = 4;
/// The least pause between trains later on, and the longest after such as found nothing or misled.
const PAUSE_US: u64 = 1_000_000;
const LONGEST_IDLE_US: u64 = 4_000_000;
const LONGEST_MISLED_US: u64 = 6_000_000;
/// A train lasts about this long, within these bounds: long enough to see a slope, short enough to hurt
/// nobody.
const TRAIN_US: f64 = 8_000.0;
const LEAST_BYTES: f64 = 6.0 * 1_100.0;
const MOST_BYTES: f64 = 24.0 * 1_100.0;
/// A train whose delay grows by more than this share of its length was held up; less is the clocks' and the
/// schedulers'.
const HELD_UP: f64 = 0.1;
/// A train that finds room for so many times the rate was worth it, held up or not.
const FOUND: f64 = 1.15;
/// A train that nobody heard of by then is lost.
const TIMEOUT_US: u64 = 1_000_000;

/// Sums of a line fitted through delay over time of sending.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    n: f64,
    t: f64,
    d: f64,
    tt: f64,
    td: f64,
    dd: f64,
    bytes: f64,
    last_us: f64,
}

impl Line {
    fn add(&mut self, t: f64, d: f64, bytes: u32) {
        self.n += 1.0;
        self.t += t;
        self.d += d;
        self.tt += t * t;
        self.td += t * d;
        self.dd += d * d;
        self.bytes += f64::from(bytes);
        self.last_us = self.last_us.max(t);
    }

    /// Slope of the line and the standard error of that slope.
    fn slope(&self) -> Option<(f64, f64)> {
        let stt = self.tt - self.t * self.t / self.n;
        let std = self.td - self.t * self.d / self.n;
        let sdd = self.dd - self.d * self.d / self.n;
        if self.n < 5.0 || stt < 1.0 {
            return None;
        }
        let slope = std / stt;
        let rest = (sdd - slope * std).max(0.0);
        Some((slope, (rest / (self.n - 2.0) / stt).sqrt()))
    }
}

#[derive(Debug)]
struct Train {
    asked_us: u64,
    bytes: u32,
    probe_bytes: u64,
    /// Sending time and delay of the first, and its bytes.
    first: Option<(u64, i64, f64)>,
    /// All datagrams since the first of the train, and those up to its latest.
    since: Line,
    within: Line,
}

/// What a train found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// This rate fits.
    pub(crate) kbps: f64,
    /// And more than this does not: the train was held up.
    pub(crate) held_up: bool,
}

#[derive(Debug)]
pub(crate) struct Prober {
    quick: u8,
    next_us: u64,
    idle_us: u64,
    train: Option<Train>,
}

impl Prober {
    pub(crate) fn new() -> Self {
        Self { quick: QUICK, next_us: 0, idle_us: 2 * PAUSE_US, train: None }
    }

    /// A train to send now at `kbps`, if it is time.
    pub(crate) fn due(&mut self, now_us: u64, target_kbps: f64, ceiling_kbps: f64) -> Option<Probe> {
        if self.train.as_ref().is_some_and(|train| now_us.saturating_sub(train.asked_us) > TIMEOUT_US) {
            self.train = None;
        }
        if self.train.is_some() || now_us < self.next_us {
            return None;
        }
        let factor = if self.quick == QUICK { 3.0 } else { 2.0 };
        let kbps = (target_kbps * factor).min(ceiling_kbps);
        let bytes = (kbps * TRAIN_US / 8_000.0).clamp(LEAST_BYTES, MOST_BYTES) as u32;
        let first = Line::default();
        self.train =
            Some(Train { asked_us: now_us, bytes, probe_bytes: 0, first: None, since: first, within: first });
        self.next_us = now_us.saturating_add(self.idle_us);
        Some(Probe { kbps: kbps as u32, bytes })
    }

    /// A datagram came in, in the order of sending. Others that lie between those of the train took their
    /// part of the link, so they count.
    pub(crate) fn arrived(&mut self, arrival: &Arrival, delay_us: i64) {
        let Some(train) = &mut self.train else { return };
        if arrival.sent_us < train.asked_us || (train.first.is_none() && !arrival.probe) {
            return;
        }
        let (sent_us, first_delay_us, _) =
            *train.first.get_or_insert((arrival.sent_us, delay_us, arrival.bytes.into()));
        let t = arrival.sent_us.saturating_sub(sent_us) as f64;
        train.since.add(t, delay_us.saturating_sub(first_delay_us) as f64, arrival.bytes);
        if arrival.probe {
            train.probe_bytes += u64::from(arrival.bytes);
            train.within = train.since;
        }
    }

    /// What the train found, once it is through, when the rate is `target_kbps`. `newest_us`: when the newest
    /// datagram known of was sent.
    pub(crate) fn verdict(&mut self, newest_us: u64, target_kbps: f64, now_us: u64) -> Option<Verdict> {
        let train = self.train.as_ref()?;
        let (first_us, _, first_bytes) = train.first?;
        let whole = train.probe_bytes + 550 >= u64::from(train.bytes);
        let passed = newest_us > first_us.saturating_add(train.within.last_us as u64 + 40_000);
        if !whole && !passed {
            return None;
        }
        let train = self.train.take()?;
        self.quick = self.quick.saturating_sub(1);
        let (slope, error) = train.within.slope()?;
        if train.probe_bytes * 2 < u64::from(train.bytes) || train.within.last_us < 1_000.0 {
            return None;
        }
        let sent_kbps = (train.within.bytes - first_bytes) * 8_000.0 / train.within.last_us;
        // In doubt, less: jitter widens the error.
        let slope = (slope + error).max(0.0);
        let held_up = slope > HELD_UP;
        let kbps = sent_kbps / (1.0 + slope);
        if held_up {
            self.quick = 0;
        }
        let in_vain = held_up && kbps < target_kbps * FOUND;
        if in_vain {
            self.idle_us = (self.idle_us * 3 / 2).clamp(2 * PAUSE_US, self.idle_us.max(LONGEST_IDLE_US));
        } else {
            self.idle_us = self.idle_us.min(2 * PAUSE_US);
        }
        self.next_us = match (self.quick, in_vain) {
            (1.., false) => now_us.saturating_add(100_000),
            (0, false) if held_up => train.asked_us.saturating_add(2 * PAUSE_US),
            (0, false) => train.asked_us.saturating_add(PAUSE_US),
            _ => train.asked_us.saturating_add(self.idle_us),
        };
        Some(Verdict { kbps, held_up })
    }

    /// What the last train promised did not hold.
    pub(crate) fn misled(&mut self, now_us: u64) {
        self.quick = 0;
        self.idle_us = (self.idle_us * 2).min(LONGEST_MISLED_US);
        self.next_us = now_us.saturating_add(self.idle_us);
        self.train = None;
    }

    /// It is no time for trains before `until_us`.
    pub(crate) fn wait(&mut self, until_us: u64) {
        self.next_us = self.next_us.max(until_us);
    }
}
