//! The wire between booths: MoQ tracks over QUIC, mutual TLS pinned by fingerprint, reconnecting for ever.
//! Decodes nothing.
//!
//! ```text
//!  encoder ─► session ─► sender ─► scheduler ─► carrier ═══► carrier ─► receiver ─► session ─► decoder
//!                          packetizer, fec        ║  crypto            arrivals, assembler      (one a peer)
//!                          history, estimator ◄── feedback ◄────────────┘
//! ```
//! The folders are rows, and each uses only those before it: `error`, `sizes`, `track`, `counters`, `config`,
//! `handles` · `crypto` (keys, sealing) · `rate` (how much, and when) · `media` (frames to datagrams and
//! back) · `carrier` (what carries datagrams) · `net` (sockets, TLS, congestion, addresses) · `session` (one
//! connection, all peers met there) · `peers` (who is met, over which connection) · `testkit`. What is in
//! `rate` and `media` does no I/O and reads no clock.

mod carrier;
mod config;
mod counters;
mod crypto;
mod error;
mod handles;
mod media;
mod net;
mod peers;
mod rate;
mod session;
mod sizes;
#[cfg(any(test, feature = "testkit", feature = "fuzzing"))]
pub mod testkit;
mod track;

pub use config::{Answer, Config, Done, Inbox, Order, Peer, Relay};
pub use counters::{Counters, Counts, PeerCounters, PeerCounts};
pub use crypto::sealing::time_sealing;
pub use error::Error;
pub use handles::{Handles, PeerEntry, PeerHandles, PeerList, Way};
pub use peers::connection_manager::run;
pub use sizes::MAX_PEERS;
