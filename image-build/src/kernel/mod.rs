//! The rig's kernel: from Debian's source and the fragments in `kernel-config/rig` to a cached program.

mod fragments;
pub(crate) mod required;
mod source;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::kernel::fragments::Wanted;
use crate::progress::{self, Step};
use crate::{folders, setup};

/// What the fragments make `make` print, about; only the progress bar depends on it.
const LINES_OF_A_BUILD: u64 = 1570;
const FRAGMENTS: &str = "kernel-config/rig";

/// `cargo xtask kernel`.
#[derive(clap::Args)]
#[command(after_help = "\
The fragments are kernel-config/rig/*.config. Every line of theirs is held against the finished configuration;
one that did not survive stops the build by name. *.patch beside them change what no option can. The kernel is
cached by the hash of source version, fragments and patches as kernels/<hash>/linux in ~/.cache/holobooth; `cargo xtask rig` builds it by itself when it is absent.")]
pub(crate) struct Arguments {
    /// Only say where the kernel is or would be, and whether it is there
    #[arg(long)]
    dry_run: bool,
}

/// Builds the kernel unless it is cached, and prints its path.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if arguments.dry_run {
        let kernel = cached(&read_fragments()?, &read_patches()?)?;
        println!("{} {}", kernel.display(), if kernel.exists() { "(built)" } else { "(not built yet)" });
    } else {
        println!("{}", ensure()?.display());
    }
    Ok(())
}

/// The kernel's path; built first when no cached one fits.
///
/// # Errors
/// When fragments are malformed or did not survive, the source cannot be had, or the compiler fails.
pub(crate) fn ensure() -> Result<PathBuf> {
    let (wanted, patches) = (read_fragments()?, read_patches()?);
    let kernel = cached(&wanted, &patches)?;
    if kernel.exists() {
        return Ok(kernel);
    }
    let folder = folders::cache_of("kernels")?;
    let lock = File::create(folder.join("lock"))?;
    if lock.try_lock().is_err() {
        let step = Step::begin("Waiting for another xtask that builds the kernel");
        lock.lock().context("cannot lock the cache of kernels")?;
        step.done("");
    }
    if !kernel.exists() {
        if std::env::consts::ARCH != "x86_64" {
            bail!("the rig's kernel runs on x86-64 only, and this machine is {}", std::env::consts::ARCH);
        }
        setup::ensure(&[setup::Group::Kernel])?;
        build(&wanted, &patches, &folder, &kernel)?;
    }
    Ok(kernel)
}

fn read_fragments() -> Result<Vec<Wanted>> {
    Ok(fragments::read(&folders::checkout().join(FRAGMENTS), FRAGMENTS)?)
}

/// A change to the source, for what no option can do.
struct Patch {
    path: PathBuf,
    text: String,
}

fn read_patches() -> Result<Vec<Patch>> {
    let folder = folders::checkout().join(FRAGMENTS);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "patch"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Patch { path, text })
        })
        .collect()
}

/// Where the kernel with these options and changes is kept. Reasons and order of the lines change nothing.
fn cached(wanted: &[Wanted], patches: &[Patch]) -> Result<PathBuf> {
    let mut lines: Vec<_> = wanted.iter().map(|line| format!("{}={}\n", line.option, line.value)).collect();
    lines.sort();
    let changes: String = patches.iter().map(|patch| patch.text.as_str()).collect();
    let digest = Sha256::digest(format!("{}\n{}{changes}", source::PACKAGE, lines.concat()));
    let hash = data_encoding::HEXLOWER.encode(&digest[..8]);
    Ok(folders::cache_of("kernels")?.join(hash).join("linux"))
}

fn build(wanted: &[Wanted], patches: &[Patch], folder: &Path, kernel: &Path) -> Result<()> {
    let started = Instant::now();
    // Left by a build that was killed; the lock says that none is running.
    for left in std::fs::read_dir(folder)?.flatten() {
        if left.file_name().to_string_lossy().starts_with("build-") {
            let _ = std::fs::remove_dir_all(left.path());
        }
    }
    let work = tempfile::Builder::new().prefix("build-").tempdir_in(folder)?;
    let result = compile(wanted, patches, work.path(), kernel);
    if result.is_err() {
        // What went wrong must outlive the folder it went wrong in.
        let _ = std::fs::rename(work.path().join("build.log"), folder.join("build.log"));
    }
    result.with_context(|| {
        format!("the rig's kernel was not built; the log is {}", folder.join("build.log").display())
    })?;
    eprintln!(
        "The rig's kernel took {:.0} s; it is kept in {}",
        started.elapsed().as_secs_f64(),
        folder.display()
    );
    Ok(())
}

fn compile(wanted: &[Wanted], patches: &[Patch], work: &Path, kernel: &Path) -> Result<()> {
    let (source, version) = source::fetch(work)?;
    let log = work.join("build.log");
    let make = |targets: &[&str]| {
        let mut command = Command::new("make");
        command.current_dir(&source).arg("ARCH=um").args(targets).env("LC_ALL", "C").env_remove("MAKEFLAGS");
        command
    };
    let step = Step::begin("Configuring it");
    for Patch { path, .. } in patches {
        let mut patch = Command::new("patch");
        patch.current_dir(&source).args(["--strip=1", "--fuzz=0", "--input"]).arg(path);
        progress::logged(&mut patch, &log, |_| {})
            .with_context(|| format!("{} does not fit {} {version}", path.display(), source::PACKAGE))?;
    }
    progress::logged(&mut make(&["tinyconfig"]), &log, |_| {})?;
    let config = source.join(".config");
    let merged = std::fs::read_to_string(&config)? + &fragments::plain(wanted);
    std::fs::write(&config, merged)?;
    progress::logged(&mut make(&["olddefconfig"]), &log, |_| {})?;
    fragments::check(wanted, &std::fs::read_to_string(&config)?)?;
    step.done(&format!("all {} lines survived", wanted.len()));

    let step = Step::counting("Compiling it", LINES_OF_A_BUILD);
    let jobs = format!("-j{}", std::thread::available_parallelism().map_or(1, usize::from));
    progress::logged(&mut make(&[&jobs, "linux"]), &log, |line| {
        if ["  CC ", "  AR ", "  LD ", "  AS "].iter().any(|kind| line.starts_with(kind)) {
            step.advance();
        }
    })?;
    step.done("");

    let finished = work.join("finished");
    std::fs::create_dir(&finished)?;
    let mut strip = Command::new("strip");
    progress::logged(strip.arg("-o").arg(finished.join("linux")).arg(source.join("linux")), &log, |_| {})?;
    std::fs::copy(&config, finished.join("config"))?;
    std::fs::write(finished.join("source"), format!("{} {version}\n", source::PACKAGE))?;
    let place = kernel.parent().context("the cache has no folder")?;
    std::fs::rename(&finished, place)
        .with_context(|| format!("cannot put the kernel into {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_heeds_options_and_not_reasons() {
        let hash = |text: &str| cached(&fragments::parse("f", text).unwrap(), &[]).unwrap();
        let one = hash("CONFIG_A=y # one\nCONFIG_B=y # two\n");
        assert_eq!(one, hash("CONFIG_B=y # 2\nCONFIG_A=y # 1\n"));
        assert_ne!(one, hash("CONFIG_A=y # one\nCONFIG_B=n # two\n"));
        let patch = Patch { path: "hz.patch".into(), text: "+ default 300".into() };
        assert_ne!(hash(""), cached(&[], &[patch]).unwrap());
    }
}
