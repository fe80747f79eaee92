//! Frames and shards for tests.

use bytes::Bytes;

use crate::link::media::fec;
use crate::link::media::packet::{Part, Shard, frame_header};
use crate::media::picture::{AccessUnit, Stamps};

/// Access unit `number` of `size` bytes; every 30th is a keyframe.
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

/// The shards of `unit` as frame `number` with `parity` of them parity, the last of the data as short as it
/// may be.
pub(crate) fn shards(unit: &AccessUnit, number: u32, parity: usize) -> Vec<Shard> {
    let length = 1_000;
    let mut whole = frame_header(unit).to_vec();
    whole.extend_from_slice(&unit.data);
    let end = whole.len().next_multiple_of(2);
    whole.resize(whole.len().next_multiple_of(length), 0);
    let data = whole.len() / length;
    if parity > 0 {
        let mut encoder = fec::Encoder::default();
        let copy = whole.clone();
        let made = encoder.encode(copy.chunks_exact(length), parity, length).unwrap();
        made.recovery_iter().for_each(|piece| whole.extend_from_slice(piece));
    }
    let size = |index: usize| if index + 1 == data { end - index * length } else { length };
    let shard = |(index, piece): (usize, &[u8])| Shard {
        frame: number,
        index: index as u16,
        data: data as u16,
        parity: parity as u16,
        left_us: 80_000,
        part: Part::Whole,
        length: size(index),
        piece: Bytes::copy_from_slice(&piece[..size(index)]),
    };
    whole.chunks_exact(length).enumerate().map(shard).collect()
}
