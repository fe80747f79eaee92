//! The one clock of a booth: CLOCK_MONOTONIC, the clock of V4L2 timestamps and DRM flip events alike.

use nix::time::{ClockId, clock_gettime};

/// Microseconds on CLOCK_MONOTONIC.
pub fn now_us() -> u64 {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(t) => t.tv_sec() as u64 * 1_000_000 + t.tv_nsec() as u64 / 1_000,
        // Linux has had CLOCK_MONOTONIC since 2.6; without it nothing here could be timed.
        Err(_) => 0,
    }
}
