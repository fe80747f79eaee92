//! From frames in three bands to the canceller's blocks and back, without an allocation.

use sonora_aec3::block::Block;

/// Bands of 8 kHz each, sampled at 16 kHz.
pub(super) const BANDS: usize = 3;
/// Samples of a band in a frame of 10 ms.
pub(super) const BAND_FRAME: usize = 160;
/// Samples of a band in a block: 4 ms.
pub(super) const BLOCK: usize = 64;

/// A frame of 10 ms, split.
pub(super) type Bands = [[f32; BAND_FRAME]; BANDS];

/// A queue of band samples: takes frames and gives blocks, or the other way round.
#[derive(Debug)]
pub(super) struct BandQueue {
    held: [[f32; 2 * BAND_FRAME]; BANDS],
    fill: usize,
}

impl BandQueue {
    /// A queue that holds `silence` samples of each band.
    pub(super) fn new(silence: usize) -> Self {
        Self { held: [[0.0; 2 * BAND_FRAME]; BANDS], fill: silence }
    }

    pub(super) fn push_frame(&mut self, bands: &Bands) {
        for (held, band) in self.held.iter_mut().zip(bands) {
            held[self.fill..self.fill + BAND_FRAME].copy_from_slice(band);
        }
        self.fill += BAND_FRAME;
    }

    pub(super) fn push_block(&mut self, block: &Block) {
        for (at, held) in self.held.iter_mut().enumerate() {
            held[self.fill..self.fill + BLOCK].copy_from_slice(block.view(at, 0));
        }
        self.fill += BLOCK;
    }

    /// Takes a block, if there is a whole one.
    pub(super) fn pop_block(&mut self, block: &mut Block) -> bool {
        self.pop(BLOCK, |at, samples| block.view_mut(at, 0).copy_from_slice(samples))
    }

    /// Takes a frame, if there is a whole one.
    pub(super) fn pop_frame(&mut self, bands: &mut Bands) -> bool {
        self.pop(BAND_FRAME, |at, samples| bands[at].copy_from_slice(samples))
    }

    fn pop(&mut self, count: usize, mut give: impl FnMut(usize, &[f32])) -> bool {
        if self.fill < count {
            return false;
        }
        for (at, held) in self.held.iter_mut().enumerate() {
            give(at, &held[..count]);
            held.copy_within(count..self.fill, 0);
        }
        self.fill -= count;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went_in_half_a_block_later() {
        let (mut frames, mut blocks) = (BandQueue::new(0), BandQueue::new(BLOCK / 2));
        let mut block = Block::new(BANDS, 1);
        let mut out = [[0.0; BAND_FRAME]; BANDS];
        let sample = |band: usize, at: usize| (10_000 * band + at) as f32;
        for frame in 0..20 {
            let start = frame * BAND_FRAME;
            frames
                .push_frame(&std::array::from_fn(|band| std::array::from_fn(|at| sample(band, start + at))));
            while frames.pop_block(&mut block) {
                blocks.push_block(&block);
            }
            assert!(blocks.pop_frame(&mut out));
            for (band, samples) in out.iter().enumerate() {
                for (at, &found) in samples.iter().enumerate() {
                    let expected = (start + at).checked_sub(BLOCK / 2).map_or(0.0, |at| sample(band, at));
                    assert_eq!(found, expected);
                }
            }
        }
    }
}
