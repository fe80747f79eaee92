//! What several rooms ask of the operating system. It uses no room itself.

mod child;
mod file;
mod netlink;
mod uevents;

pub(crate) use child::wait_timeout;
pub use file::replace_file;
pub(crate) use netlink::netlink_socket;
pub use uevents::Uevents;
