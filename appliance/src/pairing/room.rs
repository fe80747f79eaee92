//! The room key: which booths belong together.
//!
//! Everything else that booths of a room share follows from it, each for one purpose (HKDF, RFC 5869): the
//! room's id, under which they meet at a relay and which reveals nothing of the key, and the keys under which
//! they seal what they say.

use std::fmt;

use data_encoding::BASE32;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// Letters of a key as people write it, without the dashes: 32 bytes and the check in base32 (RFC 4648).
const LETTERS: usize = 56;
/// Letters between two dashes.
const GROUP: usize = 7;
/// Bytes of the check.
const CHECK: usize = 3;
/// What the check and the derived keys are of.
const PURPOSE: &[u8] = b"holobooth room 1";

/// What is wrong with the text of a room key. The text itself is never shown: it may be a key with a slip in
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomKeyError {
    /// Too short or too long.
    #[error(
        "a room key has {LETTERS} letters and digits, and this has {0}; copy it whole, as `holobooth room \
         new` printed it"
    )]
    Length(usize),
    /// Something that is in no room key.
    #[error(
        "a room key has letters, the digits 2 to 7 and dashes, and no `{0}`; copy it as `holobooth room \
         new` printed it"
    )]
    Letter(char),
    /// It does not fit its check.
    #[error("the room key has a slip in it; copy it again, as `holobooth room new` printed it")]
    Check,
}

/// 32 random bytes that all booths of a room hold, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomKey([u8; 32]);

impl RoomKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key)?;
        Ok(Self(key))
    }

    /// One of which the bytes are known, for tests and benches.
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what [`RoomKey::text`] gives; dashes, spaces and the size of letters do not matter, nor does 0
    /// for O, 1 for I, 8 for B.
    ///
    /// # Errors
    /// [`RoomKeyError`].
    pub fn parse(text: &str) -> Result<Self, RoomKeyError> {
        let plain = |c: char| match c.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            '8' => 'B',
            c => c,
        };
        let letters: String = text.chars().filter(|c| *c != '-' && !c.is_whitespace()).map(plain).collect();
        if let Some(wrong) = letters.chars().find(|c| !c.is_ascii_uppercase() && !('2'..='7').contains(c)) {
            return Err(RoomKeyError::Letter(wrong));
        }
        if letters.len() != LETTERS {
            return Err(RoomKeyError::Length(letters.len()));
        }
        let bytes = BASE32.decode(letters.as_bytes()).map_err(|_| RoomKeyError::Check)?;
        match bytes.split_first_chunk() {
            Some((key, rest)) if *rest == check(key) => Ok(Self(*key)),
            _ => Err(RoomKeyError::Check),
        }
    }

    /// As people copy it: eight groups of seven letters, with a check in them.
    pub fn text(&self) -> String {
        let letters = BASE32.encode(&[&self.0[..], &check(&self.0)].concat());
        let groups: Vec<&str> = (0..LETTERS).step_by(GROUP).map(|at| &letters[at..at + GROUP]).collect();
        groups.join("-")
    }

    /// Under what booths of this room meet: 26 letters and digits that reveal nothing of the key.
    pub fn id(&self) -> String {
        let id: [u8; 16] = self.derive(&[b"id"]);
        data_encoding::BASE32_NOPAD.encode(&id).to_ascii_lowercase()
    }

    /// The secret for `purpose`; no two purposes may come to the same bytes one after another.
    pub(crate) fn derive<const N: usize>(&self, purpose: &[&[u8]]) -> [u8; N] {
        derive(&Salt::new(HKDF_SHA256, PURPOSE).extract(&self.0), purpose)
    }

    /// What the secrets of a meeting are derived from, when its two ends have agreed on `agreed`.
    pub(crate) fn meeting(&self, agreed: &[u8; 32]) -> Prk {
        Salt::new(HKDF_SHA256, &self.derive::<32>(&[b"meeting"])).extract(agreed)
    }
}

/// A secret for `purpose` from `prk`.
pub(crate) fn derive<const N: usize>(prk: &Prk, purpose: &[&[u8]]) -> [u8; N] {
    // More there is not (RFC 5869, section 2.3), so that neither step can fail.
    const { assert!(N <= 255 * 32) };
    let mut secret = [0; N];
    let filled = prk.expand(purpose, Length(N)).and_then(|okm| okm.fill(&mut secret));
    assert!(filled.is_ok(), "HKDF gives up to 255 blocks");
    secret
}

struct Length(usize);

impl ring::hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn check(key: &[u8; 32]) -> [u8; CHECK] {
    let digest = Sha256::new().chain_update(PURPOSE).chain_update(key).finalize();
    std::array::from_fn(|at| digest[at])
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKey(of room {})", self.id())
    }
}

impl<'de> serde::Deserialize<'de> for RoomKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_people_write_it() {
        let key = RoomKey::random().unwrap();
        let text = key.text();
        assert_eq!((text.len(), text.matches('-').count()), (LETTERS + 7, 7));
        let swapped =
            text.to_lowercase().replace('-', " ").replace('o', "0").replace('i', "1").replace('b', "8");
        for way in [text.clone(), text.replace('-', ""), swapped] {
            assert_eq!(RoomKey::parse(&way), Ok(key.clone()), "{way}");
        }
    }

    #[test]
    fn any_one_slip_is_found_and_never_told() {
        let text = RoomKey::of(std::array::from_fn(|i| i as u8)).text();
        for at in (0..text.len()).filter(|&at| text.as_bytes()[at] != b'-') {
            let other = if &text[at..=at] == "Q" { "R" } else { "Q" };
            let slip = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let error = RoomKey::parse(&slip).unwrap_err();
            assert_eq!(error, RoomKeyError::Check);
            assert!(!error.to_string().contains(&text[..GROUP]));
        }
        assert_eq!(RoomKey::parse(&text[1..]), Err(RoomKeyError::Length(LETTERS - 1)));
        assert_eq!(RoomKey::parse(&text.replace('A', "ä")), Err(RoomKeyError::Letter('ä')));
        assert_eq!(RoomKey::parse(""), Err(RoomKeyError::Length(0)));
    }

    #[test]
    fn what_is_derived_differs_and_tells_nothing() {
        let (a, b) = (RoomKey::of([1; 32]), RoomKey::of([2; 32]));
        assert_ne!(a.id(), b.id());
        assert_eq!(a.id(), RoomKey::of([1; 32]).id());
        assert_eq!(a.id().len(), 26);
        assert!(a.id().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_ne!(a.derive::<32>(&[b"media", b"x"]), a.derive::<32>(&[b"media", b"y"]));
        assert!(!format!("{a:?}").contains(&a.text()));
    }
}
