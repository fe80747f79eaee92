//! What carries datagrams between booths.
//!
//! A session ([`super::session`]) knows this face alone. [`moq::MoqCarrier`] is MoQ over QUIC,
//! [`sealed::Sealed`] encrypts on top of it, and the testkit has two ends in one process, with a clock and
//! faults of its own.

pub(crate) mod moq;
pub(crate) mod sealed;

use bytes::Bytes;

use crate::link::error::Ended;
use crate::link::track::Track;

/// A peer's place, below [`MAX_PEERS`](crate::link::sizes::MAX_PEERS).
pub(crate) type Slot = usize;

/// What comes from a carrier.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram of the peer at this place.
    Datagram(Slot, Track, Bytes),
    /// A datagram of that peer did not decrypt.
    DecryptFailed(Slot),
    /// The tracks of that peer have ended.
    Over(Slot, Ended),
    /// The time has come.
    Time,
}

/// Carries datagrams to the peers of one connection and from them.
pub(crate) trait Carrier {
    /// What it takes to reach a peer.
    type Peer;

    /// The time, in µs.
    fn now_us(&self) -> u64;

    /// The largest datagram that will pass, in bytes.
    fn datagram(&self) -> usize;

    /// Whether a datagram given now has room; one without is lost.
    fn ready(&self) -> bool;

    /// Bytes that were given and have not left yet.
    fn waiting_bytes(&self) -> usize;

    /// Datagrams that have left so far.
    fn left(&self) -> u64;

    /// What [`Carrier::left`] will say when a datagram given now has left.
    fn leaves_at(&self) -> u64;

    /// So many bytes may be under way, whatever else the carrier thinks of the path.
    fn allow(&mut self, bytes: u64);

    /// A peer is met, in the place of whoever was at `slot`.
    fn join(&mut self, slot: Slot, peer: Self::Peer);

    /// The peer at `slot` is not met any more.
    fn leave(&mut self, slot: Slot);

    /// The secret that peers need to decrypt what goes to all of them; none where nothing is encrypted.
    fn secret(&self) -> Option<[u8; 32]> {
        None
    }

    /// The peer at `slot` gave such a secret of its own.
    fn learn(&mut self, _slot: Slot, _secret: &[u8; 32]) {}

    /// Gives a datagram on its way to all peers. What becomes of it is not known.
    ///
    /// # Errors
    /// When the session is over.
    fn send_all(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended>;

    /// Gives a datagram of the `feedback` track on its way to the peer at `slot` alone.
    ///
    /// # Errors
    /// When the session is over.
    fn send_feedback(&mut self, slot: Slot, datagram: Bytes) -> Result<(), Ended>;

    /// Waits for something to come, or until `until_us`. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// When the session is over.
    async fn next(&mut self, until_us: u64) -> Result<Event, Ended>;
}
