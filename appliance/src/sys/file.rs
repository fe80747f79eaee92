//! Small files that are replaced as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the file at `path`, if there is one, by one of these bytes and with the permission bits `mode`
/// (less the umask). After a power cut it is the old file or the new one, never a part of either.
///
/// Until it is complete the new file is called `<name>.new`. What is left of one is removed by the next call,
/// and whatever else has that name, such as a symbolic link, is not followed.
///
/// # Errors
/// The system's. The old file is kept then, unless only syncing the folder failed.
pub fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name: OsString = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name lasts only when the folder is synced, too.
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_written() {
        let folder = std::env::temp_dir().join(format!("holobooth-replace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("file.toml");
        replace_file(&path, b"a longer text", 0o600).unwrap();
        // Left by a power cut, or put there to have another file written.
        fs::write(folder.join("other"), "other").unwrap();
        symlink(folder.join("other"), folder.join("file.toml.new")).unwrap();
        let old = File::open(&path).unwrap();
        replace_file(&path, b"short", 0o640).unwrap();
        assert_eq!(io::read_to_string(old).unwrap(), "a longer text", "who has the old one open reads it");
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read(folder.join("other")).unwrap(), b"other");
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file.toml", "other"]);
        assert!(replace_file(&folder.join("none/file"), b"", 0o600).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
