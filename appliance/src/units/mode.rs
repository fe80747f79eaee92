//! The mode asked of a screen.

use std::fmt;

use serde::Deserialize;

/// The mode asked of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeRequest {
    /// The screen's own preference.
    Auto,
    /// Width and height in pixels, and the refresh rate in Hz if it matters.
    Size(u16, u16, Option<u32>),
}

impl ModeRequest {
    /// Reads `auto`, `WIDTHxHEIGHT` or `WIDTHxHEIGHT@HERTZ`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "auto" {
            return Some(Self::Auto);
        }
        let (size, hertz) = match text.split_once('@') {
            Some((size, hertz)) => (size, Some(hertz.parse().ok()?)),
            None => (text, None),
        };
        let (width, height) = size.split_once('x')?;
        let (width, height) = (width.parse().ok()?, height.parse().ok()?);
        (width > 0 && height > 0).then_some(Self::Size(width, height, hertz))
    }
}

impl fmt::Display for ModeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Size(width, height, None) => write!(f, "{width}x{height}"),
            Self::Size(width, height, Some(hertz)) => write!(f, "{width}x{height}@{hertz}"),
        }
    }
}

impl<'de> Deserialize<'de> for ModeRequest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "the screen's mode is `{text}`; allowed is \"auto\", \"WIDTHxHEIGHT\" or \
                 \"WIDTHxHEIGHT@HERTZ\", such as \"3840x2160@60\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ModeRequest;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for text in ["auto", "640x480", "3840x2160@60"] {
            assert_eq!(ModeRequest::parse(text).map(|mode| mode.to_string()).as_deref(), Some(text));
        }
        for text in ["", "huge", "640", "640x", "0x480", "640x480@", "640x480@fast", "70000x480", "-1x480"] {
            assert_eq!(ModeRequest::parse(text), None, "{text}");
        }
    }
}
