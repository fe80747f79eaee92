//! The cables of a booth's sound card: what is played into one end of a snd-aloop cable is captured at the other.

use alsa::pcm::{Access, Format, Frames, HwParams, PCM};
use alsa::{Direction, ValueOr};

use super::clock_line::ClockLine;
use super::error::{Error, refused};
use super::track::RATE_HZ;
use crate::child::Side;
use crate::clock::now_us;
use crate::loopback;

/// Frames in the room's own buffers; those of the microphone's cable are filled only as far as it asks.
const BUFFER: Frames = 16_384;
const PERIOD: Frames = 240;
/// What the control of a cable's rate says for 48 kHz; less is faster.
const NO_SHIFT: f64 = 100_000.0;

/// One of the eight cables of a booth's card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cable {
    /// Whose card.
    pub side: Side,
    /// Its number, 0 to 7.
    pub number: u32,
}

impl Cable {
    /// The one that a booth's loudspeaker hangs on.
    pub fn loudspeaker(side: Side) -> Self {
        Self { side, number: 0 }
    }

    /// The one that a booth's microphone hangs on.
    pub fn microphone(side: Side) -> Self {
        Self { side, number: 1 }
    }

    /// Loudspeakers are stereo, and microphones are not.
    fn channels(self) -> usize {
        if self.number == 0 { 2 } else { 1 }
    }

    /// What a program opens to play into it.
    pub fn playing_end(self) -> String {
        format!("hw:booth{},0,{}", self.side.name(), self.number)
    }

    /// What a program opens to hear it.
    pub fn hearing_end(self) -> String {
        format!("hw:booth{},1,{}", self.side.name(), self.number)
    }

    /// Makes it run at 48 kHz and so many ppm, from its next start on; the rate that this is.
    pub(super) fn set_ppm(self, ppm: i32) -> Result<f64, Error> {
        let shift = (NO_SHIFT / (1.0 + f64::from(ppm) / 1e6)).round();
        let card = format!("booth{}", self.side.name());
        loopback::shift_rate(&card, self.number, shift as i32)
            .map_err(|source| Error::Rate { cable: self.hearing_end(), source })?;
        Ok(f64::from(RATE_HZ) * NO_SHIFT / shift)
    }
}

/// The room's end of a cable; it runs.
pub(super) struct End {
    pcm: PCM,
    device: String,
    channels: usize,
    interleaved: Vec<i16>,
    /// Frames read or written, those before the last start included.
    pub(super) frames: u64,
    pub(super) line: ClockLine,
    buffer: u64,
    /// Times that the room came too late.
    pub(super) held_up: u64,
}

impl End {
    /// The air end of the loudspeaker's cable.
    pub(super) fn listen(cable: Cable, ppm: i32) -> Result<Self, Error> {
        Self::open(cable, cable.hearing_end(), Direction::Capture, ppm)
    }

    /// The air end of the microphone's cable.
    pub(super) fn speak(cable: Cable, ppm: i32) -> Result<Self, Error> {
        Self::open(cable, cable.playing_end(), Direction::Playback, ppm)
    }

    fn open(cable: Cable, device: String, direction: Direction, ppm: i32) -> Result<Self, Error> {
        let (rate_hz, channels) = (cable.set_ppm(ppm)?, cable.channels());
        let open = || {
            let pcm = PCM::new(&device, direction, true)?;
            let buffer = {
                let hw = HwParams::any(&pcm)?;
                hw.set_access(Access::RWInterleaved)?;
                hw.set_format(Format::s16())?;
                hw.set_channels(channels as u32)?;
                hw.set_rate(RATE_HZ, ValueOr::Nearest)?;
                hw.set_period_size_near(PERIOD, ValueOr::Nearest)?;
                hw.set_buffer_size_near(BUFFER)?;
                pcm.hw_params(&hw)?;
                let buffer = hw.get_buffer_size()?;
                let sw = pcm.sw_params_current()?;
                sw.set_start_threshold(sw.get_boundary()?)?;
                pcm.sw_params(&sw)?;
                buffer
            };
            pcm.prepare()?;
            Ok((pcm, buffer))
        };
        let (pcm, buffer) = open().map_err(refused(device.clone()))?;
        Ok(Self {
            pcm,
            device,
            channels,
            interleaved: Vec::with_capacity(BUFFER as usize * channels),
            frames: 0,
            line: ClockLine::new(rate_hz),
            buffer: buffer.unsigned_abs(),
            held_up: 0,
        })
    }

    /// Starts it; before that, what is written only waits.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        self.pcm.start().map_err(refused(self.device.clone()))
    }

    /// Looks where the cable is. Frames that wait: to be read, or to be heard.
    pub(super) fn look(&mut self, hears: bool) -> Result<u64, alsa::Error> {
        let avail = self.pcm.avail()?.unsigned_abs();
        let at_us = now_us();
        if hears {
            self.line.observe(self.frames + avail, at_us);
            return Ok(avail);
        }
        let waiting = self.buffer.saturating_sub(avail);
        // Of the playing end, what the cable has taken is what does not wait.
        self.line.observe(self.frames.saturating_sub(waiting), at_us);
        Ok(waiting)
    }

    /// Reads what there is, one channel of it.
    pub(super) fn read(&mut self, scratch: &mut [i16], into: &mut Vec<i16>) -> Result<(), alsa::Error> {
        let io = self.pcm.io_i16()?;
        loop {
            match io.readi(scratch) {
                Ok(0) => return Ok(()),
                Ok(frames) => {
                    into.extend(scratch[..frames * self.channels].iter().step_by(self.channels));
                    self.frames += frames as u64;
                }
                Err(error) if error.errno() == nix::libc::EAGAIN => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the same to all channels; the buffer must have the room.
    pub(super) fn write(&mut self, samples: &[i16]) -> Result<(), alsa::Error> {
        self.interleaved.clear();
        self.interleaved
            .extend(samples.iter().flat_map(|&sample| std::iter::repeat_n(sample, self.channels)));
        let written = self.pcm.io_i16()?.writei(&self.interleaved)?;
        self.frames += written as u64;
        Ok(())
    }

    /// After a stop: gets ready to be started again. How many frames passed unheard, by the clock.
    pub(super) fn recover(&mut self) -> Result<u64, Error> {
        self.pcm.prepare().map_err(refused(self.device.clone()))?;
        self.held_up += 1;
        let now = self.line.index_at(now_us() as f64).max(0.0) as u64;
        let missed = now.saturating_sub(self.frames);
        self.frames += missed;
        Ok(missed)
    }
}
