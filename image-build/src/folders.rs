//! Where things lie: the checkout, the caches, the build folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout this `xtask` was compiled from.
pub(crate) fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// `$XDG_CACHE_HOME/holobooth`, or `~/.cache/holobooth`; made when absent.
pub(crate) fn cache() -> Result<PathBuf> {
    made(base("XDG_CACHE_HOME", ".cache")?.join("holobooth"))
}

/// A folder inside [`cache`]; made when absent.
pub(crate) fn cache_of(what: &str) -> Result<PathBuf> {
    made(cache()?.join(what))
}

/// A folder in `$XDG_DATA_HOME/holobooth`, or `~/.local/share/holobooth`, for what cannot be made again; made when absent.
pub(crate) fn data_of(what: &str) -> Result<PathBuf> {
    made(base("XDG_DATA_HOME", ".local/share")?.join("holobooth").join(what))
}

/// The folder that a variable names, or the one in the home folder (XDG Base Directory Specification).
fn base(variable: &str, in_home: &str) -> Result<PathBuf> {
    match std::env::var_os(variable).map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => Ok(folder),
        _ => {
            let home = std::env::home_dir();
            Ok(home.with_context(|| format!("no home folder is set: set HOME or {variable}"))?.join(in_home))
        }
    }
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
