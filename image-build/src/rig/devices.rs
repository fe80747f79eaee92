//! Screens: vkms cards made through configfs. (Cameras and sound cards come from the kernel's command line.)

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

const CONFIGFS: &str = "/sys/kernel/config/vkms";
/// Plane kinds as vkms numbers them.
const PLANES: [(&str, &str); 3] = [("overlay", "0"), ("primary", "1"), ("cursor", "2")];

/// The kernel's options for `cameras` vivid cameras and `sound_cards` loop-back sound cards; the card `pcmtest` comes on top.
pub(crate) fn kernel_options(cameras: u8, sound_cards: u8) -> Vec<String> {
    let each = |value: &str, n: u8| vec![value; usize::from(n)].join(",");
    let names = (0..sound_cards).map(|n| format!("booth{}", letter(n))).collect::<Vec<_>>().join(",");
    vec![
        format!("vivid.n_devs={cameras}"),
        // One capture node a camera, and no radio, teletext or touch nodes.
        format!("vivid.node_types={}", each("0x1", cameras)),
        // Input 0 is a webcam, input 1 HDMI, two bits each.
        format!("vivid.num_inputs={}", each("2", cameras)),
        format!("vivid.input_types={}", each("0xc", cameras)),
        "vkms.create_default_dev=0".into(),
        format!("snd-aloop.enable={}", each("1", sound_cards)),
        format!("snd-aloop.id={names}"),
        // Behind them, whose numbers it would take otherwise. They have none of their own: one that is plugged in
        // again gets the lowest that is free.
        format!("snd-pcmtest.index={sound_cards}"),
    ]
}

/// Makes and plugs in `screen-a`, `screen-b`, …
pub(crate) fn screens(number: u8) -> Result<()> {
    for n in 0..number {
        let name = format!("screen-{}", letter(n));
        screen(&Path::new(CONFIGFS).join(&name)).with_context(|| format!("cannot make {name}"))?;
    }
    Ok(())
}

fn screen(card: &Path) -> Result<()> {
    let (crtc, encoder, connector) =
        (card.join("crtcs/crtc"), card.join("encoders/encoder"), card.join("connectors/connector"));
    for folder in [card, &crtc, &encoder, &connector] {
        make(folder)?;
    }
    set(&crtc.join("writeback"), "1")?;
    for (name, kind) in PLANES {
        let plane = card.join("planes").join(name);
        make(&plane)?;
        set(&plane.join("type"), kind)?;
        link(&crtc, &plane.join("possible_crtcs/crtc"))?;
    }
    link(&crtc, &encoder.join("possible_crtcs/crtc"))?;
    link(&encoder, &connector.join("possible_encoders/encoder"))?;
    set(&connector.join("status"), "1")?;
    set(&card.join("enabled"), "1")
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir(folder).with_context(|| folder.display().to_string())
}

fn set(file: &Path, value: &str) -> Result<()> {
    std::fs::write(file, value).with_context(|| format!("{} = {value}", file.display()))
}

fn link(to: &Path, at: &Path) -> Result<()> {
    symlink(to, at).with_context(|| at.display().to_string())
}

fn letter(n: u8) -> char {
    char::from(b'a' + n)
}
