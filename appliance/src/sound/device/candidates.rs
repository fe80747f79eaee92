//! The sound devices of this machine.
//!
//! Source: the kernel's Documentation/sound/designs/procfile.rst; sysfs.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use alsa::ctl::{Ctl, ElemId, ElemIface, ElemType, ElemValue};

use super::eld::Eld;

/// The class of a USB interface that gives pictures (USB Video Class 1.5, A.1).
const USB_VIDEO: &str = "0e";
/// Drivers of cards that have no hardware.
const SOFTWARE: [&str; 4] = ["Loopback", "Dummy", "PCMTest", "PCM-TEST"];

/// Which way sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a microphone.
    Capture,
    /// To a loudspeaker.
    Playback,
}

impl Direction {
    /// What is at its end.
    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "microphone",
            Self::Playback => "loudspeaker",
        }
    }

    pub(super) fn to_alsa(self) -> alsa::Direction {
        match self {
            Self::Capture => alsa::Direction::Capture,
            Self::Playback => alsa::Direction::Playback,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Playback => "playback",
        }
    }
}

/// A PCM device of a card, in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidate {
    /// The card's number, which another start may give to another card.
    pub card: u32,
    /// The card's id, which its driver makes of its name.
    pub id: String,
    /// The card's name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// What it is plugged into: `usb-0000:00:14.0-2`, or the PCI address, or the name of a platform device;
    /// empty when sysfs does not say.
    pub bus: String,
    /// The number of the PCM device on the card.
    pub device: u32,
    /// How many streams it carries at once.
    pub subdevices: u32,
    /// The PCM device's own id, such as `HDMI 0` or `ALC269VC Analog`.
    pub pcm: String,
    /// Whether it goes through an HDMI or DisplayPort cable.
    pub hdmi: bool,
    /// The monitor at the other end of that, when it is there and has loudspeakers.
    pub eld: Option<Eld>,
    /// Whether it is on USB.
    pub usb: bool,
    /// Whether its card both plays and captures, as a conference speakerphone does.
    pub duplex: bool,
    /// Whether its USB device gives pictures, too.
    pub webcam: bool,
    /// Whether it is an S/PDIF connector.
    pub spdif: bool,
    /// Whether its driver only pretends to have hardware.
    pub software: bool,
}

impl Candidate {
    /// ALSA's name for it, by number: good until cards change.
    pub fn hw(&self, subdevice: Option<u32>) -> String {
        match subdevice {
            None => format!("hw:{},{}", self.card, self.device),
            Some(subdevice) => format!("hw:{},{},{subdevice}", self.card, self.device),
        }
    }

    /// A name that stays the same when it is plugged in again, or cards get other numbers.
    pub fn key(&self) -> String {
        let port = if self.bus.is_empty() { "-" } else { &self.bus };
        format!("{port} {} {}", self.id, self.device)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hw:{},{} ({}", self.id, self.device, self.name)?;
        if let Some(eld) = &self.eld {
            write!(f, ", {}", eld.monitor)?;
        }
        f.write_str(")")
    }
}

/// The devices of this machine in one direction, in the order of their numbers.
pub fn candidates(direction: Direction) -> Vec<Candidate> {
    read(Path::new("/"), direction, eld)
}

/// The same, with `/proc` and `/sys` below `root`, and `eld` to ask for the ELD of a card's device.
pub(super) fn read(
    root: &Path,
    direction: Direction,
    eld: impl Fn(u32, u32) -> Option<Eld>,
) -> Vec<Candidate> {
    let proc = root.join("proc/asound");
    let cards = fs::read_to_string(proc.join("cards")).unwrap_or_default();
    let pcms = fs::read_to_string(proc.join("pcm")).unwrap_or_default();
    let pcms: Vec<PcmLine> = pcms.lines().filter_map(PcmLine::parse).collect();
    let mut found = Vec::new();
    for (number, id, driver, name) in cards.lines().filter_map(card_line) {
        let of_card = || pcms.iter().filter(move |pcm| pcm.card == number);
        let has = |direction: Direction| of_card().any(|pcm| pcm.subdevices(direction) > 0);
        let place = Place::of_card(root, number);
        let software = place.software || SOFTWARE.iter().any(|prefix| driver.starts_with(prefix));
        let texts = elds(&proc.join(format!("card{number}")));
        let mut hdmis = 0;
        for pcm in of_card().filter(|pcm| pcm.subdevices(direction) > 0) {
            let is =
                |word: &str| [pcm.id, driver, id].iter().any(|text| text.to_ascii_lowercase().contains(word));
            // A card called HDMI may have other connectors: its devices' own names decide, if they tell.
            let spdif = pcm.mentions(&["digital", "iec958", "s/pdif", "spdif"]);
            let hdmi = direction == Direction::Playback
                && !pcm.mentions(&["analog"])
                && !spdif
                && (is("hdmi") || pcm.mentions(&["displayport"]));
            let eld = hdmi
                .then(|| {
                    // Without the control, the text at the same place in the order is the likeliest.
                    let text = texts.get(hdmis).cloned().flatten();
                    hdmis += 1;
                    eld(number, pcm.device).or(text)
                })
                .flatten();
            found.push(Candidate {
                card: number,
                id: id.to_owned(),
                name: name.to_owned(),
                driver: driver.to_owned(),
                bus: place.bus.clone(),
                device: pcm.device,
                subdevices: pcm.subdevices(direction),
                pcm: pcm.id.to_owned(),
                hdmi,
                eld,
                usb: place.usb,
                duplex: has(Direction::Capture) && has(Direction::Playback),
                webcam: place.webcam,
                spdif,
                software,
            });
        }
    }
    found
}

/// Number, id, driver and name of a card, from a line such as
/// ` 1 [USB            ]: USB-Audio - Jabra SPEAK 510 USB`.
fn card_line(line: &str) -> Option<(u32, &str, &str, &str)> {
    let (number, rest) = line.trim_start().split_once(" [")?;
    let (id, rest) = rest.split_once("]:")?;
    let (driver, name) = rest.split_once(" - ")?;
    Some((number.parse().ok()?, id.trim(), driver.trim(), name.trim()))
}

/// A line of `/proc/asound/pcm`: `00-03: HDMI 0 : DELL U2711 : playback 1`.
struct PcmLine<'a> {
    card: u32,
    device: u32,
    id: &'a str,
    name: &'a str,
    directions: Vec<(&'a str, u32)>,
}

impl<'a> PcmLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (numbers, rest) = line.split_once(": ")?;
        let (card, device) = numbers.split_once('-')?;
        let mut parts = rest.split(" : ");
        let (id, name) = (parts.next()?.trim(), parts.next()?.trim());
        let directions = parts.filter_map(|part| {
            let (word, count) = part.trim().split_once(' ')?;
            Some((word, count.parse().ok()?))
        });
        let (card, device) = (card.parse().ok()?, device.parse().ok()?);
        Some(Self { card, device, id, name, directions: directions.collect() })
    }

    fn subdevices(&self, direction: Direction) -> u32 {
        self.directions.iter().find(|(word, _)| *word == direction.word()).map_or(0, |(_, count)| *count)
    }

    fn mentions(&self, words: &[&str]) -> bool {
        let (id, name) = (self.id.to_ascii_lowercase(), self.name.to_ascii_lowercase());
        words.iter().any(|word| id.contains(word) || name.contains(word))
    }
}

/// The ELDs of a card in the order of its pins.
fn elds(card: &Path) -> Vec<Option<Eld>> {
    let mut files: Vec<(Vec<u32>, PathBuf)> = fs::read_dir(card)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let place = name.strip_prefix("eld#")?.split('.').map(|n| n.parse().unwrap_or(0)).collect();
            Some((place, entry.path()))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| Eld::from_text(&fs::read_to_string(path).ok()?)).collect()
}

/// The ELD of a card's device by its control.
fn eld(card: u32, device: u32) -> Option<Eld> {
    let ctl = Ctl::new(&format!("hw:{card}"), true).ok()?;
    let mut id = ElemId::new(ElemIface::PCM);
    id.set_name(c"ELD");
    id.set_device(device);
    let mut value = ElemValue::new(ElemType::Bytes).ok()?;
    value.set_id(&id);
    ctl.elem_read(&mut value).ok()?;
    Eld::from_bytes(value.get_bytes()?)
}

/// Where a card is.
#[derive(Default)]
struct Place {
    bus: String,
    usb: bool,
    webcam: bool,
    software: bool,
}

impl Place {
    /// From the folder that `/sys/class/sound/cardN/device` links to.
    fn of_card(root: &Path, number: u32) -> Self {
        let canonical = |path: &str| fs::canonicalize(root.join(path));
        let link = canonical(&format!("sys/class/sound/card{number}/device"));
        let (Ok(device), Ok(sys)) = (link, canonical("sys")) else { return Self::default() };
        let below = device.strip_prefix(sys).unwrap_or(&device);
        let names: Vec<&str> = below.iter().filter_map(OsStr::to_str).collect();
        // .../0000:00:14.0/usb1/1-2/1-2.1/1-2.1:1.0: the last part that names a device, not its interface.
        let port = |name: &&str| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            name.split_once('-').is_some_and(|(bus, ports)| digits(bus) && ports.split('.').all(digits))
        };
        let controller = names.iter().position(|name| {
            name.strip_prefix("usb")
                .is_some_and(|bus| !bus.is_empty() && bus.bytes().all(|b| b.is_ascii_digit()))
        });
        if let (Some(controller), Some(last)) = (controller, names.iter().rposition(port)) {
            let above = controller.checked_sub(1).and_then(|above| names.get(above)).unwrap_or(&"");
            let ports = names.get(last).and_then(|name| name.split_once('-')).map_or("", |(_, ports)| ports);
            let depth = names.len() - 1 - last;
            let usb_device = device.ancestors().nth(depth).unwrap_or(&device);
            let webcam = gives_pictures(usb_device);
            return Self { bus: format!("usb-{above}-{ports}"), usb: true, webcam, software: false };
        }
        // A card behind a signal processor has a device of its own below the one on the PCI bus.
        let pci = |name: &&&str| name.len() == "0000:00:1f.3".len() && name.split([':', '.']).count() == 4;
        if let Some(address) = names.iter().rfind(pci) {
            return Self { bus: (*address).to_owned(), ..Self::default() };
        }
        let software = names.contains(&"faux") || names.iter().any(|name| name.starts_with("snd_"));
        let bus = names.last().map_or(String::new(), |name| (*name).to_owned());
        Self { bus, usb: false, webcam: false, software }
    }
}

/// Whether one of a USB device's interfaces is for video.
fn gives_pictures(usb_device: &Path) -> bool {
    fs::read_dir(usb_device).into_iter().flatten().flatten().any(|interface| {
        let class = fs::read_to_string(interface.path().join("bInterfaceClass"));
        class.is_ok_and(|class| class.trim() == USB_VIDEO)
    })
}
