//! Which booth has which name: remembered when a booth first proves itself, so that nobody else comes under
//! its name later.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Fingerprint;
use super::identity::PRIVATE;
use crate::sys::replace_file;

const FILE: &str = "booths.toml";
/// Names that are remembered: more than a room has booths.
const MOST: usize = 256;

/// The names of a room's booths.
#[derive(Debug, Default)]
pub struct Pins {
    /// None for those that need not outlive the process.
    path: Option<PathBuf>,
    kept: Kept,
}

/// What the file holds.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The room's id: names of another room say nothing.
    room: String,
    booths: BTreeMap<String, Fingerprint>,
}

/// A name that another booth has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name belongs to {0}")]
pub(crate) struct Taken(pub(crate) Fingerprint);

impl Pins {
    /// Those in the data folder, of the room with this id. What cannot be read is replaced by an empty list,
    /// and logged.
    pub fn load(folder: &Path, room: &str) -> Self {
        let path = folder.join(FILE);
        let kept = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).unwrap_or_else(|e: toml::de::Error| {
                log::warn!("pairing: {} is damaged and starts empty: {}", path.display(), e.message());
                Kept::default()
            }),
            Err(e) => {
                if e.kind() != io::ErrorKind::NotFound {
                    log::warn!("pairing: {}: {e}", path.display());
                }
                Kept::default()
            }
        };
        let kept = if kept.room == room { kept } else { Kept { room: room.to_owned(), ..Kept::default() } };
        Self { path: Some(path), kept }
    }

    /// Whether a booth may come under this name: nobody else may have it.
    pub(crate) fn evaluate(&self, name: &str, who: Fingerprint) -> Result<(), Taken> {
        match self.kept.booths.get(name) {
            Some(&other) if other != who => Err(Taken(other)),
            _ => Ok(()),
        }
    }

    /// Remembers a booth. What is to be written, and where, if that is news.
    #[must_use = "until it is written, the next start knows nothing of it"]
    pub(crate) fn remember(&mut self, name: &str, who: Fingerprint) -> Option<Write> {
        if self.kept.booths.contains_key(name) || self.kept.booths.len() >= MOST {
            return None;
        }
        self.kept.booths.insert(name.to_owned(), who);
        self.write()
    }

    /// Forgets a name. What is to be written, and where, if it was known.
    #[must_use = "until it is written, the next start knows it again"]
    pub(crate) fn forget(&mut self, name: &str) -> Option<Write> {
        self.kept.booths.remove(name)?;
        self.write()
    }

    fn write(&self) -> Option<Write> {
        let text = toml::to_string(&self.kept).ok()?;
        Some(Write { path: self.path.clone()?, text })
    }
}

/// A file to be written where waiting for a disk hurts nobody.
#[derive(Debug)]
pub(crate) struct Write {
    path: PathBuf,
    text: String,
}

impl Write {
    /// Writes it, whole or not at all. A failure is logged.
    pub(crate) fn write(self) {
        if let Err(e) = replace_file(&self.path, self.text.as_bytes(), PRIVATE) {
            log::warn!(
                "pairing: {}: {e}; which booth has which name is forgotten at the next start",
                self.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint([1; 32]);
    const B: Fingerprint = Fingerprint([2; 32]);

    #[test]
    fn a_name_belongs_to_who_came_with_it_first() {
        let folder = std::env::temp_dir().join(format!("holobooth-pins-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut pins = Pins::load(&folder, "room");
        assert_eq!(pins.evaluate("stage left", A), Ok(()));
        pins.remember("stage left", A).unwrap().write();
        assert!(pins.remember("stage left", A).is_none(), "no news");
        assert_eq!(pins.evaluate("stage left", B), Err(Taken(A)));
        assert_eq!(pins.evaluate("stage left", A), Ok(()));

        let mut pins = Pins::load(&folder, "room");
        assert_eq!(pins.evaluate("stage left", B), Err(Taken(A)), "after a restart");
        assert_eq!(Pins::load(&folder, "another").evaluate("stage left", B), Ok(()), "in another room");
        pins.forget("stage left").unwrap().write();
        assert!(pins.forget("stage left").is_none());
        assert_eq!(Pins::load(&folder, "room").evaluate("stage left", B), Ok(()));

        fs::write(folder.join(FILE), "rubbish").unwrap();
        assert_eq!(Pins::load(&folder, "room").evaluate("stage left", B), Ok(()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
