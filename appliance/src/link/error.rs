//! Why a link cannot start, and why a session is over.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Reports come ten times a second: without one for so long, in µs, the other side is not there, whatever the
/// connection says.
pub(crate) const UNHEARD_US: u64 = 3_000_000;
/// From a connection to flowing tracks; through a relay, from a connection to a place at the relay.
pub(crate) const SETUP_LIMIT: Duration = Duration::from_secs(3);

/// What can be wrong with the link, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket could not be had.
    #[error(
        "link: cannot receive on {address}: {source}; is another holobooth running? else change link.listen"
    )]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// TLS refused our own key.
    #[error("link: {0}; remove the booth's data folder to make a new key")]
    Tls(#[from] rustls::Error),
    /// A relay without a fingerprint, on a system without roots.
    #[error(
        "link: this system vouches for no certificate at all; put the relay's into relay.fingerprint, or install the \
         package ca-certificates"
    )]
    NoRoots,
    /// A relay, and nothing to seal with.
    #[error(
        "link: through a relay nothing goes unsealed; put a room key into room.key, as `holobooth room new` makes it"
    )]
    Unsealed,
    /// The system gave no thread, timer or descriptor.
    #[error("link: {0}")]
    System(#[from] io::Error),
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the connection is gone: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("MoQ: {0}")]
    Moq(#[from] moq_net::Error),
    #[error("the other side takes no QUIC datagrams")]
    NoDatagrams,
    #[error("the other side published nothing within {} s", SETUP_LIMIT.as_secs())]
    Silent,
    #[error("the room's name is no MoQ path")]
    Name,
    #[error("the system has no randomness to give")]
    Random,
    #[error("too many instances of the other booth")]
    Instances,
    #[error("sealing: {0}")]
    Seal(#[from] sframe::error::SframeError),
    #[error("the other side closed its tracks")]
    Closed,
    #[error("no report for {} s", UNHEARD_US / 1_000_000)]
    Unheard,
    #[error("a time beyond what MoQ can carry")]
    Time(#[from] moq_net::TimeOverflow),
    #[error(transparent)]
    System(#[from] std::io::Error),
}
