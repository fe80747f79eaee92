//! Why a configuration file was refused, in words for the person who holds the stick.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A refused configuration: file, line, column and what is allowed.
#[derive(Debug)]
pub struct Error {
    file: PathBuf,
    /// Line and column, both from 1; none when the file itself is the trouble.
    place: Option<(usize, usize)>,
    reason: String,
}

impl Error {
    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self {
            file: path.into(),
            place: None,
            reason: format!("cannot be read: {error}; name an existing file of UTF-8 text with --config"),
        }
    }

    pub(super) fn at(path: &Path, text: &str, span: Range<usize>, reason: String) -> Self {
        Self { file: path.into(), place: Some(place(text, span.start)), reason }
    }

    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let mut reason = error.message().trim().replace('\n', "; ");
        if let Some(near) = nearest(&reason) {
            reason.push_str(&format!("; did you mean `{near}`?"));
        }
        match error.span() {
            Some(span) => Self::at(path, text, span, reason),
            None => Self { file: path.into(), place: None, reason },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config: {}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Error {}

/// Line and column, from 1, of the byte at `offset`.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The allowed word closest to the one refused, read from serde's message "unknown field `x`, expected one of
/// …".
fn nearest(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    quoted
        .map(|word| (strsim::damerau_levenshtein(wrong, word), word))
        .min()
        .filter(|(distance, _)| *distance <= 1 + wrong.len() / 3)
        .map(|(_, word)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::pairing::RoomKey;
    use std::path::Path;

    fn refusal(text: &str) -> String {
        Config::parse(Path::new("b.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn empty_file_is_a_booth_that_waits() {
        let config = Config::parse(Path::new("b.toml"), "").unwrap();
        assert!(config.peer.is_none());
        assert_eq!(*config.camera.width.get_ref(), 1920);
    }

    #[test]
    fn unknown_key_names_place_allowed_and_nearest() {
        let e = refusal("[camera]\nwidht = 640\n");
        assert!(e.starts_with("config: b.toml:2:1: unknown field `widht`"), "{e}");
        assert!(e.contains("`height`") && e.ends_with("did you mean `width`?"), "{e}");
    }

    #[test]
    fn wrong_type_names_place_and_type() {
        let e = refusal("[camera]\nwidth = \"wide\"\n");
        assert!(e.starts_with("config: b.toml:2:9: invalid type: string \"wide\", expected u32"), "{e}");
    }

    #[test]
    fn absurd_values_name_what_is_allowed() {
        assert!(
            refusal("[camera]\nfps = 100000")
                .contains(":2:7: `camera.fps` is 100000; allowed is 1 to 240 pictures per second")
        );
        assert!(
            refusal("[screen]\nmode = \"huge\"").contains(":2:8: the screen's mode is `huge`; allowed is")
        );
        assert!(
            refusal("[peer]\naddress = \"10.0.0.1:1\"\nfingerprint = \"ab\"")
                .contains(":3:15: not a fingerprint; put in the 64 hexadecimal digits")
        );
        assert!(refusal("[camera]\nwidth = 641").contains(":2:9: `camera.width` is 641; only even"));
        assert!(
            refusal("[codec]\nencoder = \"x265\"")
                .contains(":2:11: `codec.encoder` is `x265`; allowed is one of auto")
        );
        let peer = |address: &str| {
            refusal(&format!("[peer]\naddress = \"{address}\"\nfingerprint = \"{}\"", "0".repeat(64)))
        };
        assert!(peer("0.0.0.0:4433").contains(":2:11: `peer.address` is 0.0.0.0:4433; it must be"));
        assert!(peer("[::1]:4433").contains("both must be IPv4"));
        let alone = refusal(&format!("[peer]\nfingerprint = \"{}\"", "0".repeat(64)));
        assert!(alone.contains(":2:15: `peer` has neither") && alone.contains("`[room]`"), "{alone}");
        let anybody = refusal("[peer]\naddress = \"10.0.0.1:4433\"");
        assert!(anybody.contains(":2:11: `peer.address` is 10.0.0.1:4433; nothing says who"), "{anybody}");
        for name in ["\" \"", "\"a\\nb\"", &format!("\"{}\"", "n".repeat(64))] {
            let e = refusal(&format!("[booth]\nname = {name}"));
            assert!(e.contains(":2:8: `booth.name` must be 1 to 63 bytes long"), "{e}");
        }
        let key = RoomKey::of([9; 32]).text();
        let slip = refusal(&format!("[room]\nkey = \"{}\"", key.replacen('Q', "R", 1)));
        assert!(slip.contains(":2:7: the room key has a slip") && !slip.contains(&key[8..15]), "{slip}");
        let both = refusal(&format!("[room]\nkey = \"{key}\"\ncode = \"1234 5678\""));
        assert!(both.contains(":3:8: `room.code` is for a booth without a room"), "{both}");
        assert!(refusal("[room]\ncode = \"1234\"").contains(":2:8: a code is the 8 digits"));
        assert!(refusal("[room]\n").contains("holobooth room new"));
        assert!(refusal("[room]\nkey = \"KEY\"").contains("56 letters and digits, and this has 3"));
        assert!(refusal("[camera]\nformat = \"nv21\"").contains("unknown variant `nv21`"));
    }

    #[test]
    fn a_relay_is_refused_with_what_is_allowed() {
        let peer = format!("[peer]\nfingerprint = \"{}\"\n", "0".repeat(64));
        let relay = |address: &str| format!("{peer}[relay]\naddress = \"{address}\"");
        let at = |address: &str| refusal(&relay(address));
        for nowhere in
            ["relay.example.org", "relay.example.org:0", ":443", "10.0.0.1.9:443", "a/b:443", "[::1]:x"]
        {
            let e = at(nowhere);
            assert!(e.contains(&format!(":4:11: `{nowhere}` is no `host:port`")), "{e}");
        }
        assert!(at("0.0.0.0:443").contains(":4:11: `relay.address` is 0.0.0.0:443; it must be"));
        assert!(at("[::1]:443").contains("`relay.address` is [::1]:443; `link.listen` is of the other kind"));
        Config::parse(Path::new("b.toml"), "[relay]\naddress = \"10.0.0.1:443\"").unwrap();
        assert!(refusal(&format!("{peer}[relay]\n")).contains("missing field `address`"));
        let e = refusal(&format!("{}\nfingerprint = \"ab\"", relay("r.example:443")));
        assert!(e.contains(":5:15: not a fingerprint"), "{e}");
        let unsealed = at("10.0.0.1:443");
        assert!(unsealed.contains(":4:11: `relay.address` is 10.0.0.1:443; nothing goes"), "{unsealed}");
        for good in ["10.0.0.1:443", "relay.example.org:443", "localhost:4443"] {
            let text = format!("{}\n[room]\nkey = \"{}\"", relay(good), RoomKey::of([1; 32]).text());
            Config::parse(Path::new("b.toml"), &text).unwrap();
        }
    }

    #[test]
    fn missing_file_says_so() {
        let e = Config::load(Path::new("/nonexistent/b.toml")).unwrap_err().to_string();
        assert!(e.contains("/nonexistent/b.toml: cannot be read"), "{e}");
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(super::place("a\nüü x", 7), (2, 4));
    }
}
