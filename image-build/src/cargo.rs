//! Building this workspace's programs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{folders, setup};

/// The two programs that go into the rig.
pub(crate) struct Programs {
    /// The booth.
    pub(crate) booth: PathBuf,
    /// Scenarios, benches and what the demo runs inside.
    pub(crate) tests: PathBuf,
}

impl Programs {
    /// What tells the one where the other is.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        vec![("HOLOBOOTH_BIN".into(), self.booth.display().to_string())]
    }
}

/// Cargo, in the checkout, free of what `cargo run` told this program about itself.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folders::checkout());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_this_run) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The folder of the toolchain that compiles here.
///
/// # Errors
/// When rustc does not say where it is, or it is no toolchain of rustup's kind, which can be used from any place.
pub(crate) fn toolchain() -> Result<PathBuf> {
    let out = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(folders::checkout())
        .output()
        .context("cannot ask rustc where it is")?;
    let rust = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
    if !rust.join("bin/cargo").exists() {
        bail!("{} has no cargo: use a toolchain of rustup's kind, which works in any place", rust.display());
    }
    Ok(rust)
}

/// Cargo's own folder, with what it downloaded.
///
/// # Errors
/// When no home folder is set.
pub(crate) fn home() -> Result<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .context("no home folder is set: set HOME or CARGO_HOME")
}

/// Whether `cargo run` set this variable for this program alone.
pub(crate) fn is_of_this_run(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Compiles the program that shows the first card. It needs nothing but the C library, so that the host's compiler will do.
///
/// # Errors
/// When the compiler refuses.
pub(crate) fn build_card() -> Result<PathBuf> {
    let status = cargo()
        .args(["build", "--release", "--locked", "--package", "holobooth-card"])
        .stdout(std::io::stderr())
        .status()
        .context("cannot run cargo: install Rust from https://rustup.rs")?;
    if !status.success() {
        bail!("the first card's program was not built ({status}); cargo says above why");
    }
    Ok(folders::target().join("release/holobooth-card"))
}

/// Compiles both, optimised; cargo shows its own progress.
///
/// # Errors
/// When libraries are missing and cannot be installed, or the compiler refuses.
pub(crate) fn build() -> Result<Programs> {
    setup::ensure(&[setup::Group::Appliance])?;
    let status = cargo()
        .args(["build", "--release", "--package", "holobooth", "--package", "holobooth-tests", "--bins"])
        .stdout(std::io::stderr())
        .status()
        .context("cannot run cargo: install Rust from https://rustup.rs")?;
    if !status.success() {
        bail!("the programs were not built ({status}); cargo says above why");
    }
    let release = folders::target().join("release");
    Ok(Programs { booth: release.join("holobooth"), tests: release.join("holobooth-tests") })
}
