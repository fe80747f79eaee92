//! ALSA: microphones and loudspeakers, without a sound server. Whoever opens a device sees 48 kHz and `f32`,
//! whatever the card has, and for each block where the device's clock stood.
//!
//! A device is found by [`candidates`], [`rank`] and [`Ranking::open`], as a [`CapturePcm`] or a
//! [`PlaybackPcm`], which recover by themselves as long as it is there. Any error of theirs means to look for
//! it again, by the same request: its number may have changed. [`Uevents`](crate::sys::Uevents) say when
//! something came or went: those of `sound` cards, and of `drm` monitors with loudspeakers.

mod candidates;
mod capture;
mod convert;
mod eld;
mod error;
#[cfg(test)]
mod machines;
mod mixer;
mod params;
mod pcm;
mod playback;
mod rank;
mod samples;

pub use candidates::{Candidate, Direction, candidates};
pub use capture::{CapturePcm, Captured};
pub use convert::BLOCK;
pub use eld::Eld;
pub use error::Error;
pub use mixer::set_mixer;
pub use params::{Layout, Params, RATE_HZ};
pub use pcm::Position;
pub use playback::{PlaybackPcm, QUEUED_US, Written};
pub use rank::{Choice, Facts, Opened, Ranking, Refusal, rank};
pub use samples::SampleFormat;
