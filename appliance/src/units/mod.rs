//! Values that the configuration file and the rooms share: what is asked of a camera, a codec, a screen, sound
//! devices and keys, and the words for it. Depends on nothing, so that the file's schema knows no room and no room knows the
//! schema.

mod codecs;
mod format;
mod keys;
mod lip_sync;
mod mode;
mod request;
mod sound;

pub use codecs::{DECODERS, ENCODERS};
pub use format::Format;
pub use keys::{KeyError, Keys};
pub use lip_sync::LipSync;
pub use mode::ModeRequest;
pub use request::{CameraRequest, CodecRequest, ScreenRequest, SoundRequest};
pub use sound::{SoundDeviceError, SoundDeviceRequest};

/// Other booths that one booth meets at once, at most.
pub const MAX_PEERS: usize = 4;
