//! Loudness in parts of 20 ms, and gaps.

use crate::room::RATE_HZ;

/// Samples in a part of 20 ms.
pub const PART: usize = RATE_HZ as usize / 50;
/// Of silence, in dB.
const SILENCE_DB: f32 = -120.0;

/// RMS in dB of full scale.
pub fn db(samples: &[f32]) -> f32 {
    let power: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    let mean = power / samples.len().max(1) as f64;
    if mean > 0.0 { (10.0 * mean.log10() as f32).max(SILENCE_DB) } else { SILENCE_DB }
}

/// Of each whole part.
pub fn levels_db(samples: &[f32]) -> Vec<f32> {
    samples.chunks_exact(PART).map(db).collect()
}

/// Whether somebody speaks in each part, and not only just begins or ends: it and both beside it are at least as
/// loud as `from_db`.
pub fn spoken(levels_db: &[f32], from_db: f32) -> Vec<bool> {
    let loud = |index: usize| levels_db.get(index).is_some_and(|&level| level >= from_db);
    (0..levels_db.len()).map(|n| n > 0 && loud(n - 1) && loud(n) && loud(n + 1)).collect()
}

/// The parts in which something is said and what is heard is more than `under_db` quieter than that; both laid
/// beside each other.
pub fn gaps(said_db: &[f32], heard_db: &[f32], from_db: f32, under_db: f32) -> Vec<usize> {
    let missed = |n: &usize| heard_db.get(*n).is_some_and(|&heard| heard < said_db[*n] - under_db);
    let spoken = spoken(said_db, from_db);
    (0..said_db.len()).filter(|&n| spoken[n]).filter(missed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_where_something_was_said_and_nothing_is_heard() {
        let said = [-60.0, -26.0, -26.0, -26.0, -26.0, -60.0];
        let heard = [-60.0, -27.0, -50.0, -40.0, -60.0, -60.0];
        assert_eq!(gaps(&said, &heard, -36.0, 20.0), [2]);
        assert_eq!(spoken(&said, -36.0), [false, false, true, true, false, false]);
    }

    #[test]
    fn levels_are_of_full_scale() {
        let half: Vec<f32> = (0..PART * 2).map(|n| if n % 2 == 0 { 0.5 } else { -0.5 }).collect();
        assert!(levels_db(&half).iter().all(|level| (level + 6.02).abs() < 0.01));
        assert_eq!(db(&[0.0; 10]), SILENCE_DB);
    }
}
