//! A stick, from the plug to the answer.
//!
//! 1. It is mounted for reading; what is known by name is read; it is unmounted. A card says what will be
//!    done.
//! 2. A factory reset that is asked for is marked as done on the stick, and only then done: else it would be
//!    done again at the next boot.
//! 3. The configuration is evaluated in the sandbox, and applied whole or refused.
//! 4. The card is left, then the answer on the stick (mounted for writing, briefly), and then what was
//!    applied takes effect.
//! 5. A sound check that was asked for is made by the booth as it is then, and answered in the same way.
//! 6. Last, for it takes longest, an update is copied, and answered in the same way.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::answer::{Answer, lines};
use super::error::Error;
use super::evaluate::{Meaning, Question, Verdict};
use super::logs::{self, Log};
use super::mount::{self, Access, Mounted};
use super::places::Places;
use super::read::{self, Content, Found};
use super::sandbox::Sandbox;
use super::store::{Locked, State, Store};
use super::{confirm, reset, sound_check, update};
use crate::config::Config;
use crate::health;
use crate::pairing::Identity;
use crate::sys::replace_file;

/// What a factory reset's file is called when it has been done.
const RESET_DONE: &str = "factory-reset.done";
/// What is said while the booth makes a sound check.
const CHECKING: &str = "Checking the sound";

/// Does what the stick in `device` asks for, and answers. What it answered.
///
/// # Errors
/// [`Error`], when the stick cannot be read at all; the card says so too.
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
    drop(mounted);
    if found.is_nothing() {
        return Ok("nothing on the stick is for this booth".into());
    }
    // At once: what follows takes as long as a slow stick does, or a doctor who waits for answers.
    Answer::pending("Reading the stick", found.requests()).leave(places);
    let mut answers = Vec::new();
    let (mut effect, mut checks_sound) = (false, false);
    let booth = name(places);
    if found.reset != Content::Absent {
        let (answer, begun) = asked_to_reset(places, sandbox, device, &found, booth.as_deref());
        effect |= begun;
        answers.push(answer);
    }
    if found.config != Content::Absent {
        let configured = configured(places, sandbox, &found)?;
        effect |= configured.effect;
        checks_sound = configured.checks_sound;
        answers.extend(configured.answer);
    }
    // The card before all that may take time.
    let mut shown = answers.iter().cloned().reduce(Answer::and);
    if let Some(card) = &mut shown {
        for (_, what) in
            [(found.logs, read::COLLECTING), (checks_sound, CHECKING)].iter().filter(|(is, _)| *is)
        {
            *card = card.clone().and(Answer::pending(what, Vec::new()));
        }
        card.leave(places);
    }
    let logs = if found.logs { logs::collect() } else { Vec::new() };
    if found.logs {
        answers.push(Answer::good("Logs are in the folder logs", Vec::new()));
    }
    let booth = booth.as_deref().unwrap_or("without a name");
    let mut text = match answers.iter().cloned().reduce(Answer::and) {
        Some(answer) => {
            let is_news = shown.as_ref() != Some(&answer);
            leave_answer(places, device, &found.result, &answer, booth, &logs, is_news)
        }
        None => String::new(),
    };
    if effect {
        places.take_effect()?;
    }
    let mut before = found.result;
    if checks_sound {
        before = Some(text).filter(|text| !text.is_empty()).map_or(before, |text| text.into_bytes().into());
        Answer::pending(CHECKING, vec!["Leave the stick in, and be quiet.".to_owned()]).leave(places);
        let (checked, file) = sound_check::check(places);
        answers.push(checked.clone());
        let answer = answers.iter().cloned().reduce(Answer::and).unwrap_or(checked);
        text = leave_answer(places, device, &before, &answer, booth, &[file], true);
    }
    if let Some(bundle) = &found.update {
        before = Some(text).filter(|text| !text.is_empty()).map_or(before, |text| text.into_bytes().into());
        let taken = taken(places, device, bundle);
        answers.push(taken.clone());
        taken.leave(places);
        let answer = answers.into_iter().reduce(Answer::and).unwrap_or(taken);
        text = leave_answer(places, device, &before, &answer, booth, &[], false);
    }
    Ok(text)
}

/// Copies a bundle, which takes as long as a slow stick does.
fn taken(places: &Places, device: &Path, bundle: &OsStr) -> Answer {
    let line = format!("{}: leave the stick in", bundle.to_string_lossy());
    Answer::pending("Copying an update", vec![line]).leave(places);
    let taken = Mounted::new(device, Access::Read)
        .map_err(|e| e.to_string())
        .and_then(|mounted| update::take(&mounted.root().join(bundle)));
    match taken {
        Ok(done) => Answer::good("Update", vec![done]),
        Err(why) => Answer::refused("No update", &why),
    }
}

/// Leaves the answer on the stick, with what else it asked for, and on the card when it is news there or the stick
/// takes none. Its text.
fn leave_answer(
    places: &Places,
    device: &Path,
    old: &Content,
    answer: &Answer,
    booth: &str,
    files: &[Log],
    is_news: bool,
) -> String {
    let text = answer.text(booth);
    if let Err(why) = leave_on(device, old, &text, files) {
        let line = format!("The stick holds no answer: {why}");
        answer.clone().and(Answer { news: false, ..Answer::good(&line, Vec::new()) }).leave(places);
    } else if is_news {
        answer.leave(places);
    }
    text
}

/// What came of a configuration.
struct Configured {
    /// None where the result of the check says it all.
    answer: Option<Answer>,
    /// Whether something is to take effect.
    effect: bool,
    checks_sound: bool,
}

impl Configured {
    fn refused(why: &str) -> Self {
        Self::nothing(Answer::refused("Configuration refused", why))
    }

    fn nothing(answer: Answer) -> Self {
        Self { answer: Some(answer), effect: false, checks_sound: false }
    }
}

/// Judges and applies the configuration.
fn configured(places: &Places, sandbox: &Sandbox, found: &Found) -> Result<Configured, Error> {
    let file = match &found.config {
        Content::Bytes(bytes) => bytes,
        Content::Unfit(why) => return Ok(Configured::refused(why)),
        Content::Absent => return Ok(Configured::nothing(Answer::nothing_new(""))),
    };
    let locked = Store::lock(&places.store)?;
    let state = locked.state()?;
    let asked = asked(places, sandbox, &state, Meaning::Config, file, &found.signature);
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(file));
    if state.applied.as_ref() == Some(&digest) {
        let same = state.current.as_deref().map(str::as_bytes) == Some(file);
        let line = if same {
            "This configuration is in force already."
        } else {
            "This configuration was applied before and then put back; change the file, or `holobooth \
             revert`, to have it again."
        };
        // What it asks for is done each time that it is put in.
        let checks_sound = asked.is_ok_and(|asked| asked.checks_sound);
        return Ok(Configured { checks_sound, ..Configured::nothing(Answer::nothing_new(line)) });
    }
    let Asked { changes, network, applies, checks_sound } = match asked {
        Ok(asked) => asked,
        Err(why) => return Ok(Configured::refused(&why)),
    };
    if !applies {
        let answer = (!checks_sound).then(|| Answer::nothing_new("[check] asks for nothing."));
        return Ok(Configured { answer, effect: false, checks_sound });
    }
    // The sandbox has read it as UTF-8.
    let Ok(text) = String::from_utf8(file.clone()) else {
        return Ok(Configured::refused("holobooth.toml is not UTF-8 text"));
    };
    apply(places, &locked, &state, text, digest, network)?;
    let effect = !changes.is_empty();
    let lines = if effect { lines(&changes) } else { vec!["No value is different from before.".into()] };
    let answer = Some(Answer::good("Configuration applied", lines));
    Ok(Configured { answer, effect, checks_sound })
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

/// What the sandbox says of a file that counts.
struct Asked {
    changes: Vec<super::Change>,
    network: bool,
    applies: bool,
    checks_sound: bool,
}

/// Asks the sandbox; or why the file does not count.
fn asked(
    places: &Places,
    sandbox: &Sandbox,
    state: &State,
    meaning: Meaning,
    file: &[u8],
    signature: &Content,
) -> Result<Asked, String> {
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
        Verdict::Good { changes, network, applies, checks_sound } => {
            Ok(Asked { changes, network, applies, checks_sound })
        }
        Verdict::Refused(why) => Err(why),
    }
}

/// Marks the request as done on the stick, and carries it out. With the answer, whether anything of it was
/// begun.
fn asked_to_reset(
    places: &Places,
    sandbox: &Sandbox,
    device: &Path,
    found: &Found,
    booth: Option<&str>,
) -> (Answer, bool) {
    let refused = |why: String| (Answer::refused("Factory reset refused", &why), false);
    let booth = match may_reset(places, sandbox, found, booth) {
        Ok(booth) => booth,
        Err(why) => return refused(why),
    };
    if let Err(e) = mark_reset(device) {
        return refused(format!(
            "factory-reset cannot be renamed to {RESET_DONE} on the stick ({e}), and would be done again \
             and again; unlock the stick"
        ));
    }
    let answer = match reset::reset(places) {
        Ok(()) => {
            let line = format!("{booth} is as it was flashed; factory-reset was renamed to {RESET_DONE}");
            Answer::good("Factory reset done", vec![line])
        }
        Err(e) => Answer::refused("Factory reset not finished", &format!("{e}; ask for it once more")),
    };
    (answer, true)
}

/// Whether the request is for this booth, and signed where it has to be; gives the booth's name.
fn may_reset<'a>(
    places: &Places,
    sandbox: &Sandbox,
    found: &Found,
    booth: Option<&'a str>,
) -> Result<&'a str, String> {
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
    Ok(booth)
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

/// Leaves the answer on the stick, unless it is there already, and other files.
fn leave_on(device: &Path, old: &Content, text: &str, files: &[Log]) -> Result<(), String> {
    let same = matches!(old, Content::Bytes(old) if old == text.as_bytes());
    if same && files.is_empty() {
        return Ok(());
    }
    let mounted = Mounted::new(device, Access::Write).map_err(|e| locked(&e))?;
    let write = || {
        for (path, bytes) in files {
            replace_file(&mounted.root().join(path), bytes, 0o644)?;
        }
        if !same {
            replace_file(&mounted.root().join(read::RESULT), text.as_bytes(), 0o644)?;
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

impl Answer {
    /// Leaves the card. Where that is not possible, it is logged only.
    pub(super) fn leave(&self, places: &Places) {
        log::info!("provision: {}: {}", self.title, self.lines.join("; "));
        let left = fs::create_dir_all(&places.notices).and_then(|()| self.card().leave(&places.notices));
        if let Err(e) = left {
            log::warn!("provision: no card on the screen: {}: {e}", places.notices.display());
        }
    }
}
