//! Programs that a scenario starts, in the network namespace of a booth.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::wait_until;

const GRACE_MS: i64 = 3_000;

/// Which side of the two-booth rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Camera `platform:vivid-000`, screen `screen-a`, namespace `a`, 10.9.0.1.
    A,
    /// Camera `platform:vivid-001`, screen `screen-b`, namespace `b`, 10.9.0.2.
    B,
}

impl Side {
    /// `a` or `b`: the namespace, and the name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The other side.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The bus address of its camera.
    pub fn camera(self) -> &'static str {
        match self {
            Self::A => "platform:vivid-000",
            Self::B => "platform:vivid-001",
        }
    }

    /// The name of its screen.
    pub fn screen(self) -> &'static str {
        match self {
            Self::A => "screen-a",
            Self::B => "screen-b",
        }
    }

    /// Its address on the wire.
    pub fn address(self) -> &'static str {
        match self {
            Self::A => "10.9.0.1",
            Self::B => "10.9.0.2",
        }
    }
}

/// A running program; killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program in the namespace of `side`; what it prints goes to the file `log`.
    ///
    /// # Errors
    /// When the log cannot be made or the program not be started.
    pub fn start(side: Side, program: &Path, arguments: &[String], log: &Path) -> io::Result<Self> {
        Self::start_in(side.name(), program, arguments, log)
    }

    /// The same in any network namespace.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_in(namespace: &str, program: &Path, arguments: &[String], log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Everything it has printed so far.
    pub fn printed(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end and waits; how it ended, or `None` when it had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if let Some(status) = self.ended() {
            return Some(status);
        }
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let mut status = None;
        wait_until(GRACE_MS, 20, || {
            status = self.ended();
            status.is_some()
        });
        if status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
