//! The screen through DRM/KMS, with no window system: connector, mode, planes, the flip loop, and the cards
//! that are shown when there is no picture. Never waits for the network.
//!
//! Source: Linux GPU driver developer's guide, "Kernel Mode Setting (KMS)"; drm-uapi.

mod buffer;
mod display;
mod error;
mod mark;
mod output;
mod paint;
mod route;
mod show;

pub use display::{Event, Handles, run};
pub use error::Error;
pub use holobooth_card::{Card, Kind, Level};
pub use mark::Marks;
pub use output::probe;
