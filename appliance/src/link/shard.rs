//! How an access unit travels on the `hologram` track: cut into shards, one a datagram.
//!
//! ```text
//! shard:  version:8  frame:32  index:16  count:16  piece of the blob…          (big endian, at most SHARD bytes)
//! blob:   flags:8  capture_us:64  dequeued:32  staged:32  encoded:32  sent:32  access unit…
//! ```
//! The four last times are µs since `capture_us`. `version` leaves room for parity shards beside the data shards.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::picture::{AccessUnit, Stamps};

/// The largest datagram payload, in bytes: fits QUIC's minimum MTU with every header of MoQ around it.
pub(super) const SHARD: usize = 1100;
const VERSION: u8 = 1;
const SHARD_HEADER: usize = 9;
const PIECE: usize = SHARD - SHARD_HEADER;
const BLOB_HEADER: usize = 25;
const KEYFRAME: u8 = 1;
/// The most shards of one frame: 4 MB, above any keyframe at the highest rate that the configuration allows.
pub(super) const MAX_SHARDS: u16 = 4096;

/// The latest time that can be meant, in µs: a century of uptime. Beyond it, arithmetic with times could overflow.
pub(super) const MAX_TIME_US: u64 = 1 << 52;

/// One datagram of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    /// The frame's number.
    pub(super) frame: u32,
    /// Which piece this is.
    pub(super) index: u16,
    /// Of how many.
    pub(super) count: u16,
    /// The piece.
    pub(super) piece: Bytes,
}

impl Shard {
    /// Reads a datagram; `None` when it makes no sense.
    pub(super) fn parse(mut datagram: Bytes) -> Option<Self> {
        if datagram.len() <= SHARD_HEADER || datagram.len() > SHARD || datagram.get_u8() != VERSION {
            return None;
        }
        let (frame, index, count) = (datagram.get_u32(), datagram.get_u16(), datagram.get_u16());
        let sensible = count > 0 && count <= MAX_SHARDS && index < count;
        // All pieces but the last are full, which is what makes their places known.
        let full = u32::from(index) + 1 == u32::from(count) || datagram.len() == PIECE;
        (sensible && full).then_some(Self { frame, index, count, piece: datagram })
    }
}

/// Cuts `unit` into datagrams as frame number `frame`. Empty when it is larger than any frame may be.
pub(super) fn cut(unit: &AccessUnit, frame: u32) -> impl Iterator<Item = Bytes> + use<> {
    let total = BLOB_HEADER + unit.data.len();
    let count = total.div_ceil(PIECE);
    let fits = count <= usize::from(MAX_SHARDS);
    let s = &unit.stamps;
    let since = |t: u64| u32::try_from(t.saturating_sub(s.capture_us)).unwrap_or(u32::MAX);
    let mut blob = BytesMut::with_capacity(if fits { total + count * SHARD_HEADER } else { 0 });
    let mut header = [0u8; BLOB_HEADER];
    let mut fields = &mut header[..];
    fields.put_u8(if unit.keyframe { KEYFRAME } else { 0 });
    fields.put_u64(s.capture_us);
    for t in [s.dequeued_us, s.staged_us, s.encoded_us, s.sent_us] {
        fields.put_u32(since(t));
    }
    if fits {
        let mut body = header.as_slice().chain(unit.data.as_ref());
        for index in 0..count {
            blob.put_u8(VERSION);
            blob.put_u32(frame);
            blob.put_u16(index as u16);
            blob.put_u16(count as u16);
            let piece = PIECE.min(body.remaining());
            blob.put((&mut body).take(piece));
        }
    }
    let mut blob = blob.freeze();
    std::iter::from_fn(move || (!blob.is_empty()).then(|| blob.split_to(SHARD.min(blob.len()))))
}

/// The access unit that the pieces of a frame make, with the sender's stamps on the sender's clock; `None` when they make none.
pub(super) fn join(frame: u32, pieces: &[Option<Bytes>]) -> Option<AccessUnit> {
    let mut blob = BytesMut::with_capacity(pieces.len() * PIECE);
    for piece in pieces {
        blob.extend_from_slice(piece.as_ref()?);
    }
    let mut blob = blob.freeze();
    if blob.len() < BLOB_HEADER {
        return None;
    }
    let flags = blob.get_u8();
    let capture_us = blob.get_u64();
    if capture_us > MAX_TIME_US {
        return None;
    }
    let mut since = || capture_us.saturating_add(blob.get_u32().into());
    let (dequeued_us, staged_us, encoded_us, sent_us) = (since(), since(), since(), since());
    let stamps = Stamps { capture_us, dequeued_us, staged_us, encoded_us, sent_us, ..Stamps::default() };
    Some(AccessUnit { data: blob, keyframe: flags & KEYFRAME != 0, number: frame, stamps })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn unit(number: u32, size: usize) -> AccessUnit {
        AccessUnit {
            data: (0..size).map(|i| (i * 7 + number as usize) as u8).collect::<Vec<_>>().into(),
            keyframe: number.is_multiple_of(30),
            number,
            stamps: Stamps {
                capture_us: 1_000_000,
                dequeued_us: 1_000_100,
                staged_us: 1_000_300,
                encoded_us: 1_006_000,
                sent_us: 1_006_050,
                ..Stamps::default()
            },
        }
    }

    #[test]
    fn what_is_cut_joins_again() {
        for size in [0, 1, PIECE - BLOB_HEADER, PIECE - BLOB_HEADER + 1, 40_000, 300_000] {
            let original = unit(30, size);
            let shards: Vec<_> = cut(&original, 9).collect();
            assert!(shards.iter().all(|s| s.len() <= SHARD));
            let pieces: Vec<_> = shards
                .into_iter()
                .enumerate()
                .map(|(i, s)| {
                    let shard = Shard::parse(s).unwrap();
                    assert_eq!((shard.frame, usize::from(shard.index)), (9, i));
                    Some(shard.piece)
                })
                .collect();
            let joined = join(9, &pieces).unwrap();
            assert_eq!((joined.data, joined.keyframe, joined.stamps), (original.data, true, original.stamps));
        }
    }

    #[test]
    fn what_is_too_large_is_not_cut() {
        assert_eq!(cut(&unit(1, usize::from(MAX_SHARDS) * PIECE), 1).count(), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = cut(&unit(1, 5_000), 1).next().unwrap();
        assert!(Shard::parse(good.clone()).is_some());
        for length in 0..=SHARD_HEADER {
            assert!(Shard::parse(good.slice(..length)).is_none());
        }
        assert!(Shard::parse(good.slice(..500)).is_none(), "short, but not the last");
        let change = |at: usize, value: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = value;
            Shard::parse(bytes.into())
        };
        assert!(change(0, 2).is_none(), "another version");
        assert!(change(5, 0xff).is_none(), "an index beyond the count");
        assert!(change(8, 0).is_none(), "a count of nothing");
        assert!(join(1, &[Some(Bytes::from_static(b"short"))]).is_none());
        assert!(join(1, &[None]).is_none());
    }
}
