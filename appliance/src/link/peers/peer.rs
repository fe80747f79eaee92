//! A peer: a booth that we meet, or try to.

use std::net::SocketAddr;

use tokio::task::AbortHandle;

use crate::link::carrier::Slot;
use crate::link::counters::PeerCounts;
use crate::link::handles::Way;
use crate::link::peers::route::{Id, Route};

/// What the connection manager knows of one.
pub(crate) struct Peer {
    /// Its place among the handles.
    pub(crate) slot: Slot,
    /// Which connection carries the meeting with it.
    pub(crate) route: Route,
    /// Whether it answers.
    pub(crate) connected: bool,
    /// The connection that it was met on last, and whose session has it.
    pub(crate) session: Option<Id>,
    /// The way that carried last.
    pub(crate) last_way: Option<Way>,
    /// Where it last spoke to us directly.
    pub(crate) seen_at: Option<SocketAddr>,
    /// The direct dial under way, and how many there were.
    pub(crate) dial: Option<AbortHandle>,
    pub(crate) attempts: u32,
    /// When it came, in µs, and what its place had counted before.
    pub(crate) since_us: u64,
    pub(crate) before: PeerCounts,
}

impl Peer {
    /// At place `slot`, which has counted `before`; `direct` says whether there is an address to dial.
    pub(crate) fn new(slot: Slot, direct: bool, before: PeerCounts, now_us: u64) -> Self {
        Self {
            slot,
            route: Route::new(direct, false, now_us),
            connected: false,
            session: None,
            last_way: None,
            seen_at: None,
            dial: None,
            attempts: 0,
            since_us: now_us,
            before,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(dial) = self.dial.take() {
            dial.abort();
        }
    }
}
