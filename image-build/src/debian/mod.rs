//! Debian's packages, of a release of our choice, whatever release this machine runs.

pub(crate) mod mirror;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress;

/// The release whose programs are used.
pub(crate) const SUITE: &str = "trixie";
/// The keys that sign Debian's archives.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt of our own: it knows one suite, and neither reads nor touches what this machine has installed.
pub(crate) struct Apt {
    work: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// One that knows what `suite` has now; it keeps its state in `work`.
    ///
    /// # Errors
    /// When this machine's mirror is not to be found or not to be reached.
    pub(crate) fn new(work: &Path, suite: &str) -> Result<Self> {
        let signed =
            if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let list = work.join("sources.list");
        std::fs::write(&list, format!("deb {signed}{} {suite} main\n", mirror::find()?))?;
        for folder in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(work.join(folder))?;
        }
        // To this apt nothing is installed, so that all of a package's dependencies are missing.
        std::fs::write(work.join("status"), "")?;
        let at = |path: &str| work.join(path).display().to_string();
        let options = [
            ("Dir::Etc::sourcelist", list.display().to_string()),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::Etc::Preferences", "/dev/null".into()),
            ("Dir::Etc::PreferencesParts", "/dev/null".into()),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::State::extended_states", at("extended_states")),
            ("Dir::Cache", at("cache")),
            // The user that apt would change to cannot write into a home folder.
            ("APT::Sandbox::User", "root".into()),
        ];
        let options = options.map(|(key, value)| format!("-o{key}={value}")).into();
        let apt = Self { work: work.to_owned(), options };
        progress::logged(apt.command("apt-get").arg("update"), &apt.log(), |_| {})
            .with_context(|| format!("cannot reach {suite} on this machine's Debian mirror"))?;
        Ok(apt)
    }

    /// The newest version of `package`, if the suite has one.
    pub(crate) fn newest(&self, package: &str) -> Result<Option<String>> {
        let out =
            self.command("apt-cache").args(["madison", package]).output().context("cannot run apt-cache")?;
        let text = String::from_utf8_lossy(&out.stdout);
        Ok(text.lines().find_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())))
    }

    /// Downloads `package`; gives its file.
    ///
    /// # Errors
    /// When the suite has none, or the mirror fails.
    pub(crate) fn download(&self, package: &str) -> Result<PathBuf> {
        let mut download = self.command("apt-get");
        download.arg("download").arg(package).current_dir(&self.work);
        progress::logged(&mut download, &self.log(), |_| {})
            .with_context(|| format!("cannot download the Debian package {package}"))?;
        the_one_in(&self.work, ".deb")
    }

    /// Downloads `packages` and all that they depend on, down to the C library; gives their files.
    ///
    /// # Errors
    /// When the suite lacks one, or the mirror fails.
    pub(crate) fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut install = self.command("apt-get");
        install.args(["install", "--yes", "--download-only", "--no-install-recommends"]).args(packages);
        progress::logged(&mut install, &self.log(), |_| {})
            .with_context(|| format!("cannot download the Debian packages {}", packages.join(", ")))?;
        let archives = std::fs::read_dir(self.work.join("cache/archives"))?;
        let files = archives.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(files.filter(|file| file.extension().is_some_and(|ending| ending == "deb")).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }

    fn log(&self) -> PathBuf {
        self.work.join("apt.log")
    }
}

/// The only file of `folder` with this ending.
///
/// # Errors
/// When there is none.
pub(crate) fn the_one_in(folder: &Path, ending: &str) -> Result<PathBuf> {
    std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(ending))
        .with_context(|| format!("no {ending} in {}", folder.display()))
}
