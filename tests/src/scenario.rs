//! The table of scenarios and benches, and what each of them gets and gives.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::report::Report;
use crate::{booth, machine, photodiode, room, scanout, vivid};

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
    /// A room.
    #[error(transparent)]
    Room(#[from] room::Error),
    /// A machine.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// What the system refused, for `map_err`: `what` says what was tried.
pub fn failed(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}

/// Whether it says yes or no, or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Says yes or no.
    Scenario,
    /// Says yes or no, and takes so long that `cargo xtask test` leaves it to `--full`.
    Long,
    /// Measures, beside others.
    Bench,
}

impl Kind {
    /// In `list`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scenario => "scenario",
            Self::Long => "long",
            Self::Bench => "bench",
        }
    }
}

/// Where a scenario runs.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// In the rig, with two booths' devices.
    Rig {
        /// Processor cores.
        cores: u32,
        /// Memory in MiB.
        memory_mib: u32,
    },
    /// On the host: it switches machines on itself, and finds these versions of the image as
    /// [`machine::image`](crate::machine::image).
    Machines(&'static [&'static str]),
}

/// Two booths on one core: a rig of two spends more on crossing between them than it gains.
pub const TWO_BOOTHS: Place = Place::Rig { cores: 1, memory_mib: 2048 };

/// One named scenario or bench.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Scenario or bench.
    pub kind: Kind,
    /// What it runs in.
    pub place: Place,
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
        let mut object = json!({
            "name": self.name,
            "summary": self.summary,
            "kind": self.kind.name(),
            "relay": self.relay,
            "time_limit_s": self.time_limit_s,
        });
        match self.place {
            Place::Rig { cores, memory_mib } => {
                object["rig"] = json!({"cores": cores, "memory_mib": memory_mib, "two_booths": true});
            }
            Place::Machines(images) => object["images"] = json!(images),
        }
        object
    }
}

/// What a scenario is given.
pub struct Context {
    dir: PathBuf,
    /// Less of everything that takes long, for a developer at work; its figures are not to be quoted.
    pub quick: bool,
    /// Of a bench that has parts, only those that these words name; all when there are none.
    pub only: Vec<String>,
    /// Of a bench that can compare: the folder with the programs of an earlier build.
    pub before: Option<PathBuf>,
}

impl Context {
    /// A context whose files lie in `dir`, which is private to the run.
    pub fn new(dir: PathBuf, quick: bool, only: Vec<String>, before: Option<PathBuf>) -> Self {
        Self { dir, quick, only, before }
    }

    /// The folder for the run's files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
