//! The answer to `holobooth status`: plain numbers, for people and for scripts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::counters::VideoCounts;
use super::notice::Notice;
use super::stages::Stage;
use crate::link::{Counts, PeerCounts};
use crate::media::counters::Kind as NumberKind;
use crate::media::mailbox;
use crate::screen::Kind;
use crate::sound::{SoundCounts, VoiceCounts};

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

/// The link, as far as it is not about one peer.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct LinkStatus {
    /// Where other booths are looked for: an address, this network, the relay.
    pub looking: String,
    /// What keeps a booth away, in a line for the staff; empty when nothing does.
    pub trouble: String,
    /// The code to be entered at another booth; empty at a booth that has a room or a peer.
    pub code: String,
    /// Whether meetings are sealed under a room key.
    pub sealed: bool,
    /// What it counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// A booth that this one meets, or tries to.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct PeerStatus {
    /// What it calls itself.
    pub name: String,
    /// Who it is: SHA-256 of its certificate in hexadecimal.
    pub fingerprint: String,
    /// Whether it answers.
    pub connected: bool,
    /// The way that carries the meeting with it: `direct`, `relay`, or nothing.
    pub route: String,
    /// Whether its camera gives pictures.
    pub has_camera: bool,
    /// Whether the screen shows it.
    pub shown: bool,
    /// The path to it is too slow for the meeting: it gets fewer pictures.
    pub too_slow: bool,
    /// It says the same of its path to us.
    pub gets_fewer_pictures: bool,
    /// Its clock minus ours, in µs.
    pub clock_offset_us: i64,
    /// Its microphone is off.
    pub muted: bool,
    /// Its voice.
    pub voice: VoiceStatus,
    /// What was counted since it came.
    #[serde(flatten)]
    pub counts: PeerCounts,
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

/// What goes out.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Sent {
    /// Over the last second, to all peers together, in kbit/s.
    pub bitrate_kbps: u64,
    /// What the video may take now, in kbit/s; 0 when it is not known.
    pub target_kbps: u64,
    /// Of the pictures as they are coded: `640x480`.
    pub size: String,
    /// Pictures coded per second.
    pub fps: f64,
}

/// What comes in.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Received {
    /// Over the last second, from all peers together, in kbit/s.
    pub bitrate_kbps: u64,
    /// Number of the frame last shown.
    pub last_frame: u32,
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
    /// Pictures replaced by a newer one before they could be shown.
    pub replaced: u64,
    /// How often it had to be opened again.
    pub restarts: u64,
    /// Why it is dark, and what to do; empty while it is lit.
    pub trouble: String,
}

/// A sound card, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum CardState {
    /// None is configured.
    #[default]
    Off,
    /// None is there, or it does not work.
    Searching,
    /// Samples go through it.
    Running,
}

/// A sound card.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct CardStatus {
    /// In a word.
    pub state: CardState,
    /// Its name, and where it is plugged in.
    pub device: String,
    /// `48000 Hz S16_LE 2 ch, 240/960`: rate, format, channels, period and buffer in frames.
    pub mode: String,
    /// How much faster its clock runs than it says, in ppm.
    pub ppm: f64,
    /// Why it does not work, and what to do; empty while it does.
    pub trouble: String,
}

/// The sound.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct SoundStatus {
    /// The microphone.
    pub microphone: CardStatus,
    /// The loudspeaker.
    pub loudspeaker: CardStatus,
    /// No sound leaves this booth.
    pub muted: bool,
    /// What the sound threads count.
    #[serde(flatten)]
    pub counts: SoundCounts,
}

/// One peer's voice.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct VoiceStatus {
    /// How much faster the peer's microphone runs than our loudspeaker, in ppm.
    pub drift_ppm: f64,
    /// How much later a picture is seen than the sound captured with it is heard, in µs; 0 while there are
    /// not both.
    pub lip_offset_us: i64,
    /// What is counted of it.
    #[serde(flatten)]
    pub counts: VoiceCounts,
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
    /// The link.
    pub link: LinkStatus,
    /// The booths that this one meets, or tries to, in the order in which they came.
    pub peers: Vec<PeerStatus>,
    /// All booths of the room that are here.
    pub room: Vec<MemberStatus>,
    /// What was counted for all peers together, those that are gone included. Of gauges, the largest.
    pub total: PeerCounts,
    /// What the video threads count.
    pub video: VideoCounts,
    /// What goes out.
    pub sent: Sent,
    /// What comes in.
    pub received: Received,
    /// The screen.
    pub screen: ScreenStatus,
    /// The sound.
    pub sound: SoundStatus,
    /// What stands between the threads.
    pub mailboxes: Vec<mailbox::Report>,
    /// Capture at the other booth to light at this one.
    pub stages: Vec<Stage>,
    /// What the screen was last told to say, whether it still says so or not.
    pub notice: Option<Notice>,
}

impl Status {
    /// Whether any peer answers.
    pub fn connected(&self) -> bool {
        self.peers.iter().any(|peer| peer.connected)
    }
}

/// The numbers of a table that are not 0, each with its label; gauges in any case.
fn numbers(table: impl Iterator<Item = (&'static str, NumberKind, u64)>) -> String {
    let shown = table.filter(|(_, kind, value)| *kind == NumberKind::Gauge || *value > 0);
    shown.map(|(label, _, value)| format!("{value} {label}")).collect::<Vec<_>>().join(", ")
}

/// The word that status has for it in JSON.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = if self.image.is_empty() { String::new() } else { format!("  image {}", self.image) };
        writeln!(f, "{}  {}  up {} s{image}", self.name, word(self.state), self.uptime_ms / 1000)?;
        if !self.update.is_empty() {
            writeln!(f, "update    {}", self.update)?;
        }
        let c = &self.camera;
        writeln!(
            f,
            "camera   {} {} {}  {} lost, {} restarts",
            word(c.state),
            c.device,
            c.mode,
            c.lost,
            c.restarts
        )?;
        if !c.trouble.is_empty() {
            writeln!(f, "trouble  {}", c.trouble)?;
        }
        let s = &self.sent;
        let allowed = if s.target_kbps == 0 { String::new() } else { format!(" of {}", s.target_kbps) };
        let (kbps, size, fps) = (s.bitrate_kbps, &s.size, s.fps);
        writeln!(f, "codec    {} → {}", self.encoder.name, self.decoder.name)?;
        writeln!(f, "sent     {size} at {fps:.1} fps, {kbps}{allowed} kbit/s")?;
        writeln!(f, "received {} kbit/s", self.received.bitrate_kbps)?;
        writeln!(f, "video    {}", numbers(self.video.table()))?;
        let d = &self.screen;
        writeln!(
            f,
            "screen   {} {} {} {}  {} replaced, {} restarts, card {}",
            word(d.state),
            d.device,
            d.mode,
            d.format,
            d.replaced,
            d.restarts,
            d.card.map_or("none".to_owned(), word)
        )?;
        if !d.trouble.is_empty() {
            writeln!(f, "trouble  {}", d.trouble)?;
        }
        self.write_sound(f)?;
        self.write_link(f)?;
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

impl Status {
    /// Microphone and loudspeaker.
    fn write_sound(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.sound;
        for (name, card) in [("mic", &s.microphone), ("speaker", &s.loudspeaker)] {
            let state = word(card.state);
            match card.state {
                CardState::Running => {
                    writeln!(f, "{name:<8} {state} {} {}, {:+.1} ppm", card.device, card.mode, card.ppm)?;
                }
                _ => writeln!(f, "{name:<8} {state} {}", card.device)?,
            }
            if !card.trouble.is_empty() {
                writeln!(f, "trouble  {}", card.trouble)?;
            }
        }
        if [&s.microphone, &s.loudspeaker].iter().any(|card| card.state != CardState::Off) {
            let muted = if s.muted { "muted; " } else { "" };
            writeln!(f, "sound    {muted}{}", numbers(s.counts.table()))?;
        }
        Ok(())
    }

    /// The link, its peers, and who else is there.
    fn write_link(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let l = &self.link;
        let sealed = if l.sealed { "" } else { "no room key; " };
        writeln!(f, "link     {sealed}{}  {}", l.looking, numbers(l.counts.table()))?;
        if !l.trouble.is_empty() {
            writeln!(f, "trouble  {}", l.trouble)?;
        }
        if !l.code.is_empty() {
            writeln!(f, "code     {}, to be entered at another booth", l.code)?;
        }
        if self.peers.is_empty() {
            writeln!(f, "peer     nobody yet")?;
        }
        for p in &self.peers {
            let up = match (p.connected, p.route.as_str()) {
                (false, _) => "not connected",
                (true, "relay") => "connected through the relay",
                (true, _) => "connected directly",
            };
            let marks = [
                (p.shown, ", on the screen"),
                (p.connected && !p.has_camera, ", its camera gives nothing"),
                (p.muted, ", its microphone is off"),
                (p.too_slow, ", its path is too slow for the meeting: it gets fewer pictures"),
                (p.gets_fewer_pictures, ", our path is too slow for its meeting: we get fewer pictures"),
            ];
            let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
            writeln!(f, "peer     {} {up}{marks}, clock {:+.1} ms", p.name, p.clock_offset_us as f64 / 1e3)?;
            writeln!(f, "         {}", numbers(p.counts.table()))?;
            let v = &p.voice;
            if v.counts.played > 0 {
                let (drift, lip) = (v.drift_ppm, v.lip_offset_us as f64 / 1e3);
                let counts = numbers(v.counts.table());
                writeln!(f, "voice    {counts}, {drift:+.1} ppm drift, picture {lip:+.1} ms after sound")?;
            }
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A booth that is up, with camera and screen, and meets nobody.
    fn alone() -> Status {
        Status {
            name: "quiet-heron-42".into(),
            state: State::Looking,
            uptime_ms: 61_500,
            image: "7".into(),
            update: "version 7 is well".into(),
            camera: CameraStatus {
                state: CameraState::Streaming,
                device: "usb-0000:00:14.0-3".into(),
                mode: "1280x720 NV12 30.000 fps".into(),
                ..CameraStatus::default()
            },
            encoder: CodecStatus { name: "libx265".into(), ..CodecStatus::default() },
            decoder: CodecStatus { name: "hevc".into(), ..CodecStatus::default() },
            link: LinkStatus { looking: "this network".into(), sealed: true, ..LinkStatus::default() },
            screen: ScreenStatus {
                state: ScreenState::On,
                device: "card0 HDMI-A-1".into(),
                mode: "3840x2160@60".into(),
                format: "NV12 plane".into(),
                card: Some(Kind::Looking),
                ..ScreenStatus::default()
            },
            video: VideoCounts { camera_frames: 1830, ..VideoCounts::default() },
            sent: Sent { size: "1280x720".into(), fps: 30.0, ..Sent::default() },
            ..Status::default()
        }
    }

    fn peer(name: &str) -> PeerStatus {
        PeerStatus {
            name: name.into(),
            fingerprint: "5a".repeat(32),
            connected: true,
            route: "direct".into(),
            has_camera: true,
            clock_offset_us: -12_340,
            counts: PeerCounts {
                connects: 1,
                rtt_us: 20_400,
                path_kbps: 28_000,
                datagram_bytes: 1100,
                sent_frames: 1800,
                received_frames: 1795,
                ..PeerCounts::default()
            },
            ..PeerStatus::default()
        }
    }

    fn member(name: &str, nearby: bool, at_relay: bool) -> MemberStatus {
        MemberStatus { name: name.into(), fingerprint: "5a".repeat(32), nearby, at_relay }
    }

    /// The same booth in a meeting.
    fn met(peers: Vec<PeerStatus>, room: Vec<MemberStatus>) -> Status {
        let stage = |stage: &str, us: i64| Stage {
            stage: stage.into(),
            mean_us: us,
            p50_us: us,
            p95_us: 2 * us,
            p99_us: 3 * us,
        };
        let mut status = Status {
            state: State::Live,
            peers,
            room,
            sent: Sent { bitrate_kbps: 7_900, target_kbps: 8_000, size: "1280x720".into(), fps: 30.0 },
            received: Received { bitrate_kbps: 7_800, last_frame: 1795 },
            mailboxes: vec![mailbox::Report { name: "camera→encoder".into(), high_water: 1, replaced: 2 }],
            stages: vec![stage("dequeue", 250), stage("encode", 9_900), stage("total", 23_000)],
            ..alone()
        };
        status.screen.card = None;
        status
    }

    #[test]
    fn status_reads_as_it_did() {
        insta::assert_snapshot!("nobody-yet", alone());

        let first = PeerStatus { shown: true, ..peer("busy-otter-7") };
        let one = met(vec![first.clone()], vec![member("busy-otter-7", true, false)]);
        insta::assert_snapshot!("one-peer", one);

        let slow = PeerStatus {
            route: "relay".into(),
            too_slow: true,
            counts: PeerCounts { path_kbps: 600, loss_permille: 40, ..peer("").counts },
            ..peer("slow-snail-3")
        };
        let dark = PeerStatus { has_camera: false, gets_fewer_pictures: true, ..peer("late-owl-9") };
        let members = vec![
            member("busy-otter-7", true, true),
            member("slow-snail-3", false, true),
            member("late-owl-9", true, false),
            member("sixth-wren-6", false, false),
        ];
        insta::assert_snapshot!("three-peers", met(vec![first, slow, dark], members));

        let mut pairing = Status { state: State::Pairing, ..alone() };
        pairing.link =
            LinkStatus { looking: "this network".into(), code: "12345678".into(), ..LinkStatus::default() };
        pairing.screen.card = Some(Kind::Pairing);
        insta::assert_snapshot!("pairing", pairing);

        let mut broken = alone();
        broken.state = State::NoCamera;
        broken.camera = CameraStatus { trouble: "no camera is plugged in".into(), ..CameraStatus::default() };
        broken.link.trouble = "busy-otter-7 has another room's key".into();
        broken.peers = vec![PeerStatus { connected: false, route: String::new(), ..peer("busy-otter-7") }];
        broken.notice = Some(Notice {
            title: "The file has a mistake".into(),
            lines: vec!["camera.fps is 600".into(), "Nothing was changed".into()],
            trouble: true,
            shown_s: 60,
        });
        insta::assert_snapshot!("trouble", broken);
    }
}
