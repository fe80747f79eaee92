//! A notice: what the screen shows to a person on site for a while, whatever else it shows. Left in a file by
//! whoever has something to say (a stick that was read, an update that went back); it outlives a restart of
//! the booth.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sys::replace_file;

/// The file in it.
pub(super) const FILE: &str = "notice.json";
/// The longest notice, in bytes.
const LONGEST: u64 = 16 * 1024;

/// What the screen is to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened, in a few words: `Configuration applied`.
    pub title: String,
    /// What there is to know or to do, a line each; ten at most are shown.
    pub lines: Vec<String>,
    /// Whether something is wrong.
    pub trouble: bool,
    /// Seconds that it is shown, from when the booth sees it.
    pub shown_s: u32,
}

impl Notice {
    /// Leaves it in `folder`, in the place of the one before; whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn leave(&self, folder: &Path) -> io::Result<()> {
        replace_file(&folder.join(FILE), &serde_json::to_vec(self)?, 0o644)
    }

    /// The one in `folder`; nothing when there is none that can be read.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let mut text = Vec::new();
        fs::File::open(folder.join(FILE)).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read() {
        let folder = std::env::temp_dir().join(format!("holobooth-notice-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(Notice::read(&folder), None);
        let notice = Notice { title: "a".into(), lines: vec!["b".into()], trouble: true, shown_s: 3 };
        notice.leave(&folder).unwrap();
        assert_eq!(Notice::read(&folder), Some(notice));
        fs::write(folder.join(FILE), [b'['; 100_000]).unwrap();
        assert_eq!(Notice::read(&folder), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
