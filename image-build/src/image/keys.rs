//! The keys of an image: one that signs what the firmware starts, one that signs updates. Made once, kept in a folder of the user's and nowhere else.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::folders;
use crate::progress::{self, Step};

/// Days that the certificate for Secure Boot holds; the firmware does not look at it.
const DAYS: &str = "7300";
/// The name in both keys.
const NAME: &str = "holobooth image";

/// Where they are.
pub(crate) struct Keys {
    /// Signs systemd-boot and the unified kernel image; PEM.
    pub(crate) secure_boot_key: PathBuf,
    /// Goes into the firmware; X.509, PEM.
    pub(crate) secure_boot_certificate: PathBuf,
    /// GnuPG's folder with the key that signs updates.
    pub(crate) updates_home: PathBuf,
    /// What a booth judges updates by.
    pub(crate) updates_public: PathBuf,
}

/// Where they are unless somebody says otherwise. Once they were in the cache, which may be deleted: then they are moved.
///
/// # Errors
/// When no folder can be made there.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = folders::data_of("keys")?;
    if take_over(&folders::cache()?.join("keys"), &folder, &folders::cache_of("image")?.join("copy.log"))? {
        eprintln!("The keys of your images were moved to {}: keep a copy.", folder.display());
    }
    Ok(folder)
}

/// Moves the keys from `before` to `folder`, if that is still empty. Whether there were any.
fn take_over(before: &Path, folder: &Path, log: &Path) -> Result<bool> {
    let any = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if any(folder) || !any(before) {
        return Ok(false);
    }
    // They may lie on different disks, which mv minds.
    let mut mv = Command::new("mv");
    mv.arg("--no-target-directory").arg(before).arg(folder);
    progress::logged(&mut mv, log, |_| {})
        .with_context(|| format!("cannot move {} to {}", before.display(), folder.display()))?;
    Ok(true)
}

impl Keys {
    /// Those in `folder`; made first when it has none.
    ///
    /// # Errors
    /// When openssl or gpg fail.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        let keys = Self {
            secure_boot_key: folder.join("secure-boot.key"),
            secure_boot_certificate: folder.join("secure-boot.crt"),
            updates_home: folder.join("updates"),
            updates_public: folder.join("updates.pgp"),
        };
        if keys.secure_boot_certificate.exists() && keys.updates_public.exists() {
            return Ok(keys);
        }
        let step = Step::begin("Making keys for the image");
        std::fs::create_dir_all(folder)?;
        private(folder)?;
        let log = folder.join("keys.log");
        if !keys.secure_boot_certificate.exists() {
            let mut openssl = Command::new("openssl");
            openssl
                .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-subj"])
                .arg(format!("/CN={NAME}/"))
                .arg("-keyout")
                .arg(&keys.secure_boot_key)
                .arg("-out")
                .arg(&keys.secure_boot_certificate);
            progress::logged(&mut openssl, &log, |_| {}).context("cannot make the key for Secure Boot")?;
        }
        std::fs::create_dir_all(&keys.updates_home)?;
        private(&keys.updates_home)?;
        let mut generate = keys.gpg();
        generate.args(["--passphrase", "", "--quick-generate-key", NAME, "ed25519", "sign", "never"]);
        progress::logged(&mut generate, &log, |_| {}).context("cannot make the key for updates")?;
        let mut export = keys.gpg();
        export.arg("--output").arg(&keys.updates_public).args(["--export", NAME]);
        progress::logged(&mut export, &log, |_| {}).context("cannot export the key for updates")?;
        step.done(&format!("kept in {}; keep them too, or booths take no update of yours", folder.display()));
        Ok(keys)
    }

    /// Signs `file`, beside it.
    ///
    /// # Errors
    /// When gpg fails.
    pub(crate) fn sign(&self, file: &Path) -> Result<()> {
        let mut gpg = self.gpg();
        let mut signature = file.as_os_str().to_owned();
        signature.push(".gpg");
        gpg.args(["--yes", "--output"]).arg(signature).arg("--detach-sign").arg(file);
        progress::logged(&mut gpg, &self.updates_home.with_file_name("keys.log"), |_| {})
            .with_context(|| format!("cannot sign {}", file.display()))
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--homedir"]).arg(&self.updates_home);
        gpg
    }
}

fn private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot keep others out of {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_moved_once_and_never_over_others() {
        let place = tempfile::tempdir().unwrap();
        let (before, folder, log) =
            (place.path().join("a"), place.path().join("b"), place.path().join("log"));
        std::fs::create_dir(&folder).unwrap();
        assert!(!take_over(&before, &folder, &log).unwrap(), "there are none");
        std::fs::create_dir(&before).unwrap();
        std::fs::write(before.join("room.key"), "old").unwrap();
        assert!(take_over(&before, &folder, &log).unwrap());
        assert_eq!(std::fs::read_to_string(folder.join("room.key")).unwrap(), "old");
        std::fs::create_dir_all(&before).unwrap();
        std::fs::write(before.join("room.key"), "other").unwrap();
        assert!(!take_over(&before, &folder, &log).unwrap());
        assert_eq!(std::fs::read_to_string(folder.join("room.key")).unwrap(), "old");
    }
}
