//! The sound check: a sweep through the loudspeaker, heard by the microphone, and what follows from it.
//!
//! ```text
//!   measure ──► playing ──► playback thread ═► loudspeaker ~~~ microphone ═► capture thread ──► recording ──► analysis
//! ```
//! Whoever asks for a check makes both buffers beforehand and waits; the threads of the cards copy into and out of
//! them, and do nothing else. Meanwhile no peer is heard, and nothing leaves the booth.

mod alone;
mod analysis;
mod error;
mod handles;
mod measure;
mod meter;
mod sweep;

pub use alone::{Alone, alone};
pub use analysis::{EchoPath, Measured};
pub use error::Error;
pub use handles::CheckHandles;
pub use measure::measure;
pub use meter::Meter;
