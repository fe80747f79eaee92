//! Who gets the rig's one core first.
//!
//! In a booth the link is real-time and has cores beside it; on one core, what a scheme's transport would do meanwhile waits for the
//! decoder, and a delay of the machine's counts as the line's.

use std::io;

use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// The priority of a booth's link under SCHED_FIFO (sched(7)).
pub const LINK: u8 = 20;

/// From here on the calling thread, and every thread and program that it starts, is as urgent as a booth's link.
///
/// # Errors
/// When the system does not allow it.
pub fn as_urgent_as_a_link() -> io::Result<()> {
    let value = ThreadPriorityValue::try_from(LINK).map_err(io::Error::other)?;
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), fifo)
        .map_err(|e| io::Error::other(format!("SCHED_FIFO: {e}")))
}

/// From here on the calling thread is like any other.
///
/// # Errors
/// When the system does not allow it.
pub fn as_any_other() -> io::Result<()> {
    let other = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let value = ThreadPriorityValue::try_from(0).map_err(io::Error::other)?;
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), other)
        .map_err(|e| io::Error::other(format!("SCHED_OTHER: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thread_priority::thread_schedule_policy;

    #[test]
    fn a_thread_becomes_urgent_and_usual_again() {
        let usual = thread_schedule_policy().unwrap();
        if as_urgent_as_a_link().is_err() {
            // Without CAP_SYS_NICE there is nothing to see; in the rig there is.
            return;
        }
        let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
        let own = || thread_schedule_policy().unwrap();
        assert_eq!((own(), std::thread::spawn(own).join().unwrap()), (fifo, fifo));
        as_any_other().unwrap();
        assert_eq!(own(), usual);
    }
}
