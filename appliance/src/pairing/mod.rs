//! Who a booth is, and which booths belong together. Carries no media.

mod identity;
mod name;
mod room;

pub use identity::{Error, Fingerprint, Identity};
pub(crate) use room::derive;
pub use room::{RoomKey, RoomKeyError};
