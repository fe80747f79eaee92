//! Sound: from the microphone to the link, and from the link to the loudspeaker.

pub mod clock_fit;
pub mod clock_line;
pub mod device;
pub mod echo;
pub mod kept_rate;
pub mod limiter;
pub mod resampler;

/// Samples a second, everywhere in a booth.
pub const RATE_HZ: f64 = 48_000.0;
/// Samples in a frame of 10 ms.
pub const FRAME: usize = 480;
