//! What a check and the sound threads share. No I/O.
//!
//! The threads of the cards try for a lock and never wait for it: who misses it once has an interrupted check, and
//! no late period.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::error::Error;
use super::meter::Meter;
use crate::sound::clock_line::ClockLine;
use crate::sound::rate::{FRAME, PERIOD};

/// What goes through a card for a check, and when.
#[derive(Debug)]
struct Part {
    samples: Vec<f32>,
    /// How many of them went through.
    done: usize,
    /// The index of the first one on the card's clock.
    first: Option<i64>,
    /// The card's clock when the last one went through.
    line: Option<ClockLine>,
    /// The last period was filled from here.
    filled: bool,
    interrupted: bool,
}

impl Part {
    fn new(samples: Vec<f32>) -> Self {
        Self { samples, done: 0, first: None, line: None, filled: false, interrupted: false }
    }

    /// So many samples went through from `index` on.
    fn advance(&mut self, index: i64, count: usize, line: ClockLine) {
        let expected = *self.first.get_or_insert(index) + self.done as i64;
        self.interrupted |= index != expected;
        self.done += count;
        if self.done >= self.samples.len() {
            self.line = Some(line);
        }
    }

    fn is_over(&self) -> bool {
        self.interrupted || self.line.is_some()
    }
}

/// A part that went through a card whole.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) samples: Vec<f32>,
    pub(super) first: i64,
    pub(super) line: ClockLine,
}

/// One direction, from the start of a try to its end.
#[derive(Debug, Default)]
struct Slot {
    part: Mutex<Option<Part>>,
    /// Nothing more will happen to it.
    over: AtomicBool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Part>> {
        // Each change is one step.
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, samples: Vec<f32>) {
        self.over.store(false, Ordering::Relaxed);
        *self.lock() = Some(Part::new(samples));
    }

    /// Has a card's thread do something with a part that is not over.
    fn with(&self, work: impl FnOnce(&mut Part)) {
        let mut guard = match self.part.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(part) = guard.as_mut().filter(|part| !part.is_over()) {
            work(part);
            if part.is_over() {
                self.over.store(true, Ordering::Release);
            }
        }
    }

    fn end(&self) -> Option<Taken> {
        let part = self.lock().take()?;
        let (first, line) = (part.first?, part.line?);
        (!part.interrupted).then_some(Taken { samples: part.samples, first, line })
    }
}

/// What a check and the sound threads share.
#[derive(Debug, Default)]
pub struct CheckHandles {
    active: AtomicBool,
    playing: Slot,
    recording: Slot,
    /// Peaks at the microphone while a check is under way, before the echo canceller.
    pub microphone: Meter,
    /// The same of what the loudspeaker plays.
    pub loudspeaker: Meter,
}

/// A check is under way as long as this is there.
pub(super) struct Active<'a>(&'a CheckHandles);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.playing.end();
        self.0.recording.end();
        self.0.active.store(false, Ordering::Relaxed);
    }
}

impl CheckHandles {
    /// Whether a check is under way: no peer is heard then, and nothing leaves the booth.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Begins a check: the booth falls silent.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub(super) fn begin(&self) -> Result<Active<'_>, Error> {
        if self.active.swap(true, Ordering::Relaxed) {
            return Err(Error::Busy);
        }
        for meter in [&self.microphone, &self.loudspeaker] {
            meter.take_db();
        }
        Ok(Active(self))
    }

    /// Has `sweep` played and so many samples recorded from now on.
    pub(super) fn try_once(&self, sweep: Vec<f32>, recorded: usize) {
        self.recording.begin(vec![0.0; recorded]);
        self.playing.begin(sweep);
    }

    /// Whether loudspeaker and microphone are done.
    pub(super) fn over(&self) -> [bool; 2] {
        [&self.playing, &self.recording].map(|slot| slot.over.load(Ordering::Acquire))
    }

    /// What was played and what was recorded, each when it is whole.
    pub(super) fn end(&self) -> [Option<Taken>; 2] {
        [self.playing.end(), self.recording.end()]
    }

    /// Playback: puts what the check plays in the place of what peers say; silence, where that is nothing.
    pub(crate) fn play(&self, block: &mut [[f32; 2]; PERIOD]) {
        if !self.is_active() {
            return;
        }
        block.fill([0.0; 2]);
        self.playing.with(|part| {
            for (out, sample) in block.iter_mut().zip(part.samples.iter().skip(part.done)) {
                *out = [*sample; 2];
            }
            part.filled = true;
        });
        self.loudspeaker.add(block.iter().map(|[left, _]| *left));
    }

    /// Playback: the block was written as sample `index` of the card, whose clock is `line`.
    pub(crate) fn played(&self, index: i64, line: ClockLine) {
        if self.is_active() {
            self.playing.with(|part| {
                if std::mem::take(&mut part.filled) {
                    part.advance(index, PERIOD, line);
                }
            });
        }
    }

    /// Capture: this is what the microphone heard from sample `index` of the card on, whose clock is `line`.
    pub(crate) fn heard(&self, index: i64, frame: &[f32; FRAME], line: ClockLine) {
        if !self.is_active() {
            return;
        }
        self.microphone.add(frame.iter().copied());
        self.recording.with(|part| {
            for (kept, sample) in part.samples.iter_mut().skip(part.done).zip(frame) {
                *kept = *sample;
            }
            part.advance(index, FRAME, line);
        });
    }

    /// Playback: the card was closed, or opened anew.
    pub(crate) fn playback_interrupted(&self) {
        self.playing.with(|part| part.interrupted = part.first.is_some());
    }

    /// Capture: the same.
    pub(crate) fn capture_interrupted(&self) {
        self.recording.with(|part| part.interrupted = part.first.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: ClockLine = ClockLine { index: 0.0, at_us: 0.0, rate_hz: 48_000.0 };

    fn period(handles: &CheckHandles, index: i64) -> f32 {
        let mut block = [[0.7; 2]; PERIOD];
        handles.play(&mut block);
        handles.played(index, LINE);
        block[0][0]
    }

    #[test]
    fn peers_are_heard_only_while_no_check_is_under_way() {
        let handles = CheckHandles::default();
        assert_eq!(period(&handles, 0), 0.7);
        let active = handles.begin().unwrap();
        assert!(matches!(handles.begin(), Err(Error::Busy)));
        assert_eq!((period(&handles, 240), handles.loudspeaker.take_db()), (0.0, -120));
        handles.try_once(vec![0.5; 3 * PERIOD], FRAME);
        assert_eq!((period(&handles, 480), handles.loudspeaker.take_db()), (0.5, -6));
        drop(active);
        assert!(!handles.is_active() && period(&handles, 720) == 0.7);
        assert!(handles.begin().is_ok());
    }

    #[test]
    fn what_went_through_whole_is_given_with_its_place() {
        let handles = CheckHandles::default();
        let _active = handles.begin().unwrap();
        // A period that was filled before begins no try.
        let mut block = [[0.0; 2]; PERIOD];
        handles.play(&mut block);
        handles.try_once((0..500).map(|n| n as f32).collect(), 2 * FRAME);
        handles.played(0, LINE);
        // One that found no room is filled once more.
        handles.play(&mut block);
        assert_eq!(period(&handles, 240), 0.0);
        assert_eq!(period(&handles, 480), 240.0);
        assert_eq!(handles.over(), [false, false]);
        handles.heard(-7, &[0.25; FRAME], LINE);
        handles.heard(473, &[0.5; FRAME], LINE);
        assert_eq!(period(&handles, 720), 480.0);
        assert_eq!(handles.over(), [true, true]);
        let [played, heard] = handles.end().map(Option::unwrap);
        assert_eq!((played.first, heard.first), (240, -7));
        assert_eq!((heard.samples[479], heard.samples[480], heard.samples.len()), (0.25, 0.5, 2 * FRAME));
        assert!(handles.end().iter().all(Option::is_none));
    }

    #[test]
    fn what_was_interrupted_is_over_and_gives_nothing() {
        let handles = CheckHandles::default();
        let _active = handles.begin().unwrap();
        let jump = || {
            period(&handles, 1_000);
            handles.heard(960, &[0.0; FRAME], LINE);
        };
        let reopen = || {
            handles.playback_interrupted();
            handles.capture_interrupted();
        };
        for interrupt in [&jump as &dyn Fn(), &reopen] {
            handles.try_once(vec![0.5; 9 * PERIOD], 9 * FRAME);
            // What happens before the first sample is none of its business.
            handles.playback_interrupted();
            handles.capture_interrupted();
            period(&handles, 0);
            handles.heard(0, &[0.0; FRAME], LINE);
            assert_eq!(handles.over(), [false, false]);
            interrupt();
            assert_eq!(handles.over(), [true, true]);
            assert!(handles.end().iter().all(Option::is_none));
        }
    }
}
