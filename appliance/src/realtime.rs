//! How urgent threads are that must not wait for a core: their priorities under SCHED_FIFO (sched(7)). The
//! more urgent, the less there is to do. Encoding is not among them: in software it can fill a core, and
//! nothing else would run.

use std::io;

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Hearing and playing: a few per cent of a core, every 5 ms, and the first whose delay is noticed.
pub const SOUND: u8 = 45;
/// Showing pictures.
pub const DISPLAY: u8 = 40;
/// Taking pictures.
pub const CAPTURE: u8 = 35;
/// Above the link: a coded picture is taken before the next is put beside it.
pub const DECODE: u8 = 30;
/// The link.
pub const LINK: u8 = 20;

/// Gives the calling thread, and every thread and program that it starts from here on, a core whenever there
/// is something to do.
///
/// # Errors
/// When the system does not allow it.
pub fn set_realtime_priority(priority: u8) -> io::Result<()> {
    let value = ThreadPriorityValue::try_from(priority).map_err(io::Error::other)?;
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), fifo)
        .map_err(|e| io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_allows_what_is_asked_for() {
        let most = [SOUND, DISPLAY, CAPTURE, DECODE, LINK].into_iter().max().unwrap();
        let unit = include_str!("../../systemd/system/holobooth.service");
        assert!(unit.lines().any(|line| line == format!("LimitRTPRIO={most}")), "{most}");
    }
}
