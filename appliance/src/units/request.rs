//! What the configuration asks of a camera, the codecs and a screen.

use super::{Format, LipSync, ModeRequest, SoundDeviceRequest};

/// What is asked of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraRequest {
    /// `auto` (the first), `none`, or a name that survives replugging: bus info, card name, or a path.
    pub device: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures per second.
    pub fps: u32,
    /// The only format allowed, or [`Format::Auto`].
    pub format: Format,
}

/// What is asked of the encoder and the decoders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecRequest {
    /// `auto`, or the only one of [`ENCODERS`](super::ENCODERS) allowed.
    pub encoder: String,
    /// `auto`, or the only one of [`DECODERS`](super::DECODERS) allowed.
    pub decoder: String,
    /// Width of the camera's pictures in pixels, as far as is known before it is opened.
    pub width: u32,
    /// Their height in pixels.
    pub height: u32,
    /// Pictures per second.
    pub fps: u32,
    /// The highest bit rate, in kbit/s.
    pub bitrate_kbps: u32,
    /// Threads of a software codec; 0 for as many as the pictures need.
    pub threads: u32,
}

/// What is asked of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenRequest {
    /// `auto`, `none`, a DRM device's name, or a path.
    pub device: String,
    /// `auto` (the first connected) or a connector's name such as `HDMI-A-1`.
    pub connector: String,
    /// The mode.
    pub mode: ModeRequest,
}

/// What is asked of microphone and loudspeaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundRequest {
    /// The microphone.
    pub microphone: SoundDeviceRequest,
    /// The loudspeaker.
    pub loudspeaker: SoundDeviceRequest,
    /// The loudspeaker's volume in per cent of what the card has; none for neither louder nor quieter.
    pub volume_percent: Option<u8>,
    /// How much louder the microphone is made, in dB.
    pub gain_db: i32,
    /// Whether the loudspeaker's echo is taken out of what the microphone hears.
    pub echo_canceller: bool,
    /// What waits.
    pub lip_sync: LipSync,
}
