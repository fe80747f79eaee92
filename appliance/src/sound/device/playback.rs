//! A loudspeaker: takes blocks of 48 kHz stereo, and says when each is heard.

use std::time::{Duration, Instant};

use super::candidates::Direction;
use super::convert::{BLOCK, ToCard};
use super::error::Error;
use super::params::{PERIODS_MS, Params};
use super::pcm::{Fault, Pcm, Position};
use crate::media::clock::now_us;

/// Periods that are kept in the card's buffer at first: two to play while the writer is asleep. Each time
/// that they did not last it becomes one more, up to the whole buffer.
const QUEUED_PERIODS: u32 = 3;
/// The least that is kept, in µs, of a card that has shorter periods than it was asked for, too.
pub const QUEUED_US: u32 = QUEUED_PERIODS * PERIODS_MS[0] * 1_000;

/// Where a block that was written stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Written {
    /// Index of its first sample since the stream was opened, silence between blocks counted, at the nominal
    /// 48 kHz.
    pub index: i64,
    /// About how many samples of silence were heard just before it, because no block came in time. The clock's
    /// line begins again there ([`ClockFit::restart`](crate::sound::clock_fit::ClockFit::restart)).
    pub silence: Option<u64>,
    /// Samples between the converter and the end of the block.
    pub delay: f64,
    /// The latest known position of the device's clock: which sample was heard when. It may repeat.
    pub position: Position,
}

/// A loudspeaker's stream. It runs from the first block on, and must go on being written to: some HDMI
/// receivers are mute for a second or two after every pause.
pub struct PlaybackPcm {
    pcm: Pcm,
    convert: ToCard,
    /// Frames that are to be in the buffer after a block was written.
    queue: u32,
    /// Most frames of a block.
    most: u32,
    running: bool,
    /// Index of the first sample since the device was started last.
    base: i64,
    /// Frames of the card written since then.
    frames: u64,
    /// How many of them came before the first sample: silence, and what the resampler holds back.
    before: f64,
    /// Index behind the last block.
    next: i64,
    /// Silence since that, in samples.
    silence: Option<u64>,
    position: Position,
}

impl PlaybackPcm {
    /// Opens `device`, such as `hw:1,3`; it starts with the first block.
    ///
    /// # Errors
    /// [`Error::Call`] when it is absent or busy, [`Error::NoParameters`] when it has nothing for us.
    pub fn open(device: &str) -> Result<Self, Error> {
        let pcm = Pcm::open(device, Direction::Playback, |_| 1)?;
        let params = pcm.params;
        let convert = ToCard::new(params.layout).map_err(|why| resample(&pcm, why))?;
        let most = convert.most() as u32;
        let mut this = Self {
            pcm,
            convert,
            queue: 0,
            most,
            running: false,
            base: 0,
            frames: 0,
            before: 0.0,
            next: 0,
            silence: None,
            position: Position { index: 0.0, at_us: now_us() as f64 },
        };
        let least = u64::from(QUEUED_US) * u64::from(params.layout.rate_hz) / 1_000_000;
        this.set_queue((QUEUED_PERIODS * params.period).max(least as u32))?;
        this.prepare()?;
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

    /// Samples at 48 kHz that are in the card's buffer after a block was written.
    pub fn queued(&self) -> f64 {
        f64::from(self.queue) * self.pcm.ratio()
    }

    /// Waits until there is room for a block; whether there is. A device that has run dry is started again.
    ///
    /// # Errors
    /// As [`PlaybackPcm::write`].
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.room(deadline) {
                Ok(room) => return Ok(room),
                Err(Fault::Stopped) => self.restart()?,
                Err(Fault::Failed(e)) => return Err(e),
            }
        }
    }

    /// Whether it has run dry, and been started again, since the last block: what was to follow that does not any
    /// more.
    pub fn has_run_dry(&self) -> bool {
        self.silence.is_some()
    }

    /// Writes a block when there is room for it; nothing when there was none within `timeout`, and the same
    /// block is to be written again. A device that has run dry is started again, which the block then says.
    ///
    /// # Errors
    /// [`Error::Unplugged`], [`Error::Stalled`] and others after which the device must be opened again.
    pub fn write(&mut self, block: &[[f32; 2]; BLOCK], timeout: Duration) -> Result<Option<Written>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.room(deadline) {
                Ok(true) => break,
                Ok(false) => return Ok(None),
                Err(Fault::Stopped) => self.restart()?,
                Err(Fault::Failed(e)) => return Err(e),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
        let bytes = self.convert.bytes(block).map_err(|why| resample(&self.pcm, why))?;
        match self.pcm.pcm.io_bytes().writei(bytes) {
            Ok(written) => self.frames += written as u64,
            Err(e) => match self.pcm.fault(e) {
                // It ran dry since there was room: the next block finds that out, and counts this one.
                Fault::Stopped => {}
                Fault::Failed(e) => return Err(e),
            },
        }
        self.pcm.progressed();
        if !self.running {
            self.pcm.start()?;
            self.running = true;
        }
        let mut delay = f64::from(self.queue);
        if let Ok(status) = self.pcm.status() {
            delay = status.delay;
            self.position = Position { index: self.heard(status.delay), at_us: status.at_us };
        }
        let index = self.next;
        self.next += BLOCK as i64;
        let delay = delay * self.pcm.ratio() + self.convert.delay();
        Ok(Some(Written { index, silence: self.silence.take(), delay, position: self.position }))
    }

    /// Index of the sample that is heard while the converter is `delay` frames behind the program.
    fn heard(&self, delay: f64) -> f64 {
        self.base as f64 + (self.frames as f64 - delay - self.before) * self.pcm.ratio()
    }

    /// Waits until a block fits into the part of the buffer that is used; whether it does.
    fn room(&mut self, deadline: Instant) -> Result<bool, Fault> {
        let enough = self.pcm.params.buffer - self.queue + self.most;
        loop {
            if self.pcm.status()?.avail >= enough {
                return Ok(true);
            }
            if !self.pcm.wait(deadline)? {
                return Ok(false);
            }
        }
    }

    fn set_queue(&mut self, frames: u32) -> Result<(), Error> {
        self.queue = frames.max(self.most).min(self.pcm.params.buffer);
        self.pcm.set_avail_min(self.pcm.params.buffer - self.queue + self.most)
    }

    /// Silence into the buffer, so that it holds what it should with the next block.
    fn prepare(&mut self) -> Result<(), Error> {
        self.pcm.prepare()?;
        self.convert.reset();
        (self.frames, self.running) = (0, false);
        let silence = u64::from(self.queue.saturating_sub(self.most));
        while self.frames < silence {
            let bytes = self.convert.silence((silence - self.frames) as usize);
            match self.pcm.pcm.io_bytes().writei(bytes) {
                Ok(0) => break,
                Ok(written) => self.frames += written as u64,
                Err(e) => return Err(Error::from_alsa(&self.pcm.device, e)),
            }
        }
        self.before = self.frames as f64 + self.convert.delay() / self.pcm.ratio();
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.set_queue(self.queue + self.pcm.params.period)?;
        self.prepare()?;
        // Who listened heard silence meanwhile, and will until the first block comes to the converter.
        let now = self.position.index_at(now_us() as f64) + self.before * self.pcm.ratio();
        self.base = (now.round() as i64).max(self.next);
        let silence = (self.base - self.next).unsigned_abs();
        self.silence = Some(self.silence.unwrap_or(0) + silence);
        self.next = self.base;
        log::debug!("sound: {}: ran dry, {silence} samples of silence", self.pcm.device);
        Ok(())
    }
}

fn resample(pcm: &Pcm, why: String) -> Error {
    Error::Resample { device: pcm.device.clone(), rate_hz: pcm.params.layout.rate_hz, why }
}
