//! Why a machine is of no use.

use std::time::Duration;

/// Why a machine is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `cargo xtask` did not say where the image is.
    #[error("machine: {0} is not set; start this with `cargo xtask scenario`, which sets it")]
    NoImage(&'static str),
    /// A program or file.
    #[error("machine: {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A program that says no.
    #[error("machine: {0}")]
    Refused(String),
    /// It did not happen in time.
    #[error("machine: {what} did not come within {seconds} s; the end of its console:\n{console}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// The last lines on the console.
        console: String,
    },
}

/// Lines of a console that an error shows.
const LINES_IN_AN_ERROR: usize = 40;

impl Error {
    /// `what` did not come, and `console` is all that the machine said meanwhile.
    pub(super) fn too_late(what: &str, timeout: Duration, console: &str) -> Self {
        let lines: Vec<_> = console.lines().collect();
        Self::TooLate {
            what: what.to_owned(),
            seconds: timeout.as_secs(),
            console: lines[lines.len().saturating_sub(LINES_IN_AN_ERROR)..].join("\n"),
        }
    }
}

/// What the system refused, for `map_err`: `what` says what was tried.
pub(super) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}
