//! The peak of a signal since somebody looked last.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Less is shown as this, in dB of full scale.
const LEAST_DB: f32 = -120.0;

/// One thread feeds it, another looks.
#[derive(Debug, Default)]
pub struct Meter {
    /// Of a float that is not negative, whose bits are in the order of their values.
    peak: AtomicU32,
}

impl Meter {
    /// Takes in samples; full scale is 1.
    pub(crate) fn add(&self, samples: impl Iterator<Item = f32>) {
        // `max` passes over what is no number.
        let peak = samples.fold(0f32, |peak, sample| peak.max(sample.abs()));
        self.peak.fetch_max(peak.to_bits(), Relaxed);
    }

    /// The highest peak since the last call, in whole dB of full scale, -120 at the least.
    pub fn take_db(&self) -> i32 {
        let peak = f32::from_bits(self.peak.swap(0, Relaxed));
        (20.0 * peak.log10()).max(LEAST_DB).round() as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_told_once() {
        let meter = Meter::default();
        for samples in [[0.1, -0.5], [f32::NAN, 0.2], [-0.0, 0.0]] {
            meter.add(samples.into_iter());
        }
        assert_eq!([meter.take_db(), meter.take_db()], [-6, -120]);
        meter.add([2.0].into_iter());
        assert_eq!(meter.take_db(), 6);
    }
}
