//! Where things lie: the checkout, the caches, the build folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout this `xtask` was compiled from.
pub(crate) fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `$XDG_CACHE_HOME/holobooth`, or `~/.cache/holobooth`; made when absent.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => {
            std::env::home_dir().context("no home folder is set: set HOME or XDG_CACHE_HOME")?.join(".cache")
        }
    };
    made(base.join("holobooth"))
}

/// A folder inside [`cache`]; made when absent.
pub(crate) fn cache_of(what: &str) -> Result<PathBuf> {
    made(cache()?.join(what))
}

/// Cargo's build folder: `$CARGO_TARGET_DIR`, or `target` in the checkout.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    clean(&checkout().join(folder))
}

/// The path without `..` steps and links where it exists, as given where it does not.
pub(crate) fn clean(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}
