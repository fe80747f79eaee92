//! The rig: a User-Mode Linux kernel with cameras, screens, sound cards and networks in software, and the
//! host's own files as its root.
//!
//! Host and rig meet in one folder per run ([`run`]): the host writes a [`job::Job`] and a copy of this very
//! program there, the kernel starts the copy as its first process ([`init`]), and that one prepares the devices
//! ([`devices`], [`network`]), runs the command and leaves output and exit status in the folder.

mod devices;
pub(crate) mod init;
pub(crate) mod job;
mod network;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod self_check;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::rig::options::Options;
use crate::rig::run::{Running, Stream};

/// Exit status that says that the rig failed, and not the command in it.
pub(crate) const FAILED: u8 = 125;

/// `cargo xtask rig`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask rig -- v4l2-ctl --list-devices
  cargo xtask rig --two-booths --delay 20 --loss 2 -- tc -n a qdisc
  cargo xtask rig --screens 1 -- bash -c 'ls /sys/class/drm'

COMMAND runs as root, in this directory, with your PATH and environment. The exit status is COMMAND's own;
124 when the time limit cut it off, 130 after Ctrl-C, 125 when the rig itself failed. See tests/README.md.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Keep the kernel's log in this file (it is always kept as kernel.log in the cache folder)
    #[arg(long, value_name = "FILE")]
    kernel_log: Option<PathBuf>,
    /// What to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Boots the rig, runs the command, passes its output and exit status on.
pub(crate) fn main(arguments: Arguments) -> Result<ExitCode> {
    let mut running = Running::start(&arguments.options, arguments.command, Vec::new())?;
    let status = running.wait(&mut pass_on);
    if let Some(file) = &arguments.kernel_log {
        std::fs::copy(running.kernel_log(), file)
            .with_context(|| format!("cannot keep the kernel's log as {}", file.display()))?;
    }
    Ok(ExitCode::from(status?))
}

/// Sends what the command wrote to where it would have gone without a rig.
pub(crate) fn pass_on(stream: Stream, bytes: &[u8]) {
    // A reader that went away (`| head`) is no reason to stop the command early.
    let _ = match stream {
        Stream::Out => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
        Stream::Err => std::io::stderr().write_all(bytes),
    };
}
