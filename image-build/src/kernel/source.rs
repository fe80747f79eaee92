//! The kernel's source, as Debian packages it, whatever release this machine runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::kernel::mirror;
use crate::progress::{self, Step};

/// The package; the kernel's version is in its name.
pub(crate) const PACKAGE: &str = "linux-source-7.3";
/// Where Debian carries it.
const SUITE: &str = "trixie-backports";
/// The keys that sign Debian's archives.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The bulk that no kernel for this architecture needs. (Kconfig reads other architectures' `crypto` folders.)
const LEFT_OUT: [&str; 9] = [
    "*/Documentation/*/*",
    "*/drivers/gpu/drm/amd/include",
    "*/tools/testing",
    "*/tools/perf",
    "*/arch/arm/[!c]*",
    "*/arch/arm64/[!c]*",
    "*/arch/mips/[!c]*",
    "*/arch/powerpc/[!c]*",
    "*/arch/riscv/[!c]*",
];

/// Fetches and unpacks the source into `work`; gives the source folder and the package's full version.
pub(crate) fn fetch(work: &Path) -> Result<(PathBuf, String)> {
    let apt = Apt::new(work)?;
    let step = Step::begin("Asking apt for the kernel's source");
    progress::logged(apt.command("apt-get").arg("update"), &work.join("apt.log"), |_| {})
        .with_context(|| format!("cannot reach {SUITE} on this machine's Debian mirror"))?;
    let version = apt.candidate()?;
    step.done(&format!("{PACKAGE} {version}"));

    let step = Step::begin("Downloading it (160 MB)");
    let mut download = apt.command("apt-get");
    download.arg("download").arg(PACKAGE).current_dir(work);
    progress::logged(&mut download, &work.join("apt.log"), |_| {})
        .context("cannot download the kernel's source")?;
    step.done("");

    let step = Step::begin("Unpacking it");
    let deb = the_one_in(work, ".deb")?;
    progress::logged(
        Command::new("dpkg").arg("-x").arg(&deb).arg(work.join("deb")),
        &work.join("apt.log"),
        |_| {},
    )?;
    std::fs::remove_file(&deb)?;
    let archive = the_one_in(&work.join("deb/usr/src"), ".tar.xz")?;
    let source = work.join("source");
    std::fs::create_dir(&source)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("--strip-components=1").arg("-C").arg(&source);
    tar.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    progress::logged(&mut tar, &work.join("apt.log"), |_| {}).context("cannot unpack the kernel's source")?;
    std::fs::remove_dir_all(work.join("deb"))?;
    step.done("");
    Ok((source, version))
}

/// An apt of our own: it knows one suite, and touches nothing of this machine's.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(work: &Path) -> Result<Self> {
        let signed =
            if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let list = work.join("sources.list");
        std::fs::write(&list, format!("deb {signed}{} {SUITE} main\n", mirror::find()?))?;
        for folder in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(work.join(folder))?;
        }
        let at = |path: &str| work.join(path).display().to_string();
        let options = [
            ("Dir::Etc::sourcelist", list.display().to_string()),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::Etc::Preferences", "/dev/null".into()),
            ("Dir::Etc::PreferencesParts", "/dev/null".into()),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache", at("cache")),
            // The user that apt would change to cannot write into a home folder.
            ("APT::Sandbox::User", "root".into()),
        ];
        Ok(Self { options: options.map(|(key, value)| format!("-o{key}={value}")).into() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).env("LC_ALL", "C");
        command
    }

    fn candidate(&self) -> Result<String> {
        let out =
            self.command("apt-cache").args(["madison", PACKAGE]).output().context("cannot run apt-cache")?;
        let text = String::from_utf8_lossy(&out.stdout);
        match text.lines().find_map(|line| Some(line.split('|').nth(1)?.trim().to_owned())) {
            Some(version) => Ok(version),
            None => bail!(
                "{SUITE} has no {PACKAGE} any more: name its successor (linux-source-7.x) in \
                 image-build/src/kernel/source.rs"
            ),
        }
    }
}

fn the_one_in(folder: &Path, ending: &str) -> Result<PathBuf> {
    std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(ending))
        .with_context(|| format!("no {ending} in {}", folder.display()))
}
