//! A booth in User-Mode Linux: the finished image's own root with systemd as its first process, and beside it
//! what no PC here has, a camera (vivid) and a screen (vkms). A disk is a file; a network cable joins two
//! machines.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair, sockopt};
use nix::unistd::Pid;

use super::error::{Error, system};
use super::process::{copy, inherit};

/// How large a disk is, in bytes; what the image leaves of it becomes the data partition.
const DISK: u64 = 6 << 30;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// What the socket between two machines holds, in bytes.
const CABLE: usize = 4 << 20;

/// What a machine is made of.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// MiB of memory.
    pub memory_mib: u32,
    /// More words for the kernel.
    pub kernel: Vec<String>,
    /// Credentials for systemd (systemd.system-credentials(7)): units besides the image's, and the like.
    pub credentials: Vec<(String, String)>,
    /// Which of the host's processors it runs on; any when there is none.
    pub processor: Option<usize>,
}

impl Options {
    /// A machine with the sticks as its second, third… disk, that runs `script` once the booth runs; what it
    /// prints goes to the console.
    #[must_use]
    pub fn with_sticks(sticks: &[PathBuf], script: &str) -> Self {
        let disks = sticks.iter().enumerate().map(|(n, stick)| format!("ubd{}={}", n + 1, stick.display()));
        let service = format!(
            "[Unit]\nAfter=holobooth.service\n[Service]\nStandardOutput=journal+console\nExecStart=/bin/sh -c '{script}'\n"
        );
        let credentials = [
            ("systemd.extra-unit.script.service", service),
            ("systemd.unit-dropin.multi-user.target", "[Unit]\nWants=script.service\n".to_owned()),
            // A disk of this machine is no SCSI disk.
            (
                "systemd.unit-dropin.holobooth-stick@.service",
                "[Service]\nDeviceAllow=block-ubd rw\n".to_owned(),
            ),
        ];
        Self {
            memory_mib: 1024,
            kernel: disks.collect(),
            credentials: credentials.map(|(name, text)| (name.to_owned(), text)).into(),
            processor: None,
        }
    }
}

/// A machine that is switched on. Dropped, it has no power any more.
pub struct Machine {
    kernel: Child,
    console: PathBuf,
    started: Instant,
}

/// Both ends of a network cable.
///
/// # Errors
/// When the system gives no sockets.
pub fn cable() -> Result<(OwnedFd, OwnedFd), Error> {
    let refused = |e: nix::Error| system("a network cable")(e.into());
    let (a, b) =
        socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC).map_err(refused)?;
    for end in [&a, &b] {
        nix::sys::socket::setsockopt(end, sockopt::SndBuf, &CABLE).map_err(refused)?;
    }
    Ok((a, b))
}

/// Units that let the host's program `probe` look out of the machine: the host's files, and the program in
/// them. What it sees is in `folder`/`name`.json. The camera sees upright bars, or `lying` ones.
#[must_use]
pub fn eyes(folder: &Path, name: &str, lying: bool) -> [(String, String); 3] {
    let program = std::env::current_exe().unwrap_or_default();
    let mount = "[Mount]\nWhat=eyes\nWhere=/run/eyes\nType=hostfs\nOptions=hostfs=/\n";
    let probe = format!(
        "[Unit]\nRequires=run-eyes.mount\nAfter=run-eyes.mount holobooth.service\n\
         [Service]\nRootDirectory=/run/eyes\nMountAPIVFS=yes\nBindPaths=/run/holobooth\nRestart=always\nRestartSec=1\n\
         ExecStart={} probe --out {}{}\n",
        program.display(),
        folder.join(format!("{name}.json")).display(),
        if lying { " --lying" } else { "" },
    );
    let wanted = "[Unit]\nWants=probe.service\n";
    [
        ("systemd.extra-unit.run-eyes.mount", mount.to_owned()),
        ("systemd.extra-unit.probe.service", probe),
        ("systemd.unit-dropin.multi-user.target~eyes", wanted.to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), text))
}

/// Writes the image to a disk of its own in `folder`.
///
/// # Errors
/// When there is no room.
pub fn flashed(image: &Path, folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let disk = folder.join(name);
    copy(image, &disk)?;
    File::options()
        .write(true)
        .open(&disk)
        .and_then(|file| file.set_len(DISK))
        .map_err(system(disk.display().to_string()))?;
    Ok(disk)
}

impl Machine {
    /// Switches on the machine `name`, which starts from `disk`; `port` is its end of a cable. Its console is
    /// `folder`/`name`.console.
    ///
    /// # Errors
    /// When the kernel cannot be started.
    pub fn start(
        name: &str,
        disk: &Path,
        port: Option<&OwnedFd>,
        folder: &Path,
        options: &Options,
    ) -> Result<Self, Error> {
        const VARIABLE: &str = "HOLOBOOTH_RIG_KERNEL";
        let kernel = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or(Error::NoImage(VARIABLE))?;
        let console = folder.join(format!("{name}.console"));
        let out = File::options().create(true).append(true).open(&console).map_err(system("a console"))?;
        let err = out.try_clone().map_err(system("a console"))?;
        let mut words = vec![
            format!("mem={}M", options.memory_mib),
            format!("ubd0={}", disk.display()),
            "root=/dev/ubda3".into(),
            "rootfstype=erofs".into(),
            "ro".into(),
            "init=/usr/lib/systemd/systemd".into(),
            "con=null".into(),
            "con0=fd:0,fd:1".into(),
            "console=tty0".into(),
            "seccomp=auto".into(),
            "loglevel=4".into(),
            "systemd.firstboot=off".into(),
            "systemd.journald.forward_to_console=1".into(),
            "systemd.journald.max_level_console=info".into(),
            format!("systemd.machine_id={}", machine_id(name)),
            format!("uml_dir={}/", folder.display()),
            format!("umid={name}"),
            // One camera, a webcam; one screen with a plane for video.
            "vivid.n_devs=1".into(),
            "vivid.node_types=0x1".into(),
            "vivid.num_inputs=1".into(),
            "vivid.input_types=0x0".into(),
            "vkms.create_default_dev=1".into(),
            "vkms.enable_overlay=1".into(),
        ];
        // Should this program be killed, the machine goes with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(processor) = options.processor {
            command.args(["taskset", "--cpu-list", &processor.to_string()]);
        }
        command.arg(&kernel);
        if let Some(port) = port {
            words.push(format!("vec0:transport=fd,fd={},mac={}", port.as_raw_fd(), mac(name)));
            inherit(&mut command, port);
        }
        words.extend(options.kernel.iter().cloned());
        words.extend(options.credentials.iter().map(|(name, text)| credential(name, text)));
        let child = command
            .args(words)
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(system("cannot start the machine's kernel"))?;
        Ok(Self { kernel: child, console, started: Instant::now() })
    }

    /// Since it was switched on.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// All that came on its console.
    #[must_use]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Waits until `came` gives something.
    ///
    /// # Errors
    /// When it does not, or the machine ends.
    pub fn wait<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut came: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T, Error> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(value) = came(self) {
                return Ok(value);
            }
            let ended = self.kernel.try_wait().map_err(system("the machine"))?;
            if ended.is_some() || Instant::now() > until {
                return Err(Error::too_late(what, timeout, &self.console()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Cuts the power.
    pub fn cut_power(mut self) {
        self.off();
    }

    fn off(&mut self) {
        // The kernel runs each program of the machine in a process of its own, all in one group.
        if let Ok(group) = i32::try_from(self.kernel.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.kernel.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.off();
    }
}

/// A credential as a word for the kernel (systemd(1), systemd.set_credential_binary=).
fn credential(name: &str, text: &str) -> String {
    format!("systemd.set_credential_binary={name}:{}", data_encoding::BASE64.encode(text.as_bytes()))
}

/// Different for each machine, the same at each start.
fn machine_id(name: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(name).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A locally administered address.
fn mac(name: &str) -> String {
    let id = machine_id(name);
    format!("02:00:{}:{}:{}:{}", &id[..2], &id[2..4], &id[4..6], &id[6..8])
}
