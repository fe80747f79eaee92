//! What reports say about the way there: base delay, standing queue, its trend, delivery rate, loss.

use super::arrival::Arrival;

/// Reports remembered: nearly two seconds at 15 ms.
const SPANS: usize = 128;
/// The base delay is the least of this many seconds: long enough to meet an empty queue, short enough that
/// clocks which drift 100 ppm apart part by one millisecond.
const BASE_SECONDS: usize = 10;
/// More than one frame interval at 30 frames a second, so that the least delay in it is that of a queue which
/// stands, not that of a burst.
const STANDING_US: i64 = 35_000;
/// Fewer datagrams say little about the least delay.
const STANDING_COUNT: u32 = 5;
/// A delay that jumps by so much between two datagrams is a stall or another route, not a narrow link.
const STALL_US: i64 = 25_000;
/// Delays further from the base than this are absurd.
const ABSURD_US: i64 = 3_000_000;
/// After so many absurd ones in a row it is the base that is absurd.
const STRANGERS: u32 = 100;
/// Times beyond this are no times (285 years).
const MAX_TIME_US: u64 = 1 << 53;

/// What one report told, or the part of it since a stall.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    first_sent_us: i64,
    last_sent_us: i64,
    first_received_us: i64,
    last_received_us: i64,
    least_delay_us: i64,
    first_bytes: u64,
    bytes: u64,
    count: u32,
    lost: u32,
    after_stall: bool,
}

impl Span {
    fn of(arrival: &Arrival, delay_us: i64, after_stall: bool) -> Self {
        let (sent_us, received_us) = (arrival.sent_us as i64, arrival.received_us as i64);
        Self {
            first_sent_us: sent_us,
            last_sent_us: sent_us,
            first_received_us: received_us,
            last_received_us: received_us,
            least_delay_us: delay_us,
            first_bytes: arrival.bytes.into(),
            bytes: arrival.bytes.into(),
            count: 1,
            lost: 0,
            after_stall,
        }
    }

    /// This span and an `earlier` one as one.
    fn with(self, earlier: &Self) -> Self {
        Self {
            first_sent_us: self.first_sent_us.min(earlier.first_sent_us),
            last_sent_us: self.last_sent_us.max(earlier.last_sent_us),
            first_received_us: self.first_received_us.min(earlier.first_received_us),
            last_received_us: self.last_received_us.max(earlier.last_received_us),
            least_delay_us: self.least_delay_us.min(earlier.least_delay_us),
            first_bytes: earlier.first_bytes,
            bytes: self.bytes + earlier.bytes,
            count: self.count.saturating_add(earlier.count),
            lost: self.lost.saturating_add(earlier.lost),
            after_stall: earlier.after_stall,
        }
    }
}

/// The way to the other booth.
#[derive(Debug)]
pub(crate) struct Path {
    spans: [Span; SPANS],
    next: usize,
    len: usize,
    /// Least delay of each of the last seconds; `i64::MAX` where there was none.
    base_us: [i64; BASE_SECONDS],
    second: u64,
    last_delay_us: Option<i64>,
    strangers: u32,
}

impl Path {
    pub(crate) fn new() -> Self {
        Self {
            spans: [Span::default(); SPANS],
            next: 0,
            len: 0,
            base_us: [i64::MAX; BASE_SECONDS],
            second: 0,
            last_delay_us: None,
            strangers: 0,
        }
    }

    /// Takes in a report; `each` sees every datagram that makes sense and its delay. False when nothing made
    /// sense.
    pub(crate) fn add(
        &mut self,
        arrivals: &[Arrival],
        lost: u32,
        now_us: u64,
        mut each: impl FnMut(&Arrival, i64),
    ) -> bool {
        self.turn(now_us);
        let mut span: Option<Span> = None;
        for arrival in arrivals {
            let Some(delay_us) = self.delay(arrival, now_us) else { continue };
            each(arrival, delay_us);
            let slot = &mut self.base_us[(self.second % BASE_SECONDS as u64) as usize];
            *slot = delay_us.min(*slot);
            let stalled = self.last_delay_us.is_some_and(|last_us| delay_us - last_us > STALL_US);
            self.last_delay_us = Some(delay_us);
            let one = Span::of(arrival, delay_us, stalled);
            span = Some(match span {
                Some(before) if !stalled => one.with(&before),
                Some(before) => {
                    self.push(before);
                    one
                }
                None => one,
            });
        }
        let Some(mut span) = span else { return false };
        // More losses than this in one report are no report.
        span.lost = lost.min(100_000);
        self.push(span);
        true
    }

    /// A believable datagram's delay: the way there plus the unknown distance of the clocks.
    fn delay(&mut self, arrival: &Arrival, now_us: u64) -> Option<i64> {
        if arrival.sent_us > now_us || now_us > MAX_TIME_US || arrival.received_us > MAX_TIME_US {
            return None;
        }
        if now_us - arrival.sent_us > ABSURD_US as u64 || arrival.bytes == 0 || arrival.bytes > 65_535 {
            return None;
        }
        let delay_us = arrival.received_us as i64 - arrival.sent_us as i64;
        if self.base().is_some_and(|base_us| (delay_us - base_us).abs() > ABSURD_US) {
            self.strangers += 1;
            if self.strangers < STRANGERS {
                return None;
            }
            *self = Self { second: self.second, ..Self::new() };
        }
        self.strangers = 0;
        Some(delay_us)
    }

    fn push(&mut self, span: Span) {
        self.spans[self.next] = span;
        self.next = (self.next + 1) % SPANS;
        self.len = (self.len + 1).min(SPANS);
    }

    /// Seconds that went by leave the base delay.
    fn turn(&mut self, now_us: u64) {
        let second = now_us / 1_000_000;
        if second <= self.second {
            return;
        }
        let best_us = self.base();
        for gone in 0..(second - self.second).min(BASE_SECONDS as u64) {
            self.base_us[((second - gone) % BASE_SECONDS as u64) as usize] = i64::MAX;
        }
        self.second = second;
        // After a long pause the old base is the only one there is.
        if let (None, Some(best_us)) = (self.base(), best_us) {
            self.base_us[(second % BASE_SECONDS as u64) as usize] = best_us;
        }
    }

    fn base(&self) -> Option<i64> {
        self.base_us.iter().copied().min().filter(|&base_us| base_us != i64::MAX)
    }

    /// Forgets the old base delay: what stands now is the way itself.
    pub(crate) fn rebase(&mut self) {
        if let Some((now, _)) = self.standing(0) {
            self.base_us = [i64::MAX; BASE_SECONDS];
            self.base_us[(self.second % BASE_SECONDS as u64) as usize] = now.least_delay_us;
        }
    }

    /// The spans, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = &Span> {
        (1..=self.len).map(|back| &self.spans[(self.next + SPANS - back) % SPANS])
    }

    /// Spans from the `skip`th back until they are long enough to tell a standing queue from a burst, and how
    /// many.
    fn standing(&self, skip: usize) -> Option<(Span, usize)> {
        self.window(skip, |whole| {
            whole.last_received_us - whole.first_received_us >= STANDING_US && whole.count >= STANDING_COUNT
        })
    }

    fn window(&self, skip: usize, enough: impl Fn(&Span) -> bool) -> Option<(Span, usize)> {
        let mut whole: Option<Span> = None;
        let mut used = 0;
        for span in self.newest_first().skip(skip) {
            let sum = whole.map_or(*span, |whole| whole.with(span));
            whole = Some(sum);
            used += 1;
            if enough(&sum) {
                break;
            }
        }
        whole.map(|whole| (whole, skip + used))
    }

    fn above_base(&self, delay_us: i64) -> u64 {
        self.base().map_or(0, |base_us| delay_us.saturating_sub(base_us).max(0) as u64)
    }

    /// The queue that stands on the way, in µs: least delay of the last 35 ms over the base delay.
    pub(crate) fn queue_us(&self) -> u64 {
        self.standing(0).map_or(0, |(now, _)| self.above_base(now.least_delay_us))
    }

    /// The same of the newest report alone: sooner, and less sure.
    pub(crate) fn newest_queue_us(&self) -> u64 {
        self.newest_first().next().map_or(0, |span| self.above_base(span.least_delay_us))
    }

    /// By how much the least delay of the newest report is above that of every one of the three before, in
    /// µs; 0 after a stall.
    pub(crate) fn sudden_us(&self) -> u64 {
        let mut spans = self.newest_first().take(4);
        let Some(newest) = spans.next().filter(|span| !span.after_stall) else { return 0 };
        let before_us = spans.map(|span| if span.after_stall { i64::MAX } else { span.least_delay_us }).max();
        before_us.map_or(0, |before_us| newest.least_delay_us.saturating_sub(before_us).max(0) as u64)
    }

    /// How fast the standing queue grows, in µs per µs; `None` just after a stall or a beginning.
    pub(crate) fn trend(&self) -> Option<f64> {
        let (now, used) = self.standing(0)?;
        if self.newest_first().take(used).any(|span| span.after_stall) {
            return None;
        }
        let (before, _) = self.standing(used)?;
        let middle_us = |span: &Span| (span.first_received_us + span.last_received_us) / 2;
        let apart_us = middle_us(&now) - middle_us(&before);
        (apart_us > 5_000).then(|| (now.least_delay_us - before.least_delay_us) as f64 / apart_us as f64)
    }

    /// How fast datagrams came in over about the last `least_us`, never across a stall; `None` when there
    /// were too few.
    pub(crate) fn delivered_kbps(&self, least_us: i64) -> Option<f64> {
        let (whole, _) = self.window(0, |whole| {
            whole.after_stall || whole.last_received_us - whole.first_received_us >= least_us
        })?;
        let took_us = whole.last_received_us - whole.first_received_us;
        (whole.count >= STANDING_COUNT && took_us > 2_000)
            .then(|| (whole.bytes - whole.first_bytes) as f64 * 8_000.0 / took_us as f64)
    }

    /// What was really sent over about the last `least_us`, lost datagrams included.
    pub(crate) fn sent_kbps(&self, least_us: i64) -> f64 {
        let long = |whole: &Span| whole.last_sent_us - whole.first_sent_us >= least_us;
        let Some((whole, _)) = self.window(0, long) else { return 0.0 };
        let size = whole.bytes as f64 / f64::from(whole.count);
        let bytes = (whole.bytes - whole.first_bytes) as f64 + size * f64::from(whole.lost);
        bytes * 8_000.0 / (whole.last_sent_us - whole.first_sent_us).max(20_000) as f64
    }

    /// Share of datagrams lost, over `least_us` and at least `count` datagrams sent after `since_us`, and
    /// how many that were; `None` while there are fewer.
    pub(crate) fn loss(&self, least_us: i64, count: u32, since_us: u64) -> Option<(f64, u32)> {
        let since_us = i64::try_from(since_us).ok()?;
        let enough = |whole: &Span| {
            whole.count.saturating_add(whole.lost) >= count
                && whole.last_sent_us - whole.first_sent_us >= least_us
        };
        let (whole, _) = self.window(0, enough)?;
        (enough(&whole) && whole.first_sent_us >= since_us).then(|| {
            let all = whole.count.saturating_add(whole.lost);
            (f64::from(whole.lost) / f64::from(all), all)
        })
    }
}
