//! What every echo canceller does.

use crate::sound::rate::FRAME;

/// What a canceller says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EchoReport {
    /// Echo return loss enhancement as the canceller estimates it, in dB.
    pub erle_db: f64,
    /// From the reference to its echo, in ms.
    pub delay_ms: u32,
    /// How often the microphone was ducked because the path had changed.
    pub ducked: u64,
    /// Whether it is ducked now.
    pub ducking: bool,
    /// Voice over noise at the microphone, in dB, once there was a voice.
    pub snr_db: Option<f64>,
    /// Whether noise is suppressed, too.
    pub suppresses_noise: bool,
}

/// Takes the echo of a reference out of a microphone's frames.
pub trait EchoCanceller {
    /// Processes 10 ms: `reference` is what was played while `capture` was heard. `capture` is changed in
    /// place, some milliseconds late.
    fn process(&mut self, reference: &[f32; FRAME], capture: &mut [f32; FRAME]);

    /// Loudspeaker or microphone were interrupted: until their clocks are known again, the reference is not what was
    /// played while a frame was heard.
    fn interrupt(&mut self);

    /// By how many samples what it gives is behind what it was given.
    fn delay(&self) -> usize;

    /// How it stands.
    fn report(&self) -> EchoReport;
}
