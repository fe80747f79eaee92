//! A frame, split into datagrams: how long, how many, and how many more to stand in for those that are lost.
//! No I/O.

use bytes::{Buf, BufMut, BytesMut};

use crate::link::media::fec;
use crate::link::media::packet::{self, FRAME_HEADER, MAX_DATA, MAX_PARITY, SHARD_HEADER};
use crate::link::media::redundancy::{Loss, Redundancy};
use crate::link::sizes::{self, AROUND};
use crate::media::picture::AccessUnit;

/// Above this share of losses datagrams are no larger than any path carries. QUIC takes several losses of
/// large packets for a path that has become narrower (RFC 8899, section 4.3): quinn, when four that do not
/// follow one another show at once and the largest packet that has arrived is older. What was cut for more
/// then goes as split shards (see [`crate::link::media::sender`]), which costs more than small datagrams do.
const LOSSY: f32 = 0.03;
/// So it is where losses come so many in a row, and above this share: a burst takes a number of datagrams,
/// and fewer bytes of small ones.
const BURSTY: (f32, f32) = (2.0, 0.01);
/// A frame of so many data shards is cut into datagrams as large as the path allows, so that those of all
/// such frames are of one size: one that has arrived clears nearly all that were lost before it (a packet
/// also holds its number, of one or two bytes, and at times an acknowledgement). Frames of fewer shards go in
/// datagrams that any path carries.
const MANY: usize = 8;
/// How often a frame may be beyond its own parity, when a repair comes in time, and when none does.
const MISS: (f32, f32) = (3e-3, 1e-4);
/// Where repairs come in time, parity is at most a third of the data and this: against long bursts they are
/// the cheaper way.
const MORE: usize = 3;

/// How a frame is laid out in datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Data shards.
    pub(crate) data: u16,
    /// Parity shards.
    pub(crate) parity: u16,
    /// Bytes of a datagram, its header included.
    pub(crate) slot: usize,
    /// Bytes of the last data shard's datagram, which goes without the zeros behind the frame.
    pub(crate) last: usize,
}

/// Cuts the frames of one session.
#[derive(Default)]
pub(crate) struct Packetizer {
    redundancy: Redundancy,
    /// For [`Packetizer::share`] alone, which asks about other frames.
    planning: Redundancy,
    fec: fec::Encoder,
}

impl Packetizer {
    /// Writes the datagrams of `unit` into `into`, one after another, the place for each one's header left
    /// free. `datagram` is what the path carries, in bytes; `repairable` says whether what is lost could be
    /// sent again in time. `None` when no frame may be that large.
    pub(crate) fn packetize(
        &mut self,
        unit: &AccessUnit,
        datagram: usize,
        loss: Loss,
        repairable: bool,
        into: &mut BytesMut,
    ) -> Option<Layout> {
        let total = FRAME_HEADER + unit.data.len();
        let most = most(total, datagram, loss);
        let data = total.div_ceil(most);
        if data > usize::from(MAX_DATA) {
            return None;
        }
        let length = if data < MANY { total.div_ceil(data).next_multiple_of(2) } else { most };
        let parity = parity(&mut self.redundancy, data, loss, repairable);
        let slot = SHARD_HEADER + length;
        into.reserve((data + parity) * slot);
        let header = packet::frame_header(unit);
        let mut body = header.as_slice().chain(&unit.data[..]);
        for _ in 0..data {
            into.extend_from_slice(&[0; SHARD_HEADER]);
            let end = into.len() + length;
            // The one copy of the coded bytes on this side: into datagrams.
            let piece = length.min(body.remaining());
            into.put((&mut body).take(piece));
            into.resize(end, 0);
        }
        if parity > 0 {
            let pieces = into.chunks_exact(slot).map(|slot| &slot[SHARD_HEADER..]);
            let made = self.fec.encode(pieces, parity, length).ok()?;
            for piece in made.recovery_iter() {
                into.extend_from_slice(&[0; SHARD_HEADER]);
                into.extend_from_slice(piece);
            }
        }
        let last = SHARD_HEADER + total.saturating_sub((data - 1) * length).next_multiple_of(2);
        Some(Layout { data: data as u16, parity: parity as u16, slot, last })
    }

    /// Of what is sent for frames of `bytes` bytes, the share that is coded video.
    pub(crate) fn share(&mut self, bytes: usize, datagram: usize, loss: Loss, repairable: bool) -> f32 {
        let most = most(bytes, datagram, loss);
        let data = (bytes / most).max(1);
        let parity = parity(&mut self.planning, data, loss, repairable);
        (data * most) as f32 / ((data + parity) * (SHARD_HEADER + most + AROUND)) as f32
    }

    /// How many shards more to send again where `need` are needed.
    pub(crate) fn spare(&mut self, need: usize, loss: Loss) -> usize {
        self.redundancy.parity(need.max(1), loss, MISS.0)
    }
}

/// The most bytes of a frame of `total` bytes in one datagram.
fn most(total: usize, datagram: usize, loss: Loss) -> usize {
    let piece = |datagram: usize| (datagram - SHARD_HEADER) & !1;
    let (safe, large) =
        (piece(sizes::SAFE_DATAGRAM), piece(datagram.clamp(sizes::SAFE_DATAGRAM, sizes::MAX_DATAGRAM)));
    let bursts = loss.burst >= BURSTY.0 && loss.share > BURSTY.1;
    if loss.share > LOSSY || bursts || total.div_ceil(large) < MANY { safe } else { large }
}

/// How many parity shards go with `data` under `loss`.
fn parity(redundancy: &mut Redundancy, data: usize, loss: Loss, repairable: bool) -> usize {
    let (miss, most) = if repairable { (MISS.0, data / 3 + MORE) } else { (MISS.1, usize::from(MAX_PARITY)) };
    redundancy.parity(data, loss, miss).min(most).min(MAX_PARITY.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::media::test_frames::unit;

    const LITTLE: Loss = Loss { share: 0.02, burst: 1.0 };

    fn layout_of(bytes: usize, loss: Loss, repairable: bool) -> Layout {
        let mut into = BytesMut::new();
        let layout =
            Packetizer::default().packetize(&unit(0, bytes), 1_440, loss, repairable, &mut into).unwrap();
        assert_eq!(into.len(), (usize::from(layout.data) + usize::from(layout.parity)) * layout.slot);
        assert!(
            layout.last > SHARD_HEADER
                && layout.last <= layout.slot
                && (layout.last - SHARD_HEADER).is_multiple_of(2)
        );
        // What does not go is zeros, and what goes is all of the frame.
        let behind =
            usize::from(layout.data - 1) * layout.slot + layout.last..usize::from(layout.data) * layout.slot;
        assert!(into[behind].iter().all(|byte| *byte == 0), "{layout:?}");
        let gone = usize::from(layout.data - 1) * (layout.slot - SHARD_HEADER) + layout.last - SHARD_HEADER;
        assert!((0..2).contains(&(gone - FRAME_HEADER - bytes)), "{layout:?}");
        layout
    }

    #[test]
    fn datagrams_are_as_large_as_the_path_allows_until_many_are_lost() {
        assert!((1_300..=1_440).contains(&layout_of(40_000, LITTLE, true).slot));
        let lossy = layout_of(40_000, Loss { share: 0.05, burst: 1.0 }, true);
        assert!((1_000..=sizes::SAFE_DATAGRAM).contains(&lossy.slot), "{lossy:?}");
        let bursty = layout_of(40_000, Loss { share: 0.02, burst: 5.0 }, true);
        assert_eq!(bursty.slot, lossy.slot);
    }

    #[test]
    fn datagrams_of_all_frames_are_of_one_size_or_fit_any_path() {
        let large = layout_of(40_000, LITTLE, true).slot;
        for bytes in (20..200_000).step_by(491) {
            let layout = layout_of(bytes, LITTLE, true);
            assert!(layout.slot == large || layout.slot <= sizes::SAFE_DATAGRAM, "{bytes}: {layout:?}");
            assert!(layout.slot == large || bytes < 12_000, "{bytes}: {layout:?}");
        }
    }

    #[test]
    fn what_cannot_be_repaired_gets_more_parity_and_leaves_less_for_video() {
        let (repairable, not) = (layout_of(40_000, LITTLE, true), layout_of(40_000, LITTLE, false));
        assert!(not.parity > repairable.parity && not.data == repairable.data, "{repairable:?} {not:?}");
        let share = |repairable| Packetizer::default().share(40_000, 1_440, LITTLE, repairable);
        assert!(share(false) < share(true) && share(true) < 0.95);
    }

    #[test]
    fn no_frame_is_larger_than_its_numbers_can_say() {
        let bytes = usize::from(MAX_DATA) * sizes::SAFE_DATAGRAM;
        let none = Packetizer::default().packetize(&unit(0, bytes), 0, LITTLE, true, &mut BytesMut::new());
        assert_eq!(none, None);
    }
}
