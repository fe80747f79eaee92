//! Booths under test: the binary `holobooth`, its configuration, and its status.

mod status;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use holobooth::pairing::RoomKey;
use serde_json::Value;

use crate::child::{Running, Side};
use crate::clock::{now_us, wait_until};
use crate::room::Cable;

pub use status::{MISSING, Status};

/// A booth answers at once, or not at all.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Why a booth could not be driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The binary is missing.
    #[error("booth: no binary at {0}: build it, or name it in HOLOBOOTH_BIN")]
    NoBinary(PathBuf),
    /// The system refused a file or a process.
    #[error("booth: {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The binary did not answer as agreed.
    #[error("booth: {command} failed ({status}): {said}")]
    Command {
        /// The subcommand.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed.
        said: String,
    },
    /// A booth did not get where it should.
    #[error("booth {booth}: not {what} within {within_ms} ms; {state}")]
    Late {
        /// Which booth.
        booth: &'static str,
        /// What was awaited.
        what: String,
        /// How long, in milliseconds.
        within_ms: i64,
        /// Its status and the end of its log.
        state: String,
    },
}

/// The binary under test: HOLOBOOTH_BIN, or the one beside this program.
///
/// # Errors
/// When it is not there.
pub fn binary() -> Result<PathBuf, Error> {
    let path = match std::env::var_os("HOLOBOOTH_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe().map(|own| own.with_file_name("holobooth")).unwrap_or_default(),
    };
    if path.is_file() { Ok(path) } else { Err(Error::NoBinary(path)) }
}

/// Runs the binary to its end.
///
/// # Errors
/// When it is missing or cannot be started; a bad exit status is no error.
pub fn run_once(arguments: &[&str]) -> Result<Output, Error> {
    run_program(&binary()?, arguments)
}

fn run_program(binary: &Path, arguments: &[&str]) -> Result<Output, Error> {
    let output = Command::new(binary).args(arguments).output();
    output.map_err(|source| Error::System { what: binary.display().to_string(), source })
}

/// What a booth is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Uses its camera.
    pub camera: bool,
    /// Uses its screen.
    pub screen: bool,
    /// Picture and screen mode, in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub fps: u32,
    /// The camera's pixel format, or `auto`.
    pub format: &'static str,
    /// The highest rate of the video, in kbit/s.
    pub kbps: u32,
}

impl Plan {
    /// Camera and screen at so many pixels and 30 fps.
    pub const fn both_ways(size: (u32, u32)) -> Self {
        Self { camera: true, screen: true, size, fps: 30, format: "auto", kbps: 8_000 }
    }

    /// Only sends.
    pub fn sends(size: (u32, u32)) -> Self {
        Self { screen: false, ..Self::both_ways(size) }
    }

    /// Only shows.
    pub fn shows(size: (u32, u32)) -> Self {
        Self { camera: false, ..Self::both_ways(size) }
    }
}

/// What a booth hears with and plays on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// Its microphone, or `none`.
    pub microphone: String,
    /// Its loudspeaker, or `none`.
    pub loudspeaker: String,
    /// Takes out what the microphone hears of the loudspeaker.
    pub echo_canceller: bool,
}

impl Sound {
    /// The cables of this side's card that a [`Room`](crate::room::Room) is at the other ends of.
    pub fn of(side: Side) -> Self {
        Self {
            microphone: Cable::microphone(side).hearing_end(),
            loudspeaker: Cable::loudspeaker(side).playing_end(),
            echo_canceller: true,
        }
    }

    /// Deaf and dumb.
    pub fn none() -> Self {
        Self { microphone: "none".to_owned(), loudspeaker: "none".to_owned(), echo_canceller: true }
    }
}

/// A booth: its folder, and the process while one runs.
pub struct Booth {
    binary: PathBuf,
    side: Side,
    /// Its network namespace, where that is not its side's.
    namespace: Option<&'static str>,
    /// Its camera, where that is not its side's.
    camera: Option<&'static str>,
    dir: PathBuf,
    fingerprint: String,
    name: String,
    port: u16,
    room: Option<RoomKey>,
    /// The code that another booth shows.
    code: Option<String>,
    calls: bool,
    /// The relay's address and fingerprint, where it meets its peer when it must.
    relay: Option<(String, String)>,
    /// Its service manager's socket, and for how many µs that does without a sign of life.
    manager: Option<(PathBuf, i64)>,
    /// Its file is the image's, and what comes by stick counts over it.
    takes_sticks: bool,
    /// None with an earlier build, which has no sound.
    sound: Option<Sound>,
    process: Option<Running>,
}

impl Booth {
    /// Makes the folder and the identity of the booth at this side, under `dir`.
    ///
    /// # Errors
    /// When the folder cannot be made or the binary gives no fingerprint.
    pub fn new(side: Side, dir: &Path) -> Result<Self, Error> {
        Self::of(binary()?, side, dir)
    }

    /// The same with another binary than the one under test.
    ///
    /// # Errors
    /// As [`Booth::new`].
    pub fn of(binary: PathBuf, side: Side, dir: &Path) -> Result<Self, Error> {
        let dir = dir.join(side.name());
        fs::create_dir_all(&dir)
            .map_err(|source| Error::System { what: dir.display().to_string(), source })?;
        let _ = fs::remove_file(dir.join("log"));
        let fingerprint = identity(&binary, &dir.join("data"))?;
        let name = side.name().to_uppercase();
        let has_sound = run_program(&binary, &["mute", "--help"])?.status.success();
        let sound = has_sound.then(Sound::none);
        Ok(Self {
            binary,
            side,
            namespace: None,
            camera: None,
            dir,
            fingerprint,
            name,
            port: PORT,
            room: Some(room()),
            code: None,
            calls: false,
            relay: None,
            manager: None,
            takes_sticks: false,
            sound,
            process: None,
        })
    }

    /// Which side it stands on.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Its certificate's fingerprint: SHA-256 in lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// From its next start on, it knows a relay, which shows a certificate with this fingerprint.
    pub fn meet_at(&mut self, address: &str, fingerprint: &str) {
        self.relay = Some((address.to_owned(), fingerprint.to_owned()));
    }

    /// From its next start on, it belongs to this room, or to none.
    pub fn belong_to(&mut self, room: Option<RoomKey>) {
        self.room = room;
    }

    /// From its next start on, it calls itself so.
    pub fn call_itself(&mut self, name: &str) {
        self.name = name.to_owned();
    }

    /// From its next start on, its configuration holds the code that another booth shows.
    pub fn enter(&mut self, code: &str) {
        self.code = Some(code.to_owned());
    }

    /// From its next start on, it knows where the booth at the other side is, if not who.
    pub fn call_the_other_side(&mut self) {
        self.calls = true;
    }

    /// From its next start on, a service manager listens at `socket`, and takes it for dead when it says
    /// nothing for `limit_ms`.
    pub fn answer_to(&mut self, socket: &Path, limit_ms: i64) {
        self.manager = Some((socket.to_owned(), limit_ms * 1000));
    }

    /// From its next start on, it stands in this network namespace and looks through this camera.
    pub fn stand_in(&mut self, namespace: &'static str, camera: &'static str) {
        (self.namespace, self.camera) = (Some(namespace), Some(camera));
    }

    /// From its next start on, it listens on another port, for it shares its side with another booth.
    pub fn listen_on(&mut self, port: u16) {
        self.port = port;
    }

    /// From its next start on, its configuration is what came with the image, and what comes by stick, in the
    /// folder `store`, counts over it.
    pub fn take_sticks(&mut self) {
        self.takes_sticks = true;
    }

    /// From its next start on, it has sound.
    pub fn use_sound(&mut self, sound: Sound) {
        self.sound = Some(sound);
    }

    /// Keeps one of its threads from running for so long.
    ///
    /// # Errors
    /// When it does not run, has no such thread, or the system does not let it be held.
    pub fn hold_thread(&self, name: &str, length: Duration) -> io::Result<()> {
        let process = self.process.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        process.hold_thread(name, length)
    }

    /// The folder of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it with this plan. `peer` is the fingerprint of the booth at the other side; without it, the
    /// booth is told of nobody.
    ///
    /// # Errors
    /// When the configuration cannot be written or the process not be started.
    pub fn start(&mut self, plan: Plan, peer: Option<&str>) -> Result<(), Error> {
        self.process = None;
        let path = self.config_path();
        let mut config = self.config(plan);
        if let Some(Sound { microphone, loudspeaker, echo_canceller }) = &self.sound {
            config.push_str(&format!(
                "\n[sound]\nmicrophone = \"{microphone}\"\nloudspeaker = \"{loudspeaker}\"\n\
                 echo_canceller = {echo_canceller}\n"
            ));
        }
        if let Some(room) = &self.room {
            config.push_str(&format!("\n[room]\nkey = \"{}\"\n", room.text()));
        }
        if let Some(code) = &self.code {
            config.push_str(&format!("\n[room]\ncode = \"{code}\"\n"));
        }
        let address = self.side.other().address();
        if self.calls {
            config.push_str(&format!("\n[peer]\naddress = \"{address}:{PORT}\"\n"));
        } else if let Some(peer) = peer {
            config.push_str(&format!("\n[peer]\naddress = \"{address}:{PORT}\"\nfingerprint = \"{peer}\"\n"));
        }
        if let Some((address, fingerprint)) = &self.relay {
            config
                .push_str(&format!("\n[relay]\naddress = \"{address}\"\nfingerprint = \"{fingerprint}\"\n"));
        }
        fs::write(&path, config)
            .map_err(|source| Error::System { what: path.display().to_string(), source })?;
        self.restart()
    }

    /// Starts it again as it was.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn restart(&mut self) -> Result<(), Error> {
        let binary = &self.binary;
        let config = self.config_path().display().to_string();
        let store = self.dir.join("store").display().to_string();
        let words: &[&str] = if self.takes_sticks {
            &["run", "--image", &config, "--store", &store]
        } else {
            &["run", "--config", &config]
        };
        let arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let log = self.dir.join("log");
        let running = match &self.manager {
            None => {
                let namespace = self.namespace.unwrap_or(self.side.name());
                Running::start_in(namespace, binary, &arguments, &log)
            }
            Some((socket, limit_us)) => {
                let socket = format!("NOTIFY_SOCKET={}", socket.display());
                let set = [socket, format!("WATCHDOG_USEC={limit_us}"), binary.display().to_string()];
                Running::start(self.side, Path::new("env"), &[&set[..], &arguments[..]].concat(), &log)
            }
        };
        self.process =
            Some(running.map_err(|source| Error::System { what: binary.display().to_string(), source })?);
        Ok(())
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Asks it to end; how it ended, or `None` when it did not run or had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.process.take().and_then(|mut process| process.stop())
    }

    /// How its process ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Running::ended)
    }

    /// The processor time that it has taken so far, in µs, its children's included; `None` when it does not
    /// run.
    pub fn processor_us(&self) -> Option<i64> {
        self.process.as_ref().and_then(Running::processor_us)
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Running::printed).unwrap_or_default()
    }

    /// Runs `holobooth COMMAND … --socket` of this booth to its end: whether it went well, and what it said.
    ///
    /// # Errors
    /// As [`run_once`].
    pub fn command(&self, arguments: &[&str]) -> Result<(bool, String), Error> {
        let socket = self.socket().display().to_string();
        let output = run_program(&self.binary, &[arguments, &["--socket", &socket]].concat())?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
    }

    /// What the booth answers on its socket; an empty status when it does not answer.
    ///
    /// Without the command, whose start would take the processor from the booths.
    pub fn status(&self) -> Status {
        let mut text = String::new();
        let asked = UnixStream::connect(self.socket()).and_then(|mut socket| {
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.write_all(b"status\n")?;
            socket.read_to_string(&mut text)
        });
        Status(asked.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or(Value::Null))
    }

    /// What `holobooth status --json` prints; an empty status when it prints none.
    pub fn status_command(&self) -> Status {
        let socket = self.socket().display().to_string();
        let output = run_program(&self.binary, &["status", "--json", "--socket", &socket]);
        let parsed = output.ok().and_then(|output| serde_json::from_slice(&output.stdout).ok());
        Status(parsed.unwrap_or(Value::Null))
    }

    /// Its configuration, but for whom it knows.
    fn config(&self, plan: Plan) -> String {
        let Self { side, dir, name, port, .. } = self;
        let dir = dir.display();
        let Plan { camera, screen, size: (width, height), fps, format, kbps } = plan;
        let camera = if camera { self.camera.unwrap_or(side.camera()) } else { "none" };
        let screen = if screen { side.screen() } else { "none" };
        format!(
            r#"[booth]
name = "{name}"
data = "{dir}/data"

[camera]
device = "{camera}"
width = {width}
height = {height}
fps = {fps}
format = "{format}"

[codec]
bitrate_kbps = {kbps}

[link]
listen = "0.0.0.0:{port}"

[screen]
device = "{screen}"
mode = "{width}x{height}"

[health]
socket = "{dir}/status.sock"
notices = "{dir}/notices"
"#
        )
    }

    /// The configuration that it was started with.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("holobooth.toml")
    }

    /// Where its notices are left.
    pub fn notices(&self) -> PathBuf {
        self.dir.join("notices")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("status.sock")
    }

    /// Waits until its status is as `ready` wants it; the milliseconds that took.
    ///
    /// # Errors
    /// [`Error::Late`] when that does not come about within `within_ms`.
    pub fn wait(
        &mut self,
        what: &str,
        within_ms: i64,
        mut ready: impl FnMut(&Status) -> bool,
    ) -> Result<i64, Error> {
        let took_ms = wait_until(within_ms, 100, || ready(&self.status()));
        took_ms.ok_or_else(|| Error::Late {
            booth: self.side.name(),
            what: what.to_owned(),
            within_ms,
            state: format!("its status is {}; its log ends with\n{}", self.status().0, tail(&self.log(), 25)),
        })
    }
}

/// Both booths, each pinned to the other.
pub struct Pair {
    /// Booth A.
    pub a: Booth,
    /// Booth B.
    pub b: Booth,
}

impl Pair {
    /// Makes both under `dir`, neither running.
    ///
    /// # Errors
    /// As [`Booth::new`].
    pub fn new(dir: &Path) -> Result<Self, Error> {
        Self::of(&binary()?, dir)
    }

    /// The same with another binary than the one under test.
    ///
    /// # Errors
    /// As [`Booth::new`].
    pub fn of(binary: &Path, dir: &Path) -> Result<Self, Error> {
        let booth = |side| Booth::of(binary.to_owned(), side, dir);
        Ok(Self { a: booth(Side::A)?, b: booth(Side::B)? })
    }

    /// Starts both, each told of the other, and waits until what is sent is shown.
    ///
    /// # Errors
    /// As [`Booth::start`], and [`Error::Late`] when no picture is shown in time.
    pub fn start(&mut self, a: Plan, b: Plan) -> Result<(), Error> {
        let (a_fingerprint, b_fingerprint) = (self.a.fingerprint.clone(), self.b.fingerprint.clone());
        self.a.start(a, Some(&b_fingerprint))?;
        self.b.start(b, Some(&a_fingerprint))?;
        let end_us = now_us() + FIRST_PICTURE_MS * 1000;
        for (booth, shows) in [(&mut self.a, a.screen && b.camera), (&mut self.b, b.screen && a.camera)] {
            if shows {
                let left_ms = (end_us - now_us()).max(0) / 1000;
                booth.wait("showing a picture", left_ms, Status::shows_picture)?;
            }
        }
        Ok(())
    }

    /// Whether either process has ended, and how.
    pub fn ended(&mut self) -> Option<String> {
        [&mut self.a, &mut self.b].into_iter().find_map(|booth| {
            let status = booth.ended()?;
            Some(format!("booth {}: {status}", booth.side.name()))
        })
    }
}

const FIRST_PICTURE_MS: i64 = 15_000;

fn identity(binary: &Path, data: &Path) -> Result<String, Error> {
    let output = run_program(binary, &["identity", "--data", &data.display().to_string()])?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_fingerprint = printed.len() == 64 && printed.bytes().all(|byte| byte.is_ascii_hexdigit());
    if output.status.success() && is_fingerprint {
        return Ok(printed);
    }
    let said = format!("{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    Err(Error::Command { command: "identity".to_owned(), status: output.status.to_string(), said })
}

/// The room that booths belong to until they are told otherwise.
pub fn room() -> RoomKey {
    RoomKey::of([7; 32])
}

/// The UDP port that booths listen on.
pub const PORT: u16 = 4433;

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
