//! Glass to glass without knowing what runs between: flips the camera's picture between black and
//! white and watches the screen.
//!
//! A plane's framebuffer id changes when the program commits, and the light changes at the next vertical
//! blank. So the diode looks once a refresh, right after the blank, and stamps that blank: what it sees then
//! was committed before. It must be the first to run then, for a program that is told of the blank commits its
//! next picture at once. Looking more often would take the processor from the programs it measures.

use std::io;

use holobooth::realtime;
use serde_json::{Value, json};

use crate::clock::{now_us, sleep_until_us};
use crate::scanout::{self, Screen};
use crate::vivid::{self, Pattern, Scene, Vivid};

/// Under SCHED_FIFO (sched(7)): before all threads of a booth, and of the rooms.
const PRIORITY: u8 = 61;
/// Lighter than this is white.
const THRESHOLD: u8 = 128;
const OFF_LOOK_EVERY_US: i64 = 5_000;
const INTERVAL_US: std::ops::Range<i64> = 300_000..500_000;
const LOST_AFTER_US: i64 = 3_000_000;

/// Why the photodiode stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The camera could not be flipped.
    #[error(transparent)]
    Camera(#[from] vivid::Error),
    /// The screen could not be read.
    #[error(transparent)]
    Screen(#[from] scanout::Error),
    /// Nothing on the screen follows the camera.
    #[error("photodiode: the screen did not follow the camera within {0} s")]
    Dark(i64),
    /// It may not look before others act.
    #[error("photodiode: no thread under SCHED_FIFO: {0}; run this as root")]
    Priority(#[source] io::Error),
}

/// Camera and screen of one direction.
pub struct Photodiode {
    camera: Vivid,
    screen: Screen,
    random: fastrand::Rng,
    white: bool,
}

impl Photodiode {
    /// Makes one of a camera by bus address and a screen by name. Open the screen once a program
    /// drives it; see [`Screen::open`]. `seed` decides the phases of the flips.
    ///
    /// # Errors
    /// When either cannot be opened.
    pub fn new(camera: &str, screen: &str, seed: u64) -> Result<Self, Error> {
        let camera = Vivid::open(camera)?;
        camera.look_at(Scene::still(Pattern::Black))?;
        Ok(Self {
            camera,
            screen: Screen::open(screen)?,
            random: fastrand::Rng::with_seed(seed),
            white: false,
        })
    }

    /// Flips until the screen has followed `times` times in a row.
    ///
    /// # Errors
    /// [`Error::Dark`] when that has not happened within `within_s` seconds.
    pub fn warm_up(&mut self, times: u32, within_s: i64) -> Result<(), Error> {
        let end_us = now_us() + within_s * 1_000_000;
        let mut in_a_row = 0;
        while in_a_row < times {
            if now_us() > end_us {
                return Err(Error::Dark(within_s));
            }
            let start_us = now_us();
            in_a_row = if self.flip(1_000_000)?.light_us.is_some() { in_a_row + 1 } else { 0 };
            sleep_until_us(start_us + 200_000);
        }
        Ok(())
    }

    /// Measures so many flips at random phases.
    ///
    /// # Errors
    /// When the camera or the screen fails. A flip that the screen does not follow is counted, no error.
    pub fn measure(&mut self, flips: usize) -> Result<Latencies, Error> {
        let mut latencies = Latencies::default();
        for _ in 0..flips {
            let start_us = now_us();
            let flip = self.flip(LOST_AFTER_US)?;
            match flip.light_us {
                Some(light_us) => latencies.us.push(light_us - flip.at_us),
                None => latencies.lost += 1,
            }
            sleep_until_us(start_us + self.random.i64(INTERVAL_US));
        }
        latencies.us.sort_unstable();
        Ok(latencies)
    }

    /// One flip, which is waited for so long.
    ///
    /// # Errors
    /// When the camera or the screen fails, or there is no thread under SCHED_FIFO.
    pub fn flip(&mut self, within_us: i64) -> Result<Flip, Error> {
        // A thread of its own: the caller's would hand its priority on to every program that it starts.
        std::thread::scope(|scope| {
            let urgent = scope.spawn(|| {
                realtime::set_realtime_priority(PRIORITY).map_err(Error::Priority)?;
                self.flip_now(within_us)
            });
            urgent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn flip_now(&mut self, within_us: i64) -> Result<Flip, Error> {
        self.white = !self.white;
        let at_us = now_us();
        self.camera.show(if self.white { Pattern::White } else { Pattern::Black })?;
        while now_us() - at_us <= within_us {
            // A screen that is off has no blanks; it may yet be switched on.
            let Ok(light_us) = self.screen.next_vblank_us() else {
                sleep_until_us(now_us() + OFF_LOOK_EVERY_US);
                continue;
            };
            if self.screen.luma()?.is_some_and(|luma| (luma > THRESHOLD) == self.white) {
                return Ok(Flip { at_us, light_us: Some(light_us) });
            }
        }
        Ok(Flip { at_us, light_us: None })
    }
}

/// One flip, in µs of CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// When the camera's picture changed.
    pub at_us: i64,
    /// When the screen's did; none when not in time.
    pub light_us: Option<i64>,
}

/// Measured flips.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    us: Vec<i64>,
    lost: usize,
}

impl Latencies {
    /// The latency that `percent` of the flips that arrived stay within, in microseconds; `None` when none
    /// did.
    pub fn percentile_us(&self, percent: usize) -> Option<i64> {
        let rank = (self.us.len() * percent).div_ceil(100).max(1);
        self.us.get(rank - 1).copied()
    }

    /// Adds what was measured another time.
    pub fn add(&mut self, other: Self) {
        self.us.extend(other.us);
        self.us.sort_unstable();
        self.lost += other.lost;
    }

    /// Flips that arrived.
    pub fn seen(&self) -> usize {
        self.us.len()
    }

    /// Flips that never arrived.
    pub fn lost(&self) -> usize {
        self.lost
    }

    /// Percentiles in milliseconds.
    pub fn to_json(&self) -> Value {
        let ms = |percent| self.percentile_us(percent).map(|us| (us as f64 / 100.0).round() / 10.0);
        json!({
            "flips": self.seen(), "lost": self.lost(),
            "min_ms": ms(0), "p50_ms": ms(50), "p95_ms": ms(95), "max_ms": ms(100),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let latencies = Latencies { us: (1..=100).collect(), lost: 0 };
        assert_eq!(latencies.percentile_us(50), Some(50));
        assert_eq!(latencies.percentile_us(95), Some(95));
        assert_eq!(latencies.percentile_us(100), Some(100));
        assert_eq!(latencies.percentile_us(0), Some(1));
        assert_eq!(Latencies::default().percentile_us(50), None);
    }
}
