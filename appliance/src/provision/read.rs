//! What is looked at on a stick: files whose names are known, in its root, each up to a size. Nothing is
//! looked for.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The configuration.
pub(super) const CONFIG: &str = "holobooth.toml";
/// The operator's signature of it.
pub(super) const SIGNATURE: &str = "holobooth.toml.minisig";
/// Asks for a booth as it was flashed; in it, the booth's name.
pub(super) const RESET: &str = "factory-reset";
/// The operator's signature of that.
pub(super) const RESET_SIGNATURE: &str = "factory-reset.minisig";
/// A folder that asks for the last logs.
pub(super) const LOGS: &str = "logs";
/// The answer.
pub(super) const RESULT: &str = "holobooth-result.txt";
/// What is said while logs are collected.
pub(super) const COLLECTING: &str = "Collecting the last logs: leave the stick in";
/// How a new version's file ends.
const UPDATE: &str = "update";

/// The largest configuration, in bytes.
pub(super) const LARGEST_CONFIG: u64 = 64 * 1024;
/// The largest signature: two lines of base64 and two of comment.
const LARGEST_SIGNATURE: u64 = 4 * 1024;
/// The largest answer of before that is compared.
const LARGEST_RESULT: u64 = 64 * 1024;
/// Names in the root that are looked through for an update; what comes after is not seen.
const MOST_NAMES: usize = 4096;

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing.
    Absent,
    /// A file of these bytes.
    Bytes(Vec<u8>),
    /// Something that is not taken, and why.
    Unfit(String),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// All that is looked at.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) config: Content,
    pub(super) signature: Content,
    pub(super) reset: Content,
    pub(super) reset_signature: Content,
    /// The name of the first.
    pub(super) update: Option<OsString>,
    pub(super) logs: bool,
    pub(super) result: Content,
}

impl Found {
    /// What is in the folder `root`.
    pub(super) fn at(root: &Path) -> Self {
        Self {
            config: content(root, CONFIG, LARGEST_CONFIG),
            signature: content(root, SIGNATURE, LARGEST_SIGNATURE),
            reset: content(root, RESET, LARGEST_SIGNATURE),
            reset_signature: content(root, RESET_SIGNATURE, LARGEST_SIGNATURE),
            update: update(root),
            logs: fs::symlink_metadata(root.join(LOGS)).is_ok_and(|metadata| metadata.is_dir()),
            result: content(root, RESULT, LARGEST_RESULT),
        }
    }

    /// What it asks for, a line each.
    pub(super) fn requests(&self) -> Vec<String> {
        let file =
            |name: &str, content: &Content| (*content != Content::Absent).then(|| format!("Checking {name}"));
        let update = self.update.as_ref().map(|name| name.to_string_lossy());
        [
            file(RESET, &self.reset),
            file(CONFIG, &self.config),
            self.logs.then(|| COLLECTING.to_owned()),
            update.map(|name| format!("Copying {name}: leave the stick in")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether nobody asks for anything.
    pub(super) fn is_nothing(&self) -> bool {
        self.config == Content::Absent && self.reset == Content::Absent && self.update.is_none() && !self.logs
    }
}

fn content(root: &Path, name: &str, most: u64) -> Content {
    match read(&root.join(name), most) {
        Ok(Some(bytes)) => Content::Bytes(bytes),
        Ok(None) => {
            Content::Unfit(format!("{name} is larger than {} KiB; take out what is too much", most / 1024))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Content::Absent,
        Err(e) => Content::Unfit(format!("{name} {}", why(&e))),
    }
}

fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(nix::libc::ELOOP) => "is a symbolic link; put the file itself there".into(),
        Some(nix::libc::EISDIR) => "is no file; put a file there".into(),
        _ => format!("cannot be read: {error}; copy it onto the stick once more, or take another stick"),
    }
}

/// A regular file's bytes; nothing when there are more than `most`.
fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    // Without waiting: opening a FIFO would have it wait for somebody who writes.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| match e.raw_os_error() {
            // A device, on a mount that has none; a socket.
            Some(nix::libc::EACCES | nix::libc::ENXIO) => io::Error::from_raw_os_error(nix::libc::EISDIR),
            _ => e,
        })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::from_raw_os_error(nix::libc::EISDIR));
    }
    if metadata.len() > most {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// The name of the first file in the root that ends as an update does.
fn update(root: &Path) -> Option<OsString> {
    let names = fs::read_dir(root).ok()?.take(MOST_NAMES).map_while(Result::ok);
    let updates = names.filter(|entry| {
        entry.path().extension().is_some_and(|ending| ending == UPDATE)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    updates.map(|entry| entry.file_name()).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_files_of_the_right_size_are_read() {
        let root = std::env::temp_dir().join(format!("holobooth-read-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::write(root.join("file"), "text").unwrap();
        fs::write(root.join("large"), [b'x'; 11]).unwrap();
        symlink("file", root.join("link")).unwrap();
        symlink("/etc/shadow", root.join("secret")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(content(&root, "file", 10), Content::Bytes(b"text".to_vec()));
        assert_eq!(content(&root, "nothing", 10), Content::Absent);
        for (name, says) in [
            ("folder", "folder is no file"),
            ("fifo", "fifo is no file"),
            ("link", "link is a symbolic link"),
            ("secret", "secret is a symbolic link"),
            ("large", "large is larger than"),
        ] {
            let Content::Unfit(why) = content(&root, name, 10) else { panic!("{name} was taken") };
            assert!(why.starts_with(says), "{why}");
        }
        fs::write(root.join("b.update"), "").unwrap();
        fs::write(root.join("a.update"), "").unwrap();
        fs::create_dir(root.join("0.update")).unwrap();
        symlink("a.update", root.join("1.update")).unwrap();
        assert_eq!(update(&root), Some("a.update".into()));
        let found = Found::at(&root);
        assert!(!found.is_nothing() && !found.logs);
        assert_eq!(found.requests(), ["Copying a.update: leave the stick in"]);
        fs::remove_dir_all(root).unwrap();
    }
}
