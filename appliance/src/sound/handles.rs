//! What the sound threads share with the rest of the booth.

use std::sync::atomic::{AtomicBool, AtomicI64};

use super::check::CheckHandles;
use super::counters::{SoundCounters, VoiceCounters};
use crate::units::MAX_PEERS;

/// One peer's voice.
#[derive(Debug, Default)]
pub struct VoiceHandles {
    /// What is counted of it.
    pub counters: VoiceCounters,
    /// Screen: pictures since none was shown; the three delays are means of them, of the newest most.
    pub pictures: AtomicI64,
    /// Screen: from a picture's capture at the peer to its light at ours, in µs; 0 while none is shown.
    pub picture_delay_us: AtomicI64,
    /// Screen: the same, had the picture not waited for the sound.
    pub picture_least_us: AtomicI64,
    /// Screen: from a picture's release to its light, in µs.
    pub flip_us: AtomicI64,
    /// Playback: from mouth to ear, in µs; 0 while nobody speaks.
    pub voice_delay_us: AtomicI64,
    /// Playback: the same, did the sound not wait for the picture.
    pub voice_least_us: AtomicI64,
    /// Playback: how much faster the peer's microphone runs than our loudspeaker, in thousandths of a ppm.
    pub drift_ppb: AtomicI64,
    /// Where the peer stands on our screen: −100 at the left edge, 100 at the right.
    pub place: AtomicI64,
}

/// The sound of a booth.
#[derive(Debug, Default)]
pub struct Handles {
    /// Nothing that the microphone hears leaves the booth.
    pub muted: AtomicBool,
    /// What a sound check asks of both cards.
    pub check: CheckHandles,
    /// What is counted of microphone and loudspeaker.
    pub counters: SoundCounters,
    /// A place for each peer.
    pub peers: [VoiceHandles; MAX_PEERS],
}
