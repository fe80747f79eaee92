//! Who a booth is, which booths belong together, and how they find each other. Carries no media.

pub(crate) mod code;
mod identity;
mod kept;
mod lan;
mod name;
mod pins;
mod proof;
mod room;
mod roster;

pub use code::{Code, NoCode};
pub use identity::{Error, Fingerprint, Identity};
pub use lan::{Announcement, discover};
pub use pins::Pins;
pub(crate) use pins::Taken;
pub use proof::MOST_NAME;
pub(crate) use proof::{EXPORTER, LONGEST, Part, Proof, readable};
pub(crate) use room::derive;
pub use room::{RoomKey, RoomKeyError};
pub(crate) use roster::Roster;
pub use roster::{Member, Sighting};
