//! Both booths' cards, and the room around each while it is plugged in.

use std::f32::consts::TAU;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::super::hearing::PPM;
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::loopback;
use crate::room::{AHEAD_US, Acoustics, Plan, RATE_HZ, Recording, Room};
use crate::scenario::{Error, failed};

/// Both sides, in the order of their cards on the kernel's command line.
pub(super) const SIDES: [Side; 2] = [Side::A, Side::B];
/// What is to be heard in each room, in Hz: no multiple of the other, so that no echo is taken for it.
pub(super) const TONES_HZ: [f32; 2] = [330.0, 523.0];
/// Its highest sample, of full scale: −26 dB. Cut off there, it is a click that counts.
pub(super) const PEAK: f32 = 0.05;
/// It begins over so many samples: 20 ms.
const FADE: usize = 960;
/// The longest that a room lasts, in s.
const SECONDS: u32 = 120;
/// A booth lets go of a card that was pulled within this time, or never.
const RELEASE: Duration = Duration::from_secs(10);
/// Between the kernel's pulling a card and the room's ending, so that the microphone hears the tone to the end.
const PULLED_US: i64 = 20_000;
/// Times that a card is plugged in at most until the room is there before the booth.
const TRIES: u32 = 5;

/// The number of a side.
pub(super) fn index(side: Side) -> usize {
    usize::from(side == Side::B)
}

/// The cards and their rooms.
pub(super) struct Cards {
    rooms: [Option<Room>; 2],
    recordings: [Vec<Recording>; 2],
    tones: [Arc<[f32]>; 2],
    /// Times that a booth took a card in a format of its own before its room was there.
    pub(super) repeats: u32,
    /// Times that both were to get the number of the other, and did not.
    pub(super) not_swapped: u32,
}

impl Cards {
    /// Both rooms, each with its tone.
    pub(super) fn new() -> Result<Self, Error> {
        let tones = TONES_HZ.map(tone);
        let (rooms, recordings) = ([None, None], [Vec::new(), Vec::new()]);
        let mut cards = Self { rooms, recordings, tones, repeats: 0, not_swapped: 0 };
        cards.open_rooms()?;
        Ok(cards)
    }

    /// Begins rooms where there are none.
    pub(super) fn open_rooms(&mut self) -> Result<(), Error> {
        SIDES.into_iter().try_for_each(|side| self.open(side))
    }

    /// Ends both; what was heard in each since the last time, one recording after the other.
    pub(super) fn close_rooms(&mut self) -> Result<[Vec<Recording>; 2], Error> {
        SIDES.into_iter().try_for_each(|side| self.close(side))?;
        Ok(std::mem::take(&mut self.recordings))
    }

    fn open(&mut self, side: Side) -> Result<(), Error> {
        let n = index(side);
        if self.rooms[n].is_none() {
            let mut plan = Plan::of(side, PPM[n], Acoustics::deaf(), SECONDS);
            plan.noise_db = None;
            let room = Room::start(plan)?;
            room.say(now_us() + AHEAD_US, Arc::clone(&self.tones[n]))?;
            self.rooms[n] = Some(room);
        }
        Ok(())
    }

    fn close(&mut self, side: Side) -> Result<(), Error> {
        let n = index(side);
        if let Some(room) = self.rooms[n].take() {
            self.recordings[n].push(room.stop()?);
        }
        Ok(())
    }

    /// Pulls these cards; when nothing had them open any more, in µs of CLOCK_MONOTONIC.
    pub(super) fn unplug(&mut self, sides: &[Side]) -> Result<i64, Error> {
        let (released, waits) = mpsc::channel();
        for &side in sides {
            let released = released.clone();
            thread::spawn(move || released.send(loopback::unplug(index(side)).map(|()| now_us())));
        }
        sleep_until_us(now_us() + PULLED_US);
        sides.iter().try_for_each(|&side| self.close(side))?;
        let mut last_us = 0;
        for _ in sides {
            let at_us = match waits.recv_timeout(RELEASE) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => Err(std::io::ErrorKind::TimedOut.into()),
                Err(RecvTimeoutError::Disconnected) => Err(std::io::ErrorKind::BrokenPipe.into()),
            };
            last_us = last_us.max(at_us.map_err(failed("a pulled card is still open"))?);
        }
        Ok(last_us)
    }

    /// Plugs these cards in, in this order, each with a room that is there before the booth; when the first was
    /// in, in µs of CLOCK_MONOTONIC.
    pub(super) fn plug(&mut self, sides: &[Side]) -> Result<i64, Error> {
        for attempt in 1.. {
            for &side in sides {
                loopback::plug(index(side)).map_err(failed("plugging a card in"))?;
            }
            let at_us = now_us();
            match sides.iter().try_for_each(|&side| self.open(side)) {
                Ok(()) => return Ok(at_us),
                Err(error) if attempt == TRIES => return Err(error),
                Err(_) => {
                    self.repeats += 1;
                    self.unplug(sides)?;
                }
            }
        }
        Ok(now_us())
    }
}

/// As long as the longest room.
fn tone(hz: f32) -> Arc<[f32]> {
    let second = RATE_HZ as usize;
    let sample = |n: usize| {
        // Every second is the same, so that a large index costs no precision.
        let turn = (n % second) as f32 / second as f32 * hz % 1.0;
        (turn * TAU).sin() * PEAK * (n.min(FADE) as f32 / FADE as f32)
    };
    (0..SECONDS as usize * second).map(sample).collect()
}
