//! The room key that came by code: kept in the data folder, for this user's eyes only.

use std::fs;
use std::io;
use std::path::Path;

use super::identity::{Error, PRIVATE};
use super::{RoomKey, RoomKeyError};
use crate::sys::replace_file;

const FILE: &str = "room.key";

impl RoomKey {
    /// The one kept in `folder`, if any.
    ///
    /// # Errors
    /// When the folder cannot be used, or what is in it is damaged.
    pub fn kept(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(text.trim())
                .map(Some)
                .map_err(|reason: RoomKeyError| Error::Room { path, reason }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Folder { path, source }),
        }
    }

    /// Keeps it in `folder`, in the place of any other.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn keep(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        replace_file(&path, self.text().as_bytes(), PRIVATE).map_err(|source| Error::Folder { path, source })
    }

    /// Removes the one kept in `folder`. Whether there was one.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn drop_kept(folder: &Path) -> Result<bool, Error> {
        let path = folder.join(FILE);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Folder { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_named() {
        let folder = std::env::temp_dir().join(format!("holobooth-kept-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(RoomKey::kept(&folder).unwrap(), None);
        let key = RoomKey::of([5; 32]);
        key.keep(&folder).unwrap();
        assert_eq!(RoomKey::kept(&folder).unwrap(), Some(key));
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(folder.join(FILE), "rubbish").unwrap();
        let e = RoomKey::kept(&folder).unwrap_err().to_string();
        assert!(e.contains("room.key") && e.contains("holobooth room leave"), "{e}");
        assert!(RoomKey::drop_kept(&folder).unwrap() && !RoomKey::drop_kept(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }
}
