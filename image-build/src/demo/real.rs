//! The demo on real devices: a booth that only films and a booth that only shows, over loopback.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cargo::Programs;
use crate::demo::status::Status;
use crate::demo::view::{View, watch};
use crate::rig::run::tail;
use crate::{folders, interrupt};

/// How much of a booth's log an error shows.
const LINES_IN_AN_ERROR: usize = 20;
/// How long a booth may take to end when asked to.
const PATIENCE: Duration = Duration::from_secs(3);

/// One half of the loop. Dropping it ends its booth.
struct Half {
    name: &'static str,
    port: u16,
    folder: PathBuf,
    booth: Option<Child>,
}

/// Runs both halves until Ctrl-C, or for `seconds`.
pub(crate) fn main(programs: &Programs, seconds: Option<u32>) -> Result<ExitCode> {
    let folder = folders::cache_of("real")?;
    let mut halves = [("camera", 4433), ("screen", 4434)].map(|(name, port)| Half {
        name,
        port,
        folder: folder.join(name),
        booth: None,
    });
    let fingerprints = [halves[0].fingerprint(programs)?, halves[1].fingerprint(programs)?];
    let ports = halves.each_ref().map(|half| half.port);
    for n in [0, 1] {
        halves[n].start(programs, ports[1 - n], &fingerprints[1 - n])?;
    }
    println!("This machine's camera on this machine's screen; logs are in {}", folder.display());
    let mut view = View::new("holobooth demo on real devices", ["films", "shows"]);
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let sockets = halves.each_ref().map(Half::socket);
    watch(
        &mut view,
        || {
            if interrupt::requested() || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(Some(0));
            }
            for half in &mut halves {
                half.must_run()?;
            }
            Ok(None)
        },
        || sockets.each_ref().map(|socket| ask(programs, socket)),
    )?;
    Ok(ExitCode::SUCCESS)
}

impl Half {
    fn socket(&self) -> PathBuf {
        self.folder.join("status.sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn fingerprint(&self, programs: &Programs) -> Result<String> {
        std::fs::create_dir_all(&self.folder)?;
        let out = Command::new(&programs.booth).arg("identity").arg("--data").arg(&self.folder).output()?;
        if !out.status.success() {
            bail!("`holobooth identity` failed: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    fn start(&mut self, programs: &Programs, peer_port: u16, fingerprint: &str) -> Result<()> {
        let config = self.folder.join("booth.toml");
        std::fs::write(&config, self.config(peer_port, fingerprint))?;
        let log = std::fs::File::create(self.log())?;
        let booth = Command::new(&programs.booth)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", programs.booth.display()))?;
        self.booth = Some(booth);
        Ok(())
    }

    fn config(&self, peer_port: u16, fingerprint: &str) -> String {
        let (camera, screen) = if self.name == "camera" { ("auto", "none") } else { ("none", "auto") };
        format!(
            "[booth]\nname = \"{}\"\ndata = {:?}\n\n[camera]\ndevice = \"{camera}\"\n\n\
             [link]\nlisten = \"127.0.0.1:{}\"\n\n[peer]\naddress = \"127.0.0.1:{peer_port}\"\n\
             fingerprint = \"{fingerprint}\"\n\n[screen]\ndevice = \"{screen}\"\n\n[health]\nsocket = {:?}\n",
            self.name,
            self.folder,
            self.port,
            self.socket(),
        )
    }

    fn must_run(&mut self) -> Result<()> {
        let Some(status) = self.booth.as_mut().map(Child::try_wait).transpose()?.flatten() else {
            return Ok(());
        };
        bail!(
            "the booth that has the {} ended ({status}); the end of its log:\n{}",
            self.name,
            tail(&self.log(), LINES_IN_AN_ERROR)
        )
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let Some(booth) = &mut self.booth else { return };
        if let Ok(pid) = i32::try_from(booth.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !matches!(booth.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = booth.kill();
        let _ = booth.wait();
    }
}

fn ask(programs: &Programs, socket: &Path) -> Option<Status> {
    let out =
        Command::new(&programs.booth).args(["status", "--json", "--socket"]).arg(socket).output().ok()?;
    Status::parse(&out.stdout)
}
