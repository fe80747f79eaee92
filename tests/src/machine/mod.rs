//! A booth's image in a machine: QEMU with its firmware, or User-Mode Linux with software cameras and screens.

pub mod picture;
pub mod qemu;
mod qmp;
pub mod server;
pub mod stick;
pub mod uml;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use picture::Screenshot;
pub use qemu::{Machine, Options};

/// Why a machine is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `cargo xtask` did not say where something is.
    #[error("machine: {0} is not set; start this with `cargo xtask scenario`, which sets it")]
    NoImage(&'static str),
    /// A program or file.
    #[error("machine: {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A program that says no.
    #[error("machine: {0}")]
    Refused(String),
    /// It did not happen in time.
    #[error("machine: {what} did not come within {seconds} s; the end of its console:\n{console}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// The last lines on the console.
        console: String,
    },
}

/// Lines of a console that an error shows.
const LINES_IN_AN_ERROR: usize = 40;

impl Error {
    /// `what` did not come, and `console` is all that the machine said meanwhile.
    fn too_late(what: &str, timeout: Duration, console: &str) -> Self {
        let lines: Vec<_> = console.lines().collect();
        Self::TooLate {
            what: what.to_owned(),
            seconds: timeout.as_secs(),
            console: lines[lines.len().saturating_sub(LINES_IN_AN_ERROR)..].join("\n"),
        }
    }
}

/// The disk's image of a version, that `cargo xtask` made.
///
/// # Errors
/// When it did not say where.
pub fn image(version: &str) -> Result<PathBuf, Error> {
    const VARIABLE: &str = "HOLOBOOTH_IMAGES";
    let folder = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or(Error::NoImage(VARIABLE))?;
    Ok(folder.join(version).join("disk.raw"))
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}

/// Copies a disk, its holes as holes.
///
/// # Errors
/// When there is no room.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}

/// Lets the program that `command` starts have this descriptor, under its number.
fn inherit(command: &mut Command, descriptor: &OwnedFd) {
    let fd = descriptor.as_raw_fd();
    // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe, and of a number that is none it says so.
    unsafe {
        command.pre_exec(move || {
            let keep = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
            nix::fcntl::fcntl(BorrowedFd::borrow_raw(fd), keep).map(|_| ()).map_err(Into::into)
        });
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(system(format!("cannot run {name}")))?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(Error::Refused(format!("{name} failed ({}): {}", out.status, why.trim())));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
