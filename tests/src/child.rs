//! Programs that a scenario starts, in the network namespace of a booth.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
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

    /// Its threads: their ids, and what they call themselves. None once it has ended.
    pub fn threads(&self) -> Vec<(u32, String)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let thread = |task: io::Result<fs::DirEntry>| {
            let task = task.ok()?;
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, name.trim_end().to_owned()))
        };
        tasks.into_iter().flatten().filter_map(thread).collect()
    }

    /// The processor time that it and what it has started took so far, in µs; `None` once it has ended.
    pub fn processor_us(&self) -> Option<i64> {
        let all: Vec<Process> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| Process::parse(&fs::read_to_string(entry.ok()?.path().join("stat")).ok()?))
            .collect();
        let mut family = vec![i64::from(self.child.id())];
        all.iter().find(|process| process.id == family[0])?;
        let mut ticks = 0;
        while let Some(id) = family.pop() {
            ticks += all.iter().filter(|process| process.id == id).map(|process| process.ticks).sum::<i64>();
            family.extend(all.iter().filter(|process| process.parent == id).map(|process| process.id));
        }
        Some(ticks * 1_000_000 / TICKS_A_SECOND)
    }

    /// Keeps its thread of this name from running for so long, and no other: as a machine does that has something
    /// more urgent to do.
    ///
    /// # Errors
    /// When it has no such thread, or the system does not let it be held.
    pub fn hold_thread(&self, name: &str, length: Duration) -> io::Result<()> {
        let found = self.threads().into_iter().find(|(_, thread)| thread == name);
        let (id, _) = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))?;
        let thread = Pid::from_raw(i32::try_from(id).map_err(io::Error::other)?);
        ptrace::seize(thread, ptrace::Options::empty())?;
        ptrace::interrupt(thread)?;
        let stopped = waitpid(thread, Some(WaitPidFlag::__WALL));
        if stopped.is_ok() {
            std::thread::sleep(length);
        }
        ptrace::detach(thread, None)?;
        stopped.map(drop).map_err(io::Error::from)
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

/// USER_HZ, in which the kernel tells processor time on every architecture that matters here.
const TICKS_A_SECOND: i64 = 100;

/// What proc_pid_stat(5) says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    id: i64,
    parent: i64,
    /// In user and kernel mode, its own and of children that have ended.
    ticks: i64,
}

impl Process {
    fn parse(stat: &str) -> Option<Self> {
        // The name may hold anything, brackets too.
        let (id, rest) = (stat.split_once(' ')?.0.parse().ok()?, stat.rsplit_once(") ")?.1);
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<i64>().ok());
        Some(Self { id, parent: fields.get(1)?.parse().ok()?, ticks: ticks.sum::<Option<_>>()? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_a_program_is_called() {
        let stat = "42 (a ) b) S 7 42 42 0 -1 4194304 9 0 0 0 100 20 3 1 20 0 1 0 5\n";
        assert_eq!(Process::parse(stat), Some(Process { id: 42, parent: 7, ticks: 124 }));
        assert_eq!(Process::parse("42 (a"), None);
    }
}
