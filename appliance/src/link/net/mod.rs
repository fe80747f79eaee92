//! Sockets, TLS and what QUIC is told of congestion.

pub(crate) mod addresses;
pub(crate) mod congestion;
pub(crate) mod membership;
pub(crate) mod socket;
pub(crate) mod tls;
