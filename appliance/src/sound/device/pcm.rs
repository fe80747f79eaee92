//! An open PCM device, of either direction: waiting with a limit, positions with their time, faults.
//!
//! Source: alsa-lib's PCM interface; the kernel's Documentation/sound/designs/timestamping.rst.

use std::time::{Duration, Instant};

use alsa::PollDescriptors;
use alsa::pcm::{PCM, State, TstampType};
use alsa::poll::pollfd;

use super::candidates::Direction;
use super::error::Error;
use super::params::{self, Params, RATE_HZ};
use crate::media::clock::now_us;

/// A device that runs and whose position stands still for so long does not run.
const STALLED: Duration = Duration::from_millis(500);
/// The longest that one call to the system waits.
const SLICE: Duration = Duration::from_millis(100);

/// Where a device's clock stood.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Index of the sample at the converter, at the nominal 48 kHz.
    pub index: f64,
    /// When that was, in µs on CLOCK_MONOTONIC.
    pub at_us: f64,
}

impl Position {
    /// Where it will have got to at `at_us`, as far as its nominal rate tells.
    pub(super) fn index_at(self, at_us: f64) -> f64 {
        self.index + (at_us - self.at_us) * f64::from(RATE_HZ) / 1e6
    }
}

/// Why a device gives or takes nothing more.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has stopped: the buffer ran over or dry, or the machine slept. It can be started again.
    Stopped,
    /// It failed.
    Failed(Error),
}

/// What a device says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Status {
    /// Frames that can be read or written.
    pub(super) avail: u32,
    /// Frames between the program and the converter.
    pub(super) delay: f64,
    /// When that was, in µs on CLOCK_MONOTONIC.
    pub(super) at_us: f64,
}

/// An open device.
pub(super) struct Pcm {
    pub(super) pcm: PCM,
    pub(super) device: String,
    pub(super) params: Params,
    fds: Vec<pollfd>,
    /// Since when it has been waited for in vain.
    waiting: Option<Instant>,
    /// How long it was waited for altogether.
    pub(super) waited: Duration,
}

impl Pcm {
    /// Opens and sets `device`, such as `hw:1,0`; it wakes whoever waits when `avail_min` frames can be read
    /// or written.
    pub(super) fn open(
        device: &str,
        direction: Direction,
        avail_min: impl FnOnce(Params) -> u32,
    ) -> Result<Self, Error> {
        let from_alsa = |e| Error::from_alsa(device, e);
        // The library would print its complaints to standard error; what matters of them is in the result.
        let complaints = alsa::Output::local_error_handler().map_err(from_alsa)?;
        let name = std::ffi::CString::new(device)
            .map_err(|_| from_alsa(alsa::Error::new("snd_pcm_open", nix::libc::EINVAL)))?;
        let opened = PCM::open(&name, direction.to_alsa(), true);
        let pcm = opened.map_err(|e| {
            log::debug!("sound: {device}: {}", complaints.borrow().to_string().trim());
            from_alsa(e)
        })?;
        let params = params::set(&pcm, direction, device)?;
        let (fds, waiting, waited) = (Vec::new(), None, Duration::ZERO);
        let mut this = Self { pcm, device: device.to_owned(), params, fds, waiting, waited };
        this.set_avail_min(avail_min(params))?;
        this.fds = this.pcm.get().map_err(from_alsa)?;
        Ok(this)
    }

    /// Has the device wake whoever waits when so many frames can be read or written.
    pub(super) fn set_avail_min(&self, frames: u32) -> Result<(), Error> {
        let set = || {
            let sw = self.pcm.sw_params_current()?;
            sw.set_avail_min(frames.clamp(1, self.params.buffer).into())?;
            // It starts when it is told to. Had it to wait for a full buffer, it would run dry while its
            // writer waits for room, over and over.
            sw.set_start_threshold(sw.get_boundary()?)?;
            sw.set_stop_threshold(self.params.buffer.into())?;
            sw.set_tstamp_mode(true)?;
            sw.set_tstamp_type(TstampType::Monotonic)?;
            self.pcm.sw_params(&sw)
        };
        set().map_err(|e| Error::from_alsa(&self.device, e))
    }

    /// 48 kHz samples a frame.
    pub(super) fn ratio(&self) -> f64 {
        f64::from(RATE_HZ) / f64::from(self.params.layout.rate_hz)
    }

    /// What a call failed with.
    pub(super) fn fault(&self, error: alsa::Error) -> Fault {
        match error.errno() {
            nix::libc::EPIPE | nix::libc::ESTRPIPE => Fault::Stopped,
            _ => Fault::Failed(Error::from_alsa(&self.device, error)),
        }
    }

    /// How far it is.
    pub(super) fn status(&self) -> Result<Status, Fault> {
        let status = self.pcm.status().map_err(|e| self.fault(e))?;
        // Not `status.get_state`: it panics at a state that it does not know.
        match self.pcm.state_raw() {
            state if is(state, State::XRun) || is(state, State::Suspended) => return Err(Fault::Stopped),
            state if is(state, State::Disconnected) => {
                return Err(Fault::Failed(Error::Unplugged { device: self.device.clone() }));
            }
            _ => {}
        }
        let stamp = status.get_htstamp();
        let at_us = stamp.tv_sec as f64 * 1e6 + stamp.tv_nsec as f64 / 1e3;
        Ok(Status {
            avail: u32::try_from(status.get_avail()).unwrap_or(0).min(self.params.buffer),
            delay: status.get_delay() as f64,
            at_us: if at_us > 0.0 { at_us } else { now_us() as f64 },
        })
    }

    /// Something could be read or written.
    pub(super) fn progressed(&mut self) {
        self.waiting = None;
    }

    /// Waits until something can be read or written, but not past `deadline`; whether it can.
    pub(super) fn wait(&mut self, deadline: Instant) -> Result<bool, Fault> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(false);
            }
            // A program that was kept from running for so long is late itself: the device is asked once more.
            let over = now.duration_since(since) > STALLED;
            // In whole ms, and never 0 otherwise, which would not wait at all.
            let slice_ms = if over { 0 } else { left.min(SLICE).as_micros().div_ceil(1_000) };
            let polled = alsa::poll::poll(&mut self.fds, i32::try_from(slice_ms).unwrap_or(1));
            self.waited += now.elapsed();
            match polled {
                Ok(0) if over => {
                    self.waiting = None;
                    // A device that stopped says so; of one that runs there is nothing to wait for.
                    self.status()?;
                    return Err(Fault::Failed(Error::Stalled { device: self.device.clone() }));
                }
                Ok(0) => {}
                Ok(_) => return Ok(true),
                Err(e) if e.errno() == nix::libc::EINTR => {}
                Err(e) => return Err(self.fault(e)),
            }
        }
    }

    /// Makes a device that has stopped ready to start.
    pub(super) fn prepare(&mut self) -> Result<(), Error> {
        self.waiting = None;
        self.pcm.prepare().map_err(|e| Error::from_alsa(&self.device, e))
    }

    /// Starts it.
    pub(super) fn start(&self) -> Result<(), Error> {
        self.pcm.start().map_err(|e| Error::from_alsa(&self.device, e))
    }
}

fn is(raw: i32, state: State) -> bool {
    raw == state as i32
}
