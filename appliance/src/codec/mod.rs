//! HEVC through FFmpeg: encoder and decoder, hardware first, each chosen by a short probe at start.
//! Does not know who the peer is.
//!
//! Source: ITU-T H.265 for the bitstream; FFmpeg's "encoders" and "decoders" documentation for options.

mod buffer_ref;
mod coder;
mod converter;
mod decode;
mod decoder;
mod encode;
mod encoder;
mod error;
mod failures;
#[cfg(test)]
mod film;
mod hardware;
mod jpeg;
mod probe;
mod rate;
mod regions;
mod steer;

pub use decode::{Event as DecodeEvent, Handles as DecodeHandles, decode};
pub use decoder::Decoder;
pub use encode::{Event as EncodeEvent, Handles as EncodeHandles, encode};
pub use encoder::{Encoder, Spec, Steering};
pub use error::{Error, init};
pub use probe::{Choice, choose};
pub use steer::Plan;
