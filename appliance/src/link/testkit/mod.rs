//! Two ends of a link in one process, with a clock and faults of their own; and what fuzzing throws bytes at.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub(crate) mod memory;
mod simulation;

pub use simulation::voice::voice_first;
pub use simulation::{Outcome, VoiceOutcome, simulate};
