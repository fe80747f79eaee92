//! Programs that machines are made with.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::error::{Error, system};

/// Copies a disk, its holes as holes.
///
/// # Errors
/// When there is no room.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}

/// Lets the program that `command` starts have this descriptor, under its number.
pub(super) fn inherit(command: &mut Command, descriptor: &OwnedFd) {
    let fd = descriptor.as_raw_fd();
    // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe, and of a number that is
    // none it says so.
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
