//! The kernel's source, as Debian packages it, whatever release this machine runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::{Apt, the_one_in};
use crate::progress::{self, Step};

/// The package; the kernel's version is in its name.
pub(crate) const PACKAGE: &str = "linux-source-7.3";
/// Where Debian carries it.
const SUITE: &str = "trixie-backports";
/// The bulk that no kernel for this architecture needs. (Kconfig reads other architectures' `crypto` folders.)
const LEFT_OUT: [&str; 9] = [
    "*/Documentation/*/*",
    "*/drivers/gpu/drm/amd/include",
    "*/tools/testing",
    "*/tools/perf",
    "*/arch/arm/[!c]*",
    "*/arch/arm64/[!c]*",
    "*/arch/mips/[!c]*",
    "*/arch/powerpc/[!c]*",
    "*/arch/riscv/[!c]*",
];

/// Fetches and unpacks the source into `work`; gives the source folder and the package's full version.
pub(crate) fn fetch(work: &Path) -> Result<(PathBuf, String)> {
    let apt = Apt::new(work, SUITE)?;
    let step = Step::begin("Asking apt for the kernel's source");
    let version = apt.newest(PACKAGE)?.with_context(|| {
        format!(
            "{SUITE} has no {PACKAGE} any more: name its successor (linux-source-7.x) in \
             image-build/src/kernel/source.rs"
        )
    })?;
    step.done(&format!("{PACKAGE} {version}"));

    let step = Step::begin("Downloading it (160 MB)");
    let deb = apt.download(PACKAGE)?;
    step.done("");

    let step = Step::begin("Unpacking it");
    progress::logged(
        Command::new("dpkg").arg("-x").arg(&deb).arg(work.join("deb")),
        &work.join("apt.log"),
        |_| {},
    )?;
    std::fs::remove_file(&deb)?;
    let archive = the_one_in(&work.join("deb/usr/src"), ".tar.xz")?;
    let source = work.join("source");
    std::fs::create_dir(&source)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("--strip-components=1").arg("-C").arg(&source);
    tar.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    progress::logged(&mut tar, &work.join("apt.log"), |_| {}).context("cannot unpack the kernel's source")?;
    std::fs::remove_dir_all(work.join("deb"))?;
    step.done("");
    Ok((source, version))
}
