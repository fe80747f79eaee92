//! Shards in, access units out, in order. Pure.

use std::collections::VecDeque;

use super::shard::{self, Shard};
use crate::picture::AccessUnit;
use bytes::Bytes;

/// Frames under assembly at once; an older one is given up for a newer.
const OPEN: usize = 4;
/// A frame so far ahead of the newest cannot be: a session in which so many are missing has long ended.
const FAR_AHEAD: u32 = 1_000;

/// A frame of which something has come.
struct Partial {
    frame: u32,
    have: usize,
    pieces: Vec<Option<Bytes>>,
}

/// What a shard made.
#[derive(Debug)]
pub(super) enum Made {
    /// Nothing yet.
    Nothing,
    /// A whole frame, the newest; `lost` frames before it will never come.
    Frame {
        /// The access unit, with the sender's stamps.
        unit: AccessUnit,
        /// Frames missing between this one and the one before.
        lost: u32,
    },
    /// It contradicts what came before.
    Nonsense,
}

/// Puts the shards of one session together.
#[derive(Default)]
pub(super) struct Assembler {
    newest: Option<u32>,
    open: VecDeque<Partial>,
    /// Piece lists of finished frames, to be used again.
    spare: Vec<Vec<Option<Bytes>>>,
}

/// Whether `a` comes after `b`, in numbers that wrap.
fn after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

impl Assembler {
    /// Takes a shard.
    pub(super) fn push(&mut self, shard: Shard) -> Made {
        if self.newest.is_some_and(|newest| !after(shard.frame, newest)) {
            // A repetition, or of a frame that was given up.
            return Made::Nothing;
        }
        if self.newest.is_some_and(|newest| shard.frame.wrapping_sub(newest) > FAR_AHEAD) {
            return Made::Nonsense;
        }
        let count = usize::from(shard.count);
        let at = match self.open.iter().position(|p| p.frame == shard.frame) {
            Some(at) => at,
            None => {
                if self.open.len() == OPEN {
                    let oldest = (1..OPEN)
                        .fold(0, |o, i| if after(self.open[o].frame, self.open[i].frame) { i } else { o });
                    if !after(shard.frame, self.open[oldest].frame) {
                        return Made::Nothing;
                    }
                    self.close(oldest);
                }
                let mut pieces = self.spare.pop().unwrap_or_default();
                pieces.resize(count, None);
                self.open.push_back(Partial { frame: shard.frame, have: 0, pieces });
                self.open.len() - 1
            }
        };
        let partial = &mut self.open[at];
        if partial.pieces.len() != count {
            return Made::Nonsense;
        }
        let Some(place @ None) = partial.pieces.get_mut(usize::from(shard.index)) else {
            return Made::Nothing;
        };
        *place = Some(shard.piece);
        partial.have += 1;
        if partial.have < count {
            return Made::Nothing;
        }
        let unit = shard::join(shard.frame, &partial.pieces);
        let lost = self.newest.map_or(0, |newest| shard.frame.wrapping_sub(newest) - 1);
        self.newest = Some(shard.frame);
        while let Some(old) = self.open.iter().position(|p| !after(p.frame, shard.frame)) {
            self.close(old);
        }
        unit.map_or(Made::Nonsense, |unit| Made::Frame { unit, lost })
    }

    fn close(&mut self, at: usize) {
        if let Some(mut partial) = self.open.remove(at) {
            partial.pieces.clear();
            self.spare.push(partial.pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::{cut, tests::unit};
    use super::*;

    fn shards(number: u32, size: usize) -> Vec<Shard> {
        cut(&unit(number, size), number).map(|s| Shard::parse(s).unwrap()).collect()
    }

    fn numbers(assembler: &mut Assembler, shards: impl IntoIterator<Item = Shard>) -> Vec<(u32, u32)> {
        shards
            .into_iter()
            .filter_map(|s| match assembler.push(s) {
                Made::Frame { unit, lost } => Some((unit.number, lost)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn in_order_and_whole() {
        let mut a = Assembler::default();
        let all = (5..20).flat_map(|n| shards(n, 900 * n as usize));
        assert_eq!(numbers(&mut a, all), (5..20).map(|n| (n, 0)).collect::<Vec<_>>());
    }

    #[test]
    fn reordered_and_repeated_within_a_frame() {
        let mut a = Assembler::default();
        let mut s = shards(1, 6_000);
        s.reverse();
        s.extend(shards(1, 6_000));
        assert_eq!(numbers(&mut a, s), [(1, 0)]);
    }

    #[test]
    fn a_hole_is_counted_and_late_shards_change_nothing() {
        let mut a = Assembler::default();
        let mut holed = shards(2, 6_000);
        let late = holed.pop();
        let all = shards(1, 500).into_iter().chain(holed).chain(shards(3, 500)).chain(late);
        assert_eq!(numbers(&mut a, all), [(1, 0), (3, 1)]);
    }

    #[test]
    fn numbers_wrap() {
        let mut a = Assembler::default();
        let all = [u32::MAX - 1, u32::MAX, 0, 1].into_iter().flat_map(|n| shards(n, 3_000));
        assert_eq!(numbers(&mut a, all).len(), 4);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut a = Assembler::default();
        for n in 0..5_000 {
            a.push(shards(n * 79, 6_000).remove(0));
            assert!(a.open.len() <= OPEN && a.spare.len() <= OPEN);
        }
    }

    #[test]
    fn one_absurd_number_does_not_end_the_rest() {
        let mut a = Assembler::default();
        let all = shards(1, 500).into_iter().chain(shards(1 << 30, 500)).chain(shards(2, 500));
        assert_eq!(numbers(&mut a, all), [(1, 0), (2, 0)]);
    }

    #[test]
    fn a_contradiction_is_nonsense() {
        let mut a = Assembler::default();
        let mut s = shards(1, 6_000);
        s[1].count += 1;
        assert!(matches!(a.push(s[0].clone()), Made::Nothing));
        assert!(matches!(a.push(s[1].clone()), Made::Nonsense));
    }
}
