//! What is examined, and how files of the kernel's are read.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use crate::codec::{self, Choice};
use crate::config::Config;
use crate::health::Status;

/// Tries the encoders and decoders that a configuration allows.
pub type Probe = fn(&Config) -> Result<Choice, codec::Error>;

/// What is examined.
pub(super) struct Subject {
    pub(super) config: Config,
    /// What the booth that runs here says of itself, twice.
    pub(super) booth: io::Result<[Status; 2]>,
    /// Tries encoders and decoders.
    pub(super) probe: Probe,
    pub(super) choice: OnceLock<Result<Choice, codec::Error>>,
}

impl Subject {
    /// The booth that runs, as it was when it was asked last.
    pub(super) fn running(&self) -> Option<&Status> {
        self.booth.as_ref().ok().map(|[_, now]| now)
    }
}

/// The text of a file of the kernel's, without the line's end; nothing when it cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    io::Read::read_to_string(&mut io::Read::take(file, 64 * 1024), &mut text).ok()?;
    Some(text.trim_end().to_owned())
}
