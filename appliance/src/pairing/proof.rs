//! Proof that both ends of a connection hold the room key, and that nobody stands between them. No I/O.
//!
//! After TLS each end sends one message: a MAC under the room key over its part, both certificates'
//! fingerprints, the connection's exporter (RFC 9266) and its name, and then the name. Somebody who relays
//! between two booths has two connections, and so neither the fingerprints nor the exporter that the other
//! end computes with; and a part that comes back is not the other part.

use ring::hmac;

use super::{Fingerprint, RoomKey};

/// What a TLS connection exports for the proof, and for nothing else (RFC 8446, section 7.5).
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-holobooth-room-1";
/// The longest message, in bytes.
pub(crate) const LONGEST: usize = MAC + MOST_NAME;
/// The longest name of a booth, in bytes of UTF-8.
pub const MOST_NAME: usize = 63;

const MAC: usize = 32;

/// Which end of the connection somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Dialler,
    Listener,
}

impl Part {
    fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// What a proof is about, as one end sees it.
pub(crate) struct Proof<'a> {
    pub(crate) part: Part,
    pub(crate) own: Fingerprint,
    pub(crate) theirs: Fingerprint,
    pub(crate) exported: &'a [u8; 32],
}

impl Proof<'_> {
    /// Our message.
    pub(crate) fn say(&self, key: &RoomKey, name: &str) -> Vec<u8> {
        let text = text(self.part, self.own, self.theirs, self.exported, name.as_bytes());
        [hmac::sign(&mac_key(key), &text).as_ref(), name.as_bytes()].concat()
    }

    /// The other end's name, when its message proves that it holds the key.
    pub(crate) fn evaluate(&self, key: &RoomKey, message: &[u8]) -> Option<String> {
        let (tag, name) = message.split_at_checked(MAC)?;
        let text = text(self.part.other(), self.theirs, self.own, self.exported, name);
        hmac::verify(&mac_key(key), &text, tag).ok()?;
        readable(name)
    }
}

/// A name as it came from elsewhere, when people can read it.
pub(crate) fn readable(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let fits = !name.trim().is_empty() && name.len() <= MOST_NAME && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
}

fn mac_key(key: &RoomKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &key.derive::<32>(&[b"proof"]))
}

/// All but the name have one length, so that no two proofs come to the same bytes.
fn text(part: Part, from: Fingerprint, to: Fingerprint, exported: &[u8; 32], name: &[u8]) -> Vec<u8> {
    let part: &[u8] = match part {
        Part::Dialler => b"d",
        Part::Listener => b"l",
    };
    [part, &from.0, &to.0, exported, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint([1; 32]);
    const B: Fingerprint = Fingerprint([2; 32]);
    const TLS: [u8; 32] = [9; 32];

    fn ends(exported: &[u8; 32]) -> [Proof<'_>; 2] {
        [
            Proof { part: Part::Dialler, own: A, theirs: B, exported },
            Proof { part: Part::Listener, own: B, theirs: A, exported },
        ]
    }

    #[test]
    fn who_holds_the_key_is_known_by_name() {
        let key = RoomKey::of([3; 32]);
        let [a, b] = ends(&TLS);
        assert_eq!(b.evaluate(&key, &a.say(&key, "quiet-heron-42")).as_deref(), Some("quiet-heron-42"));
        assert_eq!(a.evaluate(&key, &b.say(&key, "Bühne links")).as_deref(), Some("Bühne links"));
    }

    #[test]
    fn nothing_else_proves_anything() {
        let key = RoomKey::of([3; 32]);
        let [a, b] = ends(&TLS);
        let said = a.say(&key, "name");
        assert_eq!(b.evaluate(&RoomKey::of([4; 32]), &said), None, "another room");
        assert_eq!(a.evaluate(&key, &said), None, "our own message, sent back");
        let [_, elsewhere] = ends(&[8; 32]);
        assert_eq!(elsewhere.evaluate(&key, &said), None, "another connection");
        let stranger = Proof { theirs: Fingerprint([7; 32]), ..ends(&TLS)[1] };
        assert_eq!(stranger.evaluate(&key, &said), None, "another certificate");
        for at in 0..said.len() {
            let mut changed = said.clone();
            changed[at] ^= 1;
            assert_eq!(b.evaluate(&key, &changed), None, "byte {at}");
        }
        for short in 0..said.len() {
            assert_eq!(b.evaluate(&key, &said[..short]), None);
        }
    }

    #[test]
    fn a_name_is_one_that_can_be_shown() {
        assert_eq!(readable(b"A"), Some("A".to_owned()));
        for bad in [&b""[..], b" ", b"a\nb", b"\xff", &[b'a'; MOST_NAME + 1]] {
            assert_eq!(readable(bad), None, "{bad:?}");
        }
    }
}
