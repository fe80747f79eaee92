//! A thread's sign of life: by when its next turn is due. Cheap enough for every turn of every loop.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::media::clock::now_us;

/// How long a turn may take, in µs. Every thread that waits for something looks up several times a second;
/// this is what a codec or a driver may need at its worst on a machine that has much else to do.
const TURN_US: u64 = 10_000_000;

/// The sign of life of one thread. It has one writer, and whoever watches reads it.
pub struct Heartbeat {
    name: &'static str,
    /// On our clock; 0 while there is no such thread.
    due_us: AtomicU64,
}

impl Heartbeat {
    /// The heartbeat of a thread that does not run yet.
    pub const fn new(name: &'static str) -> Self {
        Self { name, due_us: AtomicU64::new(0) }
    }

    /// The thread's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A turn begins.
    pub fn beat(&self) {
        self.beat_at(now_us());
    }

    /// A turn begins, and it is `now_us`.
    pub fn beat_at(&self, now_us: u64) {
        self.due_us.store(now_us + TURN_US, Relaxed);
    }

    /// What begins now is known to take up to `limit`.
    pub fn extend_deadline(&self, limit: Duration) {
        self.due_us.store(now_us() + limit.as_micros() as u64, Relaxed);
    }

    /// The thread has ended as it should.
    pub fn ended(&self) {
        self.due_us.store(0, Relaxed);
    }

    /// Whether there is such a thread.
    pub fn runs(&self) -> bool {
        self.due_us.load(Relaxed) != 0
    }

    /// How long its turn is overdue at `now_us`, in µs; nothing while it makes progress, or does not run.
    pub fn overdue_us(&self, now_us: u64) -> Option<u64> {
        let due_us = self.due_us.load(Relaxed);
        (due_us != 0 && now_us > due_us).then(|| now_us - due_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_runs_and_does_not_turn_is_overdue() {
        let heartbeat = Heartbeat::new("x");
        assert!(!heartbeat.runs() && heartbeat.overdue_us(u64::MAX).is_none(), "not started");
        heartbeat.beat_at(1_000);
        assert!(heartbeat.runs());
        assert_eq!(heartbeat.overdue_us(1_000 + TURN_US), None);
        assert_eq!(heartbeat.overdue_us(1_001 + TURN_US), Some(1));
        heartbeat.beat_at(2_000);
        assert_eq!(heartbeat.overdue_us(1_001 + TURN_US), None);
        heartbeat.ended();
        assert_eq!((heartbeat.runs(), heartbeat.overdue_us(u64::MAX)), (false, None));
    }

    #[test]
    fn what_is_known_to_take_long_is_waited_for() {
        let heartbeat = Heartbeat::new("x");
        heartbeat.extend_deadline(Duration::from_secs(60));
        assert_eq!(heartbeat.overdue_us(now_us() + 2 * TURN_US), None);
        assert!(heartbeat.overdue_us(now_us() + 61_000_000).is_some());
        heartbeat.beat();
        assert!(heartbeat.overdue_us(now_us() + 2 * TURN_US).is_some(), "only that once");
    }
}
