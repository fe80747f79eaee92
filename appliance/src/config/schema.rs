//! The keys of `holobooth.toml`, each with its unit and default.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::network::{Network, Time, Update};
use crate::pairing::{Code, Fingerprint, RoomKey};
use crate::units::{
    CameraRequest, CodecRequest, Format, Keys, LipSync, MAX_PEERS, ModeRequest, ScreenRequest,
    SoundDeviceRequest, SoundRequest,
};

/// A value that remembers where in the file it stood, so that a refusal can name the line.
fn at<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// The whole file.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who this booth is.
    pub booth: Booth,
    /// What it sees with.
    pub camera: Camera,
    /// How pictures are coded.
    pub codec: Codec,
    /// How it is reached.
    pub link: Link,
    /// Which booths belong together: those of one room find each other, prove it, and meet. Without it and
    /// without `[peer]` the booth shows a code, and belongs to the room of the booth at which that is
    /// entered.
    pub room: Option<Room>,
    /// The one booth that it meets; without it, it meets every booth of the room.
    pub peer: Option<Peer>,
    /// Where booths meet that cannot reach each other; without it they only meet directly.
    pub relay: Option<Relay>,
    /// What it shows on.
    pub screen: Screen,
    /// What it hears and speaks with.
    pub sound: Sound,
    /// How it is asked about itself.
    pub health: Health,
    /// Whose signature a stick must carry; without it, any stick counts.
    pub operator: Option<Operator>,
    /// How it is connected.
    pub network: Network,
    /// Where new versions come from; without it they come by stick alone.
    pub update: Option<Update>,
    /// Whom it asks what time it is.
    pub time: Time,
    /// What a stick asks to be tried, each time that it is put in.
    pub check: Check,
}

/// Sections and keys whose values are never shown.
pub const SECRETS: [&str; 3] = ["room.key", "room.code", "network.wifi.password"];

/// `[booth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Booth {
    /// Shown on cards, in status and at other booths, where no other booth may use it later. One line of 1 to
    /// 63 bytes; without it the booth has a name that follows from its key, such as `quiet-heron-42`.
    pub name: Option<Spanned<String>>,
    /// The only folder that is written: the booth's key and certificate, a room that came by code, and which
    /// other booth has which name.
    pub data: PathBuf,
}

impl Default for Booth {
    fn default() -> Self {
        Self { name: None, data: "/var/lib/holobooth".into() }
    }
}

/// `[camera]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Camera {
    /// `auto`, `none`, or a name that survives replugging: bus info, card name, or a path.
    pub device: String,
    /// Picture width in pixels, an even number of 64 to 8192; the closest mode that the camera has is taken.
    pub width: Spanned<u32>,
    /// Picture height in pixels, an even number of 64 to 8192.
    pub height: Spanned<u32>,
    /// Pictures per second, 1 to 240.
    pub fps: Spanned<u32>,
    /// Pixel format by its V4L2 name, such as `NV12` or `MJPG`; `auto` takes whatever gives the closest mode.
    pub format: Format,
}

impl Default for Camera {
    fn default() -> Self {
        Self { device: "auto".into(), width: at(1920), height: at(1080), fps: at(30), format: Format::Auto }
    }
}

impl Camera {
    /// What is asked of the camera.
    pub fn request(&self) -> CameraRequest {
        CameraRequest {
            device: self.device.clone(),
            width: *self.width.get_ref(),
            height: *self.height.get_ref(),
            fps: *self.fps.get_ref(),
            format: self.format,
        }
    }
}

/// `[codec]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Codec {
    /// `auto` tries the hardware first; or one of `hevc_vaapi`, `hevc_qsv`, `hevc_nvenc`, `hevc_v4l2m2m`,
    /// `libx265`, `libkvazaar`.
    pub encoder: Spanned<String>,
    /// `auto` tries the hardware first; or one of `hevc_vaapi`, `hevc_qsv`, `hevc_cuvid`, `hevc_v4l2m2m`,
    /// `hevc`.
    pub decoder: Spanned<String>,
    /// Bit rate of the video in kbit/s, 100 to 100000; on a path that carries less it follows the path.
    pub bitrate_kbps: Spanned<u32>,
    /// Threads of a software codec, at most 64; 0 means one for small pictures and one a core for large ones.
    pub threads: Spanned<u32>,
}

impl Default for Codec {
    fn default() -> Self {
        Self {
            encoder: at("auto".into()),
            decoder: at("auto".into()),
            bitrate_kbps: at(8_000),
            threads: at(0),
        }
    }
}

impl Config {
    /// What is asked of the codecs, which are tried before the camera has said what it gives.
    pub fn codec_request(&self) -> CodecRequest {
        let CameraRequest { width, height, fps, .. } = self.camera.request();
        CodecRequest {
            encoder: self.codec.encoder.get_ref().clone(),
            decoder: self.codec.decoder.get_ref().clone(),
            width,
            height,
            fps,
            bitrate_kbps: *self.codec.bitrate_kbps.get_ref(),
            threads: *self.codec.threads.get_ref(),
        }
    }
}

/// `[link]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// UDP address and port to receive on.
    pub listen: SocketAddr,
    /// From a picture's capture to its being decodable at the other booth, in ms, 20 to 1000. What is lost on
    /// the path is repaired within it where the round trip allows, and prevented by more parity where it does
    /// not.
    pub deadline_ms: Spanned<u32>,
}

impl Default for Link {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 4433)), deadline_ms: at(100) }
    }
}

/// `[room]`: a key, or a code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// The room key, as `holobooth room new` prints it; the same at all booths of the room, and a secret.
    pub key: Option<Spanned<RoomKey>>,
    /// Instead of a key: the eight digits that another booth's screen shows. That booth and this one make a
    /// room then, and keep it.
    pub code: Option<Spanned<Code>>,
    /// How many other booths of the room it meets at once, at most: 1 to 4. Further ones wait until one
    /// leaves.
    #[serde(default = "most")]
    pub most: Spanned<u32>,
}

fn most() -> Spanned<u32> {
    at(MAX_PEERS as u32)
}

/// `[peer]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// UDP address and port of the other booth. Without it, that booth is looked for on this one's networks
    /// and at the relay.
    pub address: Option<Spanned<SocketAddr>>,
    /// SHA-256 of the other booth's certificate, as `holobooth identity` prints it there. Without it, any
    /// booth of the room that answers at the address will do.
    pub fingerprint: Option<Spanned<Fingerprint>>,
}

/// `[relay]`: a moq-relay that both booths reach, the same one or two of one cluster. A booth stays connected
/// to it, and it carries a meeting while the direct path does not work. What goes through it is sealed: it
/// can keep booths apart, and read nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Its UDP address and port, or DNS name and port.
    pub address: Spanned<RelayAddress>,
    /// SHA-256 of its certificate; without it the certificate must be one that this system's roots vouch for.
    pub fingerprint: Option<Fingerprint>,
}

/// `host:port`, where the host is an IP address (IPv6 in brackets) or a DNS name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
}

impl RelayAddress {
    /// Reads `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0)
                .then(|| Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port != 0)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        // What ends in a number looks like an address (RFC 1123, section 2.1), and is none, or it had been
        // read above.
        let number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let name = !number && host.len() <= 253 && host.chars().all(plain);
        name.then(|| Self { host: host.to_owned(), port })
    }

    /// The address, when the host is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl<'de> Deserialize<'de> for RelayAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no `host:port`; write the relay's address or DNS name and its UDP port, such as \
                 \"192.0.2.9:443\" or \"relay.example.org:443\""
            ))
        })
    }
}

/// `[screen]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Screen {
    /// `auto`, `none`, a DRM device's name, or a path.
    pub device: String,
    /// `auto` (the first connected) or a connector's name such as `HDMI-A-1`.
    pub connector: String,
    /// `auto` (the screen's own preference), `WIDTHxHEIGHT` or `WIDTHxHEIGHT@HERTZ`.
    pub mode: ModeRequest,
    /// From the cable to light, in ms, 0 to 200: what the panel itself takes. Sound waits for it.
    pub delay_ms: Spanned<u32>,
}

impl Default for Screen {
    fn default() -> Self {
        Self { device: "auto".into(), connector: "auto".into(), mode: ModeRequest::Auto, delay_ms: at(0) }
    }
}

impl Screen {
    /// What is asked of the screen.
    pub fn request(&self) -> ScreenRequest {
        ScreenRequest { device: self.device.clone(), connector: self.connector.clone(), mode: self.mode }
    }
}

/// `[sound]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sound {
    /// `auto` (a conference speakerphone before other microphones on USB, a webcam's after them), `none`, or
    /// a name that survives replugging: a USB path, a card's id, or `hw:CARD,DEVICE`.
    pub microphone: SoundDeviceRequest,
    /// `auto` (the screen's own loudspeaker, then a speakerphone), `none`, or a name as above.
    pub loudspeaker: SoundDeviceRequest,
    /// The loudspeaker's volume in per cent of what the card has, 0 to 100; without it, as the card neither
    /// amplifies nor weakens.
    pub volume_percent: Option<Spanned<u32>>,
    /// How much louder the microphone is made, in dB, -20 to 40; a limiter keeps peaks from clipping.
    pub gain_db: Spanned<i32>,
    /// Whether what the microphone hears of the loudspeaker is taken out. Only headphones can do without.
    pub echo_canceller: bool,
    /// Whether the microphone is off when the booth starts; `holobooth unmute` switches it on.
    pub muted: bool,
    /// The key or button that switches the microphone off and on, on any input device that has it, by its name in
    /// the kernel, such as `KEY_F1` or `BTN_0`; several as a list; `none` for no key. `KEY_MICMUTE` is the
    /// microphone key of keyboards and of conference speakerphones on USB.
    pub mute_key: Keys,
    /// `sync`: picture and sound of one moment come at the same time, and whichever is earlier waits, 60 ms at
    /// most; or `voice-first`: sound never waits.
    pub lip_sync: LipSync,
}

impl Default for Sound {
    fn default() -> Self {
        Self {
            microphone: SoundDeviceRequest::Auto,
            loudspeaker: SoundDeviceRequest::Auto,
            volume_percent: None,
            gain_db: at(0),
            echo_canceller: true,
            muted: false,
            mute_key: Keys::new(vec![Keys::MICMUTE]),
            lip_sync: LipSync::Sync,
        }
    }
}

impl Sound {
    /// What is asked of the cards.
    pub fn request(&self) -> SoundRequest {
        SoundRequest {
            microphone: self.microphone.clone(),
            loudspeaker: self.loudspeaker.clone(),
            volume_percent: self.volume_percent.as_ref().map(|percent| *percent.get_ref() as u8),
            gain_db: *self.gain_db.get_ref(),
            echo_canceller: self.echo_canceller,
            lip_sync: self.lip_sync,
        }
    }
}

/// Where a booth answers about itself, unless configured otherwise.
pub const STATUS_SOCKET: &str = "/run/holobooth/status.sock";
/// Where notices for the screen are left, unless configured otherwise; gone after a reboot.
pub const NOTICES: &str = "/run/holobooth-config";

/// `[health]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Unix socket on which `holobooth status` asks.
    pub socket: PathBuf,
    /// Folder in which other programs leave notices that the screen is to show for a while.
    pub notices: PathBuf,
}

impl Default for Health {
    fn default() -> Self {
        Self { socket: STATUS_SOCKET.into(), notices: NOTICES.into() }
    }
}

/// `[check]`: on a stick alone; a stick's file with nothing else changes no configuration.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Whether the booth checks its sound, as `holobooth doctor sound` does: for ten seconds it is silent but for a
    /// rising tone. The result is shown, and put onto the stick.
    pub sound: bool,
}

/// `[operator]`: once it is in force, a stick's file counts only with this key's signature beside it, as
/// `minisign -S -m holobooth.toml` makes it; so does one that takes the key out or changes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The public key: the second line of `minisign.pub`, which begins with `RW`.
    pub key: Spanned<OperatorKey>,
}

/// A minisign public key (Ed25519), in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorKey(minisign_verify::PublicKey);

impl OperatorKey {
    /// Reads the second line of `minisign.pub`.
    pub fn parse(text: &str) -> Option<Self> {
        minisign_verify::PublicKey::from_base64(text.trim()).ok().map(Self)
    }

    /// Whether the text of a `.minisig` file is this key's signature of `bytes`.
    pub fn signed(&self, bytes: &[u8], signature: &str) -> Result<(), minisign_verify::Error> {
        // The legacy form holds the whole file in memory twice and is no longer made by minisign.
        self.0.verify(bytes, &minisign_verify::Signature::decode(signature)?, false)
    }
}

impl<'de> Deserialize<'de> for OperatorKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "not a minisign public key; put in the second line of minisign.pub, 56 letters that begin \
                 with RW",
            )
        })
    }
}
