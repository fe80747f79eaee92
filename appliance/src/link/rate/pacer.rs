//! When the next datagram may go: frames leave as fast as the narrowest place on the way takes them, and no
//! faster. No I/O.

/// The slowest and the fastest pace, in kbit/s. Slower than the sender takes any line to be, so that a line of
/// that rate is not flooded; and moq-net keeps 64 datagrams a track, and the loop wakes once a millisecond.
const RANGE_KBPS: (f32, f32) = (100.0, 250_000.0);
/// Spreading of a train by less than this, in µs, is the clock's and the scheduler's.
const NOISE_US: u64 = 400;
/// How much faster the next frame goes after one that came as it went.
const FASTER: f32 = 1.1;
/// What the bucket holds, in µs of the pace: timers wake late.
const BUCKET_US: f32 = 2_000.0;
/// And at least, in bytes.
const BUCKET: f32 = 3_000.0;

/// A frame's datagrams that went out together and came in one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Train {
    /// Bytes after the first datagram.
    pub(crate) bytes: u32,
    /// From sending the first to sending the last, in µs.
    pub(crate) sent_us: u64,
    /// From the arrival of the first to that of the last, in µs.
    pub(crate) came_us: u64,
}

/// A token bucket whose rate follows what trains of datagrams show.
#[derive(Debug)]
pub(crate) struct Pacer {
    kbps: f32,
    least_kbps: f32,
    most_kbps: f32,
    tokens: f32,
    filled_us: u64,
}

impl Pacer {
    /// Begins with `kbps`.
    pub(crate) fn new(kbps: u32) -> Self {
        let kbps = (kbps as f32).clamp(RANGE_KBPS.0, RANGE_KBPS.1);
        Self { kbps, least_kbps: RANGE_KBPS.0, most_kbps: RANGE_KBPS.1, tokens: BUCKET, filled_us: 0 }
    }

    /// Never slower than this, or what is made does not leave.
    pub(crate) fn at_least(&mut self, kbps: u32) {
        self.least_kbps = (kbps as f32).clamp(RANGE_KBPS.0, RANGE_KBPS.1);
    }

    /// No faster than this for now: the line has become narrower than trains have shown.
    pub(crate) fn at_most(&mut self, kbps: u32) {
        self.kbps = self.kbps.min(kbps as f32).max(RANGE_KBPS.0);
    }

    /// Never faster than this, whatever trains show; none for no bound.
    pub(crate) fn limit(&mut self, kbps: Option<u32>) {
        self.most_kbps = kbps.map_or(RANGE_KBPS.1, |kbps| (kbps as f32).clamp(RANGE_KBPS.0, RANGE_KBPS.1));
    }

    /// The pace, in kbit/s.
    pub(crate) fn kbps(&self) -> f32 {
        self.kbps.min(self.most_kbps).max(self.least_kbps)
    }

    /// Learns from a train.
    pub(crate) fn learn(&mut self, train: Train) {
        if train.came_us > train.sent_us + NOISE_US + train.sent_us / 8 {
            let shown = train.bytes as f32 * 8_000.0 / train.came_us as f32;
            self.kbps += (shown.min(self.kbps) - self.kbps) * 0.3;
        } else {
            self.kbps *= FASTER;
        }
        self.kbps = self.kbps.clamp(RANGE_KBPS.0, RANGE_KBPS.1);
    }

    /// Whether a datagram may go at `now_us`.
    pub(crate) fn ready(&mut self, now_us: u64) -> bool {
        let kbps = self.kbps();
        let since_us = now_us.saturating_sub(self.filled_us) as f32;
        self.tokens = (self.tokens + since_us * kbps / 8_000.0).min(BUCKET.max(BUCKET_US * kbps / 8_000.0));
        self.filled_us = now_us;
        self.tokens > 0.0
    }

    /// A datagram of `bytes` went.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.tokens -= bytes as f32;
    }

    /// When the next may go, in µs.
    pub(crate) fn next_us(&self) -> u64 {
        let wait_us = (-self.tokens).max(0.0) * 8_000.0 / self.kbps();
        self.filled_us.saturating_add(wait_us as u64 + 1)
    }

    /// How long `bytes` take, in µs.
    pub(crate) fn span_us(&self, bytes: usize) -> u64 {
        (bytes as f32 * 8_000.0 / self.kbps()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_leave_at_the_pace() {
        let mut pacer = Pacer::new(8_000);
        let mut sent = 0;
        for ms in 1..=1_000 {
            while pacer.ready(ms * 1_000) {
                pacer.spend(1_000);
                sent += 1_000;
            }
            assert!(pacer.next_us() <= (ms + 2) * 1_000);
        }
        assert!((990_000..1_010_000).contains(&sent), "{sent} bytes in a second of 8 Mbit/s");
    }

    #[test]
    fn it_finds_the_narrowest_place_and_leaves_it() {
        let mut pacer = Pacer::new(100_000);
        let train = |pacer: &Pacer, line_kbps: f32| {
            let sent_us = pacer.span_us(30_000);
            let came_us = sent_us.max((30_000.0 * 8_000.0 / line_kbps) as u64);
            Train { bytes: 30_000, sent_us, came_us }
        };
        for _ in 0..60 {
            let seen = train(&pacer, 20_000.0);
            pacer.learn(seen);
        }
        assert!((18_000.0..25_000.0).contains(&pacer.kbps()), "{}", pacer.kbps());
        for _ in 0..60 {
            let seen = train(&pacer, 1_000_000.0);
            pacer.learn(seen);
        }
        assert!(pacer.kbps() > 200_000.0);
    }
}
