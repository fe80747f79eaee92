//! Commands that units of the appliance run around the booth: is it well, and the result of an update.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Subcommand;
use holobooth::config::{Config, NOTICES};
use holobooth::health::{self, Notice};
use holobooth::media::heartbeat::Heartbeat;
use holobooth::media::mailbox::Mailbox;
use holobooth::screen::{self, Handles, Marks};
use holobooth::units::ScreenRequest;
use holobooth::update::{self, Folders, Outcome, Record};

use crate::exit::fail;

/// How long the booth must answer without having been restarted.
const STEADY: Duration = Duration::from_secs(10);
/// From one question to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// How soon the screen is given to the booth.
const HAND_OVER: Duration = Duration::from_millis(20);
/// Seconds that a person gets to read the result of an update.
const SHOWN_S: u32 = 60;

/// `holobooth update`
#[derive(Subcommand)]
pub(crate) enum Update {
    /// Download a newer version from the server of the configuration, if there is one.
    Fetch,
    /// Say to systemd-sysupdate where the bundle is that waits; exit status 1 when none does.
    Prepare,
    /// Show the result of the installation, and start what was installed.
    Finish,
    /// Tell whether the last update runs or went back.
    Settle,
}

/// Waits until the booth is well: it answers, and goes on answering as the same process.
pub(crate) fn healthy(socket: &Path, timeout: Duration) -> Result<(), ExitCode> {
    let until = Instant::now() + timeout;
    let mut steady_since: Option<(Instant, u64)> = None;
    loop {
        match health::ask(socket) {
            Ok(status) => {
                let same = steady_since.filter(|(_, uptime)| status.uptime_ms >= *uptime);
                let (since, _) = same.unwrap_or((Instant::now(), status.uptime_ms));
                if since.elapsed() >= STEADY {
                    println!("the booth is well");
                    return Ok(());
                }
                steady_since = Some((since, status.uptime_ms));
            }
            Err(e) if Instant::now() > until => {
                eprintln!(
                    "holobooth: the booth is not well: it does not answer on {}: {e}",
                    socket.display()
                );
                return Err(ExitCode::from(1));
            }
            Err(_) => steady_since = None,
        }
        if Instant::now() > until {
            eprintln!("holobooth: the booth is not well: it starts again and again; its journal says why");
            return Err(ExitCode::from(1));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Shows the starting card until `until` exists: the booth's own folder, made when it is started.
pub(crate) fn card(request: &ScreenRequest, until: &Path) -> Result<(), ExitCode> {
    let mailbox = |e: nix::Error| fail(1, &std::io::Error::from(e));
    let (pictures, cards) =
        (Mailbox::latest("nothing").map_err(mailbox)?, Mailbox::latest("nothing").map_err(mailbox)?);
    let (heartbeat, stop) = (Heartbeat::new("card"), AtomicBool::new(until.exists()));
    let marks = Marks::default();
    let handles =
        Handles { pictures: &pictures, cards: &cards, marks: &marks, heartbeat: &heartbeat, stop: &stop };
    std::thread::scope(|scope| {
        scope.spawn(|| screen::run(request, handles, |_| {}));
        while !until.exists() {
            std::thread::sleep(HAND_OVER);
        }
        stop.store(true, Relaxed);
    });
    Ok(())
}

/// Carries one of them out.
pub(crate) fn update(
    command: &Update,
    config: impl FnOnce() -> Result<Config, ExitCode>,
) -> Result<(), ExitCode> {
    let folders = Folders::default();
    match command {
        Update::Fetch => {
            let Some(update) = config()?.update else { return Ok(()) };
            match folders.fetch(update.url.get_ref()).map_err(|e| fail(1, &e))? {
                Some(version) => println!("version {version} waits to be installed"),
                None => println!("nothing newer"),
            }
            Ok(())
        }
        Update::Prepare => {
            // systemd.service(5) takes 255 for a failure, and anything below for a condition that does not
            // hold.
            if folders.prepare().map_err(|e| fail(255, &e))? { Ok(()) } else { Err(ExitCode::from(1)) }
        }
        Update::Finish => finish(&folders),
        Update::Settle => settle(&folders),
    }
}

/// After systemd-sysupdate; systemd.exec(5) says in SERVICE_RESULT how it went.
fn finish(folders: &Folders) -> Result<(), ExitCode> {
    let result = std::env::var("SERVICE_RESULT").unwrap_or_default();
    if result == "exec-condition" {
        return Ok(());
    }
    let from_stick = folders.done(result == "success");
    let from = update::running().unwrap_or_default();
    let installed = folders.untried().filter(|to| *to != from);
    let (title, line) = match (&installed, result.as_str()) {
        (Some(to), "success") => ("Update installed", format!("version {to} starts now")),
        (None, "success") => ("No newer version", format!("version {from} runs")),
        _ => (
            "Update refused",
            "its signature or its files are not right, or it was cut off; copy it to the stick again"
                .to_owned(),
        ),
    };
    let trouble = result != "success";
    // A server without news at night is no news for anybody.
    if from_stick || installed.is_some() {
        show(title, line, trouble);
    }
    let (Some(to), false) = (installed, trouble) else { return Ok(()) };
    let record = Record { from, to, outcome: Outcome::Installed };
    record.keep(&folders.data).map_err(|e| fail(1, &e))?;
    let rebooted = Command::new("systemctl").args(["--no-block", "reboot"]).status();
    rebooted.map(|_| ()).map_err(|e| fail(1, &e))
}

fn settle(folders: &Folders) -> Result<(), ExitCode> {
    let Some(record) = Record::read(&folders.data) else { return Ok(()) };
    let Some(settled) = record.settled(&update::running().unwrap_or_default()) else { return Ok(()) };
    settled.keep(&folders.data).map_err(|e| fail(1, &e))?;
    let back = settled.outcome == Outcome::WentBack;
    show(if back { "The update went back" } else { "Update done" }, settled.line(), back);
    Ok(())
}

fn show(title: &str, line: String, trouble: bool) {
    println!("{title}: {line}");
    let notice = Notice { title: title.to_owned(), lines: vec![line], trouble, shown_s: SHOWN_S };
    if let Err(e) = notice.leave(Path::new(NOTICES)) {
        log::warn!("update: nothing can be shown on the card: {e}");
    }
}
