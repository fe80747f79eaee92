//! What everything between the cards and Opus counts in.

use crate::media::voice::{SAMPLE_RATE_HZ, VOICE_FRAME};

/// Samples a second, everywhere in a booth.
pub const RATE_HZ: f64 = SAMPLE_RATE_HZ as f64;
/// Samples in a frame of 10 ms.
pub const FRAME: usize = VOICE_FRAME;
/// Samples that a card gives or takes at once: 5 ms.
pub const PERIOD: usize = FRAME / 2;
