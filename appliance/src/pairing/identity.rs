//! A booth's key and certificate: made on first power-on, kept in the data folder, known to others by a
//! fingerprint.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::sys::replace_file;

/// What can be wrong with the identity, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data folder cannot be used.
    #[error("identity: {path}: {source}; booth.data must be a folder that holobooth may write")]
    Folder {
        /// File or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The stored key or certificate is damaged.
    #[error(
        "identity: {path} is damaged; remove it and {} beside it, and the booth makes itself a new identity",
        other(path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The kept room key is damaged.
    #[error(
        "identity: {path}: {reason}; `holobooth room leave` removes it, and the booth can be paired again"
    )]
    Room {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: super::RoomKeyError,
    },
    /// No key could be made.
    #[error("identity: cannot make a key: {0}")]
    Make(#[from] rcgen::Error),
}

fn other(path: &Path) -> &'static str {
    if path.ends_with(CERT) { KEY } else { CERT }
}

/// Permission bits of the files with secrets: nobody else may read them.
pub(super) const PRIVATE: u32 = 0o600;
const KEY: &str = "key.pem";
const CERT: &str = "cert.pem";

/// SHA-256 of a certificate's DER: who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Its first 16 digits: enough to distinguish booths by eye.
    pub fn short(&self) -> String {
        self.to_string().chars().take(16).collect()
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "not a fingerprint; put in the 64 hexadecimal digits that `holobooth identity` prints at \
                 the other booth",
            )
        })
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Key and certificate of this booth.
pub struct Identity {
    /// The self-signed certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads the identity in `folder`, or makes one there when there is none.
    ///
    /// # Errors
    /// When the folder cannot be used or what is in it is damaged.
    pub fn load_or_make(folder: &Path) -> Result<Self, Error> {
        let (key_path, cert_path) = (folder.join(KEY), folder.join(CERT));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Folder { path, source }
        };
        if !key_path.try_exists().map_err(at(&key_path))? {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
            let (key, cert) = make()?;
            // The certificate first: a key without a certificate would look like damage after a power cut.
            replace_file(&cert_path, cert.as_bytes(), PRIVATE).map_err(at(&cert_path))?;
            replace_file(&key_path, key.as_bytes(), PRIVATE).map_err(at(&key_path))?;
        }
        let read = |path: &Path| fs::read(path).map_err(at(path));
        let damaged = |path: &Path| Error::Damaged { path: path.to_owned() };
        let certificate =
            CertificateDer::from_pem_slice(&read(&cert_path)?).map_err(|_| damaged(&cert_path))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&key_path)?).map_err(|_| damaged(&key_path))?;
        Ok(Self { certificate, key })
    }

    /// The same once more.
    pub fn copy(&self) -> Self {
        Self { certificate: self.certificate.clone(), key: self.key.clone_key() }
    }

    /// Who this booth is to others.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

/// A new Ed25519 key and its self-signed certificate, as PEM.
fn make() -> Result<(String, String), Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let mut params = rcgen::CertificateParams::new(vec!["holobooth".to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "holobooth");
    let cert = params.self_signed(&key)?;
    Ok((key.serialize_pem(), cert.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("holobooth-identity-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn made_once_kept_private() {
        let folder = folder("once");
        let first = Identity::load_or_make(&folder).unwrap().fingerprint();
        assert_eq!(Identity::load_or_make(&folder).unwrap().fingerprint(), first);
        for file in [KEY, CERT] {
            assert_eq!(fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(&folder).unwrap();
        assert_ne!(
            Identity::load_or_make(&folder).unwrap().fingerprint(),
            first,
            "a lost folder is a new booth"
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn damage_is_named() {
        let folder = folder("damage");
        Identity::load_or_make(&folder).unwrap();
        fs::write(folder.join(KEY), "rubbish").unwrap();
        let e = Identity::load_or_make(&folder).err().unwrap().to_string();
        assert!(e.contains("key.pem is damaged; remove it and cert.pem"), "{e}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn fingerprints_read_what_they_print() {
        let f = Fingerprint([0xa5; 32]);
        assert_eq!(Fingerprint::parse(&f.to_string()), Some(f));
        assert_eq!(Fingerprint::parse(&f.to_string().to_uppercase()), Some(f));
        assert_eq!(Fingerprint::parse(&"z".repeat(64)), None);
        assert_eq!(Fingerprint::parse(&"a".repeat(66)), None);
        assert_eq!(Fingerprint::parse("zz"), None);
        assert_eq!(Fingerprint::parse(&"é".repeat(32)), None);
    }
}
