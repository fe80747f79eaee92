//! The table of scenarios and benches, and what each of them gets and gives.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::report::Report;
use crate::{bench, booth, photodiode, scanout, scenarios, vivid};

/// Why a scenario could not be carried to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A booth.
    #[error(transparent)]
    Booth(#[from] booth::Error),
    /// A camera.
    #[error(transparent)]
    Camera(#[from] vivid::Error),
    /// A screen.
    #[error(transparent)]
    Screen(#[from] scanout::Error),
    /// The photodiode.
    #[error(transparent)]
    Photodiode(#[from] photodiode::Error),
    /// The system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Whether it says yes or no, or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Says yes or no.
    Scenario,
    /// Measures, beside others.
    Bench,
}

/// The rig that a scenario wants.
#[derive(Debug, Clone, Copy)]
pub struct Rig {
    /// Processor cores.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
}

/// Two booths on one core: a rig of two spends more on crossing between them than it gains.
pub const TWO_BOOTHS: Rig = Rig { cores: 1, memory_mib: 2048 };

/// One named scenario or bench.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Scenario or bench.
    pub kind: Kind,
    /// What it runs in.
    pub rig: Rig,
    /// Whether it needs the stock relay; it finds it as [`relay::binary`](crate::relay::binary).
    pub relay: bool,
    /// When it is given up, in seconds.
    pub time_limit_s: u32,
    /// Does it.
    pub run: fn(&Context) -> Result<Report, Error>,
}

impl Scenario {
    /// Its line in `list --json`.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "summary": self.summary,
            "kind": match self.kind { Kind::Scenario => "scenario", Kind::Bench => "bench" },
            "rig": { "cores": self.rig.cores, "memory_mib": self.rig.memory_mib, "two_booths": true },
            "relay": self.relay,
            "time_limit_s": self.time_limit_s,
        })
    }
}

/// What a scenario is given.
pub struct Context {
    dir: PathBuf,
    /// Less of everything that takes long, for a developer at work; its figures are not to be quoted.
    pub quick: bool,
    /// Of a bench that has parts, only those that these words name; all when there are none.
    pub only: Vec<String>,
}

impl Context {
    /// A context whose files lie in `dir`, which is private to the run.
    pub fn new(dir: PathBuf, quick: bool, only: Vec<String>) -> Self {
        Self { dir, quick, only }
    }

    /// The folder for the run's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// All of them, in the order in which they make sense to run.
pub const ALL: &[Scenario] = &[
    scenarios::colour_bars::SCENARIO,
    scenarios::two_way::SCENARIO,
    scenarios::unplug::SCENARIO,
    scenarios::watchdog::SCENARIO,
    scenarios::notice::SCENARIO,
    scenarios::doctor::SCENARIO,
    scenarios::bad_config::SCENARIO,
    scenarios::wrong_peer::SCENARIO,
    scenarios::garbage::SCENARIO,
    scenarios::link_faults::SCENARIO,
    scenarios::rate_step::SCENARIO,
    scenarios::roam::SCENARIO,
    scenarios::relay_cluster::SCENARIO,
    scenarios::pair_lan::SCENARIO,
    scenarios::pair_relay::SCENARIO,
    scenarios::pair_code::SCENARIO,
    scenarios::attackers::SCENARIO,
    bench::LATENCY,
    bench::LINK,
    bench::SEAL,
];
