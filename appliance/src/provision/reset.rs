//! A booth as it was flashed: without what sticks brought, and without what it made itself.

use std::fs;
use std::io;
use std::path::Path;

use super::error::Error;
use super::places::Places;
use super::store::Store;

/// Removes what the store holds, and what is in the booth's data folder.
pub(super) fn reset(places: &Places) -> Result<(), Error> {
    // As it is in force before the store is cleared, for that may name another folder.
    let data = places.in_force().map(|config| config.booth.data);
    Store::lock(&places.store)?.clear()?;
    let data = match data {
        Ok(data) => data,
        Err(_) => places.in_force()?.booth.data,
    };
    empty(&data).map_err(|source| Error::File { path: data, source })
}

/// By this a folder is known as a booth's: a configuration may name any.
const OWN: &str = "key.pem";

/// Removes what is in a booth's data folder; the folder stays, and links lead nowhere.
fn empty(folder: &Path) -> io::Result<()> {
    if !folder.join(OWN).exists() {
        return Ok(());
    }
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    // What the folder is known by goes last: one that was cut off can be emptied again.
    let (last, first): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.file_name() == OWN);
    for entry in first.into_iter().chain(last) {
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere() {
        let folder = std::env::temp_dir().join(format!("holobooth-reset-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let (data, other) = (folder.join("data"), folder.join("other"));
        fs::create_dir_all(data.join("deep/er")).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        fs::write(data.join("deep/er/file"), "").unwrap();
        std::os::unix::fs::symlink(&other, data.join("link")).unwrap();
        empty(&data).unwrap();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 2, "no booth's folder");
        fs::write(data.join("key.pem"), "").unwrap();
        empty(&data).unwrap();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        assert!(other.join("kept").exists());
        empty(&folder.join("nothing")).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
