//! The wire between booths: MoQ tracks over QUIC, mutual TLS pinned by fingerprint, reconnecting for ever. Decodes nothing.
//!
//! ```text
//!  encoder ─► sender ───► pacer ───► wire ═══► arrivals ─► assembler ─► decoder
//!             packetizer, fec              ║        what came    fec, what to ask again
//!             history, estimator ◄── feedback ◄─────┘
//! ```
//! [`endpoint`] owns the connections, [`membership`] knows who is at their other ends, [`moq`] what is spoken on one, [`session`] one meeting over it, [`wire`] what carries its
//! datagrams. The rest is pure: bytes and times go in; frames, datagrams, numbers and decisions come out.

mod carrier;
mod crypto;
mod error;
mod media;
mod net;
mod peers;
mod rate;
mod session;
mod sizes;
pub mod testkit;
mod track;

pub use crate::media::picture::Incoming;
pub use crypto::sealing::time_sealing;
pub use error::Error;
pub use peers::connection_manager::run;
pub use testkit::simulation::{Outcome, simulate};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::picture::AccessUnit;
use crate::pairing::{Code, Fingerprint, Identity, Member, Pins, RoomKey, Sighting};

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
    /// Who belongs together; without one only TLS protects a meeting, and a relay could read it, so that there must be none. Without
    /// one and without the peer's fingerprint, the booth shows a code and waits for somebody to enter it elsewhere.
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
    fn is_open(&self) -> bool {
        self.room.is_none() && self.peer.fingerprint.is_none()
    }
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was stopped.
    Stopped,
    /// By code it came to belong to this room, which is kept; it is to be begun anew with it.
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

/// What the link and the video threads say to each other besides frames, each with who sets it.
#[derive(Default)]
pub struct Signals {
    /// Link: a peer is there.
    pub connected: AtomicBool,
    /// Link: the way to the peer; 0 for none, 1 for direct, 2 for the relay. See [`Signals::route`].
    route: AtomicU8,
    /// Link: when the last report came from the peer, in µs; 0 for never.
    heard_us: AtomicU64,
    /// Link: the peer cannot decode without a keyframe; the encoder clears it.
    pub keyframe_for_peer: AtomicBool,
    /// Link: what the video may take now, in kbit/s; 0 before the link knows.
    pub target_kbps: AtomicU64,
    /// Link: what was made is not sent yet; another picture now would only wait.
    pub congested: AtomicBool,
    /// Link: the peer says that its camera gives pictures.
    pub peer_has_camera: AtomicBool,
    /// Decoder: we cannot decode without a keyframe.
    pub keyframe_for_us: AtomicBool,
    /// Capture: our camera gives pictures.
    pub camera: AtomicBool,
}

impl Signals {
    /// `direct` or `relay`, the way that carries the meeting; empty when there is none.
    pub fn route(&self) -> &'static str {
        match self.route.load(Relaxed) {
            1 => "direct",
            2 => "relay",
            _ => "",
        }
    }
}

/// What the link counts.
#[derive(Default)]
pub struct Counters {
    /// Sessions begun.
    pub connects: AtomicU64,
    /// Peers turned away because they were not who they had to be, or of another room.
    pub refused: AtomicU64,
    /// Callers told to come again, or not listened to any longer: too many stood at the door, or they did not go on.
    pub rejected_busy: AtomicU64,
    /// Wrong guesses of our code, and guesses that were not heard.
    pub guesses_refused: AtomicU64,
    /// Records on our networks that claimed to be of the room and were not.
    pub records_refused: AtomicU64,
    /// Datagrams that made no sense.
    pub malformed: AtomicU64,
    /// Datagrams whose seal did not open: changed, repeated, or made by somebody else.
    pub decrypt_failed: AtomicU64,
    /// Smoothed round trip, in µs.
    pub rtt_us: AtomicU64,
    /// Peer's clock minus ours, in µs, as two's complement.
    pub clock_offset_us: AtomicU64,
    /// Frames given to the transport.
    pub sent_frames: AtomicU64,
    /// Of these, keyframes.
    pub sent_keyframes: AtomicU64,
    /// Bytes of these, as coded.
    pub sent_bytes: AtomicU64,
    /// Frames that found no room in the transport.
    pub dropped_frames: AtomicU64,
    /// Frames received whole.
    pub received_frames: AtomicU64,
    /// Bytes of these, as coded.
    pub received_bytes: AtomicU64,
    /// Frames that did not arrive whole.
    pub lost_frames: AtomicU64,
    /// Keyframes that we asked for.
    pub keyframe_requests: AtomicU64,
    /// Datagrams that came again.
    pub repeated: AtomicU64,
    /// Times that we asked for a frame's missing shards.
    pub nacks: AtomicU64,
    /// Shards that we sent again.
    pub repairs: AtomicU64,
    /// Share of our datagrams that are lost on the way, in thousandths.
    pub loss_permille: AtomicU64,
    /// The queue that stands on the way to the peer, in µs.
    pub queue_us: AtomicU64,
    /// What the line to the peer is thought to carry, in kbit/s.
    pub line_kbps: AtomicU64,
    /// The largest datagram of ours that goes to the peer, in bytes, what MoQ, QUIC and the seal put around it not counted.
    pub datagram_bytes: AtomicU64,
    /// Times that it came to carry less at once.
    pub mtu_drops: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Relaxed);
    }
}

/// Who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerList {
    /// The booth that we talk to, or try to.
    pub peer: Option<Fingerprint>,
    /// What that booth calls itself.
    pub peer_name: String,
    /// All booths of the room that are here.
    pub members: Vec<Member>,
    /// What keeps a booth away, in a line for the staff; empty when nothing does.
    pub trouble: String,
    /// Whether there is a room, so that meetings are sealed.
    pub sealed: bool,
    /// Whether the booth has neither a room nor a peer, and waits to be given a room.
    pub open: bool,
    /// The code that another booth is to be told then; empty while nobody may guess.
    pub code: String,
}

/// The handles of the link.
#[derive(Clone, Copy)]
pub struct Handles<'a> {
    /// What the encoder made.
    pub outgoing: &'a Mailbox<AccessUnit>,
    /// What the decoder is to take.
    pub incoming: &'a Mailbox<Incoming>,
    /// Flags both ways.
    pub signals: &'a Signals,
    /// Numbers for status.
    pub counters: &'a Counters,
    /// Who is there, for status and cards.
    pub peer_list: &'a Mutex<PeerList>,
    /// That the link makes progress.
    pub heartbeat: &'a Heartbeat,
    /// Ends the link.
    pub stop: &'a AtomicBool,
}

/// Coded pictures from the encoder to the link: usually none or one; a few when the link was away for a moment. All are needed, for
/// each refers to the one before.
const OUTGOING: usize = 4;
/// Coded pictures from the link to the decoder: one at a time, until a repair sets free at once all that waited for it.
const INCOMING: usize = 64;

/// What stands around a link: what its [`Handles`] lead to.
pub struct Ports {
    /// See [`Handles::outgoing`].
    pub outgoing: Mailbox<AccessUnit>,
    /// See [`Handles::incoming`].
    pub incoming: Mailbox<Incoming>,
    /// See [`Handles::signals`].
    pub signals: Signals,
    /// See [`Handles::counters`].
    pub counters: Counters,
    /// See [`Handles::heartbeat`].
    pub heartbeat: Heartbeat,
    peer_list: Mutex<PeerList>,
}

impl Ports {
    /// Ports through which nothing has gone.
    ///
    /// # Errors
    /// When the system gives no descriptors.
    pub fn new() -> nix::Result<Self> {
        Ok(Self {
            outgoing: Mailbox::bounded("encoder→link", OUTGOING)?,
            incoming: Mailbox::bounded("link→decoder", INCOMING)?,
            signals: Signals::default(),
            counters: Counters::default(),
            heartbeat: Heartbeat::new("link"),
            peer_list: Mutex::default(),
        })
    }

    /// See [`Handles::peer_list`].
    pub fn peer_list(&self) -> MutexGuard<'_, PeerList> {
        self.peer_list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link's side of them; `stop` ends it.
    pub fn handles<'a>(&'a self, stop: &'a AtomicBool) -> Handles<'a> {
        Handles {
            outgoing: &self.outgoing,
            incoming: &self.incoming,
            signals: &self.signals,
            counters: &self.counters,
            peer_list: &self.peer_list,
            heartbeat: &self.heartbeat,
            stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Deref;
    use std::sync::Arc;

    /// What stands around one end of a link, and what stops it.
    pub(super) struct End {
        ports: Ports,
        pub(super) stop: AtomicBool,
    }

    impl End {
        pub(super) fn new() -> Arc<Self> {
            Arc::new(Self { ports: Ports::new().unwrap(), stop: AtomicBool::new(false) })
        }

        pub(super) fn handles(&self) -> Handles<'_> {
            self.ports.handles(&self.stop)
        }
    }

    impl Deref for End {
        type Target = Ports;

        fn deref(&self) -> &Ports {
            &self.ports
        }
    }
}
