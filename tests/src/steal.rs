//! Time that the machine under the rig takes away from it: what `/proc/stat` calls steal, and User-Mode Linux
//! does not count.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use thread_priority::{
    DeadlineFlags, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy,
};

use crate::clock::{now_us, sleep_until_us};

/// How often it is looked for, in µs. What begins while the sleeper sleeps is seen shorter by what was left of that.
const EVERY_US: i64 = 3_000;

/// While something happens, how much later than it asked a thread was woken at worst, in µs, that does
/// nothing but sleep and is more urgent than any other: a program in the rig that keeps the core for itself
/// does not delay it, whatever its priority.
///
/// # Errors
/// When the system does not allow such a thread.
pub fn longest_us(happens: impl FnOnce()) -> io::Result<i64> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            become_most_urgent()?;
            let mut worst_us = 0;
            while !over.load(Relaxed) {
                let due_us = now_us() + EVERY_US;
                sleep_until_us(due_us);
                worst_us = worst_us.max(now_us() - due_us);
            }
            Ok(worst_us)
        });
        happens();
        over.store(true, Relaxed);
        sleeper.join().unwrap_or_else(|_| Err(io::Error::other("the sleeper ended")))
    })
}

/// SCHED_DEADLINE (sched(7)), which goes before SCHED_FIFO at its highest. With that, the kernel's own server
/// for tasks that SCHED_FIFO has starved would go before us.
fn become_most_urgent() -> io::Result<()> {
    let priority = ThreadPriority::Deadline {
        runtime: Duration::from_micros(500),
        deadline: Duration::from_millis(1),
        period: Duration::from_micros(EVERY_US.unsigned_abs()),
        flags: DeadlineFlags::empty(),
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Deadline);
    // Of sched_setattr(2), 0 is the calling thread.
    set_thread_priority_and_policy(0, priority, policy)
        .map_err(|error| io::Error::other(format!("SCHED_DEADLINE: {error}")))
}
