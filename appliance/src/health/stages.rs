//! Stage clocks: how long the last frames spent in each stage between capture and flip.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::media::picture::Stamps;

/// Frames remembered: ten seconds at 60 a second.
const MEMORY: usize = 600;

/// The times of one stage over the remembered frames, in µs.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Stage {
    /// The stage's name; `total` for capture to flip.
    pub stage: String,
    /// Mean; the stages' means add up to the total's.
    pub mean_us: i64,
    /// Median.
    pub p50_us: i64,
    /// 95th percentile.
    pub p95_us: i64,
    /// 99th percentile.
    pub p99_us: i64,
}

/// The stamps of the frames last shown.
#[derive(Debug, Default)]
pub struct Stages {
    frames: VecDeque<[i64; 8]>,
}

impl Stages {
    /// A frame is on the screen.
    pub fn shown(&mut self, stamps: &Stamps) {
        if self.frames.len() == MEMORY {
            self.frames.pop_front();
        }
        self.frames.push_back(stamps.durations_us());
    }

    /// Forgets everything: another peer, another path.
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// The stages in order, then the total; empty when nothing was shown yet.
    pub fn report(&self) -> Vec<Stage> {
        if self.frames.is_empty() {
            return Vec::new();
        }
        let of = |name: &str, pick: &dyn Fn(&[i64; 8]) -> i64| {
            let mut times: Vec<i64> = self.frames.iter().map(pick).collect();
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            Stage {
                stage: name.to_owned(),
                mean_us: times.iter().sum::<i64>() / times.len() as i64,
                p50_us: at(50),
                p95_us: at(95),
                p99_us: at(99),
            }
        };
        let stages = Stamps::STAGES.iter().enumerate().map(|(i, name)| of(name, &|f| f[i]));
        stages.chain([of("total", &|f| f.iter().sum())]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_add_up_to_the_total() {
        let mut stages = Stages::default();
        assert!(stages.report().is_empty());
        for i in 0..1000u64 {
            stages.shown(&Stamps {
                capture_us: 0,
                dequeued_us: 100,
                staged_us: 300,
                encoded_us: 5_300 + i,
                sent_us: 5_400 + i,
                received_us: 6_400 + i,
                decoded_us: 8_400 + i,
                released_us: 8_400 + i,
                flipped_us: 16_400 + 2 * i,
            });
        }
        let report = stages.report();
        let (total, parts) = report.split_last().unwrap();
        assert_eq!(total.stage, "total");
        assert!((parts.iter().map(|s| s.mean_us).sum::<i64>() - total.mean_us).abs() <= parts.len() as i64);
        // Only the newest 600 count.
        assert_eq!((parts[2].p50_us, parts[2].p99_us), (5_000 + 400 + 299, 5_000 + 400 + 593));
    }
}
