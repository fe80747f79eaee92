//! New versions that come by stick.

use std::path::Path;

use crate::update::Folders;

/// Takes the bundle in the file at `path`, which lies on a stick that is mounted for reading and only while
/// this runs: it is copied, and installed by a unit of its own when its signature is right. What was done, or
/// why not, in a line for the answer.
///
/// # Errors
/// Why it was not taken.
pub fn take(path: &Path) -> Result<String, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folders = Folders::default();
    match folders.take(path) {
        Ok(true) => Ok(format!("{name}: copied; the card says what becomes of it")),
        Ok(false) => Ok(format!("{name}: installed before, so there is nothing to do")),
        Err(e) => Err(format!("{name}: {e}")),
    }
}
