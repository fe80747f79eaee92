//! Which booths are met, over which connection.

pub(crate) mod announcement;
pub(crate) mod connection_manager;
pub(crate) mod pairing_agent;
pub(crate) mod peer;
pub(crate) mod presence;
pub(crate) mod relay_dial;
pub(crate) mod route;
