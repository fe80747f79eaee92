//! Sound: from the microphone to the link, and from the link to the loudspeaker.
//!
//! ```text
//!   microphone ─► echo canceller ─► gain, limiter ─► Opus ─► link
//!                     ▲ what was played, on the microphone's clock
//!   loudspeaker ◄── mixer ◄── playout, one a peer ◄────────── link
//! ```
//! Two threads, one for each card; between them stands the ring of what was played, bounded.

mod capture;
mod card_clock;
mod card_event;
mod card_loop;
pub mod check;
pub mod clock_fit;
pub mod clock_line;
mod counters;
pub mod device;
pub mod echo;
mod error;
mod fade;
mod handles;
pub mod kept_rate;
mod level;
pub mod limiter;
mod lip_sync;
mod mixer;
mod open;
mod playback;
mod playout;
pub mod rate;
pub mod resampler;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod voice_codec;
mod voices;

pub use capture::{CaptureHandles, capture};
pub use card_clock::{CardClock, Rate};
pub use card_event::CardEvent;
pub use card_loop::CardHandles;
pub use counters::{SoundCounters, SoundCounts, VoiceCounters, VoiceCounts};
pub use echo::{ReferenceReader, ReferenceWriter};
pub use error::Error;
pub use handles::{Handles, VoiceHandles};
pub use playback::{PlaybackHandles, playback};
pub use rate::{FRAME, RATE_HZ};

/// How much earlier than the microphone's frame the reference is given, in µs: by as much a fitted clock may be wrong.
/// Until it is fitted a position may be read later, up to a period; but more would ask for samples that are not
/// written yet.
pub const LEAD_US: f64 = 3_000.0;
/// What both threads may be late by, together, in µs.
const LATE_US: f64 = 6_000.0;
/// When a frame of the microphone is whole, what was played until then and for so long afterwards is wanted; of the
/// loudspeaker's queue, a block may still be missing.
const _: () = {
    let to_us = 1e6 / RATE_HZ;
    let wanted_us = LEAD_US + (resampler::TAPS / 2) as f64 * to_us + LATE_US;
    assert!(wanted_us <= (device::QUEUED_US - device::BLOCK as u32 * 1_000 / 48) as f64);
};

/// Both ends of the ring from loudspeaker to echo canceller.
///
/// # Errors
/// When there is no resampler to be had.
pub fn reference() -> Result<(ReferenceWriter, ReferenceReader), Error> {
    Ok(echo::reference(LEAD_US)?)
}
