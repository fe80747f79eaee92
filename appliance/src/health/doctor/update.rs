//! Which version this is. Whether an update went back is to come with updates.
//!
//! Source: os-release(5).

use super::{Judgement, Subject, read};

pub(super) fn check(_: &Subject) -> Judgement {
    judge(os_release().as_deref())
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

fn judge(os_release: Option<&str>) -> Judgement {
    let program = concat!("holobooth ", env!("CARGO_PKG_VERSION"));
    let text = os_release.unwrap_or_default();
    let system = value(text, "PRETTY_NAME").unwrap_or("an unknown system");
    match value(text, "IMAGE_VERSION") {
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
        assert!(judge(Some(text)).found.contains("image 12 (Debian GNU/Linux 13)"));
        assert!(judge(Some("PRETTY_NAME=x")).found.contains("no image"));
        assert!(judge(None).found.contains("an unknown system"));
    }
}
