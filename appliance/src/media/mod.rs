//! What travels between the rooms: pictures, access units and their stamps, the clock, mailboxes and
//! heartbeats. Touches no device.

pub mod clock;
pub(crate) mod counters;
pub mod encoder_command;
pub mod heartbeat;
pub mod mailbox;
pub mod picture;
pub mod presentation;
pub(crate) mod scaler;
pub mod voice;
