//! The image of a booth: from Debian's packages, this checkout and a configuration to a file for a disk, and the files of an update.

mod keys;
mod mkosi;
pub(crate) mod publish;
mod sbom;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::image::keys::Keys;
use crate::image::tree::Additions;
use crate::kernel::required;
use crate::progress::{self, Step};
use crate::setup::{self, Group};
use crate::{cargo, folders, interrupt};

/// Gives partitions and file systems the same identities in every build.
const SEED: &str = "6d1b0d6c-5c0e-4f0a-9d0d-7b1c3f1e8a55";
/// What a booth is without a configuration: one that shows a code.
const DEFAULT_CONFIG: &str =
    "# The configuration of the image. A stick with a holobooth.toml takes its place, section by section.\n";

/// Among the versions that a scenario may ask for: Debian as it comes.
const DEBIAN: &str = "debian";
/// A room key that everybody knows, for images that only tests boot.
const TEST_ROOM: &str = "7YZJLAN-N7HCFTU-3IRT5SG-3HHSFL2-2HS3RTN-DYXUBCT-37FEZ6K-ZAW4BY5";

/// `cargo xtask image`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  cargo xtask image                                  booths that show a code to be paired by
  cargo xtask image --room new                       booths of a new room, that find each other at once
  cargo xtask image --room kept --image-version 1.1  the same room again
  cargo xtask image --config venue.toml --image-version 1.2

Makes, in target/image (or --out):
  holobooth_VERSION.raw.zst    for `cargo xtask flash`, or any writer of images that knows zstd
  holobooth_VERSION.update     an update, for the root of a stick
  holobooth_VERSION.*          the same as files, for a folder on a server: kernel image, root, hashes
  holobooth_VERSION.cdx.json   what is in it (CycloneDX)
  SHA256SUMS, SHA256SUMS.gpg   over all of them
The keys that sign it are in --keys (~/.local/share/holobooth/keys unless given), made there if there are none: keep that folder.
Without root it needs user namespaces. The first build takes about twelve minutes on two cores. The next ones spare only the making of the tools: Debian's
packages are installed and the booth is compiled anew, so that the image has what Debian has on the day.")]
pub(crate) struct Arguments {
    /// The room key to bake in, as `holobooth room new` prints it; `new` makes one and keeps it as room.key beside the keys, `kept` takes that
    #[arg(long, value_name = "KEY", conflicts_with = "config")]
    room: Option<String>,
    /// The configuration to bake in
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The version, as updates count it
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"), value_parser = version)]
    image_version: String,
    /// The folder of the keys
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Where the image goes
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Leave the disk's image uncompressed too, for a virtual machine
    #[arg(long)]
    raw: bool,
    /// A version that never gets well: for testing that booths go back from it.
    #[arg(skip)]
    broken: bool,
    /// May have Debian's packages as an earlier build installed them: for images that only tests boot.
    #[arg(skip)]
    kept_packages: bool,
}

/// The file of a room's key, beside the others.
const ROOM: &str = "room.key";

/// How often the lock is tried.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What was made.
struct Made {
    /// The folder of all files.
    folder: PathBuf,
    /// The disk's image, uncompressed, in the cache.
    raw: PathBuf,
}

fn version(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let starts = text.starts_with(|c: char| c.is_ascii_digit());
    if starts && text.len() <= 32 && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("a version begins with a digit and has digits, letters and dots: 1.4 or 20261124.2".into())
    }
}

/// Makes an image and says where it is.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let _lock = lock()?;
    let made = make(arguments)?;
    println!("{}", made.folder.display());
    eprintln!("Next: `cargo xtask flash` names the disks that can be written.");
    if arguments.room.is_some() {
        let image = made.folder.join(format!("holobooth_{}.raw.zst", arguments.image_version));
        eprintln!("Without hardware: `cargo xtask scenario image-pair --image {}`.", image.display());
    }
    Ok(())
}

/// Keeps other xtasks from the cache of images while it lives.
fn lock() -> Result<fs::File> {
    let lock = fs::File::create(folders::cache_of("image")?.join("lock"))?;
    if lock.try_lock().is_err() {
        let step = Step::begin("Waiting for another xtask that makes an image");
        while lock.try_lock().is_err() {
            if interrupt::requested() {
                bail!("stopped while another xtask makes an image");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        step.done("");
    }
    Ok(lock)
}

/// Makes an image, with the cache of images locked.
///
/// # Errors
/// When something that it needs cannot be had, the configuration is refused, a kernel option is missing, or mkosi fails.
fn make(arguments: &Arguments) -> Result<Made> {
    setup::ensure(&[Group::Image])?;
    let safe = arguments.keys.clone().map_or_else(keys::folder, Ok)?;
    let keys = Keys::in_folder(&safe)?;
    let config = configuration(arguments, &safe)?;
    let tree = tree::lay_out(&Additions {
        config: &config,
        keys: &keys,
        card: &cargo::build_card()?,
        broken: arguments.broken,
    })?;
    let version = &arguments.image_version;
    let output = tree.join("mkosi.output");
    // What another version, or an interrupted build, left there would be published too.
    for entry in fs::read_dir(&output)?.flatten().filter(|entry| entry.file_name() != "tools") {
        let _ = fs::remove_file(entry.path());
    }
    let ran = run_mkosi(&tree, version, arguments.kept_packages);
    // Nobody needs it there any more.
    let _ = fs::remove_file(tree.join("mkosi.key"));
    ran?;
    required::check(&output.join("kernel.config"))?;
    let folder = arguments.out.clone().unwrap_or_else(|| folders::target().join("image"));
    fs::create_dir_all(&folder)?;
    let raw = output.join(format!("holobooth_{version}.raw"));
    publish::artifacts(&output, version, &folder, &keys)?;
    if arguments.raw {
        copy_sparse(&raw, &folder.join(format!("holobooth_{version}.raw")))?;
    }
    Ok(Made { folder, raw })
}

/// Makes these versions for scenarios, unless the cache has them made of the same things; gives the folder that holds them, each as
/// `VERSION/disk.raw` beside the files of its update. `VERSION+room` has a room key, `VERSION+broken` never gets well.
///
/// # Errors
/// As [`make`].
pub(crate) fn for_tests(versions: &[String]) -> Result<PathBuf> {
    let _lock = lock()?;
    let made = folders::cache_of("image/made")?;
    let folder = made.join(inputs()?);
    for version in versions {
        let place = folder.join(version);
        if place.join("disk.raw").exists() {
            continue;
        }
        // The cache would grow with every change of the checkout otherwise.
        for other in fs::read_dir(&made)?.flatten().filter(|entry| entry.path() != folder) {
            let _ = fs::remove_dir_all(other.path());
        }
        if version == DEBIAN {
            debian(&place)?;
            continue;
        }
        let (number, variant) = version.split_once('+').unwrap_or((version, ""));
        let arguments = Arguments {
            room: (variant == "room").then(|| TEST_ROOM.to_owned()),
            config: None,
            image_version: number.to_owned(),
            // Made with the first of them: a version takes no update with another's signature.
            keys: Some(folder.join("keys")),
            out: Some(place.clone()),
            raw: false,
            broken: variant == "broken",
            kept_packages: true,
        };
        let raw = make(&arguments)?.raw;
        copy_sparse(&raw, &place.join("disk.raw"))?;
    }
    Ok(folder)
}

/// Lays out `file`, an image that was made before, in `folder` as [`for_tests`] does `version`; gives the folder.
///
/// # Errors
/// When it is no image that zstd packed.
pub(crate) fn given(file: &Path, version: &str, folder: &Path) -> Result<PathBuf> {
    setup::ensure(&[Group::Image])?;
    let place = folder.join(version);
    fs::create_dir_all(&place)?;
    let file = file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
    let step = Step::begin("Unpacking the image");
    let mut zstd = Command::new("zstd");
    zstd.args(["--decompress", "--sparse", "--quiet", "-o"]).arg(place.join("disk.raw")).arg(&file);
    progress::logged(&mut zstd, &folders::cache_of("image")?.join("copy.log"), |_| {})
        .with_context(|| format!("{} is no image as `cargo xtask image` makes it", file.display()))?;
    step.done("");
    std::os::unix::fs::symlink(&file, place.join("holobooth_1.raw.zst"))?;
    Ok(folder.to_owned())
}

/// Makes the Debian that a booth's start is measured beside; with the tools that the booth's image was made with.
fn debian(place: &Path) -> Result<()> {
    let output = folders::cache_of("image/tree")?.join("mkosi.output");
    let tools = output.join("tools");
    if !tools.is_dir() {
        bail!("make an image first: `cargo xtask image`");
    }
    // Of the same kernel as the booth's image, which is lent a module of it.
    let kernel = Sha256::digest(of_a_file(&output.join("kernel.config"))?.1);
    let wanted = format!("{} {}", hash_of(&["image-build/mkosi-debian"])?, HEXLOWER.encode(&kernel));
    let made = folders::cache_of("image")?.join("debian.made");
    let tree = tree::lay_out_debian()?;
    if fs::read_to_string(&made).is_ok_and(|last| last == wanted) {
        fs::create_dir_all(place)?;
        return copy_sparse(&tree.join("mkosi.output/debian.raw"), &place.join("disk.raw"));
    }
    let log = folders::cache_of("image")?.join("debian.log");
    let _ = fs::remove_file(&log);
    let mut mkosi = mkosi::command(&tree)?;
    mkosi.arg("--force").arg("--tools-tree").arg(tools).arg("build").current_dir(&tree);
    let step = Step::begin("Making a plain Debian to measure beside");
    progress::logged(&mut mkosi, &log, |_| {})
        .with_context(|| format!("mkosi failed; all it said is in {}", log.display()))?;
    step.done("");
    fs::write(made, wanted)?;
    fs::create_dir_all(place)?;
    copy_sparse(&tree.join("mkosi.output/debian.raw"), &place.join("disk.raw"))
}

/// What an image is made of, as far as it lies in the checkout.
fn inputs() -> Result<String> {
    hash_of(&[
        ".cargo",
        "Cargo.lock",
        "Cargo.toml",
        "appliance",
        "image-build/mkosi",
        "image-build/src/image",
        "kernel-config/appliance",
        "systemd",
    ])
}

/// A hash over these files and folders of the checkout, whatever git thinks of them.
fn hash_of(places: &[&str]) -> Result<String> {
    let out = Command::new("git")
        .current_dir(folders::checkout())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .args(places)
        .output()
        .context("cannot ask git for the checkout's files")?;
    if !out.status.success() {
        bail!("git does not list the checkout's files: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let listing = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut names: Vec<_> = listing.split('\0').filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut digest = Sha256::new();
    for name in names {
        let (kind, content) = of_a_file(&folders::checkout().join(name))?;
        digest.update(format!("{name}\0{kind}\0{}\0", content.len()));
        digest.update(content);
    }
    Ok(HEXLOWER.encode(&digest.finalize()[..8]))
}

/// What git keeps of a file: whether it can be run, and its content; of a link, where it leads.
fn of_a_file(path: &Path) -> Result<(&'static str, Vec<u8>)> {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::PermissionsExt;
    let failed = || format!("cannot read {}", path.display());
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // git lists it until its removal is committed.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(("gone", Vec::new())),
        Err(e) => return Err(e).with_context(failed),
    };
    if metadata.is_symlink() {
        return Ok(("link", fs::read_link(path).with_context(failed)?.into_os_string().into_vec()));
    }
    let kind = if metadata.permissions().mode() & 0o100 == 0 { "file" } else { "program" };
    Ok((kind, fs::read(path).with_context(failed)?))
}

fn configuration(arguments: &Arguments, safe: &Path) -> Result<String> {
    let kept = match arguments.room.as_deref() {
        Some("kept") => Some(kept_room(safe)?),
        _ => None,
    };
    // The booth itself makes a room's key and judges the file: what it would refuse must not be baked in.
    let booth = cargo::build()?.booth;
    let text = match (&arguments.room, &arguments.config) {
        (Some(room), _) if room == "new" => with_room(&new_room(&booth, safe)?),
        (Some(room), _) => with_room(kept.as_ref().unwrap_or(room)),
        (None, Some(file)) => {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, None) => DEFAULT_CONFIG.to_owned(),
    };
    let file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    fs::write(file.path(), &text)?;
    let out = Command::new(booth)
        .args(["check", "--config"])
        .arg(file.path())
        .output()
        .context("cannot run the booth's program to check the configuration")?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        bail!("the configuration is refused: {}", why.trim());
    }
    Ok(text)
}

fn with_room(key: &str) -> String {
    format!("{DEFAULT_CONFIG}\n[room]\nkey = \"{}\"\n", key.trim())
}

/// A new room key, kept in `safe` for the next image of the same room.
fn new_room(booth: &Path, safe: &Path) -> Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let out = Command::new(booth)
        .args(["room", "new", "--json"])
        .output()
        .context("cannot run the booth's program")?;
    let made: serde_json::Value =
        serde_json::from_slice(&out.stdout).context("the booth's program made no room key")?;
    let key = made["key"].as_str().context("the booth's program made no room key")?;
    let file = safe.join(ROOM);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut file| std::io::Write::write_all(&mut file, key.as_bytes()))
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow!(
                "there is a room already: `--room kept` makes booths of it, and {} moved away makes room for a new one",
                file.display()
            ),
            _ => anyhow!("cannot keep the room's key in {}: {e}", file.display()),
        })?;
    eprintln!("The room's key is in {}; whoever has it belongs to the room.", file.display());
    Ok(key.to_owned())
}

/// The room key that an earlier image made.
fn kept_room(safe: &Path) -> Result<String> {
    let file = safe.join(ROOM);
    fs::read_to_string(&file)
        .with_context(|| format!("no room was made yet, `--room new` does: cannot read {}", file.display()))
}

fn run_mkosi(tree: &Path, version: &str, kept_packages: bool) -> Result<()> {
    let mut fetch = cargo::cargo();
    fetch.args(["fetch", "--locked"]);
    let log = folders::cache_of("image")?.join("mkosi.log");
    let _ = fs::remove_file(&log);
    progress::logged(&mut fetch, &log, |_| {}).context("cannot download the booth's crates")?;
    let mut mkosi = mkosi::command(tree)?;
    mkosi.arg("--force");
    if !kept_packages {
        // Once more, and mkosi forgets the installed system that it kept, which may be months old; its tools it keeps.
        mkosi.arg("--force");
    }
    mkosi.args(["--image-version", version, "--seed", SEED, "--source-date-epoch"]);
    mkosi.arg(commit_time()?);
    mkosi.arg("--build-sources").arg(sources()?);
    // mkosi takes its sandbox's first folders from here.
    mkosi.current_dir(tree).arg("build");
    let step = Step::begin("Making the image (up to about ten minutes)");
    progress::logged(&mut mkosi, &log, |_| {})
        .with_context(|| format!("mkosi failed; all it said is in {}", log.display()))?;
    step.done("");
    Ok(())
}

/// Where the build finds the checkout, the toolchain and the downloaded crates.
fn sources() -> Result<String> {
    let (rust, cargo) = (cargo::toolchain()?, cargo::home()?);
    let checkout = folders::clean(folders::checkout());
    Ok(format!("{}:holobooth,{}:rust,{}:cargo", checkout.display(), rust.display(), cargo.display()))
}

/// When the checkout's commit was made, in seconds since 1970: all files of the image are at most as young.
fn commit_time() -> Result<String> {
    let out = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(folders::checkout())
        .output()
        .context("cannot ask git for the commit's time")?;
    let time = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if time.is_empty() { bail!("the checkout is no git repository with a commit") } else { Ok(time) }
}

/// Copies a disk's image, its holes as holes: whole, or not at all.
fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    let mut cp = Command::new("cp");
    cp.args(["--sparse=always", "--reflink=auto"]).arg(from).arg(&new);
    progress::logged(&mut cp, &folders::cache_of("image")?.join("publish.log"), |_| {})
        .and_then(|()| Ok(fs::rename(&new, to)?))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_that_updates_can_count() {
        for good in ["1", "0.1.0", "20261124.2", "1.2rc1"] {
            assert_eq!(version(good).as_deref(), Ok(good));
        }
        for bad in ["", "v1", "1_2", "1-2", "1/2", "1 2", "1+3", &"1".repeat(33)] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn programs_files_and_links_are_told_apart() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(of_a_file(&file).unwrap(), ("file", b"text".to_vec()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(of_a_file(&file).unwrap(), ("program", b"text".to_vec()));
        symlink("file", folder.path().join("link")).unwrap();
        assert_eq!(of_a_file(&folder.path().join("link")).unwrap(), ("link", b"file".to_vec()));
        assert_eq!(of_a_file(&folder.path().join("none")).unwrap(), ("gone", Vec::new()));
        assert!(of_a_file(folder.path()).is_err());
    }
}
