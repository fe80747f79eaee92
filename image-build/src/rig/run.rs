//! The host's side of one run: starts the kernel, follows the output, makes sure that it ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::rig::devices;
use crate::rig::job::{self, Job, Outcome};
use crate::rig::options::Options;
use crate::{cargo, folders, interrupt, kernel, setup};

/// How often output is looked for; nobody waits for it but people.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Exit status of a command that the time limit cut off, as `timeout` has it.
const TIMED_OUT: u8 = 124;
/// Exit status after Ctrl-C, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Which of the command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A rig that is switched on. Dropping it switches it off, at once.
pub(crate) struct Running {
    kernel: Child,
    folder: TempDir,
    outputs: [(Stream, File); 2],
    deadline: Instant,
    time_limit_s: u32,
    kernel_log: PathBuf,
}

impl Running {
    /// Boots a rig that runs `command` in the current directory, with `extra` added to this environment.
    ///
    /// # Errors
    /// When the kernel cannot be had or started, or the machine has no memory for it.
    pub(crate) fn start(
        options: &Options,
        command: Vec<String>,
        extra: Vec<(String, String)>,
    ) -> Result<Self> {
        setup::ensure(&[setup::Group::RigTools])?;
        let kernel = kernel::ensure()?;
        // The kernel's helpers become ours when it ends before them, so that none is left behind.
        nix::sys::prctl::set_child_subreaper(true).context("cannot become the parent of orphans")?;
        let folder = work_folder()?;
        let path = folder.path();
        std::fs::copy("/proc/self/exe", path.join(job::INIT))
            .context("cannot copy this program for the rig")?;
        job::write(&path.join(job::JOB), &describe(options, command, extra)?)?;
        let outputs = [(Stream::Out, job::STDOUT), (Stream::Err, job::STDERR)];
        for (_, name) in outputs {
            File::create(path.join(name))?;
        }
        let outputs = [
            (Stream::Out, File::open(path.join(job::STDOUT))?),
            (Stream::Err, File::open(path.join(job::STDERR))?),
        ];
        let kernel_log = path.join("kernel.log");
        let kernel = boot(&kernel, options, path, &kernel_log)?;
        let deadline = Instant::now() + Duration::from_secs(options.time_limit_s.into());
        Ok(Self { kernel, folder, outputs, deadline, time_limit_s: options.time_limit_s, kernel_log })
    }

    /// Follows the command to its end; gives its exit status.
    ///
    /// # Errors
    /// When the rig failed, as opposed to the command.
    pub(crate) fn wait(&mut self, on_output: &mut dyn FnMut(Stream, &[u8])) -> Result<u8> {
        loop {
            if let Some(status) = self.step(on_output)? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Hands new output over, without waiting; the exit status once the rig is off.
    ///
    /// # Errors
    /// When the rig failed, as opposed to the command.
    pub(crate) fn step(&mut self, on_output: &mut dyn FnMut(Stream, &[u8])) -> Result<Option<u8>> {
        let ended = self.kernel.try_wait()?;
        let cut_off = if ended.is_some() {
            None
        } else if interrupt::requested() {
            Some(INTERRUPTED)
        } else {
            (Instant::now() >= self.deadline).then_some(TIMED_OUT)
        };
        if cut_off.is_some() {
            self.switch_off();
        }
        for (stream, file) in &mut self.outputs {
            let mut new = Vec::new();
            file.read_to_end(&mut new)?;
            if !new.is_empty() {
                on_output(*stream, &new);
            }
        }
        if cut_off == Some(TIMED_OUT) {
            let limit_s = self.time_limit_s;
            let message =
                format!("rig: the command was cut off after {limit_s} s; --time-limit allows more\n");
            on_output(Stream::Err, message.as_bytes());
        }
        match ended {
            Some(status) => self.outcome(status).map(Some),
            None => Ok(cut_off),
        }
    }

    /// Where the kernel's messages are while this lives.
    pub(crate) fn kernel_log(&self) -> &Path {
        &self.kernel_log
    }

    fn outcome(&self, kernel: ExitStatus) -> Result<u8> {
        match job::read(&self.folder.path().join(job::OUTCOME)) {
            Ok(Outcome::Exited(status)) => Ok(status),
            Ok(Outcome::Failed(why)) => bail!("rig: {why}"),
            Err(_) => bail!(
                "the rig's kernel stopped before the command ended ({kernel}); the end of its log:\n{}",
                tail(&self.kernel_log, 30)
            ),
        }
    }

    /// Kills and buries the kernel and the helper processes it runs user programs in.
    fn switch_off(&mut self) {
        let Ok(group) = i32::try_from(self.kernel.id()) else { return };
        // The number is theirs, and to be killed, only while one of them is left.
        while let Ok(status) = waitpid(Pid::from_raw(-group), Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                let _ = waitpid(Pid::from_raw(-group), None);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.switch_off();
        if let Ok(cache) = folders::cache() {
            let _ = std::fs::rename(&self.kernel_log, cache.join("kernel.log"));
        }
    }
}

/// A folder of this run's own, removed when it is dropped, or by a later run.
pub(crate) fn work_folder() -> Result<TempDir> {
    let runs = folders::cache_of("runs")?;
    sweep(&runs);
    let prefix = format!("{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(runs)?;
    let path = folder.path();
    if path.to_string_lossy().contains(char::is_whitespace) {
        bail!(
            "the kernel cannot be told of a path with spaces ({}): set XDG_CACHE_HOME to one without",
            path.display()
        );
    }
    Ok(folder)
}

/// Removes folders whose program was killed before it could.
fn sweep(runs: &Path) {
    for folder in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = folder.file_name();
        let pid = name.to_str().and_then(|name| name.split_once('-')).map_or("", |(pid, _)| pid);
        if !pid.is_empty() && !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

/// The job, from what the caller has around it.
fn describe(options: &Options, command: Vec<String>, extra: Vec<(String, String)>) -> Result<Job> {
    let directory = std::env::current_dir().context("the current directory is gone: change into another")?;
    let mut environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    // The rig's own /tmp has none of the host's temporary folders.
    environment.remove("TMPDIR");
    environment.retain(|name, _| !cargo::is_of_this_run(name));
    let path = environment.entry("PATH".into()).or_default();
    *path = format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    environment.extend(extra);
    let program =
        command.first().map(PathBuf::from).and_then(|p| p.canonicalize().ok()?.parent().map(Path::to_owned));
    let mut visible: Vec<_> =
        [Some(directory.clone()), Some(folders::target()), Some(folders::clean(&folders::cache()?)), program]
            .into_iter()
            .flatten()
            .filter(|folder| folder.starts_with("/tmp") && folder != Path::new("/tmp") && folder.is_dir())
            .collect();
    visible.sort();
    visible.dedup();
    Ok(Job {
        command,
        directory,
        environment,
        visible,
        screens: options.screens(),
        two_booths: options.two_booths.then(|| options.line.clone()),
    })
}

fn boot(kernel: &Path, options: &Options, folder: &Path, log: &Path) -> Result<Child> {
    let log_out = File::create(log)?;
    let log_err = log_out.try_clone()?;
    let mut arguments = vec![
        format!("mem={}M", options.memory_mib),
        format!("ncpus={}", options.cores),
        "rootfstype=hostfs".into(),
        "rootflags=/".into(),
        "rw".into(),
        "con=null".into(),
        "con0=fd:0,fd:1".into(),
        "seccomp=auto".into(),
        "loglevel=5".into(),
        format!("uml_dir={}/", folder.display()),
        format!("init={}", folder.join(job::INIT).display()),
    ];
    arguments.extend(devices::kernel_options(options.cameras(), options.booths()));
    // Words the kernel does not know reach the first process as its environment; behind `--`, as arguments,
    // they would be followed by others that User-Mode Linux appends.
    arguments.push(format!("{}={}", super::init::FOLDER, folder.display()));
    // What was just compiled is written out now, and not while something in the rig is timed.
    nix::unistd::sync();
    // setpriv: should this program be killed, the kernel goes with it. nice: the rig has one core and its own times to keep; where
    // it is not allowed, it runs all the same. taskset: see `host_cores`.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "nice", "--adjustment=-10"])
        .args(["taskset", "--cpu-list", &host_cores(options.cores)?])
        .arg(kernel)
        .args(arguments)
        .env("TMPDIR", memory_folder(options.memory_mib, folder))
        .stdin(Stdio::null())
        .stdout(log_out)
        .stderr(log_err)
        .process_group(0)
        .spawn()
        .context("cannot start the rig's kernel with setpriv and taskset (Debian package util-linux)")
}

/// As many of the host's cores as the rig has. Every system call inside is a hand-over between two of the host's processes,
/// which costs ten times as much from core to core as it does on one.
fn host_cores(cores: u8) -> Result<String> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot tell this machine's cores")?;
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|&n| allowed.is_set(n).unwrap_or(false)).collect();
    // Two rigs at once are to land on different cores, as far as there are any.
    let first = std::process::id() as usize % allowed.len().max(1);
    let some = allowed.iter().cycle().skip(first).take(usize::from(cores).min(allowed.len()));
    Ok(some.map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// Where the rig's memory lies: in memory, unless /dev/shm is as small as containers make it.
fn memory_folder(memory_mib: u32, otherwise: &Path) -> PathBuf {
    let shm = Path::new("/dev/shm");
    let free_mib = nix::sys::statvfs::statvfs(shm)
        .map(|fs| fs.blocks_available() * fs.fragment_size() / (1024 * 1024))
        .unwrap_or(0);
    if free_mib >= u64::from(memory_mib) { shm.to_owned() } else { otherwise.to_owned() }
}

/// The last lines of a text file; empty when it cannot be read.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
