//! A bundle: a tar file `*.update` with an image's sums, their signature and the files they are of. Here it
//! is only unpacked, within bounds; what it is worth, systemd-sysupdate evaluates.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The most that a bundle may hold, in bytes.
pub(super) const LARGEST: u64 = 3 << 30;
/// The longest list of sums, in bytes.
const SUMS_LARGEST: u64 = 65536;
/// The most files in one.
pub(super) const FILES: usize = 16;
/// What stays free on the data partition, in bytes.
const RESERVE: u64 = 64 << 20;

/// Why a bundle was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing.
    #[error("update: {what}: {source}; copy the bundle to the stick again")]
    System {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It is no bundle.
    #[error("update: this is no bundle of ours: {0}; take the .update file as `cargo xtask image` made it")]
    Foreign(String),
    /// There is no room.
    #[error(
        "update: {needed_mb} MB are needed and {free_mb} MB are free on the data partition; a larger disk \
         is needed"
    )]
    NoRoom {
        /// What it has, in MB.
        needed_mb: u64,
        /// What is free, in MB.
        free_mb: u64,
    },
    /// There is one already.
    #[error("update: another one is being installed; put the stick in again when the card shows its result")]
    Busy,
}

fn system(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::System { what, source }
}

/// The list of sums that a bundle begins with: it distinguishes bundles.
///
/// # Errors
/// When it does not begin with one.
pub(super) fn sums(path: &Path) -> Result<Vec<u8>, Error> {
    let bundle = File::open(path).map_err(system("the bundle"))?;
    let mut archive = tar::Archive::new(bundle);
    let mut entries = archive.entries().map_err(system("the bundle"))?.raw(true);
    let foreign = || Error::Foreign("it does not begin with SHA256SUMS".into());
    let entry = entries.next().and_then(Result::ok).ok_or_else(foreign)?;
    if *entry.path_bytes() != *b"SHA256SUMS" {
        return Err(foreign());
    }
    let mut text = Vec::new();
    entry.take(SUMS_LARGEST).read_to_end(&mut text).map_err(system("the bundle"))?;
    Ok(text)
}

/// Unpacks the bundle at `path` into `folder`/`name`: whole, or not at all.
///
/// # Errors
/// When it is none, or too large, or the system refuses.
pub fn unpack(path: &Path, folder: &Path, name: &str) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(system("the data partition"))?;
    if folder.join(name).exists() {
        return Err(Error::Busy);
    }
    let bundle = File::open(path).map_err(system("the bundle"))?;
    let size = bundle.metadata().map_err(system("the bundle"))?.len();
    if size > LARGEST {
        return Err(Error::Foreign(format!("it has {} MB", size >> 20)));
    }
    room_for(size, folder)?;
    let new = folder.join(format!("{name}.stick"));
    let _ = fs::remove_dir_all(&new);
    let result =
        fs::create_dir(&new).map_err(system("the data partition")).and_then(|()| write(bundle, &new));
    if let Err(e) = result {
        let _ = fs::remove_dir_all(&new);
        return Err(e);
    }
    move_in(&new, &folder.join(name))
}

/// Gives a bundle that is whole its place, unless another has come meanwhile.
pub(super) fn move_in(new: &Path, place: &Path) -> Result<(), Error> {
    // A folder that has files is not replaced (rename(2)).
    fs::rename(new, place).map_err(|e| {
        let _ = fs::remove_dir_all(new);
        if place.exists() { Error::Busy } else { system("the data partition")(e) }
    })
}

/// Whether `bytes` find room, and something is left.
pub(super) fn room_for(bytes: u64, folder: &Path) -> Result<(), Error> {
    let space = nix::sys::statvfs::statvfs(folder).map_err(|e| system("the data partition")(e.into()))?;
    let free = space.blocks_available() * space.fragment_size();
    if free < bytes + RESERVE {
        return Err(Error::NoRoom { needed_mb: (bytes + RESERVE) >> 20, free_mb: free >> 20 });
    }
    Ok(())
}

fn write(bundle: File, new: &Path) -> Result<(), Error> {
    let mut archive = tar::Archive::new(bundle.take(LARGEST));
    // Raw: a long name or an extended header would be read into memory, however long it is; ours have none.
    let entries = archive.entries().map_err(system("the bundle"))?.raw(true);
    let mut left = LARGEST;
    let mut names = Vec::new();
    for entry in entries {
        let mut entry = entry.map_err(|e| Error::Foreign(e.to_string()))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != tar::EntryType::Regular || !fits(&name) || names.contains(&name) {
            return Err(Error::Foreign(format!("it holds `{}`", name.escape_default())));
        }
        let to = File::options()
            .write(true)
            .create_new(true)
            .open(new.join(&name))
            .map_err(system("the data partition"))?;
        let size = entry.size();
        left = left.checked_sub(size).ok_or_else(|| Error::Foreign("it is too large".into()))?;
        let written = io::copy(&mut (&mut entry).take(size), &mut &to).map_err(system("the bundle"))?;
        if written != size {
            return Err(Error::Foreign(format!("`{name}` is cut off")));
        }
        to.sync_all().map_err(system("the data partition"))?;
        names.push(name);
        if names.len() > FILES {
            return Err(Error::Foreign("it holds too many files".into()));
        }
    }
    for wanted in ["SHA256SUMS", "SHA256SUMS.gpg"] {
        if !names.iter().any(|name| name == wanted) {
            return Err(Error::Foreign(format!("it has no {wanted}")));
        }
    }
    Ok(())
}

/// Plain names only: what an image's folder holds.
pub(super) fn fits(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let ours = name.starts_with("holobooth_") && (name.ends_with(".efi") || name.ends_with(".raw.gz"));
    name.len() <= 128 && name.chars().all(plain) && (ours || ["SHA256SUMS", "SHA256SUMS.gpg"].contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let raw = &mut header.as_old_mut().name;
            raw[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacked(bytes: &[u8], case: &str) -> (Result<(), Error>, std::path::PathBuf) {
        let folder = std::env::temp_dir().join(format!("holobooth-bundle-{case}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.update");
        fs::write(&path, bytes).unwrap();
        (unpack(&path, &folder, "incoming"), folder)
    }

    const GOOD: [(&str, &[u8]); 3] =
        [("SHA256SUMS", b"sums"), ("SHA256SUMS.gpg", b"signed"), ("holobooth_2.efi", b"kernel")];

    #[test]
    fn a_bundle_is_unpacked_whole() {
        let (result, folder) = unpacked(&bundle(&GOOD), "good");
        result.unwrap();
        assert_eq!(fs::read(folder.join("incoming/holobooth_2.efi")).unwrap(), b"kernel");
        let again = unpack(&folder.join("x.update"), &folder, "incoming");
        assert!(matches!(again, Err(Error::Busy)), "it waits to be installed: {again:?}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn anything_else_leaves_nothing() {
        // A member of GNU's kind L, with a name of a hundred gigabytes to come.
        let mut endless = tar::Header::new_gnu();
        endless.set_entry_type(tar::EntryType::GNULongName);
        endless.set_size(100 << 30);
        endless.set_cksum();
        let long = "holobooth_".to_owned() + &"x".repeat(80) + ".efi";
        let odd: Vec<Vec<(&str, &[u8])>> = vec![
            vec![],
            GOOD[..1].to_vec(),
            [&GOOD[..], &[("../evil", b"x")]].concat(),
            [&GOOD[..], &[("/etc/passwd", b"x")]].concat(),
            [&GOOD[..], &[("holobooth_2.efi", b"again")]].concat(),
            [&GOOD[..], &[("other", b"x")]].concat(),
            (0..40).map(|_| (long.as_str(), &b"x"[..])).collect(),
        ];
        let mut cases: Vec<Vec<u8>> = odd.iter().map(|entries| bundle(entries)).collect();
        let whole = bundle(&GOOD);
        cases.push([endless.as_bytes().as_slice(), &[b'a'; 4096]].concat());
        cases.extend([&b""[..], b"\0", &[0xff; 5000], &whole[..600], &whole[..1300]].map(<[u8]>::to_vec));
        for (n, bytes) in cases.iter().enumerate() {
            let (result, folder) = unpacked(bytes, &n.to_string());
            assert!(result.is_err(), "case {n}");
            let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name()).collect();
            assert_eq!(left, ["x.update"], "case {n}");
            fs::remove_dir_all(folder).unwrap();
        }
    }
}
