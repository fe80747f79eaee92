//! CPU time of this thread.

use nix::time::{ClockId, clock_gettime};

/// Sums up what frames take.
#[derive(Default)]
pub struct Stopwatch {
    started_us: f64,
    total_us: f64,
    longest_us: f64,
    frames: u32,
}

impl Stopwatch {
    /// A frame begins.
    pub fn start(&mut self) {
        self.started_us = now_us();
    }

    /// It ended.
    pub fn stop(&mut self) {
        let took_us = now_us() - self.started_us;
        self.total_us += took_us;
        self.longest_us = self.longest_us.max(took_us);
        self.frames += 1;
    }

    /// For each frame in µs: mean and longest.
    pub fn frame_us(&self) -> [f64; 2] {
        [self.total_us / f64::from(self.frames.max(1)), self.longest_us]
    }
}

fn now_us() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0.0, |time| time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 * 1e-3)
}
