//! A USB stick for a machine: a file with FAT32 in it, written without mounting it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{Error, system};
use super::process::run;

/// Room besides the files, in bytes; FAT32 has a least size.
const ROOM: u64 = 64 << 20;

/// A stick that is not plugged in.
pub struct Stick {
    image: PathBuf,
}

impl Stick {
    /// One with these files at its root, by name.
    ///
    /// # Errors
    /// When mkfs.fat or mcopy fail.
    pub fn with(image: PathBuf, files: &[(&str, &Path)]) -> Result<Self, Error> {
        let size =
            |path: &Path| fs::metadata(path).map(|m| m.len()).map_err(system(path.display().to_string()));
        let mut total = ROOM;
        for (_, path) in files {
            total += size(path)?;
        }
        File::create(&image)
            .and_then(|file| file.set_len(total))
            .map_err(system(image.display().to_string()))?;
        run(Command::new("mkfs.fat").args(["-F", "32", "-n", "STICK"]).arg(&image))?;
        let stick = Self { image };
        for (name, path) in files {
            run(stick.mtool("mcopy").arg(path).arg(format!("::{name}")))?;
        }
        Ok(stick)
    }

    /// Its file on the host.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// The text of a file on it, if it is there.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        run(self.mtool("mtype").arg(format!("::{name}"))).ok()
    }

    fn mtool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&self.image);
        command
    }
}
