//! What virtual machines are started with: QEMU, its firmware, a TPM in software, and what writes disks for them.
//!
//! All of it comes from one release of Debian, whatever release this machine runs, and is unpacked into the cache
//! together with every library that it needs, the C library included. A script for each program starts it with its
//! own dynamic loader (ld.so(8)). So neither root nor namespaces are needed, the programs that QEMU itself starts are
//! the host's, and of the host's packages none is installed, removed or used.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::debian::{Apt, SUITE};
use crate::folders;
use crate::progress::{self, Step};

/// The Debian packages; what they depend on comes with them.
const PACKAGES: [&str; 6] = ["dosfstools", "mtools", "ovmf", "qemu-system-x86", "qemu-utils", "swtpm"];
/// The folder of UEFI firmware in package `ovmf`.
const FIRMWARE: &str = "usr/share/OVMF";

/// A program of [`PACKAGES`], as it is found in `PATH`.
struct Program {
    name: &'static str,
    /// Where its package has it.
    path: &'static str,
    /// Words before those of whoever starts it. They see what the script defines.
    words: &'static str,
    /// Words that have it say its version and end well.
    version: &'static [&'static str],
}

const PROGRAMS: [Program; 6] = [
    Program { name: "mcopy", path: "usr/bin/mtools", words: "", version: &["-V"] },
    Program { name: "mkfs.fat", path: "usr/sbin/mkfs.fat", words: "", version: &["--help"] },
    Program { name: "mtype", path: "usr/bin/mtools", words: "", version: &["-V"] },
    Program { name: "qemu-img", path: "usr/bin/qemu-img", words: "", version: &["--version"] },
    Program {
        name: "qemu-system-x86_64",
        path: "usr/bin/qemu-system-x86_64",
        words: r#"-L "$root/usr/share/qemu" -L "$root/usr/share/seabios""#,
        version: &["--version"],
    },
    Program { name: "swtpm", path: "usr/bin/swtpm", words: "", version: &["--version"] },
];

impl Program {
    /// The script that starts it. It finds everything from its own place, so that the folder can be moved.
    fn script(&self) -> String {
        let Self { name, path, words, .. } = self;
        format!(
            r#"#!/bin/sh
root="${{0%/*}}/../root"
lib="$root/usr/lib/x86_64-linux-gnu"
export GCONV_PATH="$lib/gconv" QEMU_MODULE_DIR="$lib/qemu"
exec "$lib/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$lib:$lib/swtpm" --argv0 {name} \
    "$root/{path}" {words} "$@"
"#
        )
    }
}

/// The unpacked tools.
pub(crate) struct MachineTools {
    folder: PathBuf,
}

impl MachineTools {
    /// Those of the cache; downloaded and unpacked first when they are not there yet.
    ///
    /// # Errors
    /// When they cannot be downloaded or unpacked, or one of them does not start.
    pub(crate) fn ensure() -> Result<Self> {
        let tools = Self { folder: folders::cache_of("tools")?.join(format!("machine-{SUITE}-{}", hash())) };
        if !tools.folder.is_dir() {
            tools.unpack()?;
        }
        Ok(tools)
    }

    /// `PATH` with the tools before all else.
    ///
    /// # Errors
    /// When the cache lies in a folder with a colon in its name.
    pub(crate) fn path(&self) -> Result<OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.folder.join("bin")].into_iter().chain(std::env::split_paths(&before));
        std::env::join_paths(folders).context("no colon may be in the path of the cache (XDG_CACHE_HOME)")
    }

    /// The folder of `OVMF_CODE_4M.fd` and `OVMF_VARS_4M.fd`.
    pub(crate) fn firmware(&self) -> PathBuf {
        self.folder.join("root").join(FIRMWARE)
    }

    fn unpack(&self) -> Result<()> {
        if std::env::consts::ARCH != "x86_64" {
            bail!(
                "the image is for x86-64, and so are its machines; this machine is {}",
                std::env::consts::ARCH
            );
        }
        let step = Step::begin("Downloading QEMU and what belongs to it (50 MB)");
        let parent = folders::cache_of("tools")?;
        let work = tempfile::Builder::new().prefix("machine-").tempdir_in(&parent)?;
        let log = parent.join("machine.log");
        let _ = std::fs::remove_file(&log);
        let new = Self { folder: work.path().join("unpacked") };
        let root = new.folder.join("root");
        std::fs::create_dir_all(&root)?;
        for deb in Apt::new(work.path(), SUITE)?.download_with_dependencies(&PACKAGES)? {
            let mut dpkg = Command::new("dpkg");
            progress::logged(dpkg.arg("-x").arg(&deb).arg(&root), &log, |_| {})
                .with_context(|| format!("cannot unpack {}", deb.display()))?;
        }
        let bin = new.folder.join("bin");
        std::fs::create_dir(&bin)?;
        for program in &PROGRAMS {
            let script = bin.join(program.name);
            std::fs::write(&script, program.script())?;
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
            // What does not start must not stay in the cache.
            progress::logged(Command::new(&script).args(program.version), &log, |_| {})
                .with_context(|| format!("{} of {SUITE} does not start on this machine", program.name))?;
        }
        let version = qemu_version(&bin)?;
        // Another xtask may have been faster.
        if let Err(e) = std::fs::rename(&new.folder, &self.folder)
            && !self.folder.is_dir()
        {
            return Err(e).with_context(|| format!("cannot put them into {}", self.folder.display()));
        }
        step.done(&version);
        Ok(())
    }
}

/// What QEMU says of itself, in a line.
fn qemu_version(bin: &Path) -> Result<String> {
    let out = Command::new(bin.join("qemu-system-x86_64")).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned())
}

/// Changes with the packages and the scripts.
fn hash() -> String {
    let mut digest = Sha256::new();
    digest.update(PACKAGES.join(" "));
    for program in &PROGRAMS {
        digest.update(program.script());
    }
    HEXLOWER.encode(&digest.finalize()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_finds_its_program_wherever_the_folder_is() {
        let folder = tempfile::Builder::new().prefix("with a blank ").tempdir().unwrap();
        let lib = folder.path().join("root/usr/lib/x86_64-linux-gnu");
        std::fs::create_dir_all(&lib).unwrap();
        // In the loader's place: something that says what it was given.
        std::os::unix::fs::symlink("/bin/echo", lib.join("ld-linux-x86-64.so.2")).unwrap();
        let script = folder.path().join("bin/mcopy");
        std::fs::create_dir(script.parent().unwrap()).unwrap();
        std::fs::write(&script, PROGRAMS[0].script()).unwrap();
        let out = Command::new("sh").arg(&script).args(["a b", "c"]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let root = folder.path().join("bin/../root");
        assert!(said.contains("--argv0 mcopy "), "{said}");
        assert!(said.trim_end().ends_with(&format!("{}/usr/bin/mtools a b c", root.display())), "{said}");
    }
}
