//! The store: which configuration is in force, which was before, and what the stick brought last. Whole or
//! not at all, whenever the power is cut.
//!
//! | file | |
//! | --- | --- |
//! | `holobooth.toml` | in force; absent: the image's own file alone |
//! | `previous.toml` | what [`State::revert`] puts back; or `previous.image`: the image's own file |
//! | `applied` | SHA-256 of the last stick's file, kept when it is put back: it does not apply again |
//! | `pending` | the network was changed and is on trial: what was reached before (JSON) |
//! | `journal` | a change that is being made: the whole of the new state (JSON) |
//! | `*.new` | half a file; means nothing |
//! | `lock` | who changes the store holds it |
//!
//! A change is several files, and no file system changes several at once. So the new state is first written
//! as one file, the journal:
//!
//! 1. `journal.new` is written and synced, renamed to `journal`, and the folder synced. **From here on the
//!    new state is in force.**
//! 2. Each file is written beside its place, synced, and renamed into it, or removed; then the folder is
//!    synced.
//! 3. `journal` is removed, and the folder synced.
//!
//! Power cut in 1: no journal (or only half of one, under another name): the files are the old state. In 2:
//! the files are a mixture, and the journal, which is whole, is the new state. In 3: the files are the new
//! state, and so is the journal if it is still there. Therefore a reader takes the journal when there is one,
//! and the files when there is none; and who changes the store next carries an unfinished change to its end
//! first. Doing step 2 twice does no harm. A reader that knows nothing of the journal sees in
//! `holobooth.toml` the old file or the new one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, Folder};

/// The folder of the store on an appliance.
pub const FOLDER: &str = "/var/lib/holobooth-config";
/// The configuration in force.
pub(super) const CURRENT: &str = "holobooth.toml";
const PREVIOUS: &str = "previous.toml";
const PREVIOUS_IS_IMAGE: &str = "previous.image";
const APPLIED: &str = "applied";
const PENDING: &str = "pending";
const JOURNAL: &str = "journal";
const LOCK: &str = "lock";

/// What is wrong with the store, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something.
    #[error(
        "store: {path}: {source}; the store must be a folder on a disk that can be written and is not full"
    )]
    Disk {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What is in it cannot be.
    #[error("store: {path} is damaged: {reason}; remove it, and bring the configuration by stick once more")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing before.
    #[error("store: no stick has changed anything here; there is nothing to go back to")]
    NothingBefore,
}

/// What was in force before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum Previous {
    /// No stick has changed anything yet.
    #[default]
    Nothing,
    /// The image's own file alone.
    Image,
    /// This text.
    Text(String),
}

/// What a booth reached, or did before its network was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Reach {
    /// Another booth.
    pub peer: bool,
    /// The relay.
    pub relay: bool,
}

impl Reach {
    /// Whether it was anything.
    pub(super) fn any(self) -> bool {
        self.peer || self.relay
    }
}

/// All that the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The text in force, over the image's; nothing: the image's alone.
    pub current: Option<String>,
    /// The text before.
    pub previous: Previous,
    /// SHA-256 of the stick's last file applied, in hexadecimal.
    pub applied: Option<String>,
    /// What was reached before the network was changed, while the change is on trial.
    pub pending: Option<Reach>,
}

impl State {
    /// With a stick's file in force. While a network is on trial, what was before it stays what is gone back
    /// to: it is what worked last.
    #[must_use]
    pub(super) fn apply(&self, text: String, digest: String, pending: Option<Reach>) -> Self {
        let previous = match (&self.pending, &self.current) {
            (Some(_), _) => self.previous.clone(),
            (None, Some(current)) => Previous::Text(current.clone()),
            (None, None) => Previous::Image,
        };
        let pending = match (self.pending, pending) {
            (Some(a), Some(b)) => Some(Reach { peer: a.peer || b.peer, relay: a.relay || b.relay }),
            (a, b) => a.or(b),
        };
        Self { current: Some(text), previous, applied: Some(digest), pending }
    }

    /// With what was before in force, and what is in force as what was before: twice is once forth and back.
    ///
    /// # Errors
    /// [`Error::NothingBefore`].
    pub(super) fn revert(&self) -> Result<Self, Error> {
        let current = match &self.previous {
            Previous::Nothing => return Err(Error::NothingBefore),
            Previous::Image => None,
            Previous::Text(text) => Some(text.clone()),
        };
        let previous = self.current.clone().map_or(Previous::Image, Previous::Text);
        Ok(Self { current, previous, applied: self.applied.clone(), pending: None })
    }

    /// With the network no longer on trial.
    #[must_use]
    pub(super) fn confirm(&self) -> Self {
        Self { pending: None, ..self.clone() }
    }
}

/// The store, for reading; [`Store::lock`] makes it one for writing.
#[derive(Debug)]
pub(super) struct Store<D = Folder> {
    disk: D,
    path: PathBuf,
}

impl Store {
    /// The store in the folder at `path`, which need not be there yet.
    pub(super) fn at(path: &Path) -> Self {
        Self { disk: Folder::at(path), path: path.to_owned() }
    }

    /// The same for writing: makes the folder if need be, waits for others who write, and carries an
    /// unfinished change to its end.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn lock(path: &Path) -> Result<Locked, Error> {
        let store = Self::at(path);
        DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(|e| store.failed(e))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o640);
        let lock = options.open(path.join(LOCK)).map_err(|e| store.failed(e))?;
        lock.lock().map_err(|e| store.failed(e))?;
        store.recover()?;
        Ok(Locked { store, _lock: lock })
    }

    /// Removes all that it holds, but not the folder.
    fn clear(&self) -> Result<(), Error> {
        self.commit(&State::default())
    }
}

/// A store that nobody else writes meanwhile.
#[derive(Debug)]
pub(super) struct Locked {
    store: Store,
    _lock: File,
}

impl Locked {
    /// What it holds.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn state(&self) -> Result<State, Error> {
        self.store.state()
    }

    /// Makes `state` what it holds.
    ///
    /// # Errors
    /// [`Error`]; then it holds the old or the new state, whole.
    pub(super) fn commit(&self, state: &State) -> Result<(), Error> {
        self.store.commit(state)
    }

    /// Removes all that it holds.
    ///
    /// # Errors
    /// As [`Locked::commit`].
    pub(super) fn clear(&self) -> Result<(), Error> {
        self.store.clear()
    }
}

impl<D: Disk> Store<D> {
    /// What it holds: of an unfinished change, the new state.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn state(&self) -> Result<State, Error> {
        if let Some(journal) = self.journal()? {
            return Ok(journal);
        }
        let previous = match self.text(PREVIOUS)? {
            Some(text) => Previous::Text(text),
            None if self.text(PREVIOUS_IS_IMAGE)?.is_some() => Previous::Image,
            None => Previous::Nothing,
        };
        let pending = match self.text(PENDING)? {
            Some(text) => Some(self.json(PENDING, &text)?),
            None => None,
        };
        Ok(State { current: self.text(CURRENT)?, previous, applied: self.text(APPLIED)?, pending })
    }

    fn commit(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_vec(state).map_err(|e| self.failed(e.into()))?;
        self.put(JOURNAL, &text)?;
        self.done(self.disk.sync_folder())?;
        self.settle(state)
    }

    /// Carries a change that was cut off to its end.
    fn recover(&self) -> Result<(), Error> {
        match self.journal()? {
            Some(state) => self.settle(&state),
            None => Ok(()),
        }
    }

    /// Makes the files what the journal says, and lets go of it.
    fn settle(&self, state: &State) -> Result<(), Error> {
        let pending = match &state.pending {
            Some(reach) => Some(serde_json::to_string(reach).map_err(|e| self.failed(e.into()))?),
            None => None,
        };
        let (previous, image) = match &state.previous {
            Previous::Nothing => (None, None),
            Previous::Image => (None, Some("")),
            Previous::Text(text) => (Some(text.as_str()), None),
        };
        let files = [
            (CURRENT, state.current.as_deref()),
            (PREVIOUS, previous),
            (PREVIOUS_IS_IMAGE, image),
            (APPLIED, state.applied.as_deref()),
            (PENDING, pending.as_deref()),
        ];
        for (name, text) in files {
            match text {
                Some(text) => self.put(name, text.as_bytes())?,
                None => self.done(self.disk.remove(name))?,
            }
        }
        self.done(self.disk.sync_folder())?;
        self.done(self.disk.remove(JOURNAL))?;
        self.done(self.disk.sync_folder())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let new = format!("{name}.new");
        self.done(self.disk.write(&new, bytes))?;
        self.done(self.disk.sync(&new))?;
        self.done(self.disk.rename(&new, name))
    }

    fn journal(&self) -> Result<Option<State>, Error> {
        match self.text(JOURNAL)? {
            Some(text) => self.json(JOURNAL, &text).map(Some),
            None => Ok(None),
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let bytes = self.disk.read(name).map_err(|e| self.failed(e))?;
        bytes.map(String::from_utf8).transpose().map_err(|e| self.damaged(name, &e))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str, text: &str) -> Result<T, Error> {
        serde_json::from_str(text).map_err(|e| self.damaged(name, &e))
    }

    fn damaged(&self, name: &str, reason: &dyn std::error::Error) -> Error {
        Error::Damaged { path: self.path.join(name), reason: reason.to_string() }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Disk { path: self.path.clone(), source }
    }

    fn done(&self, result: io::Result<()>) -> Result<(), Error> {
        result.map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
