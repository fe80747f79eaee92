//! The thread of a room.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};

use holobooth::realtime;

use super::air::Air;
use super::cable::End;
use super::convolver::BLOCK;
use super::error::Error;
use super::plan::{Plan, Recording};
use super::sources::{Noise, Sound, Voices};
use super::track::{RATE_HZ, Track};
use crate::clock::{now_us, sleep_until_us};

/// Under SCHED_FIFO (sched(7)): before all threads of a booth.
const PRIORITY: u8 = 60;
/// How often it looks, in µs: so that it meets the kernel's ticks, 3.3 ms apart, at ever other moments, and so
/// finds the earliest time of a position.
const EVERY_US: i64 = 4_700;
/// Frames that wait to be heard by the microphone, so that a late turn is not heard.
const AHEAD: u64 = 1_440;

pub(super) fn run(
    plan: Plan,
    asked: &Receiver<Sound>,
    over: &AtomicBool,
    ready: &Sender<()>,
) -> Result<Recording, Error> {
    realtime::set_realtime_priority(PRIORITY)
        .map_err(|source| Error::Thread { what: "SCHED_FIFO", source })?;
    let loudspeaker = End::listen(plan.loudspeaker, plan.loudspeaker_ppm)?;
    let microphone = End::speak(plan.microphone, plan.microphone_ppm)?;
    let mut hall = Hall::new(plan, asked, loudspeaker, microphone);
    hall.loudspeaker.start()?;
    hall.speak_up()?;
    hall.microphone.start()?;
    let _ = ready.send(());
    let mut next_us = now_us();
    while !over.load(Relaxed) {
        next_us = (next_us + EVERY_US).max(now_us());
        sleep_until_us(next_us);
        match hall.turn() {
            // There is nothing more to be heard.
            Err(error) if error.is_unplugged() => break,
            turn => turn?,
        }
    }
    Ok(hall.end())
}

struct Hall<'a> {
    loudspeaker: End,
    microphone: End,
    air: Air,
    voices: Voices<'a>,
    noise: Noise,
    scratch: Vec<i16>,
    played: Vec<i16>,
    said: Vec<i16>,
    given: Vec<i16>,
    /// What is kept at most, in samples.
    most: usize,
}

impl<'a> Hall<'a> {
    fn new(plan: Plan, asked: &'a Receiver<Sound>, loudspeaker: End, microphone: End) -> Self {
        let most = plan.seconds as usize * RATE_HZ as usize;
        let kept = || Vec::with_capacity(most + RATE_HZ as usize);
        Self {
            loudspeaker,
            microphone,
            air: Air::new(plan.acoustics),
            voices: Voices::new(asked),
            noise: Noise::new(plan.noise_db, plan.acoustics.seed),
            scratch: vec![0; 4_096],
            played: kept(),
            said: kept(),
            given: kept(),
            most,
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        if self.played.len() >= self.most {
            // Longer than planned: the rest is not kept, and the scenario sees that it is not there.
            return Err(Error::Ended);
        }
        if self.listen().is_err() {
            let missed = self.loudspeaker.recover()?;
            self.loudspeaker.start()?;
            self.played.resize(self.played.len() + missed as usize, 0);
        }
        match self.microphone.look(false) {
            Ok(waiting) if waiting < AHEAD => self.fill(AHEAD - waiting).or_else(|_| self.speak_again()),
            Ok(_) => Ok(()),
            Err(_) => self.speak_again(),
        }
    }

    fn listen(&mut self) -> Result<(), alsa::Error> {
        let from = self.played.len();
        self.loudspeaker.read(&mut self.scratch, &mut self.played)?;
        self.air.hear(&self.played[from..]);
        self.loudspeaker.look(true).map(drop)
    }

    fn speak_again(&mut self) -> Result<(), Error> {
        let missed = self.microphone.recover()? as usize;
        for track in [&mut self.said, &mut self.given] {
            track.resize(track.len() + missed, 0);
        }
        self.speak_up()?;
        self.microphone.start()
    }

    /// Fills the buffer of an end that does not run.
    fn speak_up(&mut self) -> Result<(), Error> {
        self.fill(AHEAD).map_err(super::error::refused("writing"))
    }

    /// Gives the microphone so many frames more, or a few more than that.
    fn fill(&mut self, frames: u64) -> Result<(), alsa::Error> {
        for _ in 0..frames.div_ceil(BLOCK as u64) {
            let index = self.microphone.frames;
            let mut mix = [0.0; BLOCK];
            self.voices.add(&self.microphone.line, index, &mut mix);
            let said = mix.map(sample);
            self.noise.add(&mut mix);
            self.air.add(&self.loudspeaker.line, &self.microphone.line, index, &mut mix);
            let given = mix.map(sample);
            self.microphone.write(&given)?;
            self.said.extend(said);
            self.given.extend(given);
        }
        Ok(())
    }

    fn end(self) -> Recording {
        Recording {
            played: Track::new(self.played, self.loudspeaker.line),
            said: Track::new(self.said, self.microphone.line),
            given: Track::new(self.given, self.microphone.line),
            held_up: self.loudspeaker.held_up + self.microphone.held_up,
            missing: self.air.missing,
        }
    }
}

fn sample(value: f32) -> i16 {
    (value * 32_768.0).round() as i16
}
