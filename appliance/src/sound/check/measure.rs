//! A check from the first moment of quiet to its result. For an ordinary thread.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::analysis::Measured;
use super::error::Error;
use super::handles::{CheckHandles, Taken};
use super::sweep;
use crate::sound::rate::RATE_HZ;

/// Until the sound of before has died away, and those who read the card have fallen silent.
const QUIET: Duration = Duration::from_secs(3);
/// Silence before the sweep, in samples: 0.7 s, in which the noise is measured.
const SILENCE: usize = 33_600;
/// What is recorded, in samples: the silence, what the cards' buffers hold, the sweep, and what a late loudspeaker
/// and a reverberant room take; 3.5 s.
const RECORDED: usize = 168_000;
/// What must be recorded after the sweep was played, in samples: 1.2 s.
const AFTER: usize = 57_600;
/// What must be recorded before it: half of the silence.
const BEFORE: usize = SILENCE / 2;
/// How often it is tried in the place of a try that was interrupted.
const TRIES: u32 = 2;
/// How long a try may take.
const TRY: Duration = Duration::from_secs(5);
/// How often `stop` and the cards are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Checks the sound of a booth whose cards are served by [`capture`](crate::sound::capture) and
/// [`playback`](crate::sound::playback) with these handles; takes seven seconds, or less when `stop` is set.
///
/// # Errors
/// [`Error`], when the cards do not run or were interrupted. That nothing was heard is a result.
pub fn measure(handles: &CheckHandles, stop: &AtomicBool) -> Result<Measured, Error> {
    measure_within(handles, stop, QUIET, TRY)
}

fn measure_within(
    handles: &CheckHandles,
    stop: &AtomicBool,
    quiet: Duration,
    limit: Duration,
) -> Result<Measured, Error> {
    let active = handles.begin()?;
    wait(quiet, stop, || false)?;
    for _ in 0..TRIES {
        handles.try_once(std::iter::repeat_n(0.0, SILENCE).chain(sweep::samples()).collect(), RECORDED);
        wait(limit, stop, || handles.over() == [true; 2])?;
        for (over, what) in handles.over().into_iter().zip(["loudspeaker", "microphone"]) {
            if !over {
                return Err(Error::NotRunning { what });
            }
        }
        if let [Some(played), Some(heard)] = handles.end()
            && let Some(lead) = lead(&played, &heard)
        {
            // Peers need not wait for the analysis.
            drop(active);
            return Ok(Measured::of(&heard.samples, lead, played.line.rate_hz / heard.line.rate_hz));
        }
    }
    Err(Error::Interrupted)
}

/// Waits until `over`, for `limit` at most.
fn wait(limit: Duration, stop: &AtomicBool, over: impl Fn() -> bool) -> Result<(), Error> {
    let until = Instant::now() + limit;
    while Instant::now() < until && !over() {
        if stop.load(Relaxed) {
            return Err(Error::Stopped);
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Where in what was heard the sweep would begin, were there no delay; none when too little was heard before or
/// after it.
fn lead(played: &Taken, heard: &Taken) -> Option<f64> {
    let start_us = played.line.time_us((played.first + SILENCE as i64) as f64);
    let lead = heard.line.index_at(start_us) - heard.first as f64;
    let latest = heard.samples.len() as f64 - RATE_HZ - AFTER as f64;
    (BEFORE as f64..=latest).contains(&lead).then_some(lead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::clock_line::ClockLine;
    use crate::sound::rate::{FRAME, PERIOD};

    /// Two cards whose clocks differ, with a cable of `delay_us` between them, until the check is over.
    fn cards(handles: &CheckHandles, over: &AtomicBool, delay_us: f64, gain: f32) {
        let playback = ClockLine { index: 0.0, at_us: 1e6, rate_hz: 48_009.6 };
        let capture = ClockLine { index: -5_000.0, at_us: 1e6, rate_hz: 47_995.2 };
        let mut played: Vec<f32> = Vec::new();
        let mut next = -5_000i64;
        while !over.load(Relaxed) {
            let mut block = [[0.0; 2]; PERIOD];
            handles.play(&mut block);
            handles.played(played.len() as i64, playback);
            played.extend(block.iter().map(|[left, _]| *left));
            // What is recorded was played before.
            while playback.index_at(capture.time_us((next + FRAME as i64) as f64)) + 10.0
                < played.len() as f64
            {
                let frame: [f32; FRAME] = std::array::from_fn(|n| {
                    let place = playback.index_at(capture.time_us((next + n as i64) as f64) - delay_us);
                    let (before, part) = (place.floor(), (place - place.floor()) as f32);
                    let at = |n: f64| if n < 0.0 { 0.0 } else { played[n as usize] };
                    gain * (at(before) + part * (at(before + 1.0) - at(before)))
                });
                handles.heard(next, &frame, capture);
                next += FRAME as i64;
            }
        }
    }

    #[test]
    fn a_cable_between_two_clocks_is_measured() {
        let (handles, over, stop) = (CheckHandles::default(), AtomicBool::new(false), AtomicBool::new(false));
        let measured = std::thread::scope(|scope| {
            scope.spawn(|| cards(&handles, &over, 40_000.0, 0.25));
            let measured = measure_within(&handles, &stop, Duration::ZERO, TRY * 10);
            over.store(true, Relaxed);
            measured.unwrap()
        });
        let path = measured.path.unwrap();
        assert!((path.delay_ms - 40.0).abs() < 0.05, "{measured:?}");
        // A straight line between samples is no perfect cable.
        assert!((path.gain_db + 12.04).abs() < 0.5, "{measured:?}");
        assert_eq!((measured.noise_db, measured.clipped), (-120.0, 0));
        assert!(!handles.is_active());
    }

    #[test]
    fn cards_that_do_nothing_are_named_and_a_booth_that_ends_is_not_waited_for() {
        let handles = CheckHandles::default();
        let measure = |stop| measure_within(&handles, &AtomicBool::new(stop), LOOK, LOOK);
        let stopped = measure(true);
        assert!(matches!(stopped, Err(Error::Stopped)) && !handles.is_active());
        let part = |first, count| Taken {
            samples: vec![0.0; count],
            first,
            line: ClockLine { index: 0.0, at_us: 0.0, rate_hz: RATE_HZ },
        };
        let lead = |first| lead(&part(first, SILENCE), &part(0, RECORDED));
        assert_eq!(lead(100), Some(SILENCE as f64 + 100.0));
        assert_eq!((lead(-30_000), lead(60_000)), (None, None));
        assert!(matches!(measure(false), Err(Error::NotRunning { what: "loudspeaker" })));
    }
}
