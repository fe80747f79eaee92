//! A stick, from the plug to the answer.
//!
//! 1. It is mounted for reading; what is known by name is read; it is unmounted.
//! 2. A factory reset that is asked for is marked as done on the stick, and only then done: else it would be done again at the next boot.
//! 3. The configuration is judged in the sandbox, and applied whole or refused.
//! 4. The card is left, then the answer on the stick (mounted for writing, briefly), and then what was applied takes effect.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::answer::{Answer, lines};
use super::judge::{Meaning, Question, Verdict};
use super::logs::{self, Log};
use super::mount::{self, Access, Mounted};
use super::read::{self, Content, Found};
use super::sandbox::Sandbox;
use super::store::{Locked, State, Store};
use super::{Error, Places, confirm, reset, update};
use crate::config::Config;
use crate::health;
use crate::pairing::Identity;

/// What a factory reset's file is called when it has been done.
const RESET_DONE: &str = "factory-reset.done";

/// Does what the stick in `device` asks for, and answers. What it answered.
///
/// # Errors
/// [`Error`], when the stick cannot be read at all; the card tells that too.
pub fn stick(places: &Places, sandbox: &Sandbox, device: &Path) -> Result<String, Error> {
    let answered = answered(places, sandbox, device);
    if let Err(e) = &answered {
        Answer::refused("The stick cannot be used", &e.to_string()).leave(places);
    }
    answered
}

fn answered(places: &Places, sandbox: &Sandbox, device: &Path) -> Result<String, Error> {
    mount::apart()?;
    let mounted = Mounted::new(device, Access::Read)?;
    let found = Found::at(mounted.root());
    if found.is_nothing() {
        return Ok("nothing on the stick is for this booth".into());
    }
    let updated = found.update.as_deref().map(update::take);
    drop(mounted);

    let mut answers = Vec::new();
    let mut effect = None;
    let booth = name(places);
    match &found.reset {
        Content::Absent => {}
        _ => {
            let done = asked_to_reset(places, sandbox, device, &found, booth.as_deref());
            if done.is_ok() {
                effect = Some(true);
            }
            answers.push(done.unwrap_or_else(|why| Answer::refused("Factory reset refused", &why)));
        }
    }
    if found.config != Content::Absent {
        let (answer, network) = configured(places, sandbox, &found)?;
        effect = effect.max(network);
        answers.push(answer);
    }
    if let Some(updated) = updated {
        answers.push(match updated {
            Ok(done) => Answer::good("Update taken", vec![done]),
            Err(why) => Answer::refused("No update", &why),
        });
    }
    // The card before all that may take time.
    let card = answers.iter().cloned().reduce(Answer::and);
    if let Some(card) = &card {
        card.leave(places);
    }
    let logs = if found.logs { logs::collect() } else { Vec::new() };
    if found.logs {
        answers.push(Answer::good("Logs are in the folder logs", Vec::new()));
    }
    let Some(answer) = answers.into_iter().reduce(Answer::and) else { return Ok(String::new()) };
    let text = answer.text(booth.as_deref().unwrap_or("without a name"));
    if let Err(why) = leave_on(device, &found.result, &text, &logs) {
        let line = format!("The stick holds no answer: {why}");
        card.unwrap_or_else(|| answer.clone())
            .and(Answer { news: false, ..Answer::good(&line, Vec::new()) })
            .leave(places);
    } else if card.is_none() {
        answer.leave(places);
    }
    if let Some(network) = effect {
        places.take_effect(network)?;
    }
    Ok(text)
}

/// Judges and applies the configuration. With the answer, whether something is to take effect, and whether in the network.
fn configured(places: &Places, sandbox: &Sandbox, found: &Found) -> Result<(Answer, Option<bool>), Error> {
    const REFUSED: &str = "Configuration refused";
    let file = match &found.config {
        Content::Bytes(bytes) => bytes,
        Content::Unfit(why) => return Ok((Answer::refused(REFUSED, why), None)),
        Content::Absent => return Ok((Answer::nothing_new(""), None)),
    };
    let locked = Store::lock(&places.store)?;
    let state = locked.state()?;
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(file));
    if state.applied.as_ref() == Some(&digest) {
        let same = state.current.as_deref().map(str::as_bytes) == Some(file);
        let line = if same {
            "This configuration is in force already."
        } else {
            "This configuration was applied before and then put back; change the file, or `holobooth revert`, to have it again."
        };
        return Ok((Answer::nothing_new(line), None));
    }
    let verdict = asked(places, sandbox, &state, Meaning::Config, file, &found.signature);
    let (changes, network) = match verdict {
        Ok(changes) => changes,
        Err(why) => return Ok((Answer::refused(REFUSED, &why), None)),
    };
    // The sandbox has read it as UTF-8.
    let Ok(text) = String::from_utf8(file.clone()) else {
        return Ok((Answer::refused(REFUSED, "holobooth.toml is not UTF-8 text"), None));
    };
    apply(places, &locked, &state, text, digest, network)?;
    if changes.is_empty() {
        return Ok((
            Answer::good("Configuration applied", vec!["No value is different from before.".into()]),
            None,
        ));
    }
    Ok((Answer::good("Configuration applied", lines(&changes)), Some(network)))
}

fn apply(
    places: &Places,
    locked: &Locked,
    state: &State,
    text: String,
    digest: String,
    network: bool,
) -> Result<(), Error> {
    // Who reached nobody has nothing to lose.
    let before = if network {
        places.in_force().ok().map(|config| confirm::reached(&config.health.socket))
    } else {
        None
    };
    locked.commit(&state.apply(text, digest, before.filter(|reach| reach.any())))?;
    Ok(())
}

/// Asks the sandbox: what changes, and whether the network does; or why not.
fn asked(
    places: &Places,
    sandbox: &Sandbox,
    state: &State,
    meaning: Meaning,
    file: &[u8],
    signature: &Content,
) -> Result<(Vec<super::Change>, bool), String> {
    let signature = match signature {
        Content::Bytes(bytes) => Some(bytes.clone()),
        Content::Absent => None,
        Content::Unfit(why) => return Err(why.clone()),
    };
    let question = Question {
        meaning,
        image_path: places.image.display().to_string(),
        image: places.image_text(true).map_err(|e| e.to_string())?,
        store: state.current.clone(),
        file: file.to_owned(),
        signature,
    };
    match sandbox.ask(&question).map_err(|e| e.to_string())? {
        Verdict::Good { changes, network } => Ok((changes, network)),
        Verdict::Refused(why) => Err(why),
    }
}

/// Marks the request as done on the stick, and carries it out.
fn asked_to_reset(
    places: &Places,
    sandbox: &Sandbox,
    device: &Path,
    found: &Found,
    booth: Option<&str>,
) -> Result<Answer, String> {
    let wanted = match &found.reset {
        Content::Bytes(bytes) => bytes,
        Content::Unfit(why) => return Err(why.clone()),
        Content::Absent => return Err("factory-reset is gone".into()),
    };
    let booth =
        booth.ok_or("this booth's name is not known: start it, or give it one in its configuration")?;
    if wanted.trim_ascii() != booth.as_bytes() {
        return Err(format!(
            "factory-reset is for another booth: this one is {booth}, and its name must stand in that file"
        ));
    }
    let state = Store::at(&places.store).state().map_err(|e| e.to_string())?;
    asked(places, sandbox, &state, Meaning::Reset, wanted, &found.reset_signature)?;
    mark_reset(device).map_err(|e| {
        format!("factory-reset cannot be renamed to {RESET_DONE} on the stick ({e}), and would be done again and again; unlock the stick")
    })?;
    reset::reset(places).map_err(|e| e.to_string())?;
    let line = format!("{booth} is as it was flashed; factory-reset was renamed to {RESET_DONE}");
    Ok(Answer::good("Factory reset done", vec![line]))
}

fn mark_reset(device: &Path) -> io::Result<()> {
    let mounted = Mounted::new(device, Access::Write).map_err(|e| io::Error::other(locked(&e)))?;
    fs::rename(mounted.root().join(read::RESET), mounted.root().join(RESET_DONE))?;
    mounted.sync()
}

/// The booth's name: as it is configured, or as it follows from the booth's key.
fn name(places: &Places) -> Option<String> {
    let config: Config = places.in_force().ok()?;
    if let Some(name) = config.booth.name {
        return Some(name.into_inner());
    }
    if let Ok(status) = health::ask(&config.health.socket) {
        return Some(status.name);
    }
    // Only when there is a key: making one here would make it root's.
    let made = config.booth.data.join("key.pem").exists();
    made.then(|| {
        Identity::load_or_make(&config.booth.data).ok().map(|identity| identity.fingerprint().name())
    })
    .flatten()
}

/// Leaves the answer on the stick, unless it is there already, and the logs.
fn leave_on(device: &Path, old: &Content, text: &str, logs: &[Log]) -> Result<(), String> {
    let same = matches!(old, Content::Bytes(old) if old == text.as_bytes());
    if same && logs.is_empty() {
        return Ok(());
    }
    let mounted = Mounted::new(device, Access::Write).map_err(|e| locked(&e))?;
    let write = || {
        for (name, bytes) in logs {
            put(&mounted.root().join(read::LOGS), name, bytes)?;
        }
        if !same {
            put(mounted.root(), read::RESULT, text.as_bytes())?;
        }
        mounted.sync()
    };
    write().map_err(|e: io::Error| format!("it cannot be written: {e}"))
}

/// Why a stick that could be read cannot be written.
fn locked(error: &mount::Error) -> String {
    match error {
        mount::Error::Refused { source, .. }
            if matches!(source.raw_os_error(), Some(nix::libc::EACCES | nix::libc::EROFS)) =>
        {
            "it is write-protected".into()
        }
        error => error.to_string(),
    }
}

/// Writes a file, whole or not at all.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let _ = fs::remove_file(&new);
    // The mount follows no symbolic links (mount.rs), and what is made is new.
    let mut file =
        OpenOptions::new().write(true).create_new(true).custom_flags(nix::libc::O_NOFOLLOW).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))
}

impl Answer {
    /// Leaves the card. Where that is not possible, the log tells it.
    pub(super) fn leave(&self, places: &Places) {
        log::info!("provision: {}: {}", self.title, self.lines.join("; "));
        let left = fs::create_dir_all(&places.notices).and_then(|()| self.card().leave(&places.notices));
        if let Err(e) = left {
            log::warn!("provision: no card on the screen: {}: {e}", places.notices.display());
        }
    }
}
