//! mkosi, which makes the image: Debian's own package of it, unpacked into the cache, so that the machine's release does not matter.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::{Apt, SUITE};
use crate::progress::{self, Step};
use crate::{folders, interrupt};

/// mkosi, ready to be run in the folder `tree`.
///
/// # Errors
/// When it cannot be downloaded.
pub(crate) fn command(tree: &Path) -> Result<Command> {
    let mut command = Command::new("python3");
    command
        .args(["-m", "mkosi", "--directory"])
        .arg(tree)
        .env("PYTHONPATH", unpacked()?)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The folder of its Python packages.
fn unpacked() -> Result<PathBuf> {
    let folder = folders::cache_of("tools")?;
    let root = folder.join(format!("mkosi-{SUITE}"));
    let packages = root.join("usr/lib/python3/dist-packages");
    if packages.is_dir() {
        return Ok(packages);
    }
    let step = Step::begin("Downloading mkosi, which makes the image");
    let work = tempfile::Builder::new().prefix("mkosi-").tempdir_in(&folder)?;
    let deb = Apt::new(work.path(), SUITE)?.download("mkosi")?;
    let unpacked = work.path().join("unpacked");
    let mut dpkg = Command::new("dpkg");
    dpkg.arg("-x").arg(deb).arg(&unpacked);
    progress::logged(&mut dpkg, &folder.join("mkosi.log"), |_| {}).context("cannot unpack mkosi")?;
    if interrupt::requested() {
        bail!("stopped");
    }
    std::fs::rename(&unpacked, &root).with_context(|| format!("cannot put mkosi into {}", root.display()))?;
    step.done("");
    Ok(packages)
}
