//! GStreamer beside us: camera of booth A to screen of booth B, tuned as well as it can be.
//!
//! What was tried and what it brought is in `tests/BENCH.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use holobooth::realtime;

use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us, wait_until};

const BITRATE_KBPS: u32 = 8000;
const PORT: u16 = 5004;
/// The least that SRT takes; a link with delay of its own would need several round trips more.
const SRT_LATENCY_MS: u32 = 1;
const PAY: &str = "aggregate-mode=none config-interval=-1";
const START_MS: i64 = 5_000;

/// How the frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// RTP over UDP.
    Rtp,
    /// RTP in SRT's messages: in MPEG-TS a frame leaves only when the next one has come.
    Srt,
}

/// A sender and a receiver; both end when dropped.
pub struct Pipeline {
    receiver: Running,
    sender: Running,
}

impl Pipeline {
    /// Starts both ends: `camera` is the device node, the picture so many pixels at 30 fps; logs go into
    /// `dir`.
    ///
    /// # Errors
    /// When `gst-launch-1.0` cannot be started.
    pub fn start(transport: Transport, camera: &Path, size: (u32, u32), dir: &Path) -> io::Result<Self> {
        let log = |end: &str| dir.join(format!("gstreamer-{transport:?}-{end}.log").to_lowercase());
        let receiver = launch(Side::B, &receiving(transport), &log("receiver"))?;
        // A receiver that is late misses the first keyframe and stays dark until the next.
        wait_until(START_MS, 50, || receiver.printed().contains("PLAYING"));
        sleep_until_us(now_us() + 200_000);
        let sender = launch(Side::A, &sending(transport, camera, size), &log("sender"))?;
        Ok(Self { receiver, sender })
    }

    /// Gives its threads the priorities that a booth's have which do the same, under SCHED_FIFO (sched(7)):
    /// taking pictures, the transport, decoding, showing. Encoding has none here or there. To be called once
    /// pictures flow, for a thread starts with its element.
    ///
    /// # Errors
    /// When a thread is not there, or the system does not allow it.
    pub fn set_realtime_priorities(&self) -> io::Result<()> {
        let ends = [
            (&self.sender, &[("v4l2src", realtime::CAPTURE), ("SRT:", realtime::LINK)][..], "v4l2src"),
            (
                &self.receiver,
                &[
                    ("udpsrc", realtime::DECODE),
                    ("srtsrc", realtime::DECODE),
                    ("SRT:", realtime::LINK),
                    ("queue", realtime::DISPLAY),
                ],
                "queue",
            ),
        ];
        for (end, priorities, needed) in ends {
            let threads = end.threads();
            if !threads.iter().any(|(_, name)| name.starts_with(needed)) {
                return Err(io::Error::other(format!("no thread {needed} among {threads:?}")));
            }
            for (id, name) in threads {
                let priority = priorities.iter().find(|(start, _)| name.starts_with(start));
                let Some((_, priority)) = priority else { continue };
                let words = ["--fifo", "--pid", &priority.to_string(), &id.to_string()];
                let output = Command::new("chrt").args(words).output()?;
                if !output.status.success() {
                    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    return Err(io::Error::other(format!("chrt of {name}: {why}")));
                }
            }
        }
        Ok(())
    }

    /// What both ends printed.
    pub fn printed(&self) -> String {
        format!("receiver:\n{}\nsender:\n{}", self.receiver.printed(), self.sender.printed())
    }

    /// Ends both.
    pub fn stop(&mut self) {
        self.sender.stop();
        self.receiver.stop();
    }
}

fn launch(side: Side, elements: &str, log: &Path) -> io::Result<Running> {
    let arguments: Vec<String> = elements.split_whitespace().map(str::to_owned).collect();
    Running::start(side, &PathBuf::from("gst-launch-1.0"), &arguments, log)
}

fn sending(transport: Transport, camera: &Path, (width, height): (u32, u32)) -> String {
    let camera = camera.display();
    let address = Side::B.address();
    let options =
        "frame-threads=1:bframes=0:ref=1:rc-lookahead=0:scenecut=0:b-adapt=0:repeat-headers=1:rskip=2";
    let wire = match transport {
        Transport::Rtp => {
            format!("rtph265pay mtu=1400 {PAY} ! udpsink host={address} port={PORT} sync=false async=false")
        }
        Transport::Srt => format!(
            "rtph265pay mtu=1316 {PAY} ! srtsink uri=srt://{address}:{PORT}?mode=caller \
               latency={SRT_LATENCY_MS} sync=false async=false wait-for-connection=false"
        ),
    };
    format!(
        "v4l2src device={camera} io-mode=mmap do-timestamp=false \
         ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! {LATEST} \
         ! x265enc speed-preset=ultrafast tune=zerolatency bitrate={BITRATE_KBPS} key-int-max=300 \
           option-string={options} ! {wire}"
    )
}

fn receiving(transport: Transport) -> String {
    let caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=H265,payload=96";
    let wire = match transport {
        Transport::Rtp => format!("udpsrc port={PORT} buffer-size=4000000 caps={caps}"),
        Transport::Srt => format!("srtsrc uri=srt://:{PORT}?mode=listener latency={SRT_LATENCY_MS} ! {caps}"),
    };
    format!(
        "{wire} ! rtph265depay ! video/x-h265,stream-format=byte-stream,alignment=au ! avdec_h265 max-threads=1 ! {LATEST} \
         ! kmssink bus-id={screen} force-modesetting=true sync=false qos=false",
        screen = Side::B.screen()
    )
}

/// A mailbox of one: a slow reader drops the older picture.
const LATEST: &str = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0";
