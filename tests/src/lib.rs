//! Black-box tests and benches of two booths in the rig: virtual cameras and screens of the kernel
//! on the outside, whatever runs between them in the middle.

pub mod attack;
pub mod bad_stick;
pub mod bench;
pub mod booth;
pub mod child;
pub mod clock;
pub mod demo;
pub mod espeak;
pub mod flood;
pub mod flow;
pub mod gstreamer;
pub mod hearing;
pub mod hotplug;
pub mod interpolate;
pub mod keyboard;
pub mod line;
pub mod loopback;
pub mod machine;
pub mod manager;
pub mod network;
pub mod photodiode;
pub mod probe;
pub mod relay;
pub mod report;
pub mod room;
pub mod scanout;
pub mod scenario;
mod scenarios;
pub mod stand_in;
pub mod steal;
pub mod stick;
pub mod vivid;

use scenario::Scenario;

/// Every scenario and bench, in the order in which they make sense to run.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    scenarios::ALL.iter().chain(bench::ALL)
}
