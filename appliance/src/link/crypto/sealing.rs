//! Sealing: what booths say to each other is closed before it leaves and opened after it came (SFrame, RFC 9605), so that whoever
//! carries it, a relay for one, can neither read it nor change, repeat or add anything.
//!
//! A *run* is one connection's broadcast, and its path holds a public key that is the run's own. Each pair of instances has keys for each
//! direction and track, derived from the room key, from what the two public keys agree on (X25519), and from both paths. So no key
//! is ever used a second time, restarts included, and counters begin at 0; what was recorded in one meeting opens in no other; and who
//! learns the room key later, or has it and only listens, opens nothing. Within a meeting a counter passes once (RFC 9605, section 9.3).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sframe::CipherSuite;
use sframe::error::SframeError;
use sframe::frame::validation::{ReplayAttackProtection, Tolerance};
use sframe::frame::{EncryptedFrameView, FrameBuffer, MediaFrameView, MonotonicCounter, Truncate};
use sframe::key::{DecryptionKey, EncryptionKey};

use crate::link::crypto::instance::{Instance, OwnInstance};
use crate::link::error::Ended;
use crate::link::track::Track;
use crate::pairing::{RoomKey, derive};

const SUITE: CipherSuite = CipherSuite::AesGcm128Sha256;
/// So many datagrams one may be behind the newest: what is sent again is sealed again, so only reordering counts.
const WINDOW: usize = 2_048;
/// Instances that one connection may meet. More is nonsense, and forgetting one could use a key twice.
const PAIRS: usize = 256;
/// Memory for datagrams is taken in blocks of so many bytes; a block comes back when all its datagrams are gone.
const BLOCK: usize = 64 << 10;

/// The keys between one instance of ours and one of theirs.
pub(crate) struct Seal {
    sealing: [(EncryptionKey, MonotonicCounter); Track::ALL.len()],
    opening: [(DecryptionKey, ReplayAttackProtection); Track::ALL.len()],
}

impl Seal {
    /// Between the instances at the paths `ours` and `theirs` of the room with `key`, when they agree on `agreed`.
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
        let secret = |from: &str, to: &str, track: Track| -> [u8; 32] {
            derive(&meeting, &[track.name().as_bytes(), b" from ", from.as_bytes(), b" to ", to.as_bytes()])
        };
        let [hologram, feedback] = Track::ALL.map(|track| {
            let id = track as u64;
            let sealing = EncryptionKey::derive_from(SUITE, id, secret(ours, theirs, track))?;
            let opening = DecryptionKey::derive_from(SUITE, id, secret(theirs, ours, track))?;
            let window = ReplayAttackProtection::new(id, Tolerance::new(WINDOW));
            Ok::<_, SframeError>(((sealing, MonotonicCounter::default()), (opening, window)))
        });
        let (hologram, feedback) = (hologram?, feedback?);
        Ok(Self { sealing: [hologram.0, feedback.0], opening: [hologram.1, feedback.1] })
    }

    /// Closes a datagram of `track` into `block`.
    ///
    /// # Errors
    /// When the counter is used up, after 2⁶⁴ datagrams.
    pub(crate) fn close(
        &mut self,
        track: Track,
        plain: &[u8],
        block: &mut Block,
    ) -> Result<Bytes, SframeError> {
        let (key, counter) = &mut self.sealing[track as usize];
        MediaFrameView::try_new(counter, plain)?.encrypt_into(key, block)?;
        Ok(block.0.split().freeze())
    }

    /// Opens a datagram of `track` into `block`; none when it was not closed for us, was changed, or came before.
    pub(crate) fn open(&mut self, track: Track, sealed: &[u8], block: &mut Block) -> Option<Bytes> {
        let (key, window) = &mut self.opening[track as usize];
        let frame = EncryptedFrameView::try_new(sealed).ok()?;
        frame.validated_decrypt_into(&*key, block, window).ok()?;
        Some(block.0.split().freeze())
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

/// A [`Seal`] that outlives the session which uses it: an instance met again goes on where it was.
pub(crate) type Shared = Arc<Mutex<Seal>>;

/// Datagrams between two looks at the clock, which may take longer than one of them.
const AT_ONCE: usize = 256;

/// How long it takes to close `count` datagrams of `bytes` bytes, and then to open them: for benches.
///
/// # Errors
/// When sealing fails.
pub fn time_sealing(count: usize, bytes: usize) -> Result<[Duration; 2], SframeError> {
    let key = RoomKey::of([7; 32]);
    let (mut here, mut there) = (Seal::new(&key, &[1; 32], "a", "b")?, Seal::new(&key, &[1; 32], "b", "a")?);
    let (plain, mut near, mut far) = (vec![7; bytes], Block::default(), Block::default());
    let (mut closing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut sealed = Vec::with_capacity(AT_ONCE);
    for done in (0..count).step_by(AT_ONCE) {
        let start = Instant::now();
        for _ in done..count.min(done + AT_ONCE) {
            sealed.push(here.close(Track::Hologram, &plain, &mut near)?);
        }
        let closed = Instant::now();
        let all = sealed
            .iter()
            .all(|one| there.open(Track::Hologram, one, &mut far).as_deref() == Some(&plain[..]));
        opening += closed.elapsed();
        closing += closed - start;
        sealed.clear();
        if !all {
            return Err(SframeError::DecryptionFailure);
        }
    }
    Ok([closing, opening])
}

/// The seals of one instance of ours, one for each run that it meets.
pub(crate) struct Seals {
    key: RoomKey,
    own: OwnInstance,
    ours: String,
    pairs: BTreeMap<String, Shared>,
}

impl Seals {
    /// Of `own`, which is announced at the path `ours`.
    pub(crate) fn new(key: RoomKey, own: OwnInstance, ours: String) -> Self {
        Self { key, own, ours, pairs: BTreeMap::new() }
    }

    /// The one with `run` at the path `theirs`.
    ///
    /// # Errors
    /// When there were too many.
    pub(crate) fn with(&mut self, run: &Instance, theirs: &str) -> Result<Shared, Ended> {
        let met = self.pairs.len();
        match self.pairs.entry(theirs.to_owned()) {
            Entry::Occupied(pair) => Ok(pair.get().clone()),
            Entry::Vacant(_) if met >= PAIRS => Err(Ended::Instances),
            Entry::Vacant(place) => {
                let seal = Seal::new(&self.key, &self.own.agree(run), &self.ours, theirs)?;
                Ok(place.insert(Arc::new(Mutex::new(seal))).clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::crypto::instance::Place;
    use crate::link::sizes::SEAL_OVERHEAD;
    use crate::pairing::Fingerprint;

    const A: &str = "room/a/1";
    const B: &str = "room/b/1";
    const AGREED: [u8; 32] = [1; 32];

    /// A seal and its memory.
    struct End(Seal, Block);

    impl End {
        fn new(room: u8, agreed: [u8; 32], ours: &str, theirs: &str) -> Self {
            Self(Seal::new(&RoomKey::of([room; 32]), &agreed, ours, theirs).unwrap(), Block::default())
        }

        fn close(&mut self, track: Track, plain: &[u8]) -> Bytes {
            self.0.close(track, plain, &mut self.1).unwrap()
        }

        fn open(&mut self, track: Track, sealed: &[u8]) -> Option<Bytes> {
            self.0.open(track, sealed, &mut self.1)
        }
    }

    fn pair() -> (End, End) {
        (End::new(7, AGREED, A, B), End::new(7, AGREED, B, A))
    }

    #[test]
    fn what_one_closes_the_other_opens_once() {
        let (mut a, mut b) = pair();
        for n in 0..5_000_u32 {
            let plain = n.to_be_bytes().repeat(1 + n as usize % 270);
            let sealed = a.close(Track::Hologram, &plain);
            assert!(sealed.len() <= plain.len() + SEAL_OVERHEAD);
            assert_eq!(b.open(Track::Hologram, &sealed).as_deref(), Some(&plain[..]));
            assert_eq!(b.open(Track::Hologram, &sealed), None, "repeated");
        }
    }

    #[test]
    fn nothing_else_opens() {
        let (mut a, mut b) = pair();
        let sealed = a.close(Track::Hologram, b"a frame");
        assert!(!sealed.windows(5).any(|part| part == b"frame"));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.to_vec();
                changed[at] ^= 1 << bit;
                assert_eq!(b.open(Track::Hologram, &changed), None, "bit {bit} of byte {at}");
            }
            assert_eq!(b.open(Track::Hologram, &sealed[..at]), None, "cut at {at}");
        }
        assert_eq!(b.open(Track::Feedback, &sealed), None, "another track");
        assert_eq!(a.open(Track::Hologram, &sealed), None, "its own, sent back");
        for (ours, theirs) in [(B, "room/a/2"), ("room/b/2", A), ("room/c/1", A)] {
            let opened = End::new(7, AGREED, ours, theirs).open(Track::Hologram, &sealed);
            assert_eq!(opened, None, "{ours} with {theirs}: another meeting");
        }
        assert_eq!(End::new(8, AGREED, B, A).open(Track::Hologram, &sealed), None, "another room");
        assert_eq!(End::new(7, [2; 32], B, A).open(Track::Hologram, &sealed), None, "the room key alone");
        // None of this has used the datagram up.
        assert_eq!(b.open(Track::Hologram, &sealed).as_deref(), Some(&b"a frame"[..]));
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
        let before = b.1.0.capacity();
        for _ in 0..100 {
            assert_eq!(b.open(Track::Hologram, &[7; 1_000]), None);
        }
        assert_eq!(b.1.0.capacity(), before);
    }

    #[test]
    fn a_run_met_again_goes_on_where_it_was() {
        let place = Place::new("room", None);
        let others: Vec<OwnInstance> = (0..=PAIRS).map(|_| OwnInstance::new().unwrap()).collect();
        let path = |n: usize| place.own_path(Fingerprint([1; 32]), &others[n]);
        let mut seals = Seals::new(RoomKey::of([7; 32]), OwnInstance::new().unwrap(), A.to_owned());
        let mut sealed = |n: usize| {
            let seal = seals.with(&others[n].instance(), &path(n))?;
            let mut seal = seal.lock().unwrap();
            Ok::<_, Ended>(seal.close(Track::Hologram, b"x", &mut Block::default())?)
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
