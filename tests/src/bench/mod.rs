//! What measures, beside others.

mod boot;
mod latency;
pub mod link;
mod seal;

use crate::scenario::Scenario;

/// The benches, in the order in which they are listed.
pub(crate) const BOOT: Scenario = boot::BOOT;
/// As above.
pub(crate) const LATENCY: Scenario = latency::LATENCY;
/// As above.
pub(crate) const LINK: Scenario = link::LINK;
/// As above.
pub(crate) const SEAL: Scenario = seal::SEAL;
