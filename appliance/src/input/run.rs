//! The loop that listens to input devices.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use evdev::KeyCode;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::device::Devices;
use super::error::Error;
use crate::media::heartbeat::Heartbeat;
use crate::sys::Uevents;

/// Where the kernel has its input devices.
const FOLDER: &str = "/dev/input";
/// How long a key is waited for before `stop` is looked at, in ms.
const POLL_INTERVAL_MS: u16 = 100;
/// How often a device that could not be opened is tried again, and the folder is looked at where the kernel says
/// nothing of devices that come and go.
const RETRY: Duration = Duration::from_secs(1);

/// What the loop reports.
#[derive(Debug)]
pub enum Event<'a> {
    /// A device with this name has one of the keys, and is read from now on.
    Opened(&'a str),
    /// One of the keys of this device was pressed so often since the last report.
    Pressed(&'a str, usize),
    /// A device cannot be read, which ends the reading of that one only.
    Failed(Error),
}

/// The handles of the loop.
#[derive(Clone, Copy)]
pub struct Handles<'a> {
    /// That the loop makes progress.
    pub heartbeat: &'a Heartbeat,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// Listens for `keys` at every input device that has one of them, until it is stopped.
pub fn run(keys: &[KeyCode], handles: Handles<'_>, mut on_event: impl FnMut(Event<'_>)) {
    let hotplug = Uevents::new().ok();
    let mut devices = Devices::new(Path::new(FOLDER));
    let mut look_at = Some(Instant::now());
    while !handles.stop.load(Relaxed) {
        handles.heartbeat.beat();
        if look_at.is_some_and(|at| Instant::now() >= at) {
            for result in devices.look(keys) {
                match result {
                    Ok(name) => on_event(Event::Opened(&name)),
                    Err(e) => on_event(Event::Failed(e)),
                }
            }
            let again = devices.unsettled() || hotplug.is_none();
            look_at = again.then(|| Instant::now() + RETRY);
        }
        let fds = devices.open().map(AsFd::as_fd).chain(hotplug.as_ref().map(AsFd::as_fd));
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::from(POLL_INTERVAL_MS)) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            // Not for ever as fast as can be.
            Err(_) => std::thread::sleep(RETRY),
        }
        devices.read(keys, |result| match result {
            Ok((name, count)) => on_event(Event::Pressed(name, count)),
            Err(e) => on_event(Event::Failed(e)),
        });
        if hotplug.as_ref().is_some_and(|hotplug| hotplug.drain(&["input"])) {
            look_at = Some(Instant::now());
        }
    }
}
