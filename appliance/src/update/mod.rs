//! Versions of the image: taken from a stick or a server, tried, kept or given back.
//!
//! systemd-sysupdate writes them and evaluates their signature, systemd-boot counts the tries
//! (sysupdate.d(5), systemd-bless-boot(8)). What is left to do here: to hand a bundle over, to say where the
//! files come from, and to report the result to a person.

mod bundle;
mod fetch;
mod record;

pub use bundle::{Error as BundleError, unpack};
pub use record::{Outcome, Record};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a bundle from a stick waits for `systemd-sysupdate`.
pub const FOLDER: &str = "/var/lib/holobooth-update";
/// The bundle's files, in [`FOLDER`].
const INCOMING: &str = "incoming";
/// A bundle's list of sums; it distinguishes bundles.
const SUMS: &str = "SHA256SUMS";
/// The list of sums of the bundle that was taken last from a stick, in [`FOLDER`].
const TAKEN: &str = "taken";
/// The list of sums of what was downloaded last and refused, in [`FOLDER`].
const REFUSED: &str = "refused";
/// The image's templates of sysupdate.d(5) files.
const TEMPLATES: &str = "/usr/lib/holobooth/update";
/// Stands in a template for where the files come from.
const SOURCE: &str = "@SOURCE@";

/// Why there is no update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file.
    #[error("update: {what}: {source}; restart the booth, and if that does not help reflash its disk")]
    System {
        /// What was tried, with the file's name.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The server.
    #[error("update: {what} cannot be had: {why}; is update.url right, and is there a way to it?")]
    Server {
        /// The file's address.
        what: String,
        /// What curl said.
        why: String,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}

/// Folders of an appliance; tests have others.
#[derive(Debug, Clone)]
pub struct Folders {
    /// [`FOLDER`]
    pub data: PathBuf,
    /// The templates.
    pub templates: PathBuf,
    /// Where systemd-sysupdate finds its definitions.
    pub definitions: PathBuf,
    /// `EFI/Linux` on the EFI partition.
    pub kernels: PathBuf,
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            data: FOLDER.into(),
            templates: TEMPLATES.into(),
            definitions: "/run/holobooth-update".into(),
            kernels: "/boot/EFI/Linux".into(),
        }
    }
}

impl Folders {
    /// The folder of a bundle that was handed over whole.
    #[must_use]
    pub fn incoming(&self) -> PathBuf {
        self.data.join(INCOMING)
    }

    /// Takes the bundle at `path`: from then on it waits to be installed. False when it was installed before,
    /// for a stick may stay in.
    ///
    /// # Errors
    /// When it is none, is too large, there is no room for it, or another is being installed; nothing of it
    /// is left then.
    pub fn take(&self, path: &Path) -> Result<bool, BundleError> {
        let sums = bundle::sums(path)?;
        let taken = self.data.join(TAKEN);
        if fs::read(&taken).is_ok_and(|last| last == sums) {
            return Ok(false);
        }
        unpack(path, &self.data, INCOMING)?;
        let _ = fs::write(taken, sums);
        Ok(true)
    }

    /// The bundle that waited is installed, or is not: it is removed, and what is remembered of it decides
    /// what becomes of it when it comes again. One from a stick is taken again unless it was installed; one
    /// from a server is not downloaded again if it was refused. Whether it had come by stick.
    pub fn done(&self, installed: bool) -> bool {
        let waited = fs::read(self.incoming().join(SUMS)).ok();
        let (taken, refused) = (self.data.join(TAKEN), self.data.join(REFUSED));
        let from_stick = waited.is_some() && fs::read(&taken).ok() == waited;
        if from_stick && !installed {
            let _ = fs::remove_file(taken);
        }
        if let Some(sums) = waited.filter(|_| !from_stick && !installed) {
            let _ = fs::write(refused, sums);
        }
        let _ = fs::remove_dir_all(self.incoming());
        from_stick
    }

    /// Says to systemd-sysupdate where the bundle is that waits. False when none does.
    ///
    /// # Errors
    /// When the definitions cannot be written.
    pub fn prepare(&self) -> Result<bool, Error> {
        let incoming = self.incoming();
        if !incoming.join(SUMS).exists() {
            return Ok(false);
        }
        let source = format!("file://{}", incoming.display());
        fs::create_dir_all(&self.definitions).map_err(system(self.definitions.display().to_string()))?;
        let templates =
            fs::read_dir(&self.templates).map_err(system(self.templates.display().to_string()))?;
        for template in templates.flatten() {
            let path = template.path();
            let text = fs::read_to_string(&path).map_err(system(path.display().to_string()))?;
            let to = self.definitions.join(template.file_name());
            fs::write(&to, text.replace(SOURCE, &source)).map_err(system(to.display().to_string()))?;
        }
        Ok(true)
    }

    /// A version on the EFI partition that has not started well yet.
    #[must_use]
    pub fn untried(&self) -> Option<String> {
        let entries = fs::read_dir(&self.kernels).ok()?;
        entries.flatten().find_map(|entry| counted(entry.file_name().to_str()?).map(str::to_owned))
    }
}

/// The version of a kernel image's name with tries left: `holobooth_VERSION+LEFT[-DONE].efi` (Boot Loader
/// Specification, boot counting).
fn counted(name: &str) -> Option<&str> {
    let (version, tries) = name.strip_prefix("holobooth_")?.strip_suffix(".efi")?.split_once('+')?;
    let left = tries.split('-').next()?;
    left.parse().is_ok_and(|left: u32| left > 0).then_some(version)
}

/// The version of the image that runs: `IMAGE_VERSION` of os-release(5).
#[must_use]
pub fn running() -> Option<String> {
    image_version(&fs::read_to_string("/usr/lib/os-release").ok()?)
}

fn image_version(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_efi_partition() {
        assert_eq!(counted("holobooth_2+3.efi"), Some("2"));
        assert_eq!(counted("holobooth_2.1+1-2.efi"), Some("2.1"));
        for name in ["holobooth_2.efi", "holobooth_2+0-3.efi", "other_2+3.efi", "holobooth_2+x.efi", ""] {
            assert_eq!(counted(name), None, "{name}");
        }
    }

    #[test]
    fn os_release_with_and_without_quotes() {
        assert_eq!(image_version("ID=debian\nIMAGE_VERSION=1.2\n").as_deref(), Some("1.2"));
        assert_eq!(image_version("IMAGE_VERSION=\"3\"\n").as_deref(), Some("3"));
        assert_eq!(image_version("ID=debian\n"), None);
    }

    #[test]
    fn a_bundle_that_waits_is_the_source() {
        let folder = std::env::temp_dir().join(format!("holobooth-update-{}", std::process::id()));
        let folders = Folders {
            data: folder.join("data"),
            templates: folder.join("templates"),
            definitions: folder.join("definitions"),
            kernels: folder.join("kernels"),
        };
        fs::create_dir_all(&folders.templates).unwrap();
        fs::write(folders.templates.join("10-a.transfer"), "[Source]\nPath=@SOURCE@\n").unwrap();
        assert!(!folders.prepare().unwrap());
        fs::create_dir_all(folders.incoming()).unwrap();
        fs::write(folders.incoming().join(SUMS), "").unwrap();
        assert!(folders.prepare().unwrap());
        let rendered = fs::read_to_string(folders.definitions.join("10-a.transfer")).unwrap();
        assert_eq!(rendered, format!("[Source]\nPath=file://{}\n", folders.incoming().display()));
        assert!(!folders.done(false), "nobody's stick");
        assert!(!folders.prepare().unwrap());
        fs::remove_dir_all(folder).unwrap();
    }
}
