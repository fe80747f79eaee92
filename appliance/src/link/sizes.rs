//! How large a datagram may be, and what stands around it.

/// What sealing adds to a datagram at most, in bytes: the header with a counter of any length, and the tag of
/// AES-GCM.
pub(crate) const SEAL_OVERHEAD: usize = 1 + 8 + 16;
/// The largest datagram that fits every path, in bytes: QUIC's minimum MTU of 1200 (RFC 9000, section 14)
/// less what QUIC, MoQ and a relay's own headers take, and less the seal.
pub(crate) const SAFE_DATAGRAM: usize = 1100 - SEAL_OVERHEAD;
/// The largest that is used where the path allows more, in bytes.
pub(crate) const MAX_DATAGRAM: usize = 1440;
pub use crate::units::MAX_PEERS;
/// What IP, UDP, QUIC, MoQ and the seal put around a datagram of ours, in bytes.
pub(crate) const AROUND: usize = 90;
