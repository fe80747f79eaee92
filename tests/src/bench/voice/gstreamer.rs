//! GStreamer beside us: sound both ways between the booths' cards, with WebRTC's echo canceller in the middle, tuned as well as it
//! can be.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use holobooth::realtime;

use crate::booth::Sound;
use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us};

const PORT: u16 = 5006;
/// As a booth's own voice, in bit/s.
const BITRATE: u32 = 64_000;
const START_US: i64 = 2_000_000;
/// As urgent as a booth's threads that do the same.
const PRIORITIES: [(&str, u8); 5] = [
    ("audiosrc", realtime::SOUND),
    ("alsasrc", realtime::SOUND),
    ("audiosink", realtime::SOUND),
    ("rtpjitter", realtime::SOUND),
    ("udpsrc", realtime::LINK),
];

/// What can be tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuning {
    /// What it is called in the table.
    pub(super) name: &'static str,
    /// Of the microphone: a period and the whole buffer, in ms.
    source_ms: (u32, u32),
    /// The same of the loudspeaker.
    sink_ms: (u32, u32),
    /// What the jitter buffer keeps, in ms.
    jitter_ms: u32,
    /// Plays by the clock, with the latency that the elements ask for, and not at once.
    sync: bool,
}

impl Tuning {
    /// What comes is played: as fast as can be, with nothing that would follow a clock that errs.
    pub(super) const fn at_once(name: &'static str, source_ms: (u32, u32), sink_ms: (u32, u32)) -> Self {
        Self { name, source_ms, sink_ms, jitter_ms: 0, sync: false }
    }

    /// As GStreamer means it.
    pub(super) const fn by_clock(
        name: &'static str,
        source_ms: (u32, u32),
        sink_ms: (u32, u32),
        jitter_ms: u32,
    ) -> Self {
        Self { name, source_ms, sink_ms, jitter_ms, sync: true }
    }
}

/// Both ends, each sending and receiving; they end when dropped.
pub(super) struct Pipeline {
    ends: [Running; 2],
}

impl Pipeline {
    /// Starts both; logs go into `dir`.
    ///
    /// # Errors
    /// When `gst-launch-1.0` cannot be started, or a thread not be made urgent.
    pub(super) fn start(tuning: Tuning, dir: &Path) -> io::Result<Self> {
        let launch = |side: Side| {
            let words: Vec<String> = elements(tuning, side).split_whitespace().map(str::to_owned).collect();
            let log = dir.join(format!("gstreamer-voice-{}.log", side.name()));
            let _ = std::fs::remove_file(&log);
            Running::start(side, &PathBuf::from("gst-launch-1.0"), &words, &log)
        };
        let pipeline = Self { ends: [launch(Side::A)?, launch(Side::B)?] };
        sleep_until_us(now_us() + START_US);
        pipeline.set_realtime_priorities()?;
        Ok(pipeline)
    }

    fn set_realtime_priorities(&self) -> io::Result<()> {
        for end in &self.ends {
            let threads = end.threads();
            if !threads.iter().any(|(_, name)| name.starts_with("udpsrc")) {
                return Err(io::Error::other(format!("no thread udpsrc among {threads:?}")));
            }
            for (id, name) in threads {
                let Some((_, priority)) = PRIORITIES.iter().find(|(start, _)| name.starts_with(start)) else {
                    continue;
                };
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

    /// What both printed.
    pub(super) fn printed(&self) -> String {
        self.ends.each_ref().map(Running::printed).join("\n")
    }

    /// Ends both.
    pub(super) fn stop(&mut self) {
        for end in &mut self.ends {
            let _ = end.stop();
        }
    }
}

fn elements(tuning: Tuning, side: Side) -> String {
    let Tuning { source_ms, sink_ms, jitter_ms, sync, .. } = tuning;
    let Sound { microphone, loudspeaker, .. } = Sound::of(side);
    let other = side.other().address();
    let card = |(period_ms, buffer_ms): (u32, u32)| {
        format!("buffer-time={buffer_ms}000 latency-time={period_ms}000 provide-clock=false")
    };
    let (source, sink) = (card(source_ms), card(sink_ms));
    let caps = "application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,payload=96";
    format!(
        "alsasrc device={microphone} {source} slave-method=none ! audio/x-raw,rate=48000 ! audioconvert \
         ! audio/x-raw,format=S16LE,channels=1 \
         ! webrtcdsp probe=probe gain-control=false noise-suppression=false \
         ! opusenc frame-size=10 bitrate={BITRATE} audio-type=restricted-lowdelay \
         ! rtpopuspay ! udpsink host={other} port={PORT} sync=false async=false \
         udpsrc port={PORT} caps={caps} ! rtpjitterbuffer latency={jitter_ms} do-lost=true ! rtpopusdepay \
         ! opusdec plc=true ! audioconvert ! audio/x-raw,format=S16LE,channels=1 \
         ! webrtcechoprobe name=probe ! audioconvert \
         ! alsasink device={loudspeaker} {sink} slave-method=none sync={sync} async=false"
    )
}
