//! What the threads of a booth share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::heartbeats::Heartbeats;
use crate::codec::Plan;
use crate::config::Config;
use crate::health::{self, VideoCounters};
use crate::link::{self, MAX_PEERS};
use crate::media::mailbox::Mailbox;
use crate::media::picture::{Picture, Sample};
use crate::media::presentation::Presentation;
use crate::screen::{Card, Marks};
use crate::sound;

/// What the threads share. Each mailbox has one writer and one reader.
pub(super) struct Shared {
    pub(super) config: Config,
    /// As configured, or the one that follows from the booth's key.
    pub(super) name: String,
    pub(super) started: Instant,
    pub(super) samples: Mailbox<Sample>,
    pub(super) link: link::Handles,
    pub(super) sound: sound::Handles,
    pub(super) pictures: Mailbox<Picture>,
    /// When each peer's pictures may go to the screen.
    pub(super) presentations: [Presentation; MAX_PEERS],
    /// Whether the screen shows the peer at this place.
    pub(super) shown: [AtomicBool; MAX_PEERS],
    pub(super) cards: Mailbox<Card>,
    pub(super) marks: Marks,
    pub(super) counts: VideoCounters,
    pub(super) live: Mutex<Live>,
    pub(super) heartbeats: Heartbeats,
    pub(super) stop: Arc<AtomicBool>,
}

/// What changes rarely, or is more than a number.
#[derive(Default)]
pub(super) struct Live {
    pub(super) camera: health::CameraStatus,
    pub(super) screen: health::ScreenStatus,
    /// What the screen in use is called in its EDID.
    pub(super) monitor: Option<String>,
    pub(super) microphone: SoundCard,
    pub(super) loudspeaker: SoundCard,
    pub(super) stages: health::Stages,
    pub(super) last_shown: Option<(u64, u32)>,
    /// How pictures are coded now, and how many a second.
    pub(super) plan: Option<(Plan, f64)>,
    pub(super) sent_kbps: u64,
    pub(super) received_kbps: u64,
    pub(super) state: health::State,
    pub(super) notice: Option<health::Notice>,
    pub(super) check: SoundCheck,
}

/// What the screen is to show of a sound check.
#[derive(Default)]
pub(super) struct SoundCheck {
    pub(super) running: bool,
    /// What came of the last one, until it is shown.
    pub(super) result: Option<health::Notice>,
}

/// A sound card.
#[derive(Default)]
pub(super) struct SoundCard {
    pub(super) card: health::CardStatus,
    /// The name under which its rate is kept.
    pub(super) key: String,
    /// Its rate in Hz, once that is worth keeping.
    pub(super) measured_hz: Option<f64>,
}

impl Shared {
    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        // Plain numbers: whatever a thread that panicked left of them is fit to be read.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
