//! What any kernel of an appliance must have, Debian's own or one built here.

use std::path::Path;

use anyhow::{Context, Result};

use crate::folders;
use crate::kernel::fragments;

const FRAGMENTS: &str = "kernel-config/appliance/required";

/// Holds the finished configuration in `config` against every required line; a module counts as built in.
///
/// # Errors
/// Names each line that is not met.
pub(crate) fn check(config: &Path) -> Result<()> {
    let text = std::fs::read_to_string(config)
        .with_context(|| format!("no kernel configuration at {}", config.display()))?;
    let wanted = fragments::read(&folders::checkout().join(FRAGMENTS), FRAGMENTS)?;
    Ok(fragments::check(&wanted, &text.replace("=m\n", "=y\n"))?)
}
