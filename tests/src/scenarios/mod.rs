//! One file a scenario.

pub(crate) mod bad_config;
pub(crate) mod colour_bars;
pub(crate) mod garbage;
pub(crate) mod link_faults;
pub(crate) mod rate_step;
pub(crate) mod relay_cluster;
pub(crate) mod roam;
pub(crate) mod two_way;
pub(crate) mod unplug;
pub(crate) mod wrong_peer;

/// The picture size of scenarios that are not about size, in pixels.
pub(crate) const SMALL: (u32, u32) = (640, 480);
