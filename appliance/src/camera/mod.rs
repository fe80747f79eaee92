//! Cameras through V4L2: the right device and mode, buffers lent without a copy, and recovery from whatever a
//! cable does. Looks at no pixel.
//!
//! Source: Linux Media Infrastructure userspace API, part I (Video for Linux).

mod device;
mod error;
mod mode;
mod run;
mod stream;

pub use device::Device;
pub use error::Error;
pub use mode::Mode;
pub use run::{Event, Handles, run};
pub use stream::Stream;
