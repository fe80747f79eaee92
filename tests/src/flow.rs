//! Whether pictures flow, seen from both booths' counters of pictures shown.

use crate::booth::{Booth, Pair, Status};
use crate::clock::{now_us, sleep_until_us};

/// How often the booths are asked, in µs: often enough for a gap to be known to a frame, seldom enough not to
/// disturb.
const EVERY_US: i64 = 20_000;
/// So many pictures are a flow, and not what was still under way.
const FLOWING: i64 = 5;

/// What was seen of both booths' pictures over a while.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    /// From the start until both had shown pictures again and all else asked for was so, in ms; none when
    /// that never came.
    pub took_ms: Option<i64>,
    /// The longest that either booth showed nothing new, in ms.
    pub gap_ms: i64,
}

/// Watches both booths for `at_least_ms`, and then until each has shown a few more pictures while `ready`
/// held of its status; gives up after `within_ms`.
pub fn watch(pair: &Pair, at_least_ms: i64, within_ms: i64, ready: impl Fn(&Status) -> bool) -> Flow {
    let start_us = now_us();
    let mut sides = [&pair.a, &pair.b].map(|booth| Side::new(booth, start_us));
    loop {
        let now = now_us();
        let early = now - start_us < at_least_ms * 1000;
        let seen = sides.each_mut().map(|side| side.look(|status| !early && ready(status)));
        let gap_ms = sides.iter().map(|side| side.gap_us).max().unwrap_or(0) / 1000;
        if seen.iter().all(|&flows| flows) {
            return Flow { took_ms: Some((now_us() - start_us) / 1000), gap_ms };
        }
        if now - start_us > within_ms * 1000 {
            return Flow { took_ms: None, gap_ms };
        }
        sleep_until_us(now + EVERY_US);
    }
}

/// Watches both booths for so long; the longest that either showed nothing new, in ms.
pub fn gap_ms(pair: &Pair, for_ms: i64) -> i64 {
    watch(pair, for_ms, for_ms, |_| false).gap_ms
}

struct Side<'a> {
    booth: &'a Booth,
    shown: i64,
    grew_us: i64,
    gap_us: i64,
    /// Shown when `ready` began to hold.
    from: Option<i64>,
}

impl<'a> Side<'a> {
    fn new(booth: &'a Booth, now_us: i64) -> Self {
        Self { booth, shown: booth.status().number("/video/shown"), grew_us: now_us, gap_us: 0, from: None }
    }

    fn look(&mut self, ready: impl Fn(&Status) -> bool) -> bool {
        let status = self.booth.status();
        let (shown, now) = (status.number("/video/shown"), now_us());
        self.gap_us = self.gap_us.max(now - self.grew_us);
        if shown > self.shown {
            (self.shown, self.grew_us) = (shown, now);
        }
        if !ready(&status) {
            self.from = None;
            return false;
        }
        shown >= *self.from.get_or_insert(shown) + FLOWING
    }
}
