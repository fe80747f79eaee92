//! Stock relays under test: the unmodified program `moq-relay`.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::child::Running;

/// The UDP port that relays listen on.
pub const PORT: u16 = 4443;

/// The relay's program, as HOLOBOOTH_RELAY_BIN names it.
///
/// # Errors
/// When that names none.
pub fn binary() -> io::Result<PathBuf> {
    let path = std::env::var_os("HOLOBOOTH_RELAY_BIN").map(PathBuf::from).unwrap_or_default();
    if path.is_file() {
        return Ok(path);
    }
    let why = format!(
        "no relay at {}: `cargo xtask scenario` installs one and names it in HOLOBOOTH_RELAY_BIN",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}

/// A relay: its certificate, and the process while one runs.
pub struct Relay {
    namespace: String,
    arguments: Vec<String>,
    fingerprint: String,
    log: PathBuf,
    process: Option<Running>,
}

impl Relay {
    /// A relay in a network namespace, its files in `dir`; it does not run yet. All may publish and
    /// subscribe.
    ///
    /// # Errors
    /// When its certificate cannot be made or written.
    pub fn new(namespace: &str, dir: &Path) -> io::Result<Self> {
        let dir = dir.join(namespace);
        std::fs::create_dir_all(&dir)?;
        let made =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
        let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let digest = Sha256::digest(made.cert.der());
        let path = |path: PathBuf| path.display().to_string();
        let arguments = [
            ("--listen", format!("0.0.0.0:{PORT}")),
            ("--listen-tls-cert", path(certificate)),
            ("--listen-tls-key", path(key)),
            ("--connect-bind", "0.0.0.0:0".to_owned()),
            ("--auth-public", "**".to_owned()),
        ];
        Ok(Self {
            namespace: namespace.to_owned(),
            arguments: arguments.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect(),
            fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            // Not beside the certificate: the relay looks for new ones when anything there changes, and says
            // so in its log.
            log: dir.with_extension("log"),
            process: None,
        })
    }

    /// SHA-256 of its certificate, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// From its next start on, it joins the cluster of the relay `other` at `address`.
    pub fn join(&mut self, other: &Self, address: Ipv4Addr) {
        let words = [
            ("--cluster-connect", format!("https://{address}:{PORT}/")),
            ("--connect-tls-fingerprint", other.fingerprint.clone()),
        ];
        self.arguments.extend(words.into_iter().flat_map(|(key, value)| [key.to_owned(), value]));
    }

    /// Starts it, again or for the first time.
    ///
    /// # Errors
    /// When it is not there or cannot be started.
    pub fn start(&mut self) -> io::Result<()> {
        self.process = None;
        self.process = Some(Running::start_in(&self.namespace, &binary()?, &self.arguments, &self.log)?);
        Ok(())
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
