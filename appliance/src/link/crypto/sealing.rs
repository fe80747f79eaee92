//! Sealing: what booths say to each other is encrypted before it leaves and decrypted after it came (SFrame,
//! RFC 9605), so that whoever carries it, a relay for one, can neither read it nor change, repeat or add
//! anything.
//!
//! An *instance* is one connection's broadcast, and its path holds a public key that is the instance's own.
//! Each pair of instances has keys for each direction, derived from the room key, from what the two public
//! keys agree on (X25519), and from both paths. What is for one peer goes under these ([`PairSeal`]). What is
//! for all peers of an instance, sound and frames, goes under keys that the sender makes at random for that
//! instance ([`SenderSeal`]) and gives to each peer under the keys of the pair, so that a relay can fan one
//! datagram out. So no key is ever used a second time, restarts included, and counters begin at 0; what was
//! recorded in one meeting decrypts in no other; and who learns the room key later, or has it and only
//! listens, decrypts nothing. Within a meeting a counter passes once (RFC 9605, section 9.3).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use sframe::CipherSuite;
use sframe::error::SframeError;
use sframe::frame::validation::{ReplayAttackProtection, Tolerance};
use sframe::frame::{EncryptedFrameView, FrameBuffer, MediaFrameView, MonotonicCounter, Truncate};
use sframe::key::{DecryptionKey, EncryptionKey};

use crate::link::crypto::instance::{Instance, OwnInstance};
use crate::link::error::Ended;
use crate::link::track::{KeyContext, TRACKS, Track};
use crate::pairing::{RoomKey, derive};

const SUITE: CipherSuite = CipherSuite::AesGcm128Sha256;
/// What a sender's keys are derived for (RFC 5869, salt).
const SENDER: &[u8] = b"holobooth sender";
/// So many datagrams one may be behind the newest: what is sent again is sealed again, so only reordering
/// counts.
const WINDOW: usize = 2_048;
/// Instances that one connection may meet. More is nonsense, and forgetting one could use a key twice.
const PAIRS: usize = 256;
/// Memory for datagrams is taken in blocks of so many bytes; a block comes back when all its datagrams are
/// gone.
const BLOCK: usize = 64 << 10;

/// A sender's secret: whoever has it decrypts what the sender's instance says to all.
pub(crate) type SenderSecret = [u8; 32];

/// One direction of one track.
struct Sealing(EncryptionKey, MonotonicCounter);

impl Sealing {
    fn new(track: Track, secret: [u8; 32]) -> Result<Self, SframeError> {
        let key = EncryptionKey::derive_from(SUITE, track as u64, secret)?;
        Ok(Self(key, MonotonicCounter::default()))
    }

    fn close(&mut self, plain: &[u8], block: &mut Block) -> Result<Bytes, SframeError> {
        MediaFrameView::try_new(&mut self.1, plain)?.encrypt_into(&self.0, block)?;
        Ok(block.0.split().freeze())
    }
}

/// The same, decrypting.
struct Opening(DecryptionKey, ReplayAttackProtection);

impl Opening {
    fn new(track: Track, secret: [u8; 32]) -> Result<Self, SframeError> {
        let id = track as u64;
        let key = DecryptionKey::derive_from(SUITE, id, secret)?;
        Ok(Self(key, ReplayAttackProtection::new(id, Tolerance::new(WINDOW))))
    }

    fn open(&mut self, sealed: &[u8], block: &mut Block) -> Option<Bytes> {
        let frame = EncryptedFrameView::try_new(sealed).ok()?;
        frame.validated_decrypt_into(&self.0, block, &mut self.1).ok()?;
        Some(block.0.split().freeze())
    }
}

/// The tracks under the sender's own keys.
fn sender_tracks() -> impl Iterator<Item = Track> {
    TRACKS.iter().filter(|info| info.key == KeyContext::Sender).map(|info| info.track)
}

fn sender_track_secret(secret: &SenderSecret, track: Track, from: &str) -> [u8; 32] {
    let name = track.info().name.as_bytes();
    derive(&Salt::new(HKDF_SHA256, SENDER).extract(secret), &[name, b" from ", from.as_bytes()])
}

/// The keys of one instance of ours for what goes to all its peers.
pub(crate) struct SenderSeal {
    secret: SenderSecret,
    tracks: BTreeMap<u8, Sealing>,
}

impl SenderSeal {
    /// New ones, for the instance at the path `ours`.
    ///
    /// # Errors
    /// [`Ended::Random`], or when no keys can be derived.
    pub(crate) fn new(ours: &str) -> Result<Self, Ended> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| Ended::Random)?;
        Ok(Self::with(secret, ours)?)
    }

    /// With a secret that is known already: for tests and the simulator.
    pub(crate) fn with(secret: SenderSecret, ours: &str) -> Result<Self, SframeError> {
        let key =
            |track: Track| Ok((track as u8, Sealing::new(track, sender_track_secret(&secret, track, ours))?));
        Ok(Self { secret, tracks: sender_tracks().map(key).collect::<Result<_, SframeError>>()? })
    }

    /// What a peer needs to decrypt.
    pub(crate) fn secret(&self) -> SenderSecret {
        self.secret
    }

    /// Encrypts a datagram of `track` into `block`.
    ///
    /// # Errors
    /// When the counter is used up, after 2⁶⁴ datagrams, or the track is one for a single peer.
    pub(crate) fn close(
        &mut self,
        track: Track,
        plain: &[u8],
        block: &mut Block,
    ) -> Result<Bytes, SframeError> {
        let sealing = self.tracks.get_mut(&(track as u8)).ok_or(SframeError::EncryptionFailure)?;
        sealing.close(plain, block)
    }
}

/// What became of a datagram that was to be decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// This is in it.
    Plain(Bytes),
    /// The peer has not given its sender's secret yet.
    NoKey,
    /// It was not encrypted for us, was changed, or came before.
    Refused,
}

/// The keys between one instance of ours and one of theirs.
pub(crate) struct PairSeal {
    theirs: String,
    out: Sealing,
    into: Opening,
    /// For what the peer says to all, once it has given its secret.
    sender: Option<(SenderSecret, BTreeMap<u8, Opening>)>,
}

impl PairSeal {
    /// Between the instances at the paths `ours` and `theirs` of the room with `key`, when they agree on
    /// `agreed`.
    ///
    /// # Errors
    /// When no keys can be derived.
    pub(crate) fn new(
        key: &RoomKey,
        agreed: &[u8; 32],
        ours: &str,
        theirs: &str,
    ) -> Result<Self, SframeError> {
        let meeting = key.meeting(agreed);
        let track = Track::Feedback;
        let secret = |from: &str, to: &str| -> [u8; 32] {
            let name = track.info().name.as_bytes();
            derive(&meeting, &[name, b" from ", from.as_bytes(), b" to ", to.as_bytes()])
        };
        Ok(Self {
            theirs: theirs.to_owned(),
            out: Sealing::new(track, secret(ours, theirs))?,
            into: Opening::new(track, secret(theirs, ours))?,
            sender: None,
        })
    }

    /// The peer gave its sender's secret. The same one again changes nothing.
    pub(crate) fn learn(&mut self, secret: &SenderSecret) {
        if self.sender.as_ref().is_some_and(|(known, _)| known == secret) {
            return;
        }
        let key = |track: Track| {
            Ok((track as u8, Opening::new(track, sender_track_secret(secret, track, &self.theirs))?))
        };
        let keys = sender_tracks().map(key).collect::<Result<_, SframeError>>();
        self.sender = keys.ok().map(|keys| (*secret, keys));
    }

    /// Encrypts a datagram for the peer alone into `block`.
    ///
    /// # Errors
    /// When the counter is used up, after 2⁶⁴ datagrams.
    pub(crate) fn close(&mut self, plain: &[u8], block: &mut Block) -> Result<Bytes, SframeError> {
        self.out.close(plain, block)
    }

    /// Decrypts a datagram of `track` into `block`.
    pub(crate) fn open(&mut self, track: Track, sealed: &[u8], block: &mut Block) -> Opened {
        let opening = match track.info().key {
            KeyContext::Pair => Some(&mut self.into),
            KeyContext::Sender => match &mut self.sender {
                Some((_, keys)) => keys.get_mut(&(track as u8)),
                None => return Opened::NoKey,
            },
        };
        opening.and_then(|opening| opening.open(sealed, block)).map_or(Opened::Refused, Opened::Plain)
    }
}

/// Where datagrams are written.
#[derive(Debug, Default)]
pub(crate) struct Block(BytesMut);

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for Block {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Truncate for Block {
    fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

impl FrameBuffer for Block {
    type BufferSlice = Self;
    type Error = std::convert::Infallible;

    fn allocate(&mut self, size: usize) -> Result<&mut Self, Self::Error> {
        self.0.clear();
        if self.0.capacity() < size {
            self.0.reserve(BLOCK.max(size));
        }
        self.0.resize(size, 0);
        Ok(self)
    }
}

/// A [`PairSeal`] that outlives the session which uses it: an instance met again goes on where it was.
pub(crate) type SharedPair = Arc<Mutex<PairSeal>>;
/// A [`SenderSeal`], which all sessions of a connection use.
pub(crate) type SharedSender = Arc<Mutex<SenderSeal>>;

/// Datagrams between two looks at the clock, which may take longer than one of them.
const AT_ONCE: usize = 256;

/// How long it takes to encrypt `count` datagrams of `bytes` bytes, and then to decrypt them: for benches.
///
/// # Errors
/// When sealing fails.
pub fn time_sealing(count: usize, bytes: usize) -> Result<[Duration; 2], SframeError> {
    let key = RoomKey::of([7; 32]);
    let mut here = SenderSeal::with([5; 32], "a")?;
    let mut there = PairSeal::new(&key, &[1; 32], "b", "a")?;
    there.learn(&here.secret());
    let (plain, mut near, mut far) = (vec![7; bytes], Block::default(), Block::default());
    let (mut closing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut sealed = Vec::with_capacity(AT_ONCE);
    for done in (0..count).step_by(AT_ONCE) {
        let start = Instant::now();
        for _ in done..count.min(done + AT_ONCE) {
            sealed.push(here.close(Track::Hologram, &plain, &mut near)?);
        }
        let closed = Instant::now();
        let all = sealed.iter().all(|one| {
            matches!(there.open(Track::Hologram, one, &mut far), Opened::Plain(opened) if opened == plain)
        });
        opening += closed.elapsed();
        closing += closed - start;
        sealed.clear();
        if !all {
            return Err(SframeError::DecryptionFailure);
        }
    }
    Ok([closing, opening])
}

/// The seals of one instance of ours: its own for all, and one for each instance that it meets.
pub(crate) struct Seals {
    key: RoomKey,
    own: OwnInstance,
    ours: String,
    sender: SharedSender,
    pairs: BTreeMap<String, SharedPair>,
}

impl Seals {
    /// Of `own`, which is announced at the path `ours`.
    ///
    /// # Errors
    /// As [`SenderSeal::new`].
    pub(crate) fn new(key: RoomKey, own: OwnInstance, ours: String) -> Result<Self, Ended> {
        let sender = Arc::new(Mutex::new(SenderSeal::new(&ours)?));
        Ok(Self { key, own, ours, sender, pairs: BTreeMap::new() })
    }

    /// For what goes to all peers.
    pub(crate) fn sender(&self) -> SharedSender {
        self.sender.clone()
    }

    /// The one with `instance` at the path `theirs`.
    ///
    /// # Errors
    /// When there were too many.
    pub(crate) fn with(&mut self, instance: &Instance, theirs: &str) -> Result<SharedPair, Ended> {
        let met = self.pairs.len();
        match self.pairs.entry(theirs.to_owned()) {
            Entry::Occupied(pair) => Ok(pair.get().clone()),
            Entry::Vacant(_) if met >= PAIRS => Err(Ended::Instances),
            Entry::Vacant(place) => {
                let seal = PairSeal::new(&self.key, &self.own.agree(instance), &self.ours, theirs)?;
                Ok(place.insert(Arc::new(Mutex::new(seal))).clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::crypto::instance::OwnInstance;
    use crate::link::sizes::SEAL_OVERHEAD;

    const A: &str = "room/a/1";
    const B: &str = "room/b/1";
    const AGREED: [u8; 32] = [1; 32];

    /// One end: what it says to all, what to the other alone, and memory.
    struct End(SenderSeal, PairSeal, Block);

    impl End {
        fn new(room: u8, agreed: [u8; 32], ours: &str, theirs: &str) -> Self {
            let pair = PairSeal::new(&RoomKey::of([room; 32]), &agreed, ours, theirs).unwrap();
            Self(SenderSeal::new(ours).unwrap(), pair, Block::default())
        }

        fn close(&mut self, track: Track, plain: &[u8]) -> Bytes {
            match track.info().key {
                KeyContext::Sender => self.0.close(track, plain, &mut self.2).unwrap(),
                KeyContext::Pair => self.1.close(plain, &mut self.2).unwrap(),
            }
        }

        fn open(&mut self, track: Track, sealed: &[u8]) -> Option<Bytes> {
            match self.1.open(track, sealed, &mut self.2) {
                Opened::Plain(plain) => Some(plain),
                Opened::NoKey | Opened::Refused => None,
            }
        }
    }

    fn pair() -> (End, End) {
        let (mut a, mut b) = (End::new(7, AGREED, A, B), End::new(7, AGREED, B, A));
        a.1.learn(&b.0.secret());
        b.1.learn(&a.0.secret());
        (a, b)
    }

    #[test]
    fn what_one_encrypts_the_other_decrypts_once() {
        for track in [Track::Hologram, Track::Voice, Track::Feedback] {
            let (mut a, mut b) = pair();
            for n in 0..3_000_u32 {
                let plain = n.to_be_bytes().repeat(1 + n as usize % 270);
                let sealed = a.close(track, &plain);
                assert!(sealed.len() <= plain.len() + SEAL_OVERHEAD);
                assert_eq!(b.open(track, &sealed).as_deref(), Some(&plain[..]));
                b.1.learn(&a.0.secret());
                assert_eq!(b.open(track, &sealed), None, "repeated");
            }
        }
    }

    #[test]
    fn one_datagram_serves_all_that_were_given_the_secret_and_nobody_else() {
        let mut a = End::new(7, AGREED, A, B);
        let sealed = a.close(Track::Hologram, b"a frame");
        let (mut b, mut c) = (End::new(7, [2; 32], B, A), End::new(7, [3; 32], "room/c/1", A));
        assert_eq!(b.1.open(Track::Hologram, &sealed, &mut b.2), Opened::NoKey);
        b.1.learn(&a.0.secret());
        c.1.learn(&a.0.secret());
        for end in [&mut b, &mut c] {
            assert_eq!(end.open(Track::Hologram, &sealed).as_deref(), Some(&b"a frame"[..]));
        }
        // The same secret of another instance is another key.
        let mut d = End::new(7, AGREED, B, "room/a/2");
        d.1.learn(&a.0.secret());
        assert_eq!(d.1.open(Track::Hologram, &sealed, &mut d.2), Opened::Refused);
    }

    #[test]
    fn nothing_else_decrypts() {
        let (mut a, mut b) = pair();
        for track in [Track::Hologram, Track::Feedback] {
            let sealed = a.close(track, b"a frame");
            assert!(!sealed.windows(5).any(|part| part == b"frame"));
            for at in 0..sealed.len() {
                for bit in 0..8 {
                    let mut changed = sealed.to_vec();
                    changed[at] ^= 1 << bit;
                    assert_eq!(b.open(track, &changed), None, "bit {bit} of byte {at}");
                }
                assert_eq!(b.open(track, &sealed[..at]), None, "cut at {at}");
            }
            let other = if track == Track::Hologram { Track::Voice } else { Track::Hologram };
            assert_eq!(b.open(other, &sealed), None, "another track");
            assert_eq!(a.open(track, &sealed), None, "its own, sent back");
            // None of this has used the datagram up.
            assert_eq!(b.open(track, &sealed).as_deref(), Some(&b"a frame"[..]));
        }
        let sealed = a.close(Track::Feedback, b"a report");
        for (ours, theirs) in [(B, "room/a/2"), ("room/b/2", A), ("room/c/1", A)] {
            let opened = End::new(7, AGREED, ours, theirs).open(Track::Feedback, &sealed);
            assert_eq!(opened, None, "{ours} with {theirs}: another meeting");
        }
        assert_eq!(End::new(8, AGREED, B, A).open(Track::Feedback, &sealed), None, "another room");
        let listener = End::new(7, [2; 32], B, A).open(Track::Feedback, &sealed);
        assert_eq!(listener, None, "the room key alone");
    }

    #[test]
    fn reordering_passes_within_the_window_and_not_beyond() {
        let (mut a, mut b) = pair();
        let sealed: Vec<_> = (0..WINDOW + 100).map(|_| a.close(Track::Feedback, b"x")).collect();
        assert!(b.open(Track::Feedback, &sealed[WINDOW + 99]).is_some());
        assert!(b.open(Track::Feedback, &sealed[200]).is_some());
        assert!(b.open(Track::Feedback, &sealed[99]).is_none());
    }

    #[test]
    fn memory_comes_back_and_garbage_takes_none() {
        let (mut a, mut b) = pair();
        b.open(Track::Hologram, &a.close(Track::Hologram, &[7; 1_000])).unwrap();
        let before = b.2.0.capacity();
        for _ in 0..100 {
            assert_eq!(b.open(Track::Hologram, &[7; 1_000]), None);
        }
        assert_eq!(b.2.0.capacity(), before);
    }

    #[test]
    fn an_instance_met_again_goes_on_where_it_was() {
        let others: Vec<OwnInstance> = (0..=PAIRS).map(|_| OwnInstance::new().unwrap()).collect();
        let path = |n: usize| format!("room/b/{n}");
        let own = OwnInstance::new().unwrap();
        let mut seals = Seals::new(RoomKey::of([7; 32]), own, A.to_owned()).unwrap();
        let mut sealed = |n: usize| {
            let seal = seals.with(&others[n].instance(), &path(n))?;
            let mut seal = seal.lock().unwrap();
            Ok::<_, Ended>(seal.close(b"x", &mut Block::default())?)
        };
        let first = sealed(0).unwrap();
        assert_ne!(first, sealed(0).unwrap(), "a counter is used once");
        for n in 1..PAIRS {
            assert_ne!(first, sealed(n).unwrap());
        }
        assert!(matches!(sealed(PAIRS), Err(Ended::Instances)));
        assert!(sealed(0).is_ok());
    }
}
