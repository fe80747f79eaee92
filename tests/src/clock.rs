//! Time as the kernel's drivers stamp it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC now, in microseconds; 0 should the clock be missing, which Linux rules out.
pub fn now_us() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.num_microseconds())
}

/// Sleeps until CLOCK_MONOTONIC reads `target_us`; returns at once when that has passed.
pub fn sleep_until_us(target_us: i64) {
    let left_us = target_us - now_us();
    if left_us > 0 {
        std::thread::sleep(Duration::from_micros(left_us.unsigned_abs()));
    }
}

/// While something happens, how much later than it asked a thread was woken at worst that does nothing but sleep, in µs: so long
/// the machine under the rig stood still, or the kernel was busy with itself.
pub fn longest_pause_us(happens: impl FnOnce()) -> i64 {
    const EVERY_US: i64 = 10_000;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut worst_us = 0;
            while !over.load(Relaxed) {
                let due_us = now_us() + EVERY_US;
                sleep_until_us(due_us);
                worst_us = worst_us.max(now_us() - due_us);
            }
            worst_us
        });
        happens();
        over.store(true, Relaxed);
        sleeper.join().unwrap_or(i64::MAX)
    })
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
