//! The folder that mkosi works in: `image-build/mkosi`, and what is added at build time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::{SUITE, mirror};
use crate::{folders, progress};

/// Where the folders of `systemd/` go in the image.
const PLACES: [(&str, &str); 15] = [
    ("system", "usr/lib/systemd/system"),
    ("preset", "usr/lib/systemd/system-preset"),
    ("system-conf", "usr/lib/systemd/system.conf.d"),
    ("journald", "usr/lib/systemd/journald.conf.d"),
    ("logind", "usr/lib/systemd/logind.conf.d"),
    ("network", "usr/lib/systemd/network"),
    ("resolved", "usr/lib/systemd/resolved.conf.d"),
    ("udev", "usr/lib/udev/rules.d"),
    ("tmpfiles", "usr/lib/tmpfiles.d"),
    ("sysusers", "usr/lib/sysusers.d"),
    ("sysctl", "usr/lib/sysctl.d"),
    ("libexec", "usr/lib/holobooth"),
    ("disk", "usr/lib/holobooth/disk"),
    ("disk-tpm2", "usr/lib/holobooth/disk-tpm2"),
    ("update", "usr/lib/holobooth/update"),
];
/// What mkosi keeps between builds, and must be left where it is.
const KEPT: [&str; 6] = [
    "mkosi.builddir",
    "mkosi.cache",
    "mkosi.output",
    "mkosi.pkgcache",
    "mkosi.tools",
    "mkosi.tools.manifest",
];

/// What the image is made with, besides what is in the checkout.
pub(super) struct Additions<'a> {
    /// The booth's configuration, as it comes to lie in `/etc/holobooth`.
    pub(super) config: &'a str,
    /// The keys.
    pub(super) keys: &'a super::keys::Keys,
    /// The program that shows the first card.
    pub(super) card: &'a Path,
    /// Without the booth: a version that never gets well.
    pub(super) broken: bool,
}

/// Lays out the tree of the system that a booth's start is measured beside; gives its path.
///
/// # Errors
/// As [`lay_out`].
pub(super) fn lay_out_debian() -> Result<PathBuf> {
    let tree = folders::cache_of("image/debian")?;
    clear(&tree)?;
    copy(&folders::checkout().join("image-build/mkosi-debian"), &tree)?;
    outside(&tree)?;
    Ok(tree)
}

/// What comes from outside of the checkout, or stays from build to build.
fn outside(tree: &Path) -> Result<()> {
    for folder in KEPT.iter().filter(|name| !name.starts_with("mkosi.tools")) {
        fs::create_dir_all(tree.join(folder))?;
    }
    let sources = tree.join("mkosi.sandbox/etc/apt/sources.list.d");
    fs::create_dir_all(&sources)?;
    // All of them, in the place of mkosi's own list, which names a repository that not every mirror has.
    let text = mirror::sources(&mirror::find()?, mirror::find_security().as_deref(), SUITE);
    fs::write(sources.join("mkosi.sources"), text)?;
    Ok(())
}

/// Lays it out; gives its path.
///
/// # Errors
/// When the cache cannot be written, or this machine's mirror is not known.
pub(super) fn lay_out(additions: &Additions<'_>) -> Result<PathBuf> {
    let tree = folders::cache_of("image/tree")?;
    clear(&tree)?;
    // A key for Secure Boot and perhaps a room's are in it.
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o700))?;
    let checkout = folders::checkout();
    copy(&checkout.join("image-build/mkosi"), &tree)?;
    outside(&tree)?;
    let extra = tree.join("mkosi.extra");
    for (from, to) in PLACES {
        let from = checkout.join("systemd").join(from);
        if from.is_dir() {
            copy(&from, &extra.join(to))?;
        }
    }
    let config = extra.join("etc/holobooth");
    fs::create_dir_all(&config)?;
    fs::write(config.join("holobooth.toml"), additions.config)?;
    let initrd = tree.join("mkosi.images/initrd/mkosi.extra/usr/bin");
    fs::create_dir_all(&initrd)?;
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(initrd.join("holobooth-card")).arg(additions.card);
    progress::logged(&mut strip, &folders::cache_of("image")?.join("copy.log"), |_| {})
        .context("cannot strip the first card's program (Debian package binutils)")?;
    if additions.broken {
        let units = extra.join("etc/systemd/system");
        fs::create_dir_all(&units)?;
        std::os::unix::fs::symlink("/dev/null", units.join("holobooth.service"))?;
    }
    let loader = extra.join("efi/loader");
    fs::create_dir_all(&loader)?;
    fs::write(loader.join("loader.conf"), "timeout 0\neditor no\n")?;
    fs::copy(&additions.keys.secure_boot_key, tree.join("mkosi.key"))?;
    fs::copy(&additions.keys.secure_boot_certificate, tree.join("mkosi.crt"))?;
    let ring = extra.join("usr/lib/systemd");
    fs::create_dir_all(&ring)?;
    fs::copy(&additions.keys.updates_public, ring.join("import-pubring.gpg"))?;
    Ok(tree)
}

/// Takes away what an earlier build laid out.
fn clear(tree: &Path) -> Result<()> {
    for entry in fs::read_dir(tree)?.flatten() {
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        let path = entry.path();
        let gone =
            if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Copies a folder's content, modes and links included.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let mut cp = Command::new("cp");
    cp.args(["--recursive", "--no-dereference", "--preserve=mode,links"]).arg(from.join(".")).arg(to);
    progress::logged(&mut cp, &folders::cache_of("image")?.join("copy.log"), |_| {})
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
