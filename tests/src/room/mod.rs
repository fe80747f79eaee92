//! The air around a booth: between the cable of its loudspeaker and that of its microphone.
//!
//! ```text
//!   booth ─► hw:bootha,0,0 ═ cable ═ hw:bootha,1,0 ─► room ─► hw:bootha,0,1 ═ cable ═ hw:bootha,1,1 ─► booth
//! ```
//! Each cable runs on a clock of its own. A thread, more urgent than anything in a booth, carries what the
//! loudspeaker plays to the microphone as a room does ([`Acoustics`]), adds a voice and noise, and keeps what
//! went through both cables, with the time of each sample. That time is when the cable took it from one end to
//! the other: the room's own buffers are not in it.

mod air;
mod cable;
mod clock_line;
mod convolver;
mod error;
mod sources;
mod thread;
mod track;
pub mod voice;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

pub use air::Acoustics;
pub use cable::Cable;
pub use error::Error;
pub use track::{RATE_HZ, Track, write_wav};

use crate::child::Side;
use sources::Sound;

/// How long before its time something must be asked for that is to be at the microphone then, in µs.
pub const AHEAD_US: i64 = 100_000;

/// A room, its cables and their clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What it listens to.
    pub loudspeaker: Cable,
    /// What it speaks into; of the same card.
    pub microphone: Cable,
    /// Clock error of the loudspeaker's cable, in ppm.
    pub loudspeaker_ppm: i32,
    /// Clock error of the microphone's cable, in ppm.
    pub microphone_ppm: i32,
    /// What is between them.
    pub acoustics: Acoustics,
    /// Noise at the microphone, in dB of full scale (RMS); none for digital silence.
    pub noise_db: Option<f32>,
    /// Seconds that are kept at most.
    pub seconds: u32,
}

impl Plan {
    /// The room of a booth, with its clock errors of loudspeaker and microphone.
    pub fn of(side: Side, ppm: (i32, i32), acoustics: Acoustics, seconds: u32) -> Self {
        Self {
            loudspeaker: Cable::loudspeaker(side),
            microphone: Cable::microphone(side),
            loudspeaker_ppm: ppm.0,
            microphone_ppm: ppm.1,
            acoustics,
            noise_db: Some(voice::LEVEL_DB - voice::OVER_NOISE_DB),
            seconds,
        }
    }

    /// Where the booth of this room is, as one who stands at the booth's ends of both cables: hears what the
    /// microphone hears, and plays to the loudspeaker.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self {
            loudspeaker: self.microphone,
            microphone: self.loudspeaker,
            loudspeaker_ppm: self.microphone_ppm,
            microphone_ppm: self.loudspeaker_ppm,
            ..self
        }
    }

    /// Only the microphone's cable, which is listened to at its other end.
    #[must_use]
    pub fn one_cable(self) -> Self {
        Self { loudspeaker: self.microphone, loudspeaker_ppm: self.microphone_ppm, ..self }
    }
}

/// A room in which there is sound until it is stopped.
pub struct Room {
    sounds: Sender<Sound>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Recording, Error>>>,
}

impl Room {
    /// Starts a room. It holds its ends of both cables from here on, and so decides their format; so start it
    /// before the booth.
    ///
    /// # Errors
    /// When a cable cannot be had, or the thread not be made as urgent as it must be.
    pub fn start(plan: Plan) -> Result<Self, Error> {
        let (sounds, asked) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let (ready, started) = mpsc::channel();
        let run = move || thread::run(plan, &asked, &over, &ready);
        let spawned =
            std::thread::Builder::new().name(format!("room-{}", plan.loudspeaker.side.name())).spawn(run);
        let thread = spawned.map_err(|source| Error::Thread { what: "starting its thread", source })?;
        let room = Self { sounds, stop, thread: Some(thread) };
        // Its end without a word is an error, which it returns.
        match started.recv() {
            Ok(()) => Ok(room),
            Err(_) => room.stop().and(Err(Error::Ended)),
        }
    }

    /// Somebody says this from `at_us` of CLOCK_MONOTONIC on; [`AHEAD_US`] from now at the soonest. Samples of
    /// 48 kHz, full scale is 1.
    ///
    /// # Errors
    /// When the room has ended.
    pub fn say(&self, at_us: i64, samples: Arc<[f32]>) -> Result<(), Error> {
        self.sounds.send(Sound::new(at_us, samples)).map_err(|_| Error::Ended)
    }

    /// Ends it; what was heard and said.
    ///
    /// # Errors
    /// When it had ended before, with why.
    pub fn stop(mut self) -> Result<Recording, Error> {
        self.stop.store(true, Relaxed);
        let thread = self.thread.take().ok_or(Error::Ended)?;
        thread.join().unwrap_or(Err(Error::Ended))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What went through a room.
#[derive(Debug, Clone)]
pub struct Recording {
    /// What the loudspeaker played.
    pub played: Track,
    /// What was said, without echo and noise.
    pub said: Track,
    /// What the microphone was given: all of it.
    pub given: Track,
    /// Times that the room was kept from a cable so long that it lost its place.
    pub held_up: u64,
    /// Samples of echo that came too late.
    pub missing: u64,
}

impl Recording {
    /// Writes WAVs: `NAME-played.wav`, `NAME-said.wav` and `NAME-given.wav`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn save(&self, dir: &Path, name: &str) -> Result<(), Error> {
        for (track, what) in [(&self.played, "played"), (&self.said, "said"), (&self.given, "given")] {
            track.save(&dir.join(format!("{name}-{what}.wav")))?;
        }
        Ok(())
    }

    /// Whether the room kept up: otherwise what was heard says nothing.
    pub fn kept_up(&self) -> bool {
        self.held_up == 0 && self.missing == 0
    }
}
