//! A coded piece of sound on its way.

use bytes::Bytes;

/// From the beginning of one voice frame to the next, in µs.
pub const VOICE_FRAME_US: u64 = 10_000;
/// Samples a second of everything between a card and the link, per channel.
pub const SAMPLE_RATE_HZ: u32 = 48_000;
/// Samples of a voice frame.
pub const VOICE_FRAME: usize = 480;

/// One frame of coded sound: [`VOICE_FRAME_US`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceFrame {
    /// Counts the frames of one microphone without a gap.
    pub number: u32,
    /// When its first sample was captured, in µs: on the clock of the booth that captured it, and at the
    /// receiving booth on its own once the clocks have met.
    pub capture_us: u64,
    /// The coded bytes, at most 255.
    pub data: Bytes,
}
