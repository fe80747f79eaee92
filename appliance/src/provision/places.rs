//! Where things are, and what is in force there.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::network::{render, write};
use super::store::{self, Store};
use crate::config::{self, Config, Source};
use crate::health;

/// The configuration that came with the image.
pub const IMAGE: &str = "/etc/holobooth/holobooth.toml";
/// The largest configuration of this system's own, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Where things are: on an appliance as [`Places::default`] says, elsewhere in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// The image's configuration.
    pub image: PathBuf,
    /// The store's folder.
    pub store: PathBuf,
    /// Where notices for the screen are left.
    pub notices: PathBuf,
    /// Below what the network's files are written. Unless it is `/`, the services that read them are left
    /// alone.
    pub root: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            image: IMAGE.into(),
            store: store::FOLDER.into(),
            notices: config::NOTICES.into(),
            root: "/".into(),
        }
    }
}

impl Places {
    /// The configuration in force: the store's over the image's, section by section.
    ///
    /// # Errors
    /// [`Error`] with file, line, column and what is allowed there.
    pub fn in_force(&self) -> Result<Config, Error> {
        let store = Store::at(&self.store).state()?.current;
        let image = self.image_text(store.is_some())?;
        let path = self.store.join(store::CURRENT);
        let store = store.as_deref().map(|text| Source { path: &path, text });
        Ok(Config::in_force(Source { path: &self.image, text: &image }, store)?)
    }

    /// The text of the image's file. Where a stick has brought one, a system without an image's may do.
    pub(super) fn image_text(&self, may_miss: bool) -> Result<String, Error> {
        match bounded(&self.image) {
            Err(e) if may_miss && e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(e) => Err(config::Error::unreadable(&self.image, &e).into()),
            Ok(text) => Ok(text),
        }
    }

    /// Has what is now in force take effect: the files of network and time, of whose change a unit learns by
    /// itself, and the booth itself, which starts again.
    ///
    /// # Errors
    /// When the files cannot be written; the booth is notified all the same. That nobody answers is none.
    pub(super) fn take_effect(&self) -> Result<(), Error> {
        let config = self.in_force()?;
        let written = write(&self.root, &render(&config));
        match health::order(&config.health.socket, "reload") {
            Ok(Ok(done)) => log::info!("provision: {done}"),
            Ok(Err(why)) => log::warn!("provision: the booth did not start again: {why}"),
            Err(e) => {
                log::info!("provision: no booth to start again on {}: {e}", config.health.socket.display())
            }
        }
        written?;
        Ok(())
    }
}

fn bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}
