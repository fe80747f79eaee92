//! The command line of a booth.

mod exit;
mod rescue;
mod upkeep;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use holobooth::config::{Config, NOTICES, SAMPLE, STATUS_SOCKET};
use holobooth::pairing::{Code, Identity, RoomKey};
use holobooth::provision::{self, Places};
use holobooth::{booth, doctor, health, update};
use serde::Serialize;

use crate::exit::fail;

/// The firmware of a projection booth: camera to far screen, both ways, light to light.
///
/// Log lines go to standard error; RUST_LOG=debug says more. Exit status: 0 fine, 1 failed, 2 wrong usage or
/// configuration.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the booth until SIGTERM or Ctrl-C.
    Run {
        #[command(flatten)]
        origin: Origin,
    },
    /// Check a configuration, change nothing.
    Check {
        #[command(flatten)]
        origin: Origin,
    },
    /// Print a configuration file with every key, what it means, and its default or an example.
    Reference,
    /// Print this booth's fingerprint, for peer.fingerprint at the other booth; make the identity if there is
    /// none.
    Identity {
        #[command(flatten)]
        origin: Origin,
        /// The data folder itself.
        #[arg(long, conflicts_with_all = ["config", "image", "store"])]
        data: Option<PathBuf>,
    },
    /// The room key: which booths belong together.
    Room {
        #[command(subcommand)]
        command: Room,
    },
    /// Give the booth that shows this code the room that this booth belongs to; a new one when it belongs to
    /// none.
    Pair {
        /// The eight digits on the other booth's screen.
        code: String,
        /// The name on that screen: only that booth is asked, and not all that show a code.
        #[arg(long)]
        booth: Option<String>,
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
    },
    /// Switch the booth's microphone off: no sound leaves it until `unmute`, and the screens at both ends show so.
    Mute {
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
    },
    /// Switch the booth's microphone on.
    Unmute {
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
    },
    /// Let another booth have a name that a booth had: after that booth got a new key.
    Forget {
        /// The name, as the booth's card or `holobooth status` shows it.
        name: String,
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
    },
    /// Show the starting card until the booth itself is started; a unit of the appliance calls this as soon
    /// as there is a screen.
    #[command(hide = true)]
    Card {
        /// The image's configuration: what came by stick is not there yet.
        #[arg(long, default_value = provision::IMAGE)]
        image: PathBuf,
        /// What the booth makes when it is started.
        #[arg(long, default_value = "/run/holobooth")]
        until: PathBuf,
    },
    /// Wait until the running booth is well: exit status 0 when it is, 1 when it does not get well.
    #[command(hide = true)]
    Healthy {
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
        /// How long it may take, in seconds.
        #[arg(long, default_value_t = 180)]
        timeout_s: u64,
    },
    /// Count a start without the data partition, and recreate it at the third; the appliance does it instead
    /// of an emergency shell.
    #[command(hide = true)]
    Rescue {
        /// Where they are counted.
        #[arg(long, default_value = rescue::COUNT)]
        count: PathBuf,
    },
    /// Updates of the image; units of the appliance call these.
    #[command(hide = true)]
    Update {
        #[command(subcommand)]
        command: upkeep::Update,
        #[command(flatten)]
        origin: Origin,
    },
    /// End the running booth in good order, so that whoever runs it starts it again with the configuration as
    /// it is now.
    Reload {
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
    },
    /// Look at everything under the booth, from the kernel to the other booth: what is wrong, and what to do.
    /// Takes less than 10 s.
    ///
    /// `holobooth doctor sound` checks the sound instead: for ten seconds the booth is silent, a rising tone comes out
    /// of the loudspeaker, and the microphone listens. It tells the delay, how loud the echo is beside a voice (SER),
    /// clipping, noise and reverberation. A booth that runs is asked to do it, and shows both levels and the result.
    Doctor {
        /// Check this instead, by trying it.
        #[arg(value_enum)]
        what: Option<Trial>,
        /// One JSON object instead of a line a layer.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        origin: Origin,
    },
    /// Ask the running booth how it is, and where the milliseconds go.
    Status {
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// The socket on which the booth answers.
        #[arg(long, default_value = STATUS_SOCKET)]
        socket: PathBuf,
    },
    /// Do what a plugged-in USB stick asks for, and answer on it and on the screen. Needs the right to mount.
    Stick {
        /// The block device with its file system, such as /dev/sda1.
        device: PathBuf,
        #[command(flatten)]
        system: System,
    },
    /// Put the configuration before the last stick's in force again; once more, and the last stick's is.
    Revert {
        #[command(flatten)]
        system: System,
    },
    /// Write the network's configuration, for systemd-networkd, iwd and systemd-timesyncd.
    Network {
        #[command(flatten)]
        system: System,
    },
    /// Watch over a network that a stick has changed: keep it once the booth reaches again what it reached
    /// before, else take it back.
    Confirm {
        #[command(flatten)]
        system: System,
        /// Seconds that the booth has for it.
        #[arg(long, default_value_t = provision::TIMEOUT.as_secs())]
        timeout: u64,
    },
    /// Write the manual pages, one a command, into a folder.
    #[command(hide = true)]
    Man {
        /// The folder, which must be there; `man -M` wants it to be called man1.
        folder: PathBuf,
    },
    /// Understands a stick's file, in the sandbox that `stick` makes.
    #[command(name = provision::EVALUATE, hide = true)]
    Evaluate,
}

/// What the doctor tries out when asked.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Trial {
    /// Loudspeaker, room and microphone.
    Sound,
}

/// Where the configuration is: what came by stick over what came with the image, or one file alone.
#[derive(clap::Args)]
struct Origin {
    /// This file alone (TOML).
    #[arg(long, conflicts_with_all = ["image", "store"])]
    config: Option<PathBuf>,
    /// The image's file, of which sections count that no stick has brought.
    #[arg(long, default_value = provision::IMAGE)]
    image: PathBuf,
    /// The folder of what came by stick.
    #[arg(long, default_value = provision::STORE)]
    store: PathBuf,
}

impl Origin {
    fn load(&self) -> Result<Config, ExitCode> {
        match &self.config {
            Some(path) => Config::load(path).map_err(|e| fail(2, &e)),
            None => self.places().in_force().map_err(|e| fail(2, &e)),
        }
    }

    /// As [`Origin::load`], for who goes on without.
    fn read(&self) -> Result<Config, String> {
        match &self.config {
            Some(path) => Config::load(path).map_err(|e| e.to_string()),
            None => self.places().in_force().map_err(|e| e.to_string()),
        }
    }

    fn places(&self) -> Places {
        Places { image: self.image.clone(), store: self.store.clone(), ..Places::default() }
    }

    /// The files that may hold secrets.
    fn files(&self) -> Vec<PathBuf> {
        match &self.config {
            Some(path) => vec![path.clone()],
            None => vec![self.image.clone(), self.store.join("holobooth.toml")],
        }
    }

    fn describe(&self) -> String {
        match &self.config {
            Some(path) => path.display().to_string(),
            None => format!("{} over {}", self.store.join("holobooth.toml").display(), self.image.display()),
        }
    }
}

/// Where things are on this system; elsewhere in tests.
#[derive(clap::Args)]
struct System {
    /// The image's configuration.
    #[arg(long, default_value = provision::IMAGE)]
    image: PathBuf,
    /// The folder of what came by stick.
    #[arg(long, default_value = provision::STORE)]
    store: PathBuf,
    /// Where notices for the screen are left.
    #[arg(long, default_value = NOTICES)]
    notices: PathBuf,
    /// The root below which the network's files are written; unless it is `/`, no service is notified.
    #[arg(long, default_value = "/", value_name = "DIR")]
    into: PathBuf,
}

impl System {
    fn places(self) -> Places {
        Places { image: self.image, store: self.store, notices: self.notices, root: self.into }
    }
}

#[derive(Subcommand)]
enum Room {
    /// Make a room key and print it, as text and as a QR code; nothing is kept. Whoever has it belongs to the
    /// room.
    New {
        /// One JSON object instead.
        #[arg(long)]
        json: bool,
    },
    /// Make a new room key and print the configuration with it in the place of the old, for the sticks of all
    /// booths that stay. Who keeps the old key is no member any more.
    Rotate {
        /// The configuration to start from; it is not changed.
        #[arg(long, default_value = provision::IMAGE)]
        config: PathBuf,
    },
    /// Leave the room that came by code: the booth shows a code again when it is started next.
    Leave {
        #[command(flatten)]
        origin: Origin,
    },
}

/// A QR code (ISO/IEC 18004) of `text` in half-block characters, dark on light.
fn qr(text: &str) -> Result<String, qrcode::types::QrError> {
    use qrcode::render::unicode::Dense1x2;
    // A terminal is dark: what is to be light is drawn.
    Ok(qrcode::QrCode::new(text)?
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

fn new_key() -> Result<RoomKey, ExitCode> {
    RoomKey::random().map_err(|_| {
        eprintln!(
            "holobooth: the system has no randomness to give; try again when it has been up for longer"
        );
        ExitCode::from(1)
    })
}

fn room(command: &Room) -> Result<(), ExitCode> {
    let json = match command {
        Room::New { json } => json,
        Room::Rotate { config } => {
            let text = Config::with_room(config, &new_key()?).map_err(|e| fail(2, &e))?;
            print!("{text}");
            return Ok(());
        }
        Room::Leave { origin } => {
            let left = RoomKey::drop_kept(&origin.load()?.booth.data).map_err(|e| fail(1, &e))?;
            println!("{}", if left { "left; start the booth again" } else { "no room came by code" });
            return Ok(());
        }
    };
    let key = new_key()?;
    let (text, id) = (key.text(), key.id());
    if *json {
        println!("{}", serde_json::json!({ "key": text, "id": id }));
    } else {
        println!("{}", qr(&text).map_err(|e| fail(1, &e))?);
        println!(
            "# Room {id}: the same lines in the configuration of every booth of this room, and in nobody \
             else's hands."
        );
        println!("[room]\nkey = \"{text}\"");
    }
    Ok(())
}

fn no_answer(socket: &Path, error: &std::io::Error) -> ExitCode {
    eprintln!("holobooth: no booth answers on {}: {error}; is `holobooth run` running?", socket.display());
    ExitCode::from(1)
}

/// Has the running booth do something, and prints the result.
fn order(socket: &Path, line: &str) -> Result<(), ExitCode> {
    match health::order(socket, line).map_err(|e| no_answer(socket, &e))? {
        Ok(done) => {
            println!("{done}");
            Ok(())
        }
        Err(why) => {
            eprintln!("holobooth: {why}");
            Err(ExitCode::from(1))
        }
    }
}

/// Whether those who are neither the file's owner nor of its group may read it.
fn others_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn run(cli: Cli) -> Result<(), ExitCode> {
    match cli.command {
        Command::Run { origin } => {
            let config = origin.load()?;
            if config.room.as_ref().is_some_and(|room| room.key.is_some()) {
                for path in origin.files().iter().filter(|path| others_read(path)) {
                    log::warn!(
                        "config: {} may hold a room key and can be read by everybody here; chmod 0640 it, \
                         and belong to its group",
                        path.display()
                    );
                }
            }
            let stop = Arc::new(AtomicBool::new(false));
            for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
                signal_hook::flag::register(signal, stop.clone()).map_err(|e| fail(1, &e))?;
            }
            if let Some(version) = update::running() {
                log::info!("image {version} runs");
            }
            booth::run(config, stop).map_err(|e| fail(1, &e))
        }
        Command::Check { origin } => {
            origin.load()?;
            println!("{} is fine", origin.describe());
            Ok(())
        }
        Command::Reference => {
            print!("{SAMPLE}");
            Ok(())
        }
        Command::Identity { origin, data } => {
            let data = match data {
                Some(data) => data,
                None => origin.load()?.booth.data,
            };
            let identity = Identity::load_or_make(&data).map_err(|e| fail(1, &e))?;
            println!("{}", identity.fingerprint());
            Ok(())
        }
        Command::Room { command } => room(&command),
        Command::Pair { code, booth, socket } => {
            let code = Code::parse(&code).map_err(|e| fail(2, &e))?.digits();
            order(&socket, format!("pair {code} {}", booth.unwrap_or_default()).trim_end())
        }
        Command::Doctor { what: None, json, origin } => {
            let findings = doctor::examine(&origin.describe(), origin.read(), booth::probe_codecs);
            findings_of(&findings, findings.wrong, json)
        }
        Command::Doctor { what: Some(Trial::Sound), json, origin } => {
            let findings = doctor::check_sound(&origin.describe(), origin.read());
            findings_of(&findings, findings.report.wrong, json)
        }
        Command::Reload { socket } => order(&socket, "reload"),
        Command::Mute { socket } => order(&socket, "mute"),
        Command::Unmute { socket } => order(&socket, "unmute"),
        Command::Forget { name, socket } => order(&socket, &format!("forget {name}")),
        Command::Card { image, until } => {
            let config = Config::load(&image).unwrap_or_default();
            upkeep::card(&config.screen.request(), &until)
        }
        Command::Healthy { socket, timeout_s } => upkeep::healthy(&socket, Duration::from_secs(timeout_s)),
        Command::Rescue { count } => rescue::rescue(&count),
        Command::Update { command, origin } => upkeep::update(&command, || origin.load()),
        Command::Status { json, socket } => {
            let status = health::ask(&socket).map_err(|e| no_answer(&socket, &e))?;
            if json {
                println!("{}", serde_json::to_string(&status).map_err(|e| fail(1, &e))?);
            } else {
                print!("{status}");
            }
            Ok(())
        }
        Command::Stick { device, system } => {
            let answer = provision::stick(&system.places(), &provision::Sandbox::default(), &device);
            say(&answer.map_err(|e| fail(1, &e))?)
        }
        Command::Revert { system } => say(&provision::revert(&system.places()).map_err(|e| fail(1, &e))?),
        Command::Network { system } => {
            let places = system.places();
            let files = provision::render(&places.in_force().map_err(|e| fail(2, &e))?);
            provision::write(&places.root, &files).map_err(|e| fail(1, &e))?;
            say(&files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join("\n"))
        }
        Command::Confirm { system, timeout } => {
            let timeout = std::time::Duration::from_secs(timeout);
            say(&provision::confirm(&system.places(), timeout).map_err(|e| fail(1, &e))?)
        }
        Command::Man { folder } => clap_mangen::generate_to(Cli::command(), folder).map_err(|e| fail(1, &e)),
        Command::Evaluate => provision::within().map_err(|e| fail(1, &e)),
    }
}

/// Prints what the doctor has found, of which so much is wrong.
fn findings_of<T: Display + Serialize>(findings: &T, wrong: usize, json: bool) -> Result<(), ExitCode> {
    if json {
        println!("{}", serde_json::to_string(findings).map_err(|e| fail(1, &e))?);
    } else {
        print!("{findings}");
    }
    if wrong == 0 { Ok(()) } else { Err(ExitCode::from(1)) }
}

fn say(line: &str) -> Result<(), ExitCode> {
    println!("{}", line.trim_end());
    Ok(())
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual_page_that_says_what_its_help_says() {
        let folder = std::env::temp_dir().join(format!("holobooth-man-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        clap_mangen::generate_to(Cli::command(), &folder).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let main = page("holobooth.1");
        let commands: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        let (hidden, shown): (Vec<_>, Vec<_>) = commands.iter().partition(|command| command.is_hide_set());
        for command in &shown {
            let name = format!("holobooth-{}.1", command.get_name());
            let text = page(&name).replace("\\-", "-").replace("\\*(Aq", "'");
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && text.contains(&about), "{name} lacks `{about}`: {text}");
            assert!(main.contains(&name.replace('-', "\\-").replace(".1", "(1)")), "{name}: {main}");
        }
        for command in &hidden {
            assert_eq!(page(&format!("holobooth-{}.1", command.get_name())), "", "units call it, not people");
        }
        assert!(shown.len() > 10 && hidden.len() > 3);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_qr_code_says_what_the_text_says() {
        let text = RoomKey::of([7; 32]).text();
        let drawn: Vec<Vec<char>> = qr(&text).unwrap().lines().map(|line| line.chars().collect()).collect();
        // Each character is two modules, one above the other, and what is drawn is light; a module is three
        // pixels here.
        let dark = |x: usize, y: usize| match drawn[y / 6][x / 3] {
            '█' => false,
            '▀' => y / 3 % 2 == 1,
            '▄' => (y / 3).is_multiple_of(2),
            _ => true,
        };
        let (width, height) = (drawn[0].len() * 3, (drawn.len() - 1) * 6);
        let mut picture = rqrr::PreparedImage::prepare_from_bitmap(width, height, dark);
        let [grid] = &picture.detect_grids()[..] else { panic!("one code") };
        assert_eq!(grid.decode().unwrap().1, text);
    }
}
