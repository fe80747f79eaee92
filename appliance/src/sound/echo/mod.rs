//! The echo canceller: takes what the loudspeaker played out of what the microphone heard.
//!
//! ```text
//!   microphone ───────────────────────────► − ─► post filter ─► guard ─► frame
//!                                           ▲        ▲
//!   played ─► loudspeaker's distortion ─► adaptive filter (its place by the delay finder)
//! ```
//! [`reference`] brings what was played onto the microphone's clock; a model of the loudspeaker adds its distortion;
//! the adaptive filter learns the echo's path and takes the echo out; the post filter suppresses what is left of it
//! and, in a noisy place, noise; [`guard`] ducks the microphone while the path has changed and is being learnt anew.

mod adaptive;
mod canceller;
mod delay_finder;
mod distortion;
pub mod guard;
mod high_pass;
mod kalman_filter;
mod least;
mod post_filter;
mod reference;
mod snr;
mod spectrum;

pub use self::adaptive::AdaptiveCanceller;
pub use self::canceller::{EchoCanceller, EchoReport};
pub(crate) use self::post_filter::DELAY as ADAPTIVE_DELAY;
pub use self::reference::{ReferenceReader, ReferenceWriter, reference};
