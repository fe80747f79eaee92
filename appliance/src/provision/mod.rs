//! The USB stick: found by the system, read with bounds, understood in a sandbox, applied whole or not at all, answered on the screen and on
//! the stick itself.
//!
//! What has the right to mount here never makes sense of a configuration: it reads bytes ([`read`]), has another process understand them
//! ([`sandbox`], [`evaluate`]), and stores them ([`store`]). Of an update it unpacks the tar file, within bounds ([`crate::update`]). What a stick can ask for: a configuration; a factory reset; the last logs; a new version. Sound
//! check and calibration are not among them yet.

mod answer;
mod confirm;
mod disk;
mod evaluate;
mod logs;
mod mount;
mod network;
mod read;
mod reset;
mod sandbox;
mod stick;
mod store;
pub mod update;

use std::path::{Path, PathBuf};

pub use confirm::{TIMEOUT, confirm};
pub use evaluate::{Change, Meaning, Question, Verdict};
pub use network::{Rendered, render, write};
pub use sandbox::{COMMAND as EVALUATE, Sandbox, within};
pub use stick::stick;
pub use store::FOLDER as STORE;

use answer::Answer;
use store::Store;

use crate::config::{self, Config, Source};
use crate::health;

/// The configuration that came with the image.
pub const IMAGE: &str = "/etc/holobooth/holobooth.toml";
/// The largest configuration of this system's own, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What went wrong with a stick or with what it brought, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stick.
    #[error(transparent)]
    Mount(#[from] mount::Error),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The configuration in force.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The network's files.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A file of this system's.
    #[error("provision: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Where things are: on an appliance as [`Places::default`] says, elsewhere in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// The image's configuration.
    pub image: PathBuf,
    /// The store's folder.
    pub store: PathBuf,
    /// Where notices for the screen are left.
    pub notices: PathBuf,
    /// Below what the network's files are written. Unless it is `/`, the services that read them are left alone.
    pub root: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { image: IMAGE.into(), store: STORE.into(), notices: config::NOTICES.into(), root: "/".into() }
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
    fn image_text(&self, may_miss: bool) -> Result<String, Error> {
        match bounded(&self.image) {
            Err(e) if may_miss && e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(e) => Err(config::Error::unreadable(&self.image, &e).into()),
            Ok(text) => Ok(text),
        }
    }

    /// Has what is now in force take effect: the files of network and time, of whose change a unit learns by itself, and the booth itself,
    /// which starts again.
    ///
    /// # Errors
    /// When the files cannot be written; the booth is told all the same. That nobody answers is none.
    pub(crate) fn take_effect(&self) -> Result<(), Error> {
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

/// Puts the configuration before in force again; once more, and the one after is. What was done, in a line.
///
/// # Errors
/// [`Error`]; then nothing has changed, unless it says so.
pub fn revert(places: &Places) -> Result<String, Error> {
    let locked = Store::lock(&places.store)?;
    let state = locked.state()?;
    let new = state.revert()?;
    locked.commit(&new)?;
    drop(locked);
    let which =
        if new.current.is_some() { "the configuration before" } else { "the image's own configuration" };
    let line = format!("{which} is in force again; `holobooth revert` once more goes forth again");
    Answer::good("Configuration put back", vec![line.clone()]).leave(places);
    places.take_effect()?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_s_sections_are_over_the_image_s() {
        let folder = std::env::temp_dir().join(format!("holobooth-places-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("notices")).unwrap();
        let places = Places {
            image: folder.join("image.toml"),
            store: folder.join("store"),
            notices: folder.join("notices"),
            root: folder.join("root"),
        };
        assert!(places.in_force().unwrap_err().to_string().contains("image.toml: cannot be read"));
        let socket = folder.join("no.sock");
        let image =
            format!("[booth]\nname = \"north\"\n[health]\nsocket = {:?}\n", socket.display().to_string());
        std::fs::write(&places.image, image).unwrap();
        assert!(revert(&places).unwrap_err().to_string().contains("nothing to go back to"));
        let locked = Store::lock(&places.store).unwrap();
        let state = locked.state().unwrap().apply("[booth]\nname = \"south\"\n".into(), "1".into(), None);
        locked.commit(&state).unwrap();
        drop(locked);
        let name = || places.in_force().unwrap().booth.name.unwrap().into_inner();
        assert_eq!(name(), "south");
        revert(&places).unwrap();
        assert_eq!(name(), "north");
        revert(&places).unwrap();
        assert_eq!(name(), "south");
        assert!(folder.join("root/run/systemd/network/50-holobooth-port.network").exists());
        assert_eq!(health::Notice::read(&places.notices).unwrap().title, "Configuration put back");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
