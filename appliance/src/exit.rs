//! How a command fails.

use std::process::ExitCode;

/// Prints `error` in one line.
pub(crate) fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("holobooth: {error}");
    ExitCode::from(code)
}
