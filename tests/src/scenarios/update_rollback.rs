//! Updates by stick: a good one, one with a wrong signature, and one that never gets well and goes back by itself.

use std::path::Path;
use std::time::Duration;

use crate::machine::stick::Stick;
use crate::machine::{self, Machine, Options, qemu};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "update-rollback",
    summary: "a booth takes version 2 from a stick, refuses one with a wrong signature, and comes back from a version 3 that never gets well",
    kind: Kind::Long,
    place: Place::Machines(&["1", "2", "3+broken"]),
    relay: false,
    time_limit_s: 2400,
    run,
};

/// A machine in emulation takes its time.
const PATIENCE: Duration = Duration::from_secs(400);

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let bundle = |spec: &str, number: &str| -> Result<_, Error> {
        let image = machine::image(spec)?;
        Ok(image.with_file_name(format!("holobooth_{number}.update")))
    };
    let disk = qemu::flashed(&machine::image("1")?, folder, "disk.qcow2")?;
    let mut machine = Machine::start(&disk, folder, &Options::default())?;
    machine.wait_for("image 1 runs", PATIENCE)?;
    machine.wait_for_picture("the card with a code", PATIENCE, |shot| shot.qr().is_some())?;

    let forged = folder.join("forged.update");
    forge(&bundle("2", "2")?, &forged)?;
    let stick = Stick::with(folder.join("forged.img"), &[("evil.update", &forged)])?;
    let name = machine.plug(stick.image(), false)?;
    machine.wait_for("Update refused", PATIENCE)?;
    machine.pull(&name)?;
    report.check(
        "a bundle with another signature is refused",
        !machine.console().contains("image 2 runs"),
        "",
    );

    let stick = Stick::with(folder.join("two.img"), &[("new.update", &bundle("2", "2")?)])?;
    let plugged = machine.uptime();
    let name = machine.plug(stick.image(), false)?;
    let runs = machine.wait_for("version 2 came after 1", PATIENCE)?;
    report.figure("update_s", (runs - plugged).as_secs_f64());
    report.check("version 2 runs", machine.console().contains("image 2 runs"), "");
    machine.pull(&name)?;
    report.check(
        "the stick says so",
        stick.text("holobooth-result.txt").is_some_and(|text| text.contains("update")),
        stick.text("holobooth-result.txt").unwrap_or_default(),
    );

    let stick = Stick::with(folder.join("three.img"), &[("bad.update", &bundle("3+broken", "3")?)])?;
    let plugged = machine.uptime();
    machine.plug(stick.image(), false)?;
    let back = machine
        .wait_for("version 3 did not start well three times; the booth went back to 2", 4 * PATIENCE)?;
    report.figure("rollback_s", (back - plugged).as_secs_f64());
    let tries = machine.console().matches("the booth is not well").count();
    report.check("version 3 had three tries", tries == 3, tries);
    Ok(report)
}

/// The bundle with another's name under it: a signature that fits nothing.
fn forge(bundle: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::System { what: bundle.display().to_string(), source };
    let mut bytes = std::fs::read(bundle).map_err(failed)?;
    // The first file of the tar is the list of sums: its first digit is another one now.
    let digit = &mut bytes[512];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    std::fs::write(to, bytes).map_err(failed)
}
