//! Input devices through evdev: which of them have a key, and when it is pressed. Devices may come and go.
//!
//! Source: Documentation/input/input.rst, event-codes.rst.

mod device;
mod error;
mod run;

pub use error::Error;
pub use run::{Event, Handles, run};
