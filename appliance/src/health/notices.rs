//! Which notice is to be shown, and for how long. Time is passed in; only the file, and its age, are looked
//! at here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::notice::{FILE, Notice};

/// What distinguishes a file from another that took its place: inode, and when it was written, in seconds and
/// ns.
type Stamp = (u64, i64, i64);

/// Looks for notices.
#[derive(Debug)]
pub struct Notices {
    folder: PathBuf,
    file: PathBuf,
    seen: Option<Stamp>,
    last: Option<Notice>,
    until_us: u64,
    /// Whether it was ever looked.
    looked: bool,
}

impl Notices {
    /// Those that are left in `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            file: folder.join(FILE),
            seen: None,
            last: None,
            until_us: 0,
            looked: false,
        }
    }

    /// Looks at `now_us`; true when there is another notice, or none any more. One look costs one call of the
    /// system.
    pub fn look(&mut self, now_us: u64) -> bool {
        let metadata = fs::metadata(&self.file).ok();
        // One that was there before this booth started has been shown for as long already, by the one before
        // it.
        let modified = metadata.as_ref().filter(|_| !self.looked).and_then(|m| m.modified().ok());
        let age = modified.and_then(|left| left.elapsed().ok()).unwrap_or_default();
        self.looked = true;
        let stamp = metadata.map(|m| (m.ino(), m.mtime(), m.mtime_nsec()));
        if stamp == self.seen {
            return false;
        }
        self.seen = stamp;
        match stamp.and_then(|_| Notice::read(&self.folder)) {
            Some(notice) => {
                let left = Duration::from_secs(notice.shown_s.into()).saturating_sub(age);
                self.until_us = now_us.saturating_add(left.as_micros() as u64);
                self.last = Some(notice);
            }
            // It was taken back, or is nothing that can be read.
            None => self.until_us = 0,
        }
        true
    }

    /// The notice that belongs on the screen at `now_us`.
    pub fn shown(&self, now_us: u64) -> Option<&Notice> {
        self.last.as_ref().filter(|_| now_us < self.until_us)
    }

    /// The last one there was.
    pub fn last(&self) -> Option<&Notice> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_for_its_time_and_again_when_it_is_left_again() {
        const S: u64 = 1_000_000;
        let folder = std::env::temp_dir().join(format!("holobooth-notices-{}", std::process::id()));
        let mut notices = Notices::in_folder(&folder);
        assert!(!notices.look(1) && notices.shown(1).is_none(), "no folder");
        fs::create_dir_all(&folder).unwrap();
        let notice = Notice { title: "a".into(), lines: vec![], trouble: false, shown_s: 10 };
        notice.leave(&folder).unwrap();
        assert!(notices.look(5 * S) && !notices.look(5 * S));
        assert_eq!(notices.shown(15 * S - 1), Some(&notice));
        assert_eq!((notices.shown(15 * S), notices.last()), (None, Some(&notice)));
        notice.leave(&folder).unwrap();
        assert!(notices.look(20 * S) && notices.shown(29 * S).is_some(), "the same words, left again");
        fs::remove_file(folder.join(FILE)).unwrap();
        assert!(notices.look(21 * S) && notices.shown(21 * S).is_none(), "taken back");
        fs::write(folder.join(FILE), "{").unwrap();
        assert!(notices.look(22 * S) && notices.shown(22 * S).is_none(), "nothing that can be read");
        let long = Notice { shown_s: u32::MAX, ..notice };
        long.leave(&folder).unwrap();
        assert!(notices.look(u64::MAX - 1) && notices.shown(u64::MAX - 1).is_some());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_of_yesterday_is_not_shown_by_a_booth_that_starts() {
        let folder = std::env::temp_dir().join(format!("holobooth-notices-old-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let notice = Notice { title: "a".into(), lines: vec![], trouble: true, shown_s: 60 };
        notice.leave(&folder).unwrap();
        let day = Duration::from_secs(86_400);
        let file = fs::File::open(folder.join(FILE)).unwrap();
        file.set_modified(std::time::SystemTime::now() - day).unwrap();
        let mut notices = Notices::in_folder(&folder);
        assert!(notices.look(1) && notices.shown(1).is_none() && notices.last().is_some());
        notice.leave(&folder).unwrap();
        assert!(notices.look(2) && notices.shown(2).is_some(), "it happened again");
        let mut other = Notices::in_folder(&folder);
        assert!(other.look(1) && other.shown(50_000_000).is_some(), "a booth that was asked to restart");
        fs::remove_dir_all(folder).unwrap();
    }
}
