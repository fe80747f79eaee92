//! What the booth remembers of its updates, so that a version that went back by itself is reported.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::replace_file;

/// The file, in [`super::FOLDER`].
const FILE: &str = "record.json";

/// An update that was installed or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version that ran when it was installed.
    pub from: String,
    /// The version that was installed.
    pub to: String,
    /// The result.
    pub outcome: Outcome,
}

/// The result of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Installed, not started yet or not well yet.
    Installed,
    /// It runs.
    Runs,
    /// It did not get well in its tries, and the version before it came back.
    WentBack,
}

impl Record {
    /// The last one; nothing when there was none, or none that can be read.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// Keeps it in the place of the last one; whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        replace_file(&folder.join(FILE), &serde_json::to_vec(self)?, 0o644)
    }

    /// The record once a booth that runs `version` is well; nothing when it stays as it was.
    #[must_use]
    pub fn settled(&self, version: &str) -> Option<Self> {
        let outcome = match self.outcome {
            Outcome::Installed if version == self.to => Outcome::Runs,
            Outcome::Installed => Outcome::WentBack,
            Outcome::Runs | Outcome::WentBack => return None,
        };
        Some(Self { outcome, ..self.clone() })
    }

    /// In a line, for the card, `holobooth status` and the doctor.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { from, to, outcome } = self;
        match outcome {
            Outcome::Installed => format!("version {to} is installed and starts next"),
            Outcome::Runs => format!("version {to} came after {from}"),
            Outcome::WentBack => {
                format!("version {to} did not start well three times; the booth went back to {from}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_an_update_is_reported_once() {
        let installed = Record { from: "1".into(), to: "2".into(), outcome: Outcome::Installed };
        let runs = installed.settled("2").unwrap();
        assert_eq!(runs.outcome, Outcome::Runs);
        let back = installed.settled("1").unwrap();
        assert_eq!(back.outcome, Outcome::WentBack);
        assert!(back.line().contains("version 2") && back.line().contains("back to 1"));
        assert_eq!((runs.settled("2"), back.settled("1")), (None, None));
    }

    #[test]
    fn what_is_kept_is_read() {
        let folder = std::env::temp_dir().join(format!("holobooth-record-{}", std::process::id()));
        assert_eq!(Record::read(&folder), None);
        let record = Record { from: "1".into(), to: "2".into(), outcome: Outcome::WentBack };
        record.keep(&folder).unwrap();
        assert_eq!(Record::read(&folder), Some(record));
        fs::remove_dir_all(folder).unwrap();
    }
}
