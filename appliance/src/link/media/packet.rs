//! What travels on the `hologram` track: one shard of a frame a datagram, or padding. No I/O.
//!
//! ```text
//! shard:    kind:8=2  packet:32  frame:32  part:2  index:14  data:16  parity:16  left:16  piece…
//! half:     the same, with length:16 before the piece
//! padding:  kind:8=3  packet:32  zeros…
//! frame:    flags:8  length:32  capture_us:64  dequeued:32  staged:32  encoded:32  sent:32  unit…  zeros…
//! ```
//! `packet` numbers the datagrams of all media tracks of a connection in the order of sending, whatever they
//! carry. Of a frame's
//! `data + parity` shards any `data` give it back (see [`crate::link::media::fec`]). All are of one length,
//! but the last data shard may go without the zeros behind the access unit. A shard that was cut for a path
//! which has become narrower since goes in two halves, `part` 1 and 2; `length` is that of the frame's whole
//! shards. `left` is what remained of the frame's deadline when the datagram was sent, in tenths of a
//! millisecond. The frame's four last times are µs since `capture_us`.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use crate::link::sizes::MAX_DATAGRAM;
use crate::media::picture::{AccessUnit, Stamps};

/// Bytes of a shard's datagram before its piece.
pub(crate) const SHARD_HEADER: usize = 17;
/// Bytes of a frame before its access unit.
pub(crate) const FRAME_HEADER: usize = 29;
/// The most data shards of one frame: 4 MB, above any keyframe at the highest rate that the configuration
/// allows.
pub(crate) const MAX_DATA: u16 = 4096;
/// The most parity shards of one frame.
pub(crate) const MAX_PARITY: u16 = 2048;
/// The latest time that can be meant, in µs: a century of uptime. Beyond it, arithmetic with times could
/// overflow.
pub(crate) const MAX_TIME_US: u64 = 1 << 52;

const SHARD: u8 = 2;
const PADDING: u8 = 3;
const KEYFRAME: u8 = 1;
/// In the order of their numbers, which stand above a shard's index.
const PARTS: [Part; 3] = [Part::Whole, Part::First, Part::Second];
const PART_SHIFT: u32 = 14;
const LEFT_UNIT_US: u64 = 100;

/// How much of a shard a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The first half.
    First,
    /// The rest.
    Second,
}

impl Part {
    /// Which bytes of a shard of `length` it is.
    pub(crate) fn bytes(self, length: usize) -> Range<usize> {
        let half = (length / 2).next_multiple_of(2).min(length);
        match self {
            Self::Whole => 0..length,
            Self::First => 0..half,
            Self::Second => half..length,
        }
    }
}

/// A datagram of the track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Its number.
    pub(crate) packet: u32,
    /// What it carries; none for padding.
    pub(crate) shard: Option<Shard>,
}

/// A piece of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    /// The frame's number.
    pub(crate) frame: u32,
    /// Which shard: data first, then parity.
    pub(crate) index: u16,
    /// How much of it.
    pub(crate) part: Part,
    /// Bytes of a whole shard of the frame; of the last data shard's whole, its own.
    pub(crate) length: usize,
    /// How many data shards the frame has.
    pub(crate) data: u16,
    /// How many parity shards.
    pub(crate) parity: u16,
    /// What was left of the deadline at sending, in µs.
    pub(crate) left_us: u64,
    /// The bytes, an even number; as many in every whole shard of a frame, and no more in the last of its
    /// data.
    pub(crate) piece: Bytes,
}

impl Datagram {
    /// Reads a datagram; `None` when it makes no sense.
    pub(crate) fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 5 || bytes.len() > MAX_DATAGRAM {
            return None;
        }
        let (kind, packet) = (bytes.get_u8(), bytes.get_u32());
        if kind == PADDING {
            return Some(Self { packet, shard: None });
        }
        if kind != SHARD || bytes.len() <= SHARD_HEADER - 5 {
            return None;
        }
        let (frame, place, data, parity) =
            (bytes.get_u32(), bytes.get_u16(), bytes.get_u16(), bytes.get_u16());
        let part = *PARTS.get(usize::from(place >> PART_SHIFT))?;
        let index = place & ((1 << PART_SHIFT) - 1);
        let left_us = u64::from(bytes.get_u16()) * LEFT_UNIT_US;
        let counts = (1..=MAX_DATA).contains(&data) && parity <= MAX_PARITY && index < data + parity;
        let length = match part {
            Part::Whole => bytes.len(),
            Part::First | Part::Second => usize::from(bytes.try_get_u16().ok()?),
        };
        let even = bytes.len().is_multiple_of(2) && length.is_multiple_of(2);
        let possible = !bytes.is_empty() && length <= MAX_DATAGRAM - SHARD_HEADER;
        let whole = part.bytes(length);
        let last = part != Part::First && index + 1 == data && bytes.len() < whole.len();
        let fits = bytes.len() == whole.len() || last;
        (counts && even && possible && fits).then_some(Self {
            packet,
            shard: Some(Shard { frame, index, part, length, data, parity, left_us, piece: bytes }),
        })
    }
}

/// Writes the [`SHARD_HEADER`] bytes before a piece; before that of a half, its shard's length has still to
/// come.
pub(crate) fn put_header(
    mut out: impl BufMut,
    packet: u32,
    frame: u32,
    (index, part): (u16, Part),
    counts: (u16, u16),
    left_us: u64,
) {
    out.put_u8(SHARD);
    out.put_u32(packet);
    out.put_u32(frame);
    out.put_u16(index | (part as u16) << PART_SHIFT);
    out.put_u16(counts.0);
    out.put_u16(counts.1);
    out.put_u16(u16::try_from(left_us / LEFT_UNIT_US).unwrap_or(u16::MAX));
}

/// Writes `size` bytes of padding, at least five.
pub(crate) fn put_padding(mut out: impl BufMut, packet: u32, size: usize) {
    out.put_u8(PADDING);
    out.put_u32(packet);
    out.put_bytes(0, size.saturating_sub(5));
}

/// The [`FRAME_HEADER`] bytes before `unit`.
pub(crate) fn frame_header(unit: &AccessUnit) -> [u8; FRAME_HEADER] {
    let s = &unit.stamps;
    let since = |t: u64| u32::try_from(t.saturating_sub(s.capture_us)).unwrap_or(u32::MAX);
    let mut header = [0; FRAME_HEADER];
    let mut fields = &mut header[..];
    fields.put_u8(if unit.keyframe { KEYFRAME } else { 0 });
    fields.put_u32(u32::try_from(unit.data.len()).unwrap_or(u32::MAX));
    fields.put_u64(s.capture_us);
    for t in [s.dequeued_us, s.staged_us, s.encoded_us, s.sent_us] {
        fields.put_u32(since(t));
    }
    header
}

/// The access unit in a whole frame, with the sender's stamps on the sender's clock; `None` when there is
/// none.
pub(crate) fn read_frame(number: u32, mut frame: Bytes) -> Option<AccessUnit> {
    if frame.len() < FRAME_HEADER {
        return None;
    }
    let flags = frame.get_u8();
    let length = frame.get_u32() as usize;
    let capture_us = frame.get_u64();
    if capture_us > MAX_TIME_US {
        return None;
    }
    let mut since = || capture_us.saturating_add(frame.get_u32().into());
    let (dequeued_us, staged_us, encoded_us, sent_us) = (since(), since(), since(), since());
    if length > frame.len() {
        return None;
    }
    let stamps = Stamps { capture_us, dequeued_us, staged_us, encoded_us, sent_us, ..Stamps::default() };
    Some(AccessUnit { data: frame.split_to(length), keyframe: flags & KEYFRAME != 0, number, stamps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> AccessUnit {
        let stamps = Stamps {
            capture_us: 1_000_000,
            dequeued_us: 1_000_100,
            staged_us: 1_000_300,
            encoded_us: 1_006_000,
            sent_us: 1_006_050,
            ..Stamps::default()
        };
        AccessUnit { data: vec![5; 5_000].into(), keyframe: true, number: 30, stamps }
    }

    fn datagram() -> Vec<u8> {
        let mut bytes = Vec::new();
        put_header(&mut bytes, 77, 9, (3, Part::Second), (10, 2), 55_500);
        bytes.extend([0, 200]);
        bytes.extend([5; 100]);
        bytes
    }

    /// The same with its last data shard, of which the zeros may be missing.
    fn last_datagram(size: usize) -> Vec<u8> {
        let mut bytes = datagram()[..SHARD_HEADER + 2 + size].to_vec();
        bytes[10] = 9;
        bytes
    }

    #[test]
    fn what_is_written_reads_again() {
        let read = Datagram::parse(datagram().into()).unwrap();
        let piece = Bytes::from(vec![5; 100]);
        let shard = Shard {
            frame: 9,
            index: 3,
            part: Part::Second,
            length: 200,
            data: 10,
            parity: 2,
            left_us: 55_500,
            piece,
        };
        assert_eq!(read, Datagram { packet: 77, shard: Some(shard) });
        let mut padding = Vec::new();
        put_padding(&mut padding, 78, 600);
        assert_eq!(padding.len(), 600);
        assert_eq!(Datagram::parse(padding.into()), Some(Datagram { packet: 78, shard: None }));
    }

    #[test]
    fn a_frame_reads_again_with_zeros_behind_it() {
        let original = frame();
        let mut bytes = frame_header(&original).to_vec();
        bytes.extend(&original.data[..]);
        bytes.extend([0; 9]);
        let read = read_frame(30, bytes.into()).unwrap();
        assert_eq!((read.data, read.keyframe, read.stamps), (original.data, true, original.stamps));
    }

    #[test]
    fn nonsense_is_refused() {
        let good = datagram();
        for length in 0..=SHARD_HEADER {
            assert_eq!(Datagram::parse(good[..length].to_vec().into()), None, "{length}");
        }
        let change = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Datagram::parse(bytes.into())
        };
        assert!(change(0, 1).is_none(), "another kind");
        assert!(change(9, 0xc0).is_none(), "a part that there is not");
        assert!(change(9, 0x3f).is_none(), "an index beyond the counts");
        assert!(change(11, 0xff).is_none(), "more data than a frame may have");
        assert!(change(13, 0xff).is_none(), "more parity than a frame may have");
        assert!(Datagram::parse(good[..good.len() - 1].to_vec().into()).is_none(), "an odd piece");
        assert!(Datagram::parse(good[..good.len() - 2].to_vec().into()).is_none(), "less than a half");
        assert!(Datagram::parse(last_datagram(98).into()).is_some(), "the last may be shorter");
        assert!(Datagram::parse(last_datagram(97).into()).is_none(), "but not odd");
        for length in [201u16, 1_424, 60_000] {
            let mut bytes = last_datagram(98);
            bytes[SHARD_HEADER..][..2].copy_from_slice(&length.to_be_bytes());
            assert!(Datagram::parse(bytes.into()).is_none(), "a half of a shard of {length}");
        }
        assert!(Datagram::parse(last_datagram(0).into()).is_none(), "but not nothing");
        for length in [0u16, 2, 198, 199, 204, 60_000] {
            let mut bytes = good.clone();
            bytes[SHARD_HEADER..][..2].copy_from_slice(&length.to_be_bytes());
            assert!(Datagram::parse(bytes.into()).is_none(), "a half of a shard of {length}");
        }
        assert!(read_frame(1, Bytes::from_static(b"short")).is_none());
        let mut frame = frame_header(&frame()).to_vec();
        assert!(read_frame(1, frame.clone().into()).is_none(), "longer than it is");
        frame[5] = 0xff;
        assert!(read_frame(1, frame.into()).is_none(), "a time beyond all times");
    }
}
