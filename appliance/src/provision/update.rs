//! New versions that come by stick.

use std::path::Path;

/// Takes the new version in the file at `path`, which lies on a stick that is mounted for reading and only while this runs. What was done,
/// or why not, in a line for the answer.
///
/// A stub: this version takes none.
///
/// # Errors
/// Why it was not taken.
pub fn take(path: &Path) -> Result<String, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(format!("{name}: updates by stick are not supported by this version"))
}
