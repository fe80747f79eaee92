//! The answer to `holobooth status`: plain numbers, for people and for scripts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::notice::Notice;
use super::stages::Stage;
use crate::media::mailbox;
use crate::screen::Kind;

/// What the booth is doing, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Coming up.
    #[default]
    Starting,
    /// Its own camera gives nothing.
    NoCamera,
    /// It belongs to no room, shows a code, and waits for somebody to enter it elsewhere.
    Pairing,
    /// No other booth seen yet.
    Looking,
    /// The other booth's picture is on the screen, or would be if there were one.
    Live,
    /// The other booth was there and is gone.
    Reconnecting,
}

impl State {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::NoCamera => "no-camera",
            Self::Pairing => "pairing",
            Self::Looking => "looking",
            Self::Live => "live",
            Self::Reconnecting => "reconnecting",
        }
    }
}

/// A camera, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum CameraState {
    /// None is configured.
    #[default]
    Off,
    /// None is there, or it gives nothing.
    Searching,
    /// It gives pictures.
    Streaming,
}

/// A screen, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ScreenState {
    /// None is configured.
    #[default]
    Off,
    /// None is there.
    Searching,
    /// It is lit.
    On,
}

/// The camera.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct CameraStatus {
    /// In a word.
    pub state: CameraState,
    /// Bus info.
    pub device: String,
    /// `640x480 NV12 30.000 fps`
    pub mode: String,
    /// Frames taken.
    pub frames: u64,
    /// Frames that the driver lost or gave broken.
    pub lost: u64,
    /// How often it had to be opened again.
    pub restarts: u64,
    /// Why it gives nothing, and what to do; empty while it gives pictures.
    pub trouble: String,
}

/// An encoder or decoder.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct CodecStatus {
    /// FFmpeg's name.
    pub name: String,
    /// Those tried before it, each with its reason.
    pub tried: Vec<String>,
}

/// The other booth.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct PeerStatus {
    /// Whether a session is up.
    pub connected: bool,
    /// What it calls itself; empty while nobody is known.
    pub name: String,
    /// Who it is: SHA-256 of its certificate in hexadecimal; empty while nobody is known.
    pub fingerprint: String,
    /// Where it is looked for: its address, this network, the relay.
    pub address: String,
    /// What keeps a booth away, in a line for the staff; empty when nothing does.
    pub trouble: String,
    /// The code to be entered at another booth; empty at a booth that has a room or a peer.
    pub code: String,
    /// The way that carries the meeting: `direct`, `relay`, or nothing.
    pub route: String,
    /// Smoothed round trip in µs.
    pub rtt_us: u64,
    /// Its clock minus ours, in µs.
    pub clock_offset_us: i64,
    /// Sessions so far.
    pub connects: u64,
    /// Booths turned away: another certificate, another room, another booth's name.
    pub refused: u64,
    /// Wrong guesses of this booth's code, and guesses that were not heard.
    pub guesses_refused: u64,
    /// Callers told to come again, or not listened to any longer: too many stood at the door, or they did not go on.
    pub rejected_busy: u64,
    /// Records on this booth's networks that claimed to be of the room and were not.
    pub records_refused: u64,
    /// Datagrams that made no sense.
    pub malformed: u64,
    /// Datagrams whose seal did not open: changed, repeated, or made by somebody else.
    pub decrypt_failed: u64,
    /// Whether the meeting is sealed under a room key.
    pub sealed: bool,
    /// Datagrams that came again.
    pub repeated: u64,
}

/// A booth of the room.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct MemberStatus {
    /// What it calls itself.
    pub name: String,
    /// Who it is: SHA-256 of its certificate in hexadecimal.
    pub fingerprint: String,
    /// It is on one of this booth's networks.
    pub nearby: bool,
    /// It is at the relay.
    pub at_relay: bool,
}

/// The line to the other booth.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Line {
    /// What it is thought to carry, in kbit/s.
    pub rate_kbps: u64,
    /// The queue that stands on it, in µs.
    pub queue_us: u64,
    /// Share of our datagrams that are lost on it, in thousandths.
    pub loss_permille: u64,
    /// The largest datagram of ours that goes over it, in bytes.
    pub datagram_bytes: u64,
    /// Times that this became less in a meeting.
    pub mtu_drops: u64,
    /// Shards sent again because the other booth asked.
    pub repairs: u64,
    /// Times that we asked for a frame's missing shards.
    pub nacks: u64,
}

/// What went out.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Sent {
    /// Frames given to the transport.
    pub frames: u64,
    /// Of these, keyframes.
    pub keyframes: u64,
    /// Coded bytes.
    pub bytes: u64,
    /// Over the last second, in kbit/s.
    pub bitrate_kbps: u64,
    /// What the line gives the video now, in kbit/s; 0 when it is not known.
    pub target_kbps: u64,
    /// Of the pictures as they are coded: `640x480`.
    pub size: String,
    /// Pictures coded per second.
    pub fps: f64,
    /// Pictures of the camera left out because the line is too narrow for all of them.
    pub thinned: u64,
    /// Coded, but the link was too slow to take them.
    pub dropped: u64,
}

/// What came in.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Received {
    /// Frames that came whole.
    pub frames: u64,
    /// Frames that did not.
    pub lost: u64,
    /// Coded bytes.
    pub bytes: u64,
    /// Over the last second, in kbit/s.
    pub bitrate_kbps: u64,
    /// Keyframes asked for.
    pub keyframe_requests: u64,
    /// Whole frames that could not be decoded.
    pub decode_errors: u64,
    /// Whole frames thrown away because something before them was missing.
    pub skipped: u64,
    /// Number of the frame last shown.
    pub last_frame: u32,
    /// Frames shown after a later one: always 0, or something is wrong.
    pub out_of_order: u64,
}

/// The screen.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct ScreenStatus {
    /// In a word.
    pub state: ScreenState,
    /// Device and connector.
    pub device: String,
    /// `3840x2160@60`
    pub mode: String,
    /// How pictures get onto it.
    pub format: String,
    /// The card shown; none when a picture is.
    pub card: Option<Kind>,
    /// Pictures shown.
    pub shown: u64,
    /// Pictures replaced by a newer one before they could be shown.
    pub replaced: u64,
    /// How often it had to be opened again.
    pub restarts: u64,
    /// Why it is dark, and what to do; empty while it is lit.
    pub trouble: String,
}

/// The whole answer.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Status {
    /// This booth.
    pub name: String,
    /// In a word.
    pub state: State,
    /// Since the start, in ms.
    pub uptime_ms: u64,
    /// The version of the image; empty elsewhere.
    pub image: String,
    /// What became of the last update, in a line; empty when there was none.
    pub update: String,
    /// The camera.
    pub camera: CameraStatus,
    /// The encoder.
    pub encoder: CodecStatus,
    /// The decoder.
    pub decoder: CodecStatus,
    /// The other booth.
    pub peer: PeerStatus,
    /// All booths of the room that are here.
    pub room: Vec<MemberStatus>,
    /// The line to it.
    pub line: Line,
    /// What went out.
    pub sent: Sent,
    /// What came in.
    pub received: Received,
    /// The screen.
    pub screen: ScreenStatus,
    /// What stands between the threads.
    pub mailboxes: Vec<mailbox::Report>,
    /// Capture at the other booth to light at this one.
    pub stages: Vec<Stage>,
    /// What the screen was last told to say, whether it still says so or not.
    pub notice: Option<Notice>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |s: &dyn fmt::Debug| format!("{s:?}").to_lowercase();
        let image = if self.image.is_empty() { String::new() } else { format!("  image {}", self.image) };
        writeln!(f, "{}  {}  up {} s{image}", self.name, word(&self.state), self.uptime_ms / 1000)?;
        if !self.update.is_empty() {
            writeln!(f, "update    {}", self.update)?;
        }
        let c = &self.camera;
        writeln!(
            f,
            "camera   {} {} {}  {} frames, {} lost, {} restarts",
            word(&c.state),
            c.device,
            c.mode,
            c.frames,
            c.lost,
            c.restarts
        )?;
        writeln!(f, "codec    {} → {}", self.encoder.name, self.decoder.name)?;
        let p = &self.peer;
        let up = match (p.connected, p.route.as_str()) {
            (false, _) => "not connected",
            (true, "relay") => "connected through the relay",
            (true, _) => "connected",
        };
        writeln!(
            f,
            "peer     {} ({}) {up}, RTT {:.1} ms, clock {:+.1} ms, {} sessions, {} refused, {} malformed, {} decrypt_failed{}",
            if p.name.is_empty() { "nobody yet" } else { &p.name },
            p.address,
            p.rtt_us as f64 / 1e3,
            p.clock_offset_us as f64 / 1e3,
            p.connects,
            p.refused,
            p.malformed,
            p.decrypt_failed,
            if p.sealed { "" } else { ", no room key" },
        )?;
        if !p.trouble.is_empty() {
            writeln!(f, "trouble  {}", p.trouble)?;
        }
        for m in &self.room {
            let place = match (m.nearby, m.at_relay) {
                (true, true) => "nearby and at the relay",
                (true, false) => "nearby",
                (false, true) => "at the relay",
                (false, false) => "found by its address",
            };
            writeln!(f, "room     {} {}, {place}", m.name, &m.fingerprint[..16.min(m.fingerprint.len())])?;
        }
        let l = &self.line;
        writeln!(
            f,
            "line     {} kbit/s in {} bytes, queue {:.1} ms, {:.1} % lost, {} shards repaired, {} asked for, mtu_drops {} times",
            l.rate_kbps,
            l.datagram_bytes,
            l.queue_us as f64 / 1e3,
            l.loss_permille as f64 / 10.0,
            l.repairs,
            l.nacks,
            l.mtu_drops
        )?;
        let (s, r) = (&self.sent, &self.received);
        let allowed = if s.target_kbps == 0 { String::new() } else { format!(" of {}", s.target_kbps) };
        writeln!(
            f,
            "sent     {} frames ({} key), {}{allowed} kbit/s, {} at {:.1} fps, {} thinned, {} dropped",
            s.frames, s.keyframes, s.bitrate_kbps, s.size, s.fps, s.thinned, s.dropped
        )?;
        writeln!(
            f,
            "received {} frames, {} kbit/s, {} lost, {} skipped, {} undecodable",
            r.frames, r.bitrate_kbps, r.lost, r.skipped, r.decode_errors
        )?;
        let d = &self.screen;
        writeln!(
            f,
            "screen   {} {} {} {}  {} shown, {} replaced, {} restarts, card {}",
            word(&d.state),
            d.device,
            d.mode,
            d.format,
            d.shown,
            d.replaced,
            d.restarts,
            d.card.map_or("none".to_owned(), |k| word(&k))
        )?;
        for m in &self.mailboxes {
            writeln!(f, "mailbox  {}: at most {}, {} replaced", m.name, m.high_water, m.replaced)?;
        }
        if let Some(n) = &self.notice {
            let told = [std::slice::from_ref(&n.title), &n.lines].concat().join(" | ");
            writeln!(f, "notice   {}", told.replace(char::is_control, " "))?;
        }
        if !self.stages.is_empty() {
            writeln!(f, "\n{:<10}{:>9}{:>9}{:>9}{:>9}  ms", "stage", "mean", "p50", "p95", "p99")?;
        }
        for s in &self.stages {
            let ms = |us: i64| us as f64 / 1e3;
            let (mean, p50, p95, p99) = (ms(s.mean_us), ms(s.p50_us), ms(s.p95_us), ms(s.p99_us));
            writeln!(f, "{:<10}{mean:>9.2}{p50:>9.2}{p95:>9.2}{p99:>9.2}", s.stage)?;
        }
        Ok(())
    }
}
