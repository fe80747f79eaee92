//! Which booths are met, over which connection.

pub(crate) mod connection_manager;
pub(crate) mod pairing_agent;
pub(crate) mod route;
