//! Who a booth is. Carries no media.

mod identity;

pub use identity::{Error, Fingerprint, Identity};
