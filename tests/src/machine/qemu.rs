//! A PC in QEMU, without KVM: UEFI, a disk, a screen of 3840x2160, USB, a network that leads nowhere or a
//! cable to another machine.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::{Error, system};
use super::picture::Screenshot;
use super::process::{inherit, run};
use super::qmp::Qmp;

/// The firmware, and its empty variables, in the folder that `cargo xtask` names.
const FIRMWARE: [&str; 2] = ["OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"];
/// From one press of the power button to the next.
const PRESS_EVERY: Duration = Duration::from_secs(5);
/// How often console and screen are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// MiB of memory.
    pub memory_mib: u32,
    /// Processors.
    pub processors: u32,
    /// Size of the screen in pixels.
    pub screen: (u32, u32),
    /// Whether it has a TPM 2.0.
    pub tpm: bool,
    /// Whether the journal goes to the serial line.
    pub console: bool,
    /// More words for the kernel.
    pub kernel: Vec<String>,
    /// Credentials for systemd (systemd.system-credentials(7)): units besides the image's, and the like.
    pub credentials: Vec<(String, String)>,
    /// A program that is started for each connection to [`super::server::ADDRESS`], port 443; there is no
    /// other way out.
    pub server: Option<String>,
    /// A second disk, that it can only read.
    pub second_disk: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            processors: 2,
            screen: (3840, 2160),
            tpm: false,
            console: true,
            kernel: Vec::new(),
            credentials: Vec::new(),
            server: None,
            second_disk: None,
        }
    }
}

/// A machine that is switched on. Dropped, it has no power any more.
pub struct Machine {
    qemu: Child,
    qmp: Qmp,
    tpm: Option<Child>,
    folder: PathBuf,
    started: Instant,
    sticks: u32,
}

/// Makes the disk `name` in `folder`: a layer over `image`, of 8 GiB; `image` stays as it is.
///
/// # Errors
/// When qemu-img fails.
pub fn flashed(image: &Path, folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let disk = folder.join(name);
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image).arg(&disk).arg("8G");
    run(&mut command)?;
    Ok(disk)
}

impl Machine {
    /// Switches one on that starts from `disk`. Its firmware's variables and its console are kept in
    /// `folder`, from one start to the next.
    ///
    /// # Errors
    /// When QEMU or its firmware are missing, or it does not come up.
    pub fn start(disk: &Path, folder: &Path, options: &Options) -> Result<Self, Error> {
        Self::start_on(None, disk, folder, options)
    }

    /// The same, with its network port on this end of a [cable](super::uml::cable).
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(
        port: Option<&OwnedFd>,
        disk: &Path,
        folder: &Path,
        options: &Options,
    ) -> Result<Self, Error> {
        const VARIABLE: &str = "HOLOBOOTH_FIRMWARE";
        let firmware = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or(Error::NoImage(VARIABLE))?;
        let [code, empty] = FIRMWARE.map(|name| firmware.join(name));
        let variables = folder.join("firmware.fd");
        if !variables.exists() {
            fs::copy(&empty, &variables).map_err(system(empty.display().to_string()))?;
        }
        let socket = folder.join("qmp");
        let _ = fs::remove_file(&socket);
        let (width, height) = options.screen;
        // Should this program be killed, the machine goes with it.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args(["-machine", "q35,accel=tcg", "-cpu", "max", "-nodefaults", "-display", "none"]);
        qemu.args(["-smp", &options.processors.to_string(), "-m", &options.memory_mib.to_string()]);
        qemu.args(["-uuid", "1f6a5a2e-70b7-4f59-9f1b-3f0a3c8f6d11"]);
        qemu.args(["-device", &format!("virtio-gpu-pci,id=screen,xres={width},yres={height}")]);
        qemu.args(["-device", "qemu-xhci,id=usb", "-device", "virtio-rng-pci"]);
        let network = match port {
            Some(port) => {
                inherit(&mut qemu, port);
                format!("dgram,id=net,local.type=fd,local.str={}", port.as_raw_fd())
            }
            None => user_network(options.server.as_deref()),
        };
        qemu.args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net"]);
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", code.display()));
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={}", variables.display()));
        qemu.arg("-drive")
            .arg(format!("if=none,id=disk,format=qcow2,discard=unmap,cache=unsafe,file={}", disk.display()));
        qemu.args(["-device", "virtio-blk-pci,drive=disk"]);
        if let Some(second) = &options.second_disk {
            let file = second.display();
            qemu.arg("-drive").arg(format!("if=none,id=second,format=raw,readonly=on,file={file}"));
            qemu.args(["-device", "virtio-blk-pci,drive=second"]);
        }
        qemu.arg("-serial").arg(format!("file:{}", folder.join("console").display()));
        qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        let tpm = if options.tpm {
            let state = folder.join("tpm");
            fs::create_dir_all(&state).map_err(system("the TPM's folder"))?;
            let socket = folder.join("tpm.sock");
            qemu.arg("-chardev").arg(format!("socket,id=tpm,path={}", socket.display()));
            qemu.args(["-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]);
            Some(start_tpm(&state, &socket)?)
        } else {
            None
        };
        for text in smbios(options) {
            qemu.arg("-smbios").arg(text);
        }
        let log = fs::File::create(folder.join("qemu.log")).map_err(system("qemu.log"))?;
        let started = Instant::now();
        let mut child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(system("cannot start QEMU"))?;
        match Qmp::connect(&socket) {
            Ok(qmp) => Ok(Self { qemu: child, qmp, tpm, folder: folder.to_owned(), started, sticks: 0 }),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read_to_string(folder.join("qemu.log")).unwrap_or_default();
                Err(Error::Refused(format!("{e}; QEMU said: {}", said.trim())))
            }
        }
    }

    /// Since it was switched on.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// All that came on the serial line.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = fs::read(self.folder.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How often it was started: its firmware says so each time.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.console().matches("BdsDxe: starting").count()
    }

    /// Waits until the console has `text`; gives how long the machine had been on.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<Duration, Error> {
        self.wait(&format!("\"{text}\""), timeout, |machine| Ok(machine.console().contains(text)))
    }

    /// Waits until the screen shows something that `fits`.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_for_picture(
        &mut self,
        what: &str,
        timeout: Duration,
        fits: impl Fn(&Screenshot) -> bool,
    ) -> Result<Duration, Error> {
        self.wait(what, timeout, |machine| Ok(fits(&machine.screenshot()?)))
    }

    /// Waits until `came`.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        came: impl Fn(&Self) -> bool,
    ) -> Result<Duration, Error> {
        self.wait(what, timeout, |machine| Ok(came(machine)))
    }

    fn wait(
        &mut self,
        what: &str,
        timeout: Duration,
        mut came: impl FnMut(&mut Self) -> Result<bool, Error>,
    ) -> Result<Duration, Error> {
        let until = Instant::now() + timeout;
        loop {
            let uptime = self.uptime();
            if came(self)? {
                return Ok(uptime);
            }
            if Instant::now() > until {
                return Err(Error::too_late(what, timeout, &self.console()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// What the screen shows now.
    ///
    /// # Errors
    /// When QEMU has no picture.
    pub fn screenshot(&mut self) -> Result<Screenshot, Error> {
        let file = self.folder.join("screen.ppm");
        let arguments = json!({"filename": file.display().to_string(), "device": "screen"});
        self.qmp.execute("screendump", arguments)?;
        Screenshot::read(&file)
    }

    /// Puts a stick in: the file is what is on it. Gives its name, to pull it by.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn plug(&mut self, stick: &Path, read_only: bool) -> Result<String, Error> {
        self.sticks += 1;
        let name = format!("stick{}", self.sticks);
        let drive = format!("{name}-drive");
        self.qmp.execute(
            "blockdev-add",
            json!({"driver": "raw", "node-name": drive, "read-only": read_only,
                   "file": {"driver": "file", "filename": stick.display().to_string()}}),
        )?;
        let device = json!({"driver": "usb-storage", "id": name, "drive": drive, "bus": "usb.0"});
        self.qmp.execute("device_add", device)?;
        Ok(name)
    }

    /// Pulls a stick out.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub fn pull(&mut self, name: &str) -> Result<(), Error> {
        self.qmp.execute("device_del", json!({"id": name}))?;
        // The file is let go when the guest has seen it.
        let drive = json!({"node-name": format!("{name}-drive")});
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(e) = self.qmp.execute("blockdev-del", drive.clone()) {
            if Instant::now() > until {
                return Err(e);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Presses the power button until the machine is off; one that is still starting may not listen yet.
    ///
    /// # Errors
    /// When it stays on.
    pub fn power_button(&mut self, timeout: Duration) -> Result<(), Error> {
        let mut pressed: Option<Instant> = None;
        self.wait("the end", timeout, |machine| {
            if machine.qemu.try_wait().map_err(system("QEMU"))?.is_some() {
                return Ok(true);
            }
            if pressed.is_none_or(|last| last.elapsed() > PRESS_EVERY) {
                // Between the look and the press it may have ended.
                let _ = machine.qmp.execute("system_powerdown", json!({}));
                pressed = Some(Instant::now());
            }
            Ok(false)
        })?;
        Ok(())
    }

    /// Waits until it has switched itself off.
    ///
    /// # Errors
    /// When it stays on.
    pub fn wait_off(mut self, timeout: Duration) -> Result<(), Error> {
        self.wait("the end", timeout, |machine| {
            Ok(machine.qemu.try_wait().map_err(system("QEMU"))?.is_some())
        })?;
        Ok(())
    }

    /// Cuts the power.
    pub fn cut_power(mut self) {
        self.off();
    }

    fn off(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        // A TPM's state is not lost with the power: it ends when its machine does.
        if let Some(tpm) = &mut self.tpm {
            let _ = tpm.wait();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.off();
    }
}

/// A network that leads nowhere but to `server`.
fn user_network(server: Option<&str>) -> String {
    let forward = server.map(|server| format!(",guestfwd=tcp:{}:443-cmd:{server}", super::server::ADDRESS));
    format!("user,id=net,restrict=on{}", forward.unwrap_or_default())
}

/// A TPM in software, that ends with the machine that it is connected to.
fn start_tpm(state: &Path, socket: &Path) -> Result<Child, Error> {
    let _ = fs::remove_file(socket);
    let mut swtpm = Command::new("setpriv");
    swtpm.args(["--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--terminate", "--tpmstate"]);
    swtpm.arg(format!("dir={}", state.display())).arg("--ctrl");
    swtpm.arg(format!("type=unixio,path={}", socket.display()));
    let tpm =
        swtpm.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(system("cannot start the TPM"))?;
    let until = Instant::now() + Duration::from_secs(10);
    while !socket.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(tpm)
}

/// What the firmware tells the image: more words for the kernel (systemd-stub(7)) and credentials
/// (systemd.system-credentials(7)).
fn smbios(options: &Options) -> Vec<String> {
    let mut words = options.kernel.clone();
    if options.console {
        words.extend(
            [
                "console=ttyS0",
                "systemd.journald.forward_to_console=1",
                "systemd.journald.max_level_console=info",
            ]
            .map(String::from),
        );
    }
    let mut strings = Vec::new();
    if !words.is_empty() {
        strings.push(format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={}", words.join(" ")));
    }
    for (name, content) in &options.credentials {
        let content = data_encoding::BASE64.encode(content.as_bytes());
        strings.push(format!("type=11,value=io.systemd.credential.binary:{name}={content}"));
    }
    strings
}
