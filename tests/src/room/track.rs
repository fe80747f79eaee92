//! What went through a cable, and when.

use std::path::Path;

use super::clock_line::ClockLine;
use super::error::Error;

/// Samples a second of sound that is worked with.
pub const RATE_HZ: u32 = 48_000;

/// A recording on a cable's clock.
#[derive(Debug, Clone)]
pub struct Track {
    samples: Vec<i16>,
    line: ClockLine,
}

impl Track {
    /// Samples, and when they passed.
    pub fn new(samples: Vec<i16>, line: ClockLine) -> Self {
        Self { samples, line }
    }

    /// All samples.
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// The samples that passed between two times of CLOCK_MONOTONIC, as they were.
    pub fn raw(&self, from_us: i64, to_us: i64) -> &[i16] {
        let place = |us: i64| (self.line.index_at(us as f64).max(0.0) as usize).min(self.samples.len());
        &self.samples[place(from_us)..place(to_us).max(place(from_us))]
    }

    /// What passed between two times of CLOCK_MONOTONIC, 48 samples a ms of that clock, so that tracks of different
    /// cables can be laid beside each other; silence where there is nothing.
    pub fn between(&self, from_us: i64, to_us: i64) -> Vec<f32> {
        let count = (to_us - from_us).max(0) * i64::from(RATE_HZ) / 1_000_000;
        let sample = |index: i64| {
            let found = usize::try_from(index).ok().and_then(|index| self.samples.get(index));
            f32::from(found.copied().unwrap_or(0)) / 32_768.0
        };
        let at = |n: i64| {
            let place = self.line.index_at(from_us as f64 + n as f64 * 1e6 / f64::from(RATE_HZ));
            let (index, part) = (place.floor(), (place - place.floor()) as f32);
            sample(index as i64) * (1.0 - part) + sample(index as i64 + 1) * part
        };
        (0..count).map(at).collect()
    }

    /// The first and the last time of it, in µs of CLOCK_MONOTONIC.
    pub fn span_us(&self) -> (i64, i64) {
        (self.line.time_us(0.0) as i64, self.line.time_us(self.samples.len() as f64) as i64)
    }

    /// When a sample passed, in µs of CLOCK_MONOTONIC.
    pub fn time_us(&self, index: usize) -> f64 {
        self.line.time_us(index as f64)
    }

    /// Writes it as a WAV.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_wav(path, &self.samples)
    }
}

/// Writes 48 kHz mono.
///
/// # Errors
/// When the file cannot be written.
pub fn write_wav(path: &Path, samples: &[i16]) -> Result<(), Error> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write = || {
        let mut writer = hound::WavWriter::create(path, spec)?;
        let mut fast = writer.get_i16_writer(u32::try_from(samples.len()).unwrap_or(u32::MAX));
        samples.iter().for_each(|&sample| fast.write_sample(sample));
        fast.flush()?;
        writer.finalize()
    };
    write().map_err(|source| Error::Wav { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_of_different_clocks_lie_beside_each_other() {
        let track = |rate_hz: f64, start_us: i64| {
            let tone =
                |n: i32| (10_000.0 * (f64::from(n) / rate_hz * 440.0 * std::f64::consts::TAU).sin()) as i16;
            let mut line = ClockLine::new(rate_hz);
            line.observe(0, start_us);
            Track::new((0..48_000).map(tone).collect(), line)
        };
        let (slow, fast) = (track(47_995.2, 1_000_000), track(48_004.8, 1_000_000));
        let (a, b) = (slow.between(1_500_000, 1_900_000), fast.between(1_500_000, 1_900_000));
        assert_eq!(a.len(), 19_200);
        let most = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 0.002, "{most}");
        assert!(slow.between(0, 10_000).iter().all(|&sample| sample == 0.0));
        assert_eq!(slow.raw(1_000_000, 1_500_000).len(), 23_997);
    }
}
