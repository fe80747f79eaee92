//! The image starts on a PC's firmware, and a person sees a card.

use std::time::Duration;

use crate::machine::picture::WELL;
use crate::machine::stick::Stick;
use crate::machine::{self, Machine, Options, qemu};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

/// `image-tpm`
pub(crate) const TPM: Scenario = Scenario {
    name: "image-tpm",
    summary: "on a machine with a TPM the data partition is encrypted to it, and opened at the next start",
    kind: Kind::Long,
    place: Place::Machines(&["1"]),
    relay: false,
    time_limit_s: 900,
    run: tpm,
};

/// `image-lost`
pub(crate) const LOST: Scenario = Scenario {
    name: "image-lost",
    summary: "a data partition that is lost is recreated after three starts, and the booth is there again",
    kind: Kind::Long,
    place: Place::Machines(&["1"]),
    relay: false,
    time_limit_s: 1800,
    run: lost,
};

/// `image-boot`
pub(crate) const SCENARIO: Scenario = Scenario {
    name: "image-boot",
    summary: "the image boots by UEFI at 3840x2160 to the starting card and the pairing card, and keeps to its data partition",
    kind: Kind::Scenario,
    place: Place::Machines(&["1"]),
    relay: false,
    time_limit_s: 900,
    run,
};

/// A machine in emulation takes its time.
const TIMEOUT: Duration = Duration::from_secs(300);

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let disk = qemu::flashed(&machine::image("1")?, folder, "disk.qcow2")?;
    let mut machine = Machine::start(&disk, folder, &Options::default())?;
    let card = machine.wait_for_picture("a card on the screen", TIMEOUT, |shot| {
        shot.is_card(WELL) || shot.qr().is_some()
    })?;
    report.figure("first_card_s", card.as_secs_f64());
    let pairing = machine.wait_for_picture("the card with a code", TIMEOUT, |shot| shot.qr().is_some())?;
    report.figure("pairing_card_s", pairing.as_secs_f64());
    let shot = machine.screenshot()?;
    shot.keep(&folder.join("card.png"))?;
    report.check(
        "the screen is lit at 3840x2160",
        (shot.width, shot.height) == (3840, 2160),
        format!("{}x{}", shot.width, shot.height),
    );
    let words = shot.qr().unwrap_or_default();
    report.check("the code on the card is a command", words.starts_with("holobooth pair "), words);

    let file = folder.join("holobooth.toml");
    std::fs::write(&file, "[booth]\nname = \"atrium\"\n").map_err(failed(file.display().to_string()))?;
    let stick = Stick::with(folder.join("stick.img"), &[("holobooth.toml", &file)])?;
    let plugged = machine.uptime();
    let name = machine.plug(stick.image(), false)?;
    let renamed = machine.wait_for("booth atrium: Pairing", TIMEOUT)?;
    report.figure("stick_s", (renamed - plugged).as_secs_f64());
    machine.pull(&name)?;
    let answer = stick.text("holobooth-result.txt").unwrap_or_default();
    report.check("the stick has the answer", answer.contains("atrium"), answer);
    Ok(report)
}

fn tpm(context: &Context) -> Result<Report, Error> {
    const UNLOCKED: &str = "Finished holobooth-unlock.service";
    let mut report = Report::default();
    let folder = context.dir();
    let disk = qemu::flashed(&machine::image("1")?, folder, "disk.qcow2")?;
    let options = Options { tpm: true, ..Options::default() };
    let mut names = Vec::new();
    for start in ["first", "next"] {
        let mut machine = Machine::start(&disk, folder, &options)?;
        machine.wait_for_picture("the card with a code", TIMEOUT, |shot| shot.qr().is_some())?;
        let console = machine.console();
        report.check(format!("the {start} start unlocks the data"), console.contains(UNLOCKED), "");
        let repaired = console.contains("without data");
        report.check(format!("the {start} start finds its data"), !repaired, "");
        let words = machine.screenshot()?.qr().unwrap_or_default();
        names.push(words.rsplit(' ').next().unwrap_or_default().to_owned());
        // What was written must reach the disk first: a booth's key is synced, its journal is not.
        machine.power_button(TIMEOUT)?;
    }
    report.check("it is the same booth", !names[0].is_empty() && names[0] == names[1], names.join(", "));
    Ok(report)
}

fn lost(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let disk = qemu::flashed(&machine::image("1")?, folder, "disk.qcow2")?;
    // Once the booth is there, the beginning of its data partition is overwritten, and the machine is off;
    // two starts without data are counted from long ago.
    let loses = "[Unit]\nAfter=holobooth.service\n[Service]\n\
                 ExecStart=dd if=/dev/zero of=/dev/disk/by-partlabel/holobooth-data bs=1M count=64 oflag=direct\n\
                 ExecStart=/bin/sh -c 'echo 2 1700000000 >/boot/holobooth-starts-without-data'\n\
                 ExecStartPost=systemctl --force --force poweroff\nType=oneshot\n";
    let credentials = [
        ("systemd.extra-unit.loses.service", loses),
        ("systemd.unit-dropin.multi-user.target~loses", "[Unit]\nWants=loses.service\n"),
    ];
    let options = Options {
        credentials: credentials.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        ..Options::default()
    };
    Machine::start(&disk, folder, &options)?.wait_off(TIMEOUT)?;
    let mut machine = Machine::start(&disk, folder, &Options::default())?;
    let recreated = machine.wait_for("the data partition was recreated", 4 * TIMEOUT)?;
    report.figure("recreated_s", recreated.as_secs_f64());
    let card = machine.wait_for_picture("the card with a code", TIMEOUT, |shot| shot.qr().is_some())?;
    report.figure("card_s", card.as_secs_f64());
    // Not how often it started: QEMU's emulation now and then lets a kernel die early, and the machine starts
    // once more.
    let console = machine.console();
    let counted = [1, 2].map(|start| console.matches(&format!("start {start} of 3 without data")).count());
    report.check("it took three starts without data", counted == [1, 1], format!("{counted:?}"));
    Ok(report)
}
