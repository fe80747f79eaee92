//! A frame that goes out: its shards, those that wait and those that went, whole or as split shards. No I/O.
//!
//! ```text
//!   packetized              the pacer admits           a NACK                half a second after
//!  ────────────► waiting ──────────────────► sent ◄─────────────► repaired ────────────────────► forgotten
//!                shard by shard                     as often as asked        the deadline
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::link::media::packet::{self, Part, SHARD_HEADER};
use crate::link::sizes::MAX_PEERS;

/// A frame on its way, or kept for repair.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) number: u32,
    pub(crate) counts: (u16, u16),
    /// Bytes of a shard's datagram, and of the last data shard's.
    pub(crate) slot: usize,
    pub(crate) last: usize,
    pub(crate) deadline_us: u64,
    /// Shards not yet sent.
    pub(crate) waiting: BytesMut,
    /// The shard of which the second half has still to be sent.
    pub(crate) rest: Option<u16>,
    /// Datagrams that went, in the order of their index, and when each last did, in µs.
    pub(crate) sent: Vec<(Bytes, u64)>,
    /// The newest question of each peer about it that was answered.
    pub(crate) rounds: [u8; MAX_PEERS],
}

impl Frame {
    /// Whether all of it has been sent.
    pub(crate) fn is_out(&self) -> bool {
        self.waiting.is_empty() && self.rest.is_none()
    }

    /// Takes the next shard that waits: its index and its datagram, the header's place still free.
    pub(crate) fn next_shard(&mut self) -> Option<(u16, BytesMut)> {
        if self.waiting.is_empty() {
            return None;
        }
        let index = self.sent.len() as u16;
        let mut shard = self.waiting.split_to(self.slot.min(self.waiting.len()));
        if index + 1 == self.counts.0 {
            shard.truncate(self.last);
        }
        Some((index, shard))
    }

    /// A datagram with a part of `shard`, a datagram itself.
    pub(crate) fn datagram_of(
        &self,
        index: u16,
        part: Part,
        shard: &[u8],
        packet: u32,
        now_us: u64,
    ) -> Bytes {
        let left_us = self.deadline_us.saturating_sub(now_us);
        let (piece, length) = (&shard[SHARD_HEADER..], self.slot - SHARD_HEADER);
        let bytes = part.bytes(length);
        let piece = &piece[bytes.start.min(piece.len())..bytes.end.min(piece.len())];
        let mut datagram = BytesMut::with_capacity(SHARD_HEADER + 2 + piece.len());
        packet::put_header(&mut datagram, packet, self.number, (index, part), self.counts, left_us);
        if part != Part::Whole {
            datagram.put_u16(length as u16);
        }
        datagram.extend_from_slice(piece);
        datagram.freeze()
    }
}
