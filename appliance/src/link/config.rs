//! What a link is made of and told: its configuration, orders from somebody on site, and what discovery
//! finds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::link::sizes::MAX_PEERS;
use crate::pairing::{Code, Fingerprint, Identity, Pins, RoomKey, Sighting};

/// What is known of the other booth before it has been found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer {
    /// Where it is; none when it is to be found, or only it can dial.
    pub address: Option<SocketAddr>,
    /// Who it must prove to be; without it, any booth of the room.
    pub fingerprint: Option<Fingerprint>,
}

/// A relay at which both booths can be.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its address, or its DNS name.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// The certificate it must show; without one, any that this system's roots vouch for.
    pub fingerprint: Option<Fingerprint>,
}

/// What a link is made of.
pub struct Config {
    /// UDP address to receive on.
    pub listen: SocketAddr,
    /// Who belongs together; without one only TLS protects a meeting, and a relay could read it, so that
    /// there must be none. Without one and without the peer's fingerprint, the booth shows a code and waits
    /// for somebody to enter it elsewhere.
    pub room: Option<RoomKey>,
    /// Who we are.
    pub identity: Identity,
    /// What we are called; at most [`MOST_NAME`](crate::pairing::MOST_NAME) bytes.
    pub name: String,
    /// Whom we talk to.
    pub peer: Peer,
    /// Which booth has which name.
    pub pins: Pins,
    /// Where a room key that comes by code is kept.
    pub folder: PathBuf,
    /// Where to meet when the direct way does not work.
    pub relay: Option<Relay>,
    /// The highest rate of the video, in kbit/s.
    pub max_kbps: u32,
    /// From a picture's capture to its being decodable at the other booth.
    pub deadline: Duration,
    /// Other booths of the room that are met at once, at most; see [`Config::most`].
    pub most: usize,
}

/// What became of an order: a line for who gave it.
pub type Answer = std::sync::mpsc::SyncSender<Result<String, String>>;

/// What somebody on site wants of the link.
#[derive(Debug)]
#[non_exhaustive]
pub enum Order {
    /// This code was entered; the booth that shows it is to belong to our room.
    Pair {
        /// The code.
        code: Code,
        /// The booth that shows it; without a name, all that show one are tried.
        name: Option<String>,
        /// Who is told.
        answer: Answer,
    },
    /// A name is to be free for another booth.
    Forget {
        /// The name.
        name: String,
        /// Who is told.
        answer: Answer,
    },
}

impl Config {
    /// Whether nobody is known, and nothing to know anybody by: the booth shows a code then.
    pub(crate) fn is_open(&self) -> bool {
        self.room.is_none() && self.peer.fingerprint.is_none()
    }

    /// How many peers are met at once, at most.
    pub(crate) fn most(&self) -> usize {
        self.most.clamp(1, MAX_PEERS)
    }
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was stopped.
    Stopped,
    /// By code it came to belong to this room, which is kept; it is to be started again with it.
    Paired(RoomKey),
}

/// What the link is told while it runs.
pub struct Inbox {
    /// What is found on the local networks.
    pub sightings: mpsc::Receiver<Sighting>,
    /// What is wanted.
    pub orders: mpsc::Receiver<Order>,
}

impl Default for Inbox {
    /// One into which nothing comes.
    fn default() -> Self {
        Self { sightings: mpsc::channel(1).1, orders: mpsc::channel(1).1 }
    }
}
