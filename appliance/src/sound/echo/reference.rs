//! What the loudspeaker played, on the microphone's clock: a ring between the playback and the capture
//! thread, and a resampler at its end.
//!
//! The ring holds *runs*: stretches that a card played without a break. Within a run, which sample was at the
//! converter at which instant follows from the clock line that came with the newest block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sound::clock_line::ClockLine;
use crate::sound::rate::{FRAME, RATE_HZ};
use crate::sound::resampler::{Error, SteeredResampler, TAPS};

/// Samples in the ring: 1.4 s, of which a card's buffer and a late capture thread take a tenth.
const CAPACITY: usize = 1 << 16;
/// Runs that are remembered: more restarts than this within the ring's length are no playing.
const RUNS: usize = 4;
/// How far the ratio may leave 1: two crystals at their worst, and room to steer in.
const LIMIT: f64 = 0.002;
/// Of the distance from where the reference should stand, what a frame makes up: the line wobbles with each
/// stamp, and the canceller's filter should not.
const FOLLOW: f64 = 0.04;
/// A reference that is off by more samples is set anew instead of steered: 2 ms.
const JUMP: f64 = 96.0;
/// Whole gaps up to this long are filled with silence; after longer ones a run begins.
const LONGEST_FILL: u64 = CAPACITY as u64 / 2;

#[derive(Debug, Clone, Copy)]
struct Run {
    /// Tells runs apart; 0 is none.
    number: u64,
    /// Where in the ring it begins and ends, counted from the first sample ever written.
    first: u64,
    end: u64,
    /// Its first sample on the card's clock.
    index: u64,
    line: ClockLine,
}

impl Run {
    const NONE: Self = Self {
        number: 0,
        first: 0,
        end: 0,
        index: 0,
        line: ClockLine { index: 0.0, at_us: 0.0, rate_hz: RATE_HZ },
    };

    /// The place in the ring of what was at the converter at `at_us`.
    fn place_at(&self, at_us: f64) -> f64 {
        self.line.index_at(at_us) - self.index as f64 + self.first as f64
    }
}

struct Ring {
    samples: Box<[f32]>,
    written: u64,
    /// Newest first.
    runs: [Run; RUNS],
    /// Whether the newest run still grows.
    open: bool,
    /// How often the loudspeaker was interrupted.
    interruptions: u64,
}

impl Ring {
    fn push(&mut self, samples: impl Iterator<Item = f32>) {
        for sample in samples {
            self.samples[(self.written % CAPACITY as u64) as usize] = sample;
            self.written += 1;
        }
        self.runs[0].end = self.written;
    }

    fn read(&self, run: &Run, from: i64, into: &mut [f32]) {
        let oldest = self.written.saturating_sub(CAPACITY as u64).max(run.first);
        for (at, sample) in (from..).zip(into) {
            let held = u64::try_from(at).ok().filter(|at| (oldest..run.end).contains(at));
            *sample = held.map_or(0.0, |at| self.samples[(at % CAPACITY as u64) as usize]);
        }
    }
}

/// The playback thread's end.
pub struct ReferenceWriter {
    ring: Arc<Mutex<Ring>>,
}

/// The capture thread's end.
pub struct ReferenceReader {
    ring: Arc<Mutex<Ring>>,
    resampler: SteeredResampler,
    input: Vec<f32>,
    /// The run that the resampler is in, and the place in the ring of its next input.
    run: u64,
    next: i64,
    lead_us: f64,
    late_samples: u64,
    jumps: u64,
    interruptions: u64,
    interrupted: bool,
}

/// Both ends of a ring. The reference is given `lead_us` early, which the canceller finds as delay: as much
/// as the clocks of both cards together may be wrong, for what is heard before it was played cannot be
/// removed; and by no more than the loudspeaker's queue holds.
///
/// # Errors
/// When the resampler cannot be made, which would be a bug.
pub fn reference(lead_us: f64) -> Result<(ReferenceWriter, ReferenceReader), Error> {
    let ring = Arc::new(Mutex::new(Ring {
        samples: vec![0.0; CAPACITY].into_boxed_slice(),
        written: 0,
        runs: [Run::NONE; RUNS],
        open: false,
        interruptions: 0,
    }));
    let reader = ReferenceReader {
        ring: Arc::clone(&ring),
        resampler: SteeredResampler::new(LIMIT)?,
        input: vec![0.0; FRAME + 2 * TAPS],
        run: 0,
        next: 0,
        lead_us,
        late_samples: 0,
        jumps: 0,
        interruptions: 0,
        interrupted: false,
    };
    Ok((ReferenceWriter { ring }, reader))
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    // The samples are whole whatever thread panicked meanwhile.
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReferenceWriter {
    /// Notes that `samples` were handed to the card, the first of them as sample `index` of its clock, which
    /// runs as `line`. Indices that were left out played silence. Nothing is allocated, and the lock is held
    /// for a copy.
    pub fn write(&mut self, index: u64, samples: &[f32], line: ClockLine) {
        let mut ring = lock(&self.ring);
        let run = ring.runs[0];
        let expected = run.index + (run.end - run.first);
        let gap = index.checked_sub(expected).filter(|gap| *gap <= LONGEST_FILL);
        match gap.filter(|_| ring.open) {
            Some(gap) => ring.push((0..gap).map(|_| 0.0)),
            None => {
                ring.runs.rotate_right(1);
                let first = ring.written;
                ring.runs[0] = Run { number: run.number + 1, first, end: first, index, line };
                ring.open = true;
            }
        }
        ring.runs[0].line = line;
        ring.push(samples.iter().copied());
    }

    /// Notes that the card ran dry, or was opened: its clock's line begins again.
    pub fn interrupt(&mut self) {
        lock(&self.ring).interruptions += 1;
    }

    /// Notes that the card stopped (an xrun, or it was closed) and that samples from `played_until` on were
    /// never heard. The next block begins anew, on whatever clock it names.
    pub fn stop(&mut self, played_until: u64) {
        let mut ring = lock(&self.ring);
        let run = &mut ring.runs[0];
        run.end = run.end.min(run.first + played_until.saturating_sub(run.index));
        ring.open = false;
    }
}

impl ReferenceReader {
    /// Gives the reference of a microphone frame that began at `start_us` (CLOCK_MONOTONIC) and has
    /// `rate_hz`: what was at the loudspeaker's converter while the frame was at the microphone's; silence
    /// where nothing was.
    ///
    /// # Errors
    /// When the resampler refuses a frame, which would be a bug.
    pub fn read(&mut self, start_us: f64, rate_hz: f64, frame: &mut [f32; FRAME]) -> Result<(), Error> {
        let last_us = start_us + self.lead_us + (FRAME - 1) as f64 * 1e6 / rate_hz;
        let ring = Arc::clone(&self.ring);
        let ring = lock(&ring);
        self.interrupted |= ring.interruptions != self.interruptions;
        self.interruptions = ring.interruptions;
        let begun = |run: &&Run| run.number > 0 && run.place_at(last_us) >= run.first as f64;
        let Some(run) = ring.runs.iter().find(begun).copied() else {
            frame.fill(0.0);
            self.run = 0;
            return Ok(());
        };
        let wanted = run.place_at(last_us);
        let advance = FRAME as f64 * run.line.rate_hz / rate_hz;
        let off = wanted - self.resampler.position() - advance;
        let mut end = wanted - (1.0 - FOLLOW) * off;
        if run.number != self.run || off.abs() > JUMP || off.is_nan() {
            self.jumps += 1;
            self.run = run.number;
            // A frame before this one fills the resampler's filter, and steers away the fraction of a sample
            // by which its input begins wrong.
            let first = (wanted - 2.0 * advance + 1.0 + (TAPS / 2) as f64).round();
            self.resampler.reset(first);
            self.next = first as i64;
            self.feed(&ring, &run, wanted - advance, frame)?;
            end = wanted;
        }
        self.feed(&ring, &run, end, frame)?;
        let newest = ring.runs[0].number == run.number && ring.open;
        if newest && self.next > run.end as i64 {
            self.late_samples += (self.next - run.end as i64).min(FRAME as i64) as u64;
        }
        Ok(())
    }

    fn feed(&mut self, ring: &Ring, run: &Run, end: f64, frame: &mut [f32; FRAME]) -> Result<(), Error> {
        let needed = self.resampler.steer(end)?;
        let input = &mut self.input[..needed];
        ring.read(run, self.next, input);
        self.next += needed as i64;
        self.resampler.process(input, frame)
    }

    /// Whether the loudspeaker was interrupted since this was asked last, as far as frames were read.
    pub fn take_interrupted(&mut self) -> bool {
        std::mem::take(&mut self.interrupted)
    }

    /// Samples that the capture thread needed before the playback thread had written them: the echo of those
    /// cannot be removed. Grows where the card's queue is shorter than `lead_us`, half the
    /// resampler's filter, and what both threads are late by.
    #[must_use]
    pub fn late_samples(&self) -> u64 {
        self.late_samples
    }

    /// How often the reference was set anew instead of steered: at each start, and when a clock jumped.
    #[must_use]
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Played samples a microphone sample, as resampled now.
    #[must_use]
    pub fn rate_ratio(&self) -> f64 {
        1.0 / self.resampler.ratio()
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    const DAC_HZ: f64 = 48_009.6;
    const ADC_HZ: f64 = 47_990.4;
    /// Of the microphone's rate in DAC samples.
    const LINE: ClockLine = ClockLine { index: 0.0, at_us: 1e6, rate_hz: DAC_HZ };

    fn tone(index: f64) -> f64 {
        0.5 * (2.0 * PI * 997.0 * index / 48_000.0).sin()
    }

    fn block(index: u64) -> [f32; FRAME] {
        std::array::from_fn(|k| tone((index + k as u64) as f64) as f32)
    }

    /// The sample that should be in a microphone frame at `start_us`.
    fn expected(line: ClockLine, start_us: f64, at: usize) -> f64 {
        tone(line.index_at(start_us + at as f64 * 1e6 / ADC_HZ))
    }

    /// Writes blocks up to 20 ms ahead of `until_us`.
    fn write_until(writer: &mut ReferenceWriter, next: &mut u64, line: ClockLine, until_us: f64) {
        while line.time_us(*next as f64) < until_us + 20_000.0 {
            writer.write(*next, &block(*next), line);
            *next += FRAME as u64;
        }
    }

    /// Reads frames from `from` to `until`, counted from 1 s on, and gives the worst sample of each.
    fn read(
        (writer, reader): &mut (ReferenceWriter, ReferenceReader),
        next: &mut u64,
        line: ClockLine,
        frames: std::ops::Range<u32>,
    ) -> Vec<f64> {
        let mut frame = [0.0; FRAME];
        frames
            .map(|at| {
                let start_us = 1e6 + f64::from(at) * 480e6 / ADC_HZ;
                write_until(writer, next, line, start_us + 10_000.0);
                reader.read(start_us, ADC_HZ, &mut frame).unwrap();
                let off = |(k, x): (usize, &f32)| (f64::from(*x) - expected(line, start_us, k)).abs();
                frame.iter().enumerate().map(off).fold(0.0, f64::max)
            })
            .collect()
    }

    #[test]
    fn gives_what_was_at_the_converter_while_the_microphone_heard() {
        let mut ends = reference(0.0).unwrap();
        let mut next = 0;
        let off = read(&mut ends, &mut next, LINE, 0..3_000);
        // The first frame begins before the first sample.
        assert!(off[1..].iter().all(|off| *off < 1e-3), "{off:?}");
        assert_eq!((ends.1.late_samples(), ends.1.jumps()), (0, 1));
        assert!((ends.1.rate_ratio() - DAC_HZ / ADC_HZ).abs() < 1e-8);
    }

    #[test]
    fn the_lead_makes_it_early() {
        let (mut writer, mut reader) = reference(1_000.0).unwrap();
        let mut frame = [0.0; FRAME];
        for at in 0..10 {
            writer.write(at * 480, &block(at * 480), LINE);
        }
        let start_us = [1_020_000.0, 1_020_000.0 + 480e6 / ADC_HZ];
        for start_us in start_us {
            reader.read(start_us, ADC_HZ, &mut frame).unwrap();
        }
        let off = f64::from(frame[100]) - expected(LINE, start_us[1] + 1_000.0, 100);
        assert!(off.abs() < 1e-3, "{off}");
    }

    #[test]
    fn is_silent_before_anything_was_played() {
        let (_writer, mut reader) = reference(0.0).unwrap();
        let mut frame = [1.0; FRAME];
        reader.read(5e6, ADC_HZ, &mut frame).unwrap();
        assert_eq!(frame, [0.0; FRAME]);
    }

    #[test]
    fn a_gap_is_silence_and_moves_nothing() {
        let mut ends = reference(0.0).unwrap();
        let mut next = 0;
        read(&mut ends, &mut next, LINE, 0..100);
        let gap = next..next + 9_600;
        next = gap.end;
        let off = read(&mut ends, &mut next, LINE, 100..200);
        assert!(off[40..].iter().all(|off| *off < 1e-3), "{off:?}");
        assert!(off[10] > 0.4);
        assert_eq!(ends.1.jumps(), 1);
        let mut frame = [1.0; FRAME];
        let middle_us = LINE.time_us((gap.start + 4_800) as f64);
        ends.1.read(middle_us, ADC_HZ, &mut frame).unwrap();
        assert!(frame.iter().all(|x| x.abs() < 1e-6));
    }

    #[test]
    fn after_an_xrun_nothing_unheard_is_given_and_the_new_run_stands_right() {
        let mut ends = reference(0.0).unwrap();
        let mut next = 0;
        read(&mut ends, &mut next, LINE, 0..100);
        // What was written and not yet heard is dropped, and the card begins again 30 ms later at 0.
        let heard = LINE.index_at(2.005e6) as u64;
        ends.0.stop(heard);
        ends.0.interrupt();
        let line = ClockLine { index: 0.0, at_us: 2.035e6, rate_hz: DAC_HZ };
        next = 0;
        let off = read(&mut ends, &mut next, line, 100..200);
        assert!(off[5..].iter().all(|off| *off < 1e-3), "{off:?}");
        assert_eq!(ends.1.jumps(), 2);
        assert_eq!([(); 2].map(|()| ends.1.take_interrupted()), [true, false]);
        let mut frame = [1.0; FRAME];
        ends.1.read(2.015e6, ADC_HZ, &mut frame).unwrap();
        assert!(frame[100..].iter().all(|x| x.abs() < 1e-6), "{frame:?}");
    }

    #[test]
    fn a_line_that_wobbles_is_followed_slowly() {
        let mut ends = reference(0.0).unwrap();
        let mut next = 0;
        read(&mut ends, &mut next, LINE, 0..100);
        let moved = ClockLine { at_us: LINE.at_us + 10.0, ..LINE };
        let before = ends.1.rate_ratio();
        read(&mut ends, &mut next, moved, 100..101);
        // Half a sample, of which one frame makes up a 25th.
        let ppm = 1e6 * (ends.1.rate_ratio() - before).abs();
        assert!((20.0..60.0).contains(&ppm), "{ppm} ppm");
        let off = read(&mut ends, &mut next, moved, 101..400);
        assert!(off[250..].iter().all(|off| *off < 1e-3), "{off:?}");
    }

    #[test]
    fn a_late_playback_thread_is_counted() {
        let (mut writer, mut reader) = reference(0.0).unwrap();
        let mut frame = [0.0; FRAME];
        for at in 0..10 {
            writer.write(at * 480, &block(at * 480), LINE);
        }
        reader.read(LINE.time_us(2_400.0), ADC_HZ, &mut frame).unwrap();
        assert_eq!(reader.late_samples(), 0);
        for index in [4_560.0, 5_040.0] {
            reader.read(LINE.time_us(index), ADC_HZ, &mut frame).unwrap();
        }
        assert!(reader.late_samples() > 400, "{}", reader.late_samples());
    }
}
