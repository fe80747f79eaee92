//! The one file that says what a booth is: its schema, defaults and limits. Reads no hardware.

mod check;
mod error;
mod schema;

pub use error::Error;
pub use schema::{
    Booth, Camera, Codec, Config, Format, Health, Link, Peer, Relay, RelayAddress, Room, Screen,
};

use std::path::Path;

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`Error`] with file, line, column and what is allowed there.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::unreadable(path, &e))?;
        Self::parse(path, &text)
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
