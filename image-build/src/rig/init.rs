//! The first process inside the rig: prepares the machine, runs the command, switches the machine off.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::rig::job::{self, Job, Outcome};
use crate::rig::{devices, network};

/// The variable that tells the kernel's first process that it is one, and the folder of its run.
pub(crate) const FOLDER: &str = "HOLOBOOTH_RIG_RUN";

/// The folder of the run, when this process is the first one of a rig.
pub(crate) fn folder_of_run() -> Option<PathBuf> {
    (std::process::id() == 1).then(|| std::env::var_os(FOLDER)).flatten().map(PathBuf::from)
}

/// Never returns while the machine is on: a kernel whose first process ends stops with a panic.
pub(crate) fn main(folder: &Path) -> Result<()> {
    let outcome = match prepare_and_run(folder) {
        Ok(status) => Outcome::Exited(status),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    if let Err(error) = job::write(&folder.join(job::OUTCOME), &outcome) {
        eprintln!("rig: {error:#}");
    }
    nix::unistd::sync();
    nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF)?;
    Ok(())
}

fn prepare_and_run(folder: &Path) -> Result<u8> {
    let job: Job = job::read(&folder.join(job::JOB))?;
    mounts(&job.visible)?;
    std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd").context("/dev/fd")?;
    for (name, fd) in [("/dev/stdin", 0), ("/dev/stdout", 1), ("/dev/stderr", 2)] {
        std::os::unix::fs::symlink(format!("/proc/self/fd/{fd}"), name).context(name)?;
    }
    nix::unistd::sethostname("rig").context("host name")?;
    devices::screens(job.screens)?;
    network::prepare(job.two_booths.as_ref())?;
    run(&job, folder)
}

/// Mounts what a program expects, and hides the host's /tmp and /run behind private ones.
fn mounts(visible: &[PathBuf]) -> Result<()> {
    fs("proc", "/proc", "")?;
    fs("sysfs", "/sys", "")?;
    fs("configfs", "/sys/kernel/config", "")?;
    fs("devtmpfs", "/dev", "")?;
    folder("/dev/pts")?;
    fs("devpts", "/dev/pts", "ptmxmode=0666")?;
    folder("/dev/shm")?;
    fs("tmpfs", "/dev/shm", "mode=1777")?;
    fs("tmpfs", "/run", "mode=755")?;
    folder("/run/host-tmp")?;
    bind("/tmp".as_ref(), "/run/host-tmp".as_ref())?;
    fs("tmpfs", "/tmp", "mode=1777")?;
    for path in visible {
        let below =
            path.strip_prefix("/tmp").with_context(|| format!("{} is not below /tmp", path.display()))?;
        folder(path)?;
        bind(&Path::new("/run/host-tmp").join(below), path)?;
    }
    umount2("/run/host-tmp", MntFlags::MNT_DETACH).context("cannot let go of the host's /tmp")
}

fn fs(kind: &str, at: &str, data: &str) -> Result<()> {
    mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(data))
        .with_context(|| format!("cannot mount {kind} at {at}"))
}

fn bind(from: &Path, at: &Path) -> Result<()> {
    mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot show {} at {}", from.display(), at.display()))
}

fn folder(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Runs the command to its end and gives its exit status.
fn run(job: &Job, folder: &Path) -> Result<u8> {
    let Some((program, arguments)) = job.command.split_first() else { bail!("there is no command to run") };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(&job.directory)
        .env_clear()
        .envs(&job.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program} in {}", job.directory.display()))?;
    let out = carry(child.stdout.take(), &folder.join(job::STDOUT))?;
    let err = carry(child.stderr.take(), &folder.join(job::STDERR))?;
    let status = wait_for(Pid::from_raw(child.id().try_into()?))?;
    // Whatever the command left running holds its pipes open and would keep the rig up.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    for pump in [out, err] {
        pump.join()
            .ok()
            .context("the output was cut off")?
            .context("cannot pass the output on to the host")?;
    }
    Ok(status)
}

/// Copies a pipe into a file on the host. Not the file itself: `> /dev/stderr` would truncate a file.
fn carry(from: Option<impl Read + Send + 'static>, to: &Path) -> Result<JoinHandle<std::io::Result<()>>> {
    let mut from = from.context("the command has no output pipe")?;
    let mut to =
        File::options().append(true).open(to).with_context(|| format!("cannot open {}", to.display()))?;
    Ok(std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => to.write_all(&buffer[..n])?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }))
}

/// Waits for one process, burying meanwhile the orphans that fall to the first process.
fn wait_for(command: Pid) -> Result<u8> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => return Ok(u8::try_from(status & 0xff)?),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => return Ok(128 + signal as u8),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}
