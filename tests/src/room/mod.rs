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
mod plan;
mod sources;
mod thread;
mod track;
pub mod voice;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

pub use air::Acoustics;
pub use cable::Cable;
pub use error::Error;
pub use plan::{Plan, Recording};
pub use track::{RATE_HZ, Track, write_wav};

use sources::Sound;

/// How long before its time something must be asked for that is to be at the microphone then, in µs.
pub const AHEAD_US: i64 = 100_000;

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

    /// Ends it; what was heard and said, until its card was pulled if it was.
    ///
    /// # Errors
    /// When it had ended before for another reason, with that.
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
