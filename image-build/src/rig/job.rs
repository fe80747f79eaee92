//! What the host tells the rig to do, and what it hears back; files in the folder that both see.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::rig::options::Line;

/// A copy of this program; the kernel's first process.
pub(crate) const INIT: &str = "init";
/// The [`Job`], as JSON.
pub(crate) const JOB: &str = "job.json";
/// The [`Outcome`], as JSON; appears only when whole.
pub(crate) const OUTCOME: &str = "outcome.json";
/// What the command wrote to its standard output.
pub(crate) const STDOUT: &str = "stdout";
/// What the command wrote to its standard error.
pub(crate) const STDERR: &str = "stderr";

/// One command to run in one rig.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// All it finds in its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Folders below /tmp of the host that must stay visible below the rig's own /tmp.
    pub(crate) visible: Vec<PathBuf>,
    /// Number of vkms screens.
    pub(crate) screens: u8,
    /// Two network namespaces, and the line between them.
    pub(crate) two_booths: Option<Line>,
}

/// How it ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The command ended with this exit status (128 + n after signal n).
    Exited(u8),
    /// The rig could not be prepared, or the command not be started: why.
    Failed(String),
}

/// Reads one of the two from its file.
pub(crate) fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))
}

/// Writes one of the two into its file, whole or not at all.
pub(crate) fn write<T: Serialize>(file: &Path, value: &T) -> Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(value)?)
        .and_then(|()| std::fs::rename(&beside, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
