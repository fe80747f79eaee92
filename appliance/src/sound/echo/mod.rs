//! The echo canceller: takes what the loudspeaker played out of what the microphone heard.
//!
//! [`reference`] brings what was played onto the microphone's clock, [`Aec3`] removes its echo and, in a
//! noisy place, noise; [`guard`] ducks the microphone while the echo's path has changed and is being learnt
//! anew.

mod aec3;
mod bands;
mod canceller;
pub mod guard;
mod noise;
mod reference;

pub use self::aec3::Aec3;
pub use self::canceller::{EchoCanceller, EchoReport};
pub use self::reference::{ReferenceReader, ReferenceWriter, reference};
