//! Time as the kernel's drivers stamp it.

use std::time::Duration;

use holobooth::media::picture::Stamps;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC now, in microseconds; 0 should the clock be missing, which Linux rules out.
pub fn now_us() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.num_microseconds())
}

/// Of a picture that was captured and coded at `us`, all at once.
pub fn stamps_at(us: i64) -> Stamps {
    let now = us.unsigned_abs();
    Stamps { capture_us: now, dequeued_us: now, staged_us: now, encoded_us: now, ..Stamps::default() }
}

/// Sleeps until CLOCK_MONOTONIC reads `target_us`; returns at once when that has passed.
pub fn sleep_until_us(target_us: i64) {
    let left_us = target_us - now_us();
    if left_us > 0 {
        std::thread::sleep(Duration::from_micros(left_us.unsigned_abs()));
    }
}

/// Asks `ready` every `every_ms` until it says yes; the milliseconds that took, or `None` after `within_ms`.
pub fn wait_until(within_ms: i64, every_ms: i64, mut ready: impl FnMut() -> bool) -> Option<i64> {
    let start_us = now_us();
    loop {
        let passed_us = now_us() - start_us;
        if ready() {
            return Some((now_us() - start_us) / 1000);
        }
        if passed_us >= within_ms * 1000 {
            return None;
        }
        sleep_until_us(start_us + passed_us + every_ms * 1000);
    }
}
