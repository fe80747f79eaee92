//! Blocks of the root were changed: none of it runs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::machine::{self, Machine, Options, qemu};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "image-corrupt",
    summary: "with changed blocks in its root the machine starts again instead of running them",
    kind: Kind::Long,
    place: Place::Machines(&["1"]),
    relay: false,
    time_limit_s: 900,
    run,
};

const TIMEOUT: Duration = Duration::from_secs(300);
/// From one changed block to the next, in bytes.
const MIN_SPACING: u64 = 1 << 20;
/// How much of the root is in use at least, in bytes.
const USED: u64 = 256 << 20;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let changed = folder.join("changed.raw");
    machine::copy(&machine::image("1")?, &changed)?;
    let blocks = change(&changed)?;
    report.figure("blocks_changed", blocks);
    let disk = qemu::flashed(&changed, folder, "disk.qcow2")?;
    let options = Options { kernel: vec!["loglevel=5".into()], ..Options::default() };
    let mut machine = Machine::start(&disk, folder, &options)?;
    let found = machine.wait_for("is corrupted", TIMEOUT)?;
    report.figure("found_s", found.as_secs_f64());
    let starts = machine.starts();
    let again = machine.wait_until("another start", TIMEOUT, |machine| machine.starts() > starts)?;
    report.figure("started_again_s", again.as_secs_f64());
    report.check("no booth ran", !machine.console().contains("holobooth] image "), "");
    Ok(report)
}

/// Changes a few bytes in every megabyte of the root partition.
fn change(disk: &Path) -> Result<u64, Error> {
    let failed = |source| Error::System { what: disk.display().to_string(), source };
    let file = File::options().read(true).write(true).open(disk).map_err(failed)?;
    let start = third_partition(&file).map_err(failed)?;
    let mut blocks = 0;
    // The first megabyte has the superblock: without it nothing would be tried at all.
    for at in (MIN_SPACING..USED).step_by(MIN_SPACING as usize) {
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes, start + at).map_err(failed)?;
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        file.write_all_at(&bytes, start + at).map_err(failed)?;
        blocks += 1;
    }
    Ok(blocks)
}

/// Where the third partition begins, in bytes: the UEFI specification, section 5.3.3, GPT partition entries.
fn third_partition(disk: &File) -> std::io::Result<u64> {
    const SECTOR: u64 = 512;
    let number = |at: u64| {
        let mut bytes = [0; 8];
        disk.read_exact_at(&mut bytes, at).map(|()| u64::from_le_bytes(bytes))
    };
    let entries = number(SECTOR + 72)? * SECTOR;
    Ok(number(entries + 2 * 128 + 32)? * SECTOR)
}
