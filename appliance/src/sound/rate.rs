//! What everything between the cards and Opus counts in.

/// Samples a second, everywhere in a booth.
pub const RATE_HZ: f64 = 48_000.0;
/// Samples in a frame of 10 ms.
pub const FRAME: usize = 480;
