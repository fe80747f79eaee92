//! Pairing by code: who has read eight digits at one booth enters them at another, and both hold one room key
//! then. No I/O.
//!
//! SPAKE2 (RFC 9382) makes of the digits a secret of which a wrong guess reveals only that it was wrong. Both
//! fingerprints and the connection's exporter go into it, so that whoever stands between two booths has two
//! secrets, and neither is the other's. The caller, at whom the code was entered, confirms first: only who
//! knows the code learns whether a guess was right.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::{Fingerprint, Part, RoomKey, derive};

/// What a TLS connection exports for pairing, and for nothing else (RFC 8446, section 7.5).
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-holobooth-code-1";
/// Bytes of SPAKE2's message: which side, and a point.
pub(crate) const MESSAGE: usize = 33;
/// Bytes of a confirmation.
pub(crate) const CONFIRMATION: usize = 32;
/// Bytes of a sealed room key.
pub(crate) const SEALED: usize = 32 + 16;

const DIGITS: usize = 8;
/// How long a code lives, in µs.
const LIFE_US: u64 = 600_000_000;
/// So many wrong guesses end a code.
const GUESSES: u32 = 5;
/// After that nobody may guess for so long, in µs: with five guesses a minute, one in a hundred million takes
/// decades.
const REST_US: u64 = 60_000_000;
/// Calls that may come from one address while a code lives.
const CALLS: u32 = 10;
/// Addresses that are counted separately.
const CALLERS: usize = 256;
const PURPOSE: &[u8] = b"holobooth code 1";

/// Eight digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; DIGITS]);

/// What is wrong with the text of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code is the {DIGITS} digits that the other booth's screen shows")]
pub struct NoCode;

impl Code {
    fn random() -> Result<Self, ring::error::Unspecified> {
        let limit = 10u32.pow(DIGITS as u32);
        // What lies beyond the last whole hundred million would make some codes likelier.
        let fair = u32::MAX - u32::MAX % limit;
        let mut bytes = [0; 4];
        let number = loop {
            SystemRandom::new().fill(&mut bytes)?;
            let number = u32::from_ne_bytes(bytes);
            if number < fair {
                break number % limit;
            }
        };
        let digits = format!("{number:0DIGITS$}");
        Ok(Self(std::array::from_fn(|at| digits.as_bytes()[at])))
    }

    /// Reads eight digits; spaces and dashes do not matter.
    ///
    /// # Errors
    /// [`NoCode`].
    pub fn parse(text: &str) -> Result<Self, NoCode> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b" -".contains(b)).collect();
        let digits = <[u8; DIGITS]>::try_from(digits).map_err(|_| NoCode)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(Self(digits)) } else { Err(NoCode) }
    }

    /// The digits alone.
    pub fn digits(&self) -> String {
        self.0.iter().copied().map(char::from).collect()
    }
}

/// Whoever reads a log does not enter a code.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The code that a booth shows, and who may guess it.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    shown: Option<(Code, u64)>,
    wrong: u32,
    calls: BTreeMap<IpAddr, u32>,
    /// Nobody may guess before this.
    rest_until_us: u64,
}

impl Offer {
    /// The code to be shown now; none while nobody may guess, or while the system has no randomness.
    pub(crate) fn code(&mut self, now_us: u64) -> Option<&Code> {
        if now_us < self.rest_until_us {
            return None;
        }
        if self.shown.as_ref().is_none_or(|(_, since_us)| now_us >= since_us + LIFE_US) {
            *self = Self { shown: Some((Code::random().ok()?, now_us)), ..Self::default() };
        }
        self.shown.as_ref().map(|(code, _)| code)
    }

    /// Whether somebody at this address may guess; it counts as a call.
    pub(crate) fn admits(&mut self, from: IpAddr, now_us: u64) -> bool {
        if self.code(now_us).is_none() || (self.calls.len() >= CALLERS && !self.calls.contains_key(&from)) {
            return false;
        }
        let calls = self.calls.entry(from).or_default();
        *calls += 1;
        *calls <= CALLS
    }

    /// Somebody guessed wrong.
    pub(crate) fn wrong(&mut self, now_us: u64) {
        self.wrong += 1;
        if self.wrong >= GUESSES {
            *self = Self { rest_until_us: now_us + REST_US, ..Self::default() };
        }
    }
}

/// What a pairing is about. The caller is the dialler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) caller: Fingerprint,
    pub(crate) callee: Fingerprint,
    pub(crate) exported: &'a [u8; 32],
}

/// One end's half of SPAKE2.
pub(crate) struct Half(Spake2<Ed25519Group>);

impl Call<'_> {
    /// Begins, as one of both ends: what to send, and what to go on with when the other's has come.
    pub(crate) fn begin(&self, part: Part, code: &Code) -> (Half, Vec<u8>) {
        let identity = |who: Fingerprint| Identity::new(&[PURPOSE, &who.0, self.exported].concat());
        let (caller, callee) = (identity(self.caller), identity(self.callee));
        let password = Password::new(code.0);
        let (half, message) = match part {
            Part::Dialler => Spake2::start_a(&password, &caller, &callee),
            Part::Listener => Spake2::start_b(&password, &caller, &callee),
        };
        (Half(half), message)
    }
}

impl Half {
    /// What both share now, when they have the same code; none when the other's message is none.
    pub(crate) fn finish(self, message: &[u8]) -> Option<Shared> {
        let secret = self.0.finish(message).ok()?;
        Some(Shared(Salt::new(HKDF_SHA256, PURPOSE).extract(&secret)))
    }
}

/// What both ends share.
pub(crate) struct Shared(Prk);

impl Shared {
    fn mac(&self, part: Part) -> hmac::Key {
        let purpose: &[u8] = match part {
            Part::Dialler => b"caller",
            Part::Listener => b"callee",
        };
        hmac::Key::new(hmac::HMAC_SHA256, &derive::<32>(&self.0, &[purpose]))
    }

    /// Shows the other end that this end shares it.
    pub(crate) fn confirm(&self, part: Part) -> Vec<u8> {
        hmac::sign(&self.mac(part), PURPOSE).as_ref().to_vec()
    }

    /// Whether the other end, which is `part`, shares it.
    pub(crate) fn evaluate(&self, part: Part, confirmation: &[u8]) -> bool {
        hmac::verify(&self.mac(part), PURPOSE, confirmation).is_ok()
    }

    /// Only one thing is ever sealed with it, so that the nonce need not differ.
    fn key(&self) -> Option<(LessSafeKey, Nonce)> {
        let key = UnboundKey::new(&AES_256_GCM, &derive::<32>(&self.0, &[b"room key"])).ok()?;
        Some((LessSafeKey::new(key), Nonce::assume_unique_for_key([0; 12])))
    }

    /// The room key, for the other end alone.
    pub(crate) fn seal(&self, room: &RoomKey) -> Option<Vec<u8>> {
        let (key, nonce) = self.key()?;
        let mut text = room.bytes().to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut text).ok()?;
        Some(text)
    }

    /// The room key that the other end has sealed.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<RoomKey> {
        let (key, nonce) = self.key()?;
        let mut text = sealed.to_vec();
        let room = key.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
        Some(RoomKey::of(<[u8; 32]>::try_from(&*room).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint([1; 32]);
    const B: Fingerprint = Fingerprint([2; 32]);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    fn both(codes: [&str; 2], calls: [Call<'_>; 2]) -> (Shared, Shared) {
        let (caller, to_callee) = calls[0].begin(Part::Dialler, &code(codes[0]));
        let (callee, to_caller) = calls[1].begin(Part::Listener, &code(codes[1]));
        assert_eq!((to_callee.len(), to_caller.len()), (MESSAGE, MESSAGE));
        (caller.finish(&to_caller).unwrap(), callee.finish(&to_callee).unwrap())
    }

    fn agree(caller: &Shared, callee: &Shared) -> bool {
        let there = callee.evaluate(Part::Dialler, &caller.confirm(Part::Dialler));
        let back = caller.evaluate(Part::Listener, &callee.confirm(Part::Listener));
        assert_eq!(there, back);
        there
    }

    #[test]
    fn who_has_the_code_hands_over_the_key() {
        let call = Call { caller: A, callee: B, exported: &[3; 32] };
        let (caller, callee) = both(["12345678", "1234 56-78"], [call; 2]);
        assert!(agree(&caller, &callee));
        let room = RoomKey::of([9; 32]);
        let sealed = caller.seal(&room).unwrap();
        assert_eq!(sealed.len(), SEALED);
        assert_eq!(callee.open(&sealed), Some(room));
        for at in 0..SEALED {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(callee.open(&changed), None);
        }
        assert!(
            !callee.evaluate(Part::Dialler, &callee.confirm(Part::Listener)),
            "what it says itself, sent back"
        );
    }

    #[test]
    fn nobody_else_shares_anything() {
        let exported = [3; 32];
        let call = Call { caller: A, callee: B, exported: &exported };
        let between = Fingerprint([7; 32]);
        let other = [4; 32];
        for (what, codes, calls) in [
            ("a wrong code", ["12345678", "12345679"], [call; 2]),
            ("somebody between, to the caller", ["12345678"; 2], [Call { callee: between, ..call }, call]),
            ("somebody between, to the callee", ["12345678"; 2], [call, Call { caller: between, ..call }]),
            ("two connections", ["12345678"; 2], [call, Call { exported: &other, ..call }]),
        ] {
            let (caller, callee) = both(codes, calls);
            assert!(!agree(&caller, &callee), "{what}");
            assert_eq!(callee.open(&caller.seal(&RoomKey::of([9; 32])).unwrap()), None, "{what}");
        }
        for nonsense in [&[][..], &[0; MESSAGE], &[b'A'; MESSAGE], &[b'B'; 32]] {
            let (half, _) = call.begin(Part::Dialler, &code("12345678"));
            assert!(half.finish(nonsense).is_none(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_code_lives_ten_minutes_and_five_wrong_guesses() {
        let mut offer = Offer::default();
        let first = offer.code(0).unwrap().clone();
        assert_eq!(offer.code(LIFE_US - 1), Some(&first));
        let second = offer.code(LIFE_US).unwrap().clone();
        assert_ne!(first, second);
        for _ in 0..GUESSES - 1 {
            offer.wrong(LIFE_US);
            assert_eq!(offer.code(LIFE_US), Some(&second));
        }
        offer.wrong(LIFE_US);
        assert!(offer.code(LIFE_US + REST_US - 1).is_none() && !offer.admits(HERE, LIFE_US + REST_US - 1));
        assert!(offer.code(LIFE_US + REST_US).is_some_and(|code| *code != second));
    }

    #[test]
    fn nobody_calls_for_ever() {
        let mut offer = Offer::default();
        assert!((0..CALLS).all(|_| offer.admits(HERE, 0)));
        assert!(!offer.admits(HERE, 0));
        let other = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from(n));
        assert!(offer.admits(other(1), 0), "another address");
        for n in 0..10_000 {
            let _ = offer.admits(other(n), 0);
        }
        assert!(offer.calls.len() <= CALLERS);
        assert!(offer.admits(HERE, LIFE_US), "with the next code");
    }

    #[test]
    fn a_code_is_eight_digits() {
        for bad in ["", "1234567", "123456789", "1234567a", "１２３４５６７８"] {
            assert_eq!(Code::parse(bad), Err(NoCode), "{bad}");
        }
        let codes: std::collections::HashSet<_> =
            (0..100).map(|_| Code::random().unwrap().digits()).collect();
        assert!(
            codes.len() > 95
                && codes.iter().all(|c| Code::parse(c).is_ok_and(|parsed| parsed.digits() == *c))
        );
        assert!(!format!("{:?}", code("12345678")).contains('1'));
    }
}
