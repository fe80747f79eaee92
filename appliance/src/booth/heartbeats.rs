//! That the threads of a booth make progress.

use crate::link::MAX_PEERS;
use crate::media::heartbeat::Heartbeat;

/// The heartbeats of the threads; the link's is with its handles.
pub(super) struct Heartbeats {
    pub(super) booth: Heartbeat,
    pub(super) display: Heartbeat,
    pub(super) capture: Heartbeat,
    pub(super) encode: Heartbeat,
    /// One for each peer.
    pub(super) decode: [Heartbeat; MAX_PEERS],
    pub(super) microphone: Heartbeat,
    pub(super) loudspeaker: Heartbeat,
    pub(super) input: Heartbeat,
    pub(super) status: Heartbeat,
    pub(super) discovery: Heartbeat,
    pub(super) code: Heartbeat,
}

impl Heartbeats {
    pub(super) const fn new() -> Self {
        Self {
            booth: Heartbeat::new("booth"),
            display: Heartbeat::new("display"),
            capture: Heartbeat::new("capture"),
            encode: Heartbeat::new("encode"),
            decode: [const { Heartbeat::new("decode") }; MAX_PEERS],
            microphone: Heartbeat::new("microphone"),
            loudspeaker: Heartbeat::new("loudspeaker"),
            input: Heartbeat::new("input"),
            status: Heartbeat::new("status"),
            discovery: Heartbeat::new("discovery"),
            code: Heartbeat::new("code"),
        }
    }
}
