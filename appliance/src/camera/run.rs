//! The capture loop: a camera's pictures into a mailbox, through every unplugging.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::device::Device;
use super::error::Error;
use super::mode::Mode;
use super::stream::Stream;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::picture::Sample;
use crate::units::{CameraRequest, Format};

/// How long a picture is waited for before `stop` is looked at, in ms.
const POLL_INTERVAL_MS: u16 = 100;
/// What opening a camera may take: one that hangs answers none of a dozen requests, and the kernel waits 5 s
/// for each (uvcvideo.h, UVC_CTRL_CONTROL_TIMEOUT).
const OPENING: Duration = Duration::from_secs(60);
/// How often a missing camera is looked for.
const RETRY: Duration = Duration::from_millis(250);

/// What the capture loop reports.
#[derive(Debug)]
pub enum Event {
    /// There is no camera, and why.
    Missing(Error),
    /// A camera was opened: its bus info, and the mode that it runs in.
    Opened(String, Mode),
    /// A picture went into the mailbox.
    Captured {
        /// Whether it is the first since the camera was opened.
        first: bool,
        /// Pictures lost since the loop began: counted by the driver, but never ours, or broken.
        lost: u64,
    },
    /// An open camera failed.
    Failed(Error),
}

/// The handles of the capture loop.
#[derive(Clone, Copy)]
pub struct Handles<'a> {
    /// Where the newest picture is put.
    pub samples: &'a Mailbox<Sample>,
    /// That the loop makes progress.
    pub heartbeat: &'a Heartbeat,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// Runs the camera that `request` names until it is stopped, in the format `cheapest` where the request
/// leaves the choice; survives every unplugging.
pub fn run(request: &CameraRequest, cheapest: Format, handles: Handles<'_>, mut on_event: impl FnMut(Event)) {
    let Handles { samples, heartbeat, stop } = handles;
    let (mut number, mut lost) = (0, 0);
    while !stop.load(Relaxed) {
        heartbeat.extend_deadline(OPENING);
        let opened =
            Device::find(&request.device).and_then(|device| Stream::start(device, request, cheapest, number));
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(e) => {
                on_event(Event::Missing(e));
                std::thread::sleep(RETRY);
                continue;
            }
        };
        on_event(Event::Opened(stream.device().bus.clone(), stream.mode()));
        let mut first = true;
        let failure = loop {
            if stop.load(Relaxed) {
                break None;
            }
            heartbeat.beat();
            match stream.next(POLL_INTERVAL_MS) {
                Ok(Some(sample)) => {
                    samples.put(sample);
                    on_event(Event::Captured { first, lost: lost + stream.lost() });
                    first = false;
                }
                Ok(None) => {}
                Err(e) => break Some(e),
            }
        };
        heartbeat.extend_deadline(OPENING);
        // The mailbox may hold a buffer of the stream that ends here.
        samples.clear();
        number = stream.number();
        lost += stream.lost();
        drop(stream);
        if let Some(e) = failure {
            on_event(Event::Failed(e));
            if first {
                std::thread::sleep(RETRY);
            }
        }
    }
}
