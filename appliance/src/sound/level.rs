//! The level of a signal over the last second.

/// Frames of a second.
const FRAMES: u32 = 100;
/// Less is silence, in dB below full scale.
const LEAST_DB: f32 = 120.0;

/// Follows the peak.
#[derive(Debug, Default)]
pub(super) struct Level {
    peak: f32,
    frames: u32,
}

impl Level {
    /// Takes in 10 ms; gives the peak of each second, in whole dB below full scale.
    pub(super) fn add(&mut self, samples: &[f32]) -> Option<u64> {
        self.add_peak(samples.iter().fold(0.0, |peak: f32, x| peak.max(x.abs())))
    }

    /// The same of a peak that is known.
    pub(super) fn add_peak(&mut self, peak: f32) -> Option<u64> {
        self.peak = self.peak.max(peak);
        self.frames += 1;
        if self.frames < FRAMES {
            return None;
        }
        let below_db = -20.0 * self.peak.max(1e-9).log10();
        *self = Self::default();
        Some(below_db.clamp(0.0, LEAST_DB) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_peak() {
        let mut level = Level::default();
        let given: Vec<_> =
            (0..300).filter_map(|n| level.add(&[if n == 150 { -0.5 } else { 0.01 }; 480])).collect();
        assert_eq!(given, [40, 6, 40]);
        assert_eq!((0..100).find_map(|_| level.add(&[0.0; 480])), Some(120));
    }
}
