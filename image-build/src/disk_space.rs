//! Whether there is room on the disk for what a command makes, asked before it spends half an hour on making it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;

use crate::folders;

const GIB: u64 = 1 << 30;
/// What unit tests and lints build: 7 GiB by `du` for the tests, built from nothing, and room for the lints.
const DEBUG: u64 = 9 * GIB;
/// What the optimized programs take: 1.4 GiB by `du`, and room.
const RELEASE: u64 = 2 * GIB;
/// The tree that images are made in, and the images that scenarios boot: 12.2 GiB by `du`, and room.
const IMAGE: u64 = 13 * GIB;
/// What scenarios write, most of it two booths' disks, and remove again: an estimate.
const RUNS: u64 = 6 * GIB;

/// A folder, and how much is still going to be written to it.
struct Need {
    folder: PathBuf,
    device: u64,
    bytes: u64,
}

/// Looks whether `cargo xtask test` would fit.
///
/// # Errors
/// When it would not, with what is missing where.
pub(crate) fn for_test() -> Result<()> {
    let (target, cache) = (folders::target(), folders::cache()?);
    std::fs::create_dir_all(&target)
        .with_context(|| format!("cannot make the folder {}", target.display()))?;
    let (build, image) = (build_bytes(&target), image_bytes(&cache));
    enough(vec![need(target, build)?, need(cache, image)?])
}

/// What is still to be built. This program is in the folder already, and what it was built with.
fn build_bytes(target: &Path) -> u64 {
    let debug = if holds(&target.join("debug/deps"), "holobooth_tests-") { 0 } else { DEBUG };
    let release = if holds(&target.join("release"), "holobooth-tests") { 0 } else { RELEASE };
    debug + release
}

fn image_bytes(cache: &Path) -> u64 {
    RUNS + if holds(&cache.join("image/made"), "") { 0 } else { IMAGE }
}

/// Whether a folder has something of a name that begins so.
fn holds(folder: &Path, begin: &str) -> bool {
    let mut names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.any(|name| name.as_encoded_bytes().starts_with(begin.as_bytes()))
}

fn need(folder: PathBuf, bytes: u64) -> Result<Need> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(&folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    Ok(Need { device: about.dev(), folder, bytes })
}

/// Folders of one file system share what is free there.
fn enough(needs: Vec<Need>) -> Result<()> {
    for Need { folder, device, .. } in &needs {
        let bytes: u64 = needs.iter().filter(|need| need.device == *device).map(|need| need.bytes).sum();
        let disk =
            statvfs(folder).with_context(|| format!("cannot ask for space at {}", folder.display()))?;
        let free = disk.blocks_available() * disk.fragment_size();
        if free < bytes {
            bail!(
                "the disk of {} has {} free, and the tests write {}: make room (`cargo clean` removes what was built before)",
                folder.display(),
                Gib(free),
                Gib(bytes),
            );
        }
    }
    Ok(())
}

struct Gib(u64);

impl fmt::Display for Gib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GiB", self.0 as f64 / GIB as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_takes_no_more_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let make = |file: &str| {
            std::fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
            std::fs::write(path.join(file), "").unwrap();
        };
        make("debug/deps/xtask-0");
        std::fs::create_dir_all(path.join("image/tree")).unwrap();
        assert_eq!((build_bytes(path), image_bytes(path)), (DEBUG + RELEASE, IMAGE + RUNS));
        make("debug/deps/holobooth_tests-0");
        assert_eq!(build_bytes(path), RELEASE);
        make("release/holobooth-tests");
        make("image/made/0/image");
        assert_eq!((build_bytes(path), image_bytes(path)), (0, RUNS));
    }

    #[test]
    fn what_shares_a_disk_must_fit_together() {
        let folder = std::env::temp_dir();
        let disk = statvfs(&folder).unwrap();
        let free = disk.blocks_available() * disk.fragment_size();
        let half = |device| Need { folder: folder.clone(), device, bytes: free / 8 * 5 };
        assert!(enough(vec![half(1), half(2)]).is_ok(), "two disks");
        let error = enough(vec![half(1), half(1)]).unwrap_err().to_string();
        assert!(error.contains("GiB free") && error.contains("make room"), "{error}");
    }
}
