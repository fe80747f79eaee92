//! What measures, beside others.

mod boot;
pub mod echo;
mod latency;
pub mod link;
mod seal;
mod voice;

use crate::scenario::Scenario;

/// All of them, in the order in which they are listed.
pub(crate) const ALL: &[Scenario] =
    &[boot::BOOT, echo::ECHO, latency::LATENCY, link::LINK, seal::SEAL, voice::VOICE];
