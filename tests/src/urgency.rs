//! Who gets the rig's one core first.
//!
//! A booth's link is real-time and has cores beside it. On one core, what a transport would do meanwhile waits for the decoder, and a
//! delay of the machine's counts as the line's.

use std::io;

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// The priority of a booth's link under SCHED_FIFO (sched(7)).
pub const LINK: u8 = 20;

/// Makes the calling thread, and every thread and program that it starts from here on, as urgent as a booth's link.
///
/// # Errors
/// When the system does not allow it; in the rig it does.
pub fn as_a_link() -> io::Result<()> {
    let value = ThreadPriorityValue::try_from(LINK).map_err(io::Error::other)?;
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), fifo)
        .map_err(|e| io::Error::other(format!("SCHED_FIFO: {e}")))
}
