//! A microphone: blocks of 48 kHz mono, each with its place on the device's clock.

use std::time::{Duration, Instant};

use super::candidates::Direction;
use super::convert::{BLOCK, FromCard};
use super::error::Error;
use super::params::{Params, RATE_HZ};
use super::pcm::{Fault, Pcm, Position};
use crate::media::clock::now_us;

/// Where a block of a microphone stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Captured {
    /// Index of its first sample since the stream was opened, lost ones counted, at the nominal 48 kHz. It is
    /// below 0 for the first ms of a device that is resampled.
    pub index: i64,
    /// About how many samples were lost just before it, when any were. The clock's line begins again there
    /// ([`ClockFit::restart`](crate::sound::clock_fit::ClockFit::restart)).
    pub lost: Option<u64>,
    /// The latest known position of the device's clock. It may repeat.
    pub position: Position,
}

/// A microphone's stream. It runs from the first attempt to read on.
pub struct CapturePcm {
    pcm: Pcm,
    convert: FromCard,
    running: bool,
    /// Index of the first sample since the device was started last.
    base: i64,
    /// Frames of the card read since then.
    frames: u64,
    /// How many of them wait for the rest of their block.
    filled: usize,
    /// Index behind the last block.
    next: i64,
    /// Samples lost since that.
    lost: Option<u64>,
    position: Position,
}

impl CapturePcm {
    /// Opens `device`, such as `hw:1,0`; it starts when it is read.
    ///
    /// # Errors
    /// [`Error::Call`] when it is absent or busy, [`Error::NoParameters`] when it has nothing for us.
    pub fn open(device: &str) -> Result<Self, Error> {
        let pcm = Pcm::open(device, Direction::Capture, |params| {
            // A card whose periods are not our blocks is read at each, so that the end of a block does not
            // wait for a whole period more.
            if params.period as usize == BLOCK && params.layout.rate_hz == RATE_HZ {
                params.period
            } else {
                1
            }
        })?;
        let convert = FromCard::new(pcm.params.layout).map_err(|why| resample(&pcm, why))?;
        let next = -(convert.delay() as i64);
        let position = Position { index: 0.0, at_us: now_us() as f64 };
        let running = false;
        let mut this =
            Self { pcm, convert, running, base: 0, frames: 0, filled: 0, next, lost: None, position };
        this.pcm.prepare()?;
        Ok(this)
    }

    /// What the card was set to.
    pub fn params(&self) -> Params {
        self.pcm.params
    }

    /// How long the card was waited for so far.
    pub fn waited(&self) -> Duration {
        self.pcm.waited
    }

    /// The next block; nothing when it has not come within `timeout`. A device that has run over is started
    /// again, which the block then says.
    ///
    /// # Errors
    /// [`Error::Unplugged`], [`Error::Stalled`] and others after which the device must be opened again.
    pub fn read(&mut self, block: &mut [f32; BLOCK], timeout: Duration) -> Result<Option<Captured>, Error> {
        let deadline = Instant::now() + timeout;
        if !self.running {
            self.pcm.start()?;
            self.running = true;
            self.position = Position { index: 0.0, at_us: now_us() as f64 };
        }
        loop {
            match self.fill(deadline) {
                Ok(true) => break,
                Ok(false) => return Ok(None),
                Err(Fault::Stopped) => self.restart()?,
                Err(Fault::Failed(e)) => return Err(e),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
        self.convert.block(block).map_err(|why| resample(&self.pcm, why))?;
        self.filled = 0;
        // When it has stopped meanwhile, the next turn finds that out; this block is whole.
        if let Ok(status) = self.pcm.status() {
            let frames = self.frames as f64 + f64::from(status.avail);
            self.position =
                Position { index: self.base as f64 + frames * self.pcm.ratio(), at_us: status.at_us };
        }
        let index = self.next;
        self.next += BLOCK as i64;
        Ok(Some(Captured { index, lost: self.lost.take(), position: self.position }))
    }

    /// Reads until a block's frames are there; whether they are.
    fn fill(&mut self, deadline: Instant) -> Result<bool, Fault> {
        loop {
            let bytes = self.convert.bytes_from(self.filled);
            if bytes.is_empty() {
                return Ok(true);
            }
            let read = self.pcm.pcm.io_bytes().readi(bytes);
            match read {
                Ok(0) => {}
                Ok(read) => {
                    self.filled += read;
                    self.frames += read as u64;
                    self.pcm.progressed();
                    continue;
                }
                Err(e) if e.errno() == nix::libc::EAGAIN => {}
                Err(e) if e.errno() == nix::libc::EINTR => continue,
                Err(e) => return Err(self.pcm.fault(e)),
            }
            if !self.pcm.wait(deadline)? {
                return Ok(false);
            }
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.pcm.prepare()?;
        self.pcm.start()?;
        self.convert.reset();
        (self.frames, self.filled) = (0, 0);
        // The clock ran on while nothing was taken of what it gave.
        let now = self.position.index_at(now_us() as f64).round() as i64;
        let delay = self.convert.delay() as i64;
        self.base = now.max(self.next + delay);
        let lost = (self.base - delay - self.next).unsigned_abs();
        self.lost = Some(self.lost.unwrap_or(0) + lost);
        self.next = self.base - delay;
        self.position = Position { index: self.base as f64, at_us: now_us() as f64 };
        log::debug!("sound: {}: ran over, {lost} samples lost", self.pcm.device);
        Ok(())
    }
}

fn resample(pcm: &Pcm, why: String) -> Error {
    Error::Resample { device: pcm.device.clone(), rate_hz: pcm.params.layout.rate_hz, why }
}
