//! Publishing an image: the compressed disk, the files of an update, the SBOM, and checksums with a signature.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::keys::Keys;
use super::sbom;
use crate::folders;
use crate::progress::{self, Step};

/// The list of sums; its signature ends in `.gpg`.
const SUMS: &str = "SHA256SUMS";

/// Publishes what mkosi left in `output` in `folder`.
///
/// # Errors
/// When there is no room, or a program fails.
pub(super) fn artifacts(output: &Path, version: &str, folder: &Path, keys: &Keys) -> Result<()> {
    let stem = format!("holobooth_{version}");
    let step = Step::begin("Compressing and signing it");
    let log = folders::cache_of("image")?.join("publish.log");
    let _ = fs::remove_file(&log);
    let disk = format!("{stem}.raw.zst");
    let mut zstd = Command::new("zstd");
    zstd.args(["--force", "--quiet", "--threads=0", "-o"]).arg(folder.join(&disk));
    zstd.arg(output.join(format!("{stem}.raw")));
    progress::logged(&mut zstd, &log, |_| {}).context("cannot compress the image")?;
    let mut update = Vec::new();
    for entry in fs::read_dir(output)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.strip_prefix(&stem) {
            Some(".efi") => {
                fs::copy(entry.path(), folder.join(&name))?;
                update.push(name);
            }
            // systemd-sysupdate knows gzip, bzip2 and xz. What is in a partition is compressed already, its holes are not.
            Some(part) if part.starts_with(".root-") && part.ends_with(".raw") => {
                let to = format!("{name}.gz");
                let mut gzip = Command::new("gzip");
                gzip.args(["--fast", "--no-name", "--stdout"])
                    .arg(entry.path())
                    .stdout(File::create(folder.join(&to))?);
                let status = gzip.status().context("cannot run gzip")?;
                anyhow::ensure!(status.success(), "gzip failed ({status})");
                update.push(to);
            }
            _ => {}
        }
    }
    update.sort();
    let sbom = format!("{stem}.cdx.json");
    fs::write(folder.join(&sbom), sbom::of_image(&output.join(format!("{stem}.manifest")), version)?)?;
    let mut sums = String::new();
    for name in update.iter().chain([&sbom, &disk]) {
        sums.push_str(&format!("{}  {name}\n", sha256(&folder.join(name))?));
    }
    fs::write(folder.join(SUMS), sums)?;
    keys.sign(&folder.join(SUMS))?;
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=ustar", "--owner=0", "--group=0", "--file"])
        .arg(folder.join(format!("{stem}.update")));
    tar.arg("--directory").arg(folder).args([SUMS, "SHA256SUMS.gpg"]).args(&update);
    progress::logged(&mut tar, &log, |_| {}).context("cannot pack the update")?;
    let size = fs::metadata(folder.join(&disk))?.len();
    step.done(&format!("{disk} has {} MB", size / 1_000_000));
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(file: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    let mut reader = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    std::io::copy(&mut reader, &mut digest)?;
    Ok(data_encoding::HEXLOWER.encode(&digest.finalize()))
}
