//! What is heard of a voice, laid beside what was said: a voice that is stretched to follow a clock is a little
//! beside its place, and what compares both sample by sample would hold that against it.

use crate::hearing::{align, telephone};
use crate::room::RATE_HZ;

/// The longest way from mouth to ear that is looked for, in samples.
pub(super) const LONGEST_WAY: usize = RATE_HZ as usize * 4 / 10;
/// A piece is looked for by itself, in samples; the delay changes little within it.
const PIECE: usize = RATE_HZ as usize;
/// Alike enough for where it was found to be where it is.
const SURE: f32 = 0.6;

/// What was heard of `said`, in step with it. `heard` begins when `said` does, and goes on for [`LONGEST_WAY`]
/// after its end. Where a piece is not found (a pause, or a gap), it is taken from where the one before was. Gives the
/// share of the pieces that were found, too.
pub(super) fn in_step(said: &[f32], heard: &[f32]) -> (Vec<f32>, f64) {
    let (mut all, mut lag) = (Vec::with_capacity(said.len()), 0);
    let (mut found_pieces, mut pieces) = (0, 0);
    for (piece, from) in said.chunks(PIECE).zip((0..).step_by(PIECE)) {
        let window = heard.get(from..).unwrap_or_default();
        let window = &window[..window.len().min(piece.len() + LONGEST_WAY)];
        let found = align(&telephone(piece), &telephone(window)).filter(|found| found.likeness >= SURE);
        pieces += 1;
        found_pieces += usize::from(found.is_some());
        lag = found.map_or(lag, |found| found.lag);
        all.extend(window.iter().skip(lag).take(piece.len()));
        all.resize(from + piece.len(), 0.0);
    }
    (all, found_pieces as f64 / pieces.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_taken_from_where_it_is() {
        let mut random = fastrand::Rng::with_seed(3);
        let said: Vec<f32> = (0..4 * PIECE).map(|_| random.f32() - 0.5).collect();
        let mut heard = vec![0.0; said.len() + LONGEST_WAY];
        // The way becomes longer by 100 samples, and the third piece is lost.
        for (at, sample) in said.iter().enumerate().filter(|(at, _)| at / PIECE != 2) {
            heard[at + if at / PIECE == 0 { 5_000 } else { 5_100 }] = 0.5 * sample;
        }
        let (found, share) = in_step(&said, &heard);
        assert_eq!(share, 0.75);
        assert_eq!(found.len(), said.len());
        for piece in 0..4 {
            let range = piece * PIECE..(piece + 1) * PIECE;
            let loudness = if piece == 2 { 0.0 } else { 0.5 };
            let off = said[range.clone()].iter().zip(&found[range]).map(|(a, b)| (loudness * a - b).abs());
            assert!(off.fold(0.0, f32::max) < 1e-6, "piece {piece}");
        }
        assert_eq!(in_step(&said, &[]), (vec![0.0; said.len()], 0.0));
    }
}
