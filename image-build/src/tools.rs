//! Programs of others, compiled once, from the package registry, into the cache: a version of ours each, so that all machines judge alike.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::progress::{self, Step};
use crate::{cargo, folders, interrupt};

/// A program of a crate of the same name.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// About how many crates it is made of; 0 when nobody counted.
    crates: u64,
}

/// The checker of dependencies.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", crates: 0 };
/// The relay that booths meet at when they cannot reach each other, as its makers made it.
pub(crate) const MOQ_RELAY: Tool = Tool { name: "moq-relay", version: "0.17.10", crates: 410 };

impl Tool {
    /// Where the program is; compiled first when it is not there yet.
    ///
    /// # Errors
    /// When it cannot be had, or not be compiled.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        let Self { name, version, crates } = self;
        let tools = folders::cache_of("tools")?;
        let root = tools.join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        if program.exists() {
            return Ok(program);
        }
        let log = tools.join(format!("{name}.log"));
        let _ = std::fs::remove_file(&log);
        let what = format!("compiling {name} {version}, once (some minutes)");
        let step = if *crates > 0 { Step::counting(&what, *crates) } else { Step::begin(&what) };
        // Versions that a lock file names may have been withdrawn since.
        let installed =
            self.install(&root, true, &log, &step).or_else(|_| self.install(&root, false, &log, &step));
        installed
            .with_context(|| format!("{name} cannot be installed; all of it is in {}", log.display()))?;
        step.done("");
        Ok(program)
    }

    fn install(&self, root: &Path, locked: bool, log: &Path, step: &Step) -> Result<()> {
        if interrupt::requested() {
            bail!("stopped");
        }
        let mut install = cargo::cargo();
        // In the checkout's own build folder it would wait for, and be taken for, the workspace's own build.
        install.env_remove("CARGO_TARGET_DIR").arg("install").args(locked.then_some("--locked"));
        install.args(["--version", &format!("={}", self.version), "--root"]).arg(root).arg(self.name);
        progress::logged(&mut install, log, |line| {
            if line.trim_start().starts_with("Compiling ") {
                step.advance();
            }
        })
    }
}
