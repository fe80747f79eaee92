//! The one file that says what a booth is: its schema, defaults and limits. Reads no hardware.

mod check;
mod check_network;
#[cfg(test)]
mod documents;
mod error;
mod inherit;
mod limit;
mod network;
mod schema;

pub use error::Error;
pub use inherit::Source;
pub(crate) use inherit::tables;
pub use network::{Cidr, Network, Password, Time, Update, Wifi};
pub use schema::{
    Booth, Camera, Check, Codec, Config, Health, Link, NOTICES, Operator, OperatorKey, Peer, Relay,
    RelayAddress, Room, SECRETS, STATUS_SOCKET, Screen, Sound,
};

/// Every key of the file with what it means and its default or an example: a file to start from.
pub const SAMPLE: &str = include_str!("sample.toml");

use std::path::Path;

use crate::pairing::RoomKey;

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`Error`] with file, line, column and what is allowed there.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::unreadable(path, &e))?;
        Self::parse(path, &text)
    }

    /// The text of the file at `path`, with `key` as its room's; what else stands there, comments too, stays
    /// as it is.
    ///
    /// # Errors
    /// As [`Config::load`], of the file as it is.
    pub fn with_room(path: &Path, key: &RoomKey) -> Result<String, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::unreadable(path, &e))?;
        Self::parse(path, &text)?;
        let mut file: toml_edit::DocumentMut =
            text.parse().map_err(|e: toml_edit::TomlError| Error::at(path, &text, 0..0, e.to_string()))?;
        let room = file.entry("room").or_insert_with(toml_edit::table);
        if let Some(room) = room.as_table_like_mut() {
            room.remove("code");
            room.insert("key", toml_edit::value(key.text()));
        }
        Ok(file.to_string())
    }

    /// Checks `text`; `path` is named in errors only.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(|e| Error::syntax(path, text, &e))?;
        check::limits(&config).map_err(|(span, reason)| Error::at(path, text, span, reason))?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_room_key_changes_nothing_else() {
        let path = std::env::temp_dir().join(format!("holobooth-rotate-{}.toml", std::process::id()));
        let (old, new) = (RoomKey::of([1; 32]), RoomKey::of([2; 32]));
        let text =
            format!("# the left one\n[booth]\nname = \"A\"\n\n[room]\nkey = \"{}\" # ours\n", old.text());
        std::fs::write(&path, &text).unwrap();
        let rotated = Config::with_room(&path, &new).unwrap();
        assert_eq!(
            rotated.replace(&new.text(), &old.text()).replace(" # ours", ""),
            text.replace(" # ours", "")
        );
        let key = |text: &str| Config::parse(&path, text).unwrap().room.unwrap().key.unwrap().into_inner();
        assert_eq!(key(&rotated), new);
        std::fs::write(&path, "[camera]\nfps = 25\n").unwrap();
        assert_eq!(key(&Config::with_room(&path, &new).unwrap()), new);
        std::fs::write(&path, "[camera]\nfsp = 25\n").unwrap();
        assert!(Config::with_room(&path, &new).unwrap_err().to_string().contains("`fsp`"));
        std::fs::remove_file(path).unwrap();
    }
}
