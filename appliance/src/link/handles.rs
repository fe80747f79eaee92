//! What the threads on both sides of the link hold: mailboxes, commands, and what is known of each peer.

use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::link::counters::{Counters, PeerCounters, PeerCounts};
use crate::link::sizes::MAX_PEERS;
use crate::media::encoder_command::CommandMailbox;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::picture::{AccessUnit, Incoming};
use crate::media::voice::VoiceFrame;
use crate::pairing::{Fingerprint, Member};

/// Coded pictures from the encoder to the link: usually none or one; a few when the link was away for a
/// moment. All are needed, for each refers to the one before.
const OUTGOING: usize = 4;
/// Voice frames on their way to the link: 40 ms of them.
const VOICE_OUT: usize = 4;
/// Coded pictures from the link to a decoder: one at a time, until a repair sets free at once all that waited
/// for it.
const INCOMING: usize = 64;
/// Voice frames from the link to whoever plays them: what one datagram brings, and some time to fetch it.
const VOICE_IN: usize = 16;

/// One peer's side of the link. A peer keeps its place while it is met.
pub struct PeerHandles {
    /// Frames for the decoder.
    pub incoming: Mailbox<Incoming>,
    /// Sound for whoever plays it.
    pub voice: Mailbox<VoiceFrame>,
    /// Decoder: it cannot go on without a keyframe.
    pub needs_keyframe: AtomicBool,
    /// Link: the peer says that its camera gives pictures.
    pub has_camera: AtomicBool,
    /// Link: the peer says that its microphone is off.
    pub muted: AtomicBool,
    /// Link: the path to the peer is too slow for the meeting; it gets fewer pictures.
    pub too_slow: AtomicBool,
    /// Link: the peer says the same of its path to us.
    pub gets_fewer_pictures: AtomicBool,
    /// Link: the peer's clock minus ours, in µs.
    pub clock_offset_us: AtomicI64,
    /// What was counted at this place, whoever had it.
    pub counters: PeerCounters,
}

/// Everything that the link and the threads around it share. Each mailbox has one writer and one reader.
pub struct Handles {
    /// What the encoder made.
    pub outgoing: Mailbox<AccessUnit>,
    /// What the microphone gave, coded.
    pub voice: Mailbox<VoiceFrame>,
    /// What the encoder is to do.
    pub encoder: CommandMailbox,
    /// Capture: our camera gives pictures.
    pub camera: AtomicBool,
    /// Booth: our microphone is off.
    pub muted: AtomicBool,
    /// A place for each peer.
    pub peers: [PeerHandles; MAX_PEERS],
    /// Numbers for status.
    pub counters: Counters,
    /// That the link makes progress.
    pub heartbeat: Heartbeat,
    list: Mutex<PeerList>,
}

impl Handles {
    /// Handles through which nothing has gone.
    ///
    /// # Errors
    /// When the system gives no descriptors.
    pub fn new() -> nix::Result<Self> {
        let peer = || -> nix::Result<PeerHandles> {
            Ok(PeerHandles {
                incoming: Mailbox::bounded("link→decoder", INCOMING)?,
                voice: Mailbox::bounded("link→sound", VOICE_IN)?,
                needs_keyframe: AtomicBool::default(),
                has_camera: AtomicBool::default(),
                muted: AtomicBool::default(),
                too_slow: AtomicBool::default(),
                gets_fewer_pictures: AtomicBool::default(),
                clock_offset_us: AtomicI64::default(),
                counters: PeerCounters::default(),
            })
        };
        Ok(Self {
            outgoing: Mailbox::bounded("encoder→link", OUTGOING)?,
            voice: Mailbox::bounded("sound→link", VOICE_OUT)?,
            encoder: CommandMailbox::default(),
            camera: AtomicBool::default(),
            muted: AtomicBool::default(),
            peers: [peer()?, peer()?, peer()?, peer()?],
            counters: Counters::default(),
            heartbeat: Heartbeat::new("link"),
            list: Mutex::default(),
        })
    }

    /// Who is there.
    pub fn list(&self) -> MutexGuard<'_, PeerList> {
        // Plain values: whatever a thread that panicked left of them is fit to be read.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any peer is connected.
    pub fn connected(&self) -> bool {
        self.list().peers.iter().any(|peer| peer.connected)
    }
}

/// The way that carries a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From booth to booth.
    Direct,
    /// Through the relay.
    Relay,
}

impl Way {
    /// `direct` or `relay`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

/// A peer: a booth that we meet, or try to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerEntry {
    /// Its place in [`Handles::peers`].
    pub slot: usize,
    /// Who it is.
    pub fingerprint: Fingerprint,
    /// What it calls itself, or what follows from its key.
    pub name: String,
    /// Whether it answers.
    pub connected: bool,
    /// The way that carries the meeting with it; none while nothing does.
    pub way: Option<Way>,
    /// What its place had counted before it came.
    pub before: PeerCounts,
}

/// Who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerList {
    /// The peers, in the order in which they came.
    pub peers: Vec<PeerEntry>,
    /// Whether there is a connection to the relay.
    pub at_relay: bool,
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
