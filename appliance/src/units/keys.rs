//! Which keys and buttons the configuration names.

use std::borrow::Cow;
use std::fmt;

use evdev::KeyCode;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

/// Keys and buttons of input devices, by the kernel's names (linux/input-event-codes.h); in the file one name,
/// a list of names, or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<KeyCode>);

/// A text that names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key is `{0}`; allowed is a name of the kernel's, such as \"KEY_MICMUTE\", \"KEY_F1\" or \"BTN_0\", \
     several of them as [\"KEY_MICMUTE\", \"KEY_F1\"], or \"none\""
)]
pub struct KeyError(String);

impl Keys {
    /// What a keyboard or a speakerphone sends when somebody switches its microphone off or on.
    pub const MICMUTE: KeyCode = KeyCode::KEY_MICMUTE;

    /// These keys.
    pub fn new(keys: Vec<KeyCode>) -> Self {
        Self(keys)
    }

    /// All of them; none when nobody is to be listened to.
    pub fn codes(&self) -> &[KeyCode] {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        match text {
            "none" => Ok(Self(Vec::new())),
            _ => key(text).map(|key| Self(vec![key])),
        }
    }
}

fn key(text: &str) -> Result<KeyCode, KeyError> {
    text.parse().map_err(|_| KeyError(text.to_owned()))
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key's name, a list of names, or \"none\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Keys, E> {
                Keys::parse(text).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(name) = names.next_element::<Cow<'de, str>>()? {
                    keys.push(key(&name).map_err(serde::de::Error::custom)?);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        key: Keys,
    }

    fn read(value: &str) -> Result<Vec<KeyCode>, String> {
        toml::from_str(&format!("key = {value}")).map(|file: File| file.key.0).map_err(|e| e.to_string())
    }

    #[test]
    fn one_name_several_or_none() {
        assert_eq!(read("\"KEY_MICMUTE\""), Ok(vec![Keys::MICMUTE]));
        let several = vec![KeyCode::KEY_F1, KeyCode::BTN_0];
        assert_eq!(read("[\"KEY_F1\", \"BTN_0\"]"), Ok(several));
        assert_eq!(read("\"none\""), Ok(vec![]));
        assert_eq!(read("[]"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_key_is_refused_and_says_what_is_allowed() {
        for value in ["\"KEY_MIKEMUTE\"", "\"\"", "[\"none\"]", "[\"KEY_F1\", \"F2\"]"] {
            let error = read(value).unwrap_err();
            assert!(error.contains("\"KEY_MICMUTE\", \"KEY_F1\" or \"BTN_0\""), "{error}");
        }
        for value in ["248", "[248]", "true"] {
            assert!(read(value).is_err(), "{value}");
        }
    }
}
