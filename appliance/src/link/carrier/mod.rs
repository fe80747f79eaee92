//! What carries datagrams between two booths.
//!
//! A session ([`super::session`]) knows this face alone. [`datagrams::MoqWire`] is MoQ over QUIC; [`super::testkit::memory`] is two ends in one
//! process, with a clock and faults of its own.

pub(crate) mod datagrams;
pub(crate) mod moq;
pub(crate) mod sealed;

use bytes::Bytes;

use crate::link::error::Ended;
use crate::link::track::Track;

/// What a session waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram came.
    Datagram(Track, Bytes),
    /// The encoder has put something into the hand-over.
    Outgoing,
    /// The time has come.
    Time,
}

/// Carries datagrams to the other booth and from it.
pub(crate) trait Wire {
    /// The time, in µs.
    fn now_us(&self) -> u64;

    /// The largest datagram that will pass, in bytes.
    fn datagram(&self) -> usize;

    /// Whether a datagram given now would go at once, and not wait for others.
    fn ready(&self) -> bool;

    /// So many bytes may be under way, whatever else the wire thinks of the line.
    fn allow(&mut self, bytes: u64);

    /// Gives a datagram on its way. What becomes of it is not known.
    ///
    /// # Errors
    /// When the session is over.
    fn send(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended>;

    /// Waits for a datagram, for the hand-over, or until `until_us`.
    ///
    /// # Errors
    /// When the session is over.
    async fn next(&mut self, until_us: u64) -> Result<Event, Ended>;
}
