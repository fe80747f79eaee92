//! Which version this is, and what became of the last update.
//!
//! Source: os-release(5).

use std::path::Path;

use super::{Judgement, Subject, read};
use crate::update::{self, Outcome, Record};

pub(super) fn check(_: &Subject) -> Judgement {
    judge(os_release().as_deref(), Record::read(Path::new(update::FOLDER)).as_ref())
}

/// The text of `os-release`.
pub(super) fn os_release() -> Option<String> {
    read("/etc/os-release").or_else(|| read("/usr/lib/os-release"))
}

/// What `os-release` has under a key.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\''])).filter(|value| !value.is_empty())
}

fn judge(os_release: Option<&str>, last: Option<&Record>) -> Judgement {
    let program = concat!("holobooth ", env!("CARGO_PKG_VERSION"));
    let text = os_release.unwrap_or_default();
    let system = value(text, "PRETTY_NAME").unwrap_or("an unknown system");
    match value(text, "IMAGE_VERSION") {
        Some(image) if last.is_some_and(|record| record.outcome == Outcome::WentBack) => {
            let line = last.map(Record::line).unwrap_or_default();
            Judgement::warning(format!("image {image}; {line}"), "ask for a version after it")
        }
        Some(image) => Judgement::ok(format!("{program}, image {image} ({system})")),
        None => Judgement::ok(format!("{program} on {system}, no image: it is not updated by itself")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 13\"\nIMAGE_ID=holobooth\nIMAGE_VERSION='12'\nEMPTY=\n";
        assert_eq!(
            (value(text, "IMAGE_VERSION"), value(text, "EMPTY"), value(text, "IMAGE")),
            (Some("12"), None, None)
        );
        assert!(judge(Some(text), None).found.contains("image 12 (Debian GNU/Linux 13)"));
        assert!(judge(Some("PRETTY_NAME=x"), None).found.contains("no image"));
        let back = Record { from: "12".into(), to: "13".into(), outcome: Outcome::WentBack };
        assert!(judge(Some(text), Some(&back)).found.contains("went back to 12"));
        assert!(judge(None, None).found.contains("an unknown system"));
    }
}
