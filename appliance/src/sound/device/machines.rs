//! Made-up machines, and which of their devices a booth takes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::candidates::{Candidate, Direction, read};
use super::eld::Eld;
use super::error::Error;
use super::rank::{Facts, Ranking, rank};

const CAPTURE: Direction = Direction::Capture;
const PLAYBACK: Direction = Direction::Playback;

/// `/proc` and `/sys` of a machine, in a folder that goes with it.
struct Machine {
    root: PathBuf,
    cards: u32,
}

impl Machine {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("holobooth-sound-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("proc/asound")).unwrap();
        fs::create_dir_all(root.join("sys/class/sound")).unwrap();
        Self { root, cards: 0 }
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.root.join("proc/asound").join(file);
        let old = fs::read_to_string(&path).unwrap_or_default();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, old + text).unwrap();
    }

    /// Adds a card with the driver and name, at the folder of `/sys/devices`, with lines of `/proc/asound/pcm`.
    fn card(mut self, id: &str, driver: &str, name: &str, place: &str, pcms: &[&str]) -> Self {
        let number = self.cards;
        self.cards += 1;
        let line = format!("{number:2} [{id:<15}]: {driver} - {name}\n{:22}{name} at {place}\n", "");
        self.append("cards", &line);
        for pcm in pcms {
            self.append("pcm", &format!("{number:02}-{pcm}\n"));
        }
        let device = self.root.join("sys/devices").join(place);
        fs::create_dir_all(&device).unwrap();
        let card = self.root.join(format!("sys/class/sound/card{number}"));
        fs::create_dir_all(&card).unwrap();
        symlink(device, card.join("device")).unwrap();
        self
    }

    fn eld(self, card: u32, pin: &str, monitor: Option<&str>) -> Self {
        let text = match monitor {
            Some(name) => {
                format!(
                    "monitor_present\t\t1\neld_valid\t\t1\nmonitor_name\t\t{name}\nconnection_type\t\tHDMI\n"
                )
            }
            None => "monitor_present\t\t0\neld_valid\t\t0\n".to_owned(),
        };
        self.append(&format!("card{card}/eld#{pin}"), &text);
        self
    }

    /// Gives the USB device at the folder of `/sys/devices` an interface for video.
    fn camera(self, usb_device: &str) -> Self {
        let interface = self.root.join("sys/devices").join(usb_device).join("1-4:1.0");
        fs::create_dir_all(&interface).unwrap();
        fs::write(interface.join("bInterfaceClass"), "0e\n").unwrap();
        self
    }

    fn devices(&self, direction: Direction) -> Vec<Candidate> {
        read(&self.root, direction, |_, _| None)
    }

    fn rank(&self, direction: Direction, request: &str, monitor: Option<&str>) -> Ranking {
        rank(direction, &request.parse().unwrap(), self.devices(direction), Facts { monitor })
    }

    /// The chosen devices, as `ID,DEVICE`.
    fn chosen(&self, direction: Direction, request: &str, monitor: Option<&str>) -> Vec<String> {
        let ranking = self.rank(direction, request, monitor);
        let name = |candidate: &Candidate| format!("{},{}", candidate.id, candidate.device);
        ranking.choices.iter().map(|choice| name(&choice.candidate)).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

const ANALOG: &str = "00: ALC269VC Analog : ALC269VC Analog : playback 1 : capture 1";
const DIGITAL: &str = "01: ALC269VC Digital : ALC269VC Digital : playback 1";

fn laptop() -> Machine {
    Machine::new()
        .card(
            "PCH",
            "HDA-Intel",
            "HDA Intel PCH",
            "pci0000:00/0000:00:1f.3",
            &[ANALOG, DIGITAL, "03: HDMI 0 : HDMI 0 : playback 1", "07: HDMI 1 : HDMI 1 : playback 1"],
        )
        .eld(0, "2.0", None)
        .eld(0, "2.1", None)
}

fn nuc() -> Machine {
    Machine::new()
        .card(
            "PCH",
            "HDA-Intel",
            "HDA Intel PCH",
            "pci0000:00/0000:00:1f.3",
            &[
                ANALOG,
                "03: HDMI 0 : Kitchen TV : playback 1",
                "07: HDMI 1 : HOLO 65 : playback 1",
                "08: HDMI 2 : HDMI 2 : playback 1",
            ],
        )
        // Written in the wrong order, as a folder may be read.
        .eld(0, "2.10", None)
        .eld(0, "2.2", Some("HOLO 65"))
        .eld(0, "2.0", Some("Kitchen TV"))
}

fn with_speakerphone(machine: Machine) -> Machine {
    machine.card(
        "USB",
        "USB-Audio",
        "Jabra SPEAK 510 USB",
        "pci0000:00/0000:00:14.0/usb1/1-2/1-2.3/1-2.3:1.0",
        &["00: USB Audio : USB Audio : playback 1 : capture 1"],
    )
}

fn with_webcam(machine: Machine) -> Machine {
    let usb = "pci0000:00/0000:00:14.0/usb1/1-4";
    let interface = format!("{usb}/1-4:1.2");
    machine
        .card(
            "C920",
            "USB-Audio",
            "HD Pro Webcam C920",
            &interface,
            &["00: USB Audio : USB Audio : capture 1"],
        )
        .camera(usb)
}

fn with_table_microphone(machine: Machine) -> Machine {
    let place = "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0";
    machine.card("Yeti", "USB-Audio", "Yeti", place, &["00: USB Audio : USB Audio : capture 1"])
}

#[test]
fn a_laptop_alone_has_what_is_built_in() {
    let laptop = laptop();
    assert_eq!(laptop.chosen(PLAYBACK, "auto", Some("HOLO 65")), ["PCH,0", "PCH,1"]);
    assert_eq!(laptop.chosen(CAPTURE, "auto", None), ["PCH,0"]);
    let ranking = laptop.rank(PLAYBACK, "auto", None);
    let refused: Vec<String> = ranking.refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0], "hw:PCH,3 (HDA Intel PCH): no monitor with loudspeakers is connected to it");
    let device = &laptop.devices(PLAYBACK)[0];
    assert_eq!((device.bus.as_str(), device.usb, device.duplex), ("0000:00:1f.3", false, true));
    assert_eq!(device.key(), "0000:00:1f.3 PCH 0");
}

#[test]
fn a_laptop_with_a_signal_processor_hears_through_its_own_microphones() {
    let pcms = [
        "00: HDA Analog (*) :  : playback 1 : capture 1",
        "03: HDMI1 (*) :  : playback 1",
        "06: DMIC (*) :  : capture 1",
        "07: DMIC16kHz (*) :  : capture 1",
    ];
    let laptop = Machine::new()
        .card("sofhdadsp", "sof-hda-dsp", "sof-hda-dsp", "pci0000:00/0000:00:1f.3/skl_hda_dsp_generic", &pcms)
        .eld(0, "2.0", Some("HOLO 65"));
    assert_eq!(laptop.devices(CAPTURE)[0].bus, "0000:00:1f.3");
    assert_eq!(laptop.chosen(CAPTURE, "auto", None), ["sofhdadsp,6", "sofhdadsp,0", "sofhdadsp,7"]);
    assert_eq!(laptop.chosen(PLAYBACK, "auto", Some("HOLO 65")), ["sofhdadsp,3", "sofhdadsp,0"]);
}

#[test]
fn sound_comes_from_the_screen_in_use() {
    let nuc = with_speakerphone(nuc());
    assert_eq!(nuc.chosen(PLAYBACK, "auto", Some("holo 65")), ["PCH,7", "USB,0", "PCH,3", "PCH,0"]);
    assert_eq!(nuc.chosen(PLAYBACK, "auto", Some("Kitchen TV")), ["PCH,3", "USB,0", "PCH,7", "PCH,0"]);
    // Of a screen that is not known, the speakerphone is the surer choice.
    assert_eq!(nuc.chosen(PLAYBACK, "auto", None), ["USB,0", "PCH,3", "PCH,7", "PCH,0"]);
    let best = nuc.rank(PLAYBACK, "auto", Some("HOLO 65")).choices.remove(0);
    assert_eq!((best.hw().as_str(), best.reason), ("hw:0,7", "the loudspeakers of the screen in use"));
}

#[test]
fn the_control_of_a_device_outweighs_the_order_of_files() {
    let nuc = nuc();
    let swapped = |_: u32, device: u32| {
        let monitor = if device == 3 { "HOLO 65" } else { "Kitchen TV" };
        Some(Eld { monitor: monitor.into(), displayport: false })
    };
    let request = "auto".parse().unwrap();
    let facts = Facts { monitor: Some("HOLO 65") };
    let ranking = rank(PLAYBACK, &request, read(&nuc.root, PLAYBACK, swapped), facts);
    assert_eq!(ranking.choices[0].candidate.device, 3);
}

#[test]
fn a_speakerphone_hears_better_than_a_microphone_and_that_than_a_webcam() {
    let machine = with_speakerphone(with_table_microphone(with_webcam(nuc())));
    assert_eq!(machine.chosen(CAPTURE, "auto", None), ["USB,0", "Yeti,0", "C920,0", "PCH,0"]);
    let devices = machine.devices(CAPTURE);
    let of = |id: &str| devices.iter().find(|device| device.id == id).unwrap();
    assert!(of("C920").webcam && !of("USB").webcam && of("USB").duplex && !of("Yeti").duplex);
    assert_eq!(of("USB").bus, "usb-0000:00:14.0-2.3");
    assert_eq!(of("Yeti").bus, "usb-0000:00:14.0-1");
    // A webcam with a loudspeaker of its own is still no speakerphone.
    let usb = "pci0000:00/0000:00:14.0/usb1/1-4";
    let both = Machine::new()
        .card("Cam", "USB-Audio", "Cam", &format!("{usb}/1-4:1.2"), &["00: A : A : playback 1 : capture 1"])
        .camera(usb);
    assert_eq!(both.rank(CAPTURE, "auto", None).choices[0].reason, "a webcam's microphone");
    assert_eq!(both.rank(PLAYBACK, "auto", None).choices[0].reason, "a loudspeaker on USB");
}

#[test]
fn a_card_is_found_by_name_and_port_whatever_its_number() {
    for machine in [with_speakerphone(nuc()), with_speakerphone(with_webcam(nuc()))] {
        for request in ["USB", "usb-0000:00:14.0-2.3", "hw:USB,0"] {
            assert_eq!(machine.chosen(PLAYBACK, request, Some("HOLO 65")), ["USB,0"], "{request}");
        }
        assert_eq!(
            machine.chosen(PLAYBACK, "0000:00:1f.3", Some("HOLO 65")),
            ["PCH,7", "PCH,3", "PCH,0", "PCH,8"]
        );
        // What was named need not look useful.
        assert_eq!(machine.chosen(PLAYBACK, "hw:PCH,8", None), ["PCH,8"]);
        assert_eq!(machine.chosen(PLAYBACK, "hw:0,8", None), ["PCH,8"]);
        assert!(machine.chosen(PLAYBACK, "none", None).is_empty());
        let gone = machine.rank(CAPTURE, "Absent", None);
        let error = gone.open(CAPTURE, &"Absent".parse().unwrap(), |_| Ok(())).unwrap_err().to_string();
        assert!(
            error.contains("`Absent`") && error.contains("hw:USB,0 (Jabra SPEAK 510 USB): another"),
            "{error}"
        );
    }
}

#[test]
fn a_card_without_hardware_is_taken_only_by_name() {
    let pcms = [
        "00: Loopback PCM : Loopback PCM : playback 8 : capture 8",
        "01: Loopback PCM : Loopback PCM : playback 8 : capture 8",
    ];
    let rig = Machine::new().card("bootha", "Loopback", "Loopback", "platform/snd_aloop.0", &pcms).card(
        "other",
        "Unknown",
        "Unknown",
        "faux/snd-something",
        &pcms,
    );
    assert!(rig.chosen(PLAYBACK, "auto", None).is_empty());
    assert_eq!(rig.chosen(PLAYBACK, "bootha", None), ["bootha,0", "bootha,1"]);
    let choice = rig.rank(CAPTURE, "hw:bootha,1,7", None).choices.remove(0);
    assert_eq!(choice.hw(), "hw:0,1,7");
    assert_eq!(rig.rank(CAPTURE, "hw:bootha,1,8", None).refused[1].reason, "it has no such subdevice");
}

#[test]
fn what_cannot_be_opened_leaves_its_place_to_the_next() {
    let request = "auto".parse().unwrap();
    let ranking = || with_speakerphone(nuc()).rank(PLAYBACK, "auto", Some("HOLO 65"));
    let busy = |device: &str| Error::Stalled { device: device.to_owned() };
    let opened = ranking().open(PLAYBACK, &request, |device| match device {
        "hw:0,7" => Err(busy(device)),
        device => Ok(device.to_owned()),
    });
    let opened = opened.unwrap();
    assert_eq!((opened.stream.as_str(), opened.choice.reason), ("hw:1,0", "a speakerphone on USB"));
    assert!(opened.refused.iter().any(|r| r.candidate.device == 7 && r.reason.contains("stands still")));
    let error = ranking().open(PLAYBACK, &request, |device| Err::<(), _>(busy(device))).unwrap_err();
    assert!(error.to_string().contains("hw:PCH,0 (HDA Intel PCH): sound: hw:0,0 stands still"), "{error}");
}

#[test]
fn a_machine_without_sound_has_no_devices() {
    let none = Machine::new();
    assert!(none.devices(CAPTURE).is_empty());
    none.append("cards", "--- no soundcards ---\n");
    assert!(none.devices(PLAYBACK).is_empty());
    let ranking = none.rank(PLAYBACK, "auto", None);
    let error = ranking.open(PLAYBACK, &"auto".parse().unwrap(), |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("no loudspeaker `auto` (there is none)"), "{error}");
}
