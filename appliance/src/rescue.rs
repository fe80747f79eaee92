//! The data partition cannot be had: lost with its TPM, or beyond what fsck repairs. The booth is started again, and after three such
//! starts in a row the partition is made anew. What goes with it is what came after the flashing: the booth's key, what sticks brought.
//!
//! The starts are counted on the EFI system partition, the only other place that can be written.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::fail;

/// Where starts without data are counted; tmpfiles removes it at a good start.
pub(crate) const COUNT: &str = "/boot/holobooth-starts-without-data";
/// So many are tried.
const TRIES: u32 = 3;
/// What has to be mounted, and where the system says so (proc_pid_mountinfo(5)).
const DATA: &str = "/var";
const MOUNTS: &str = "/proc/self/mountinfo";
/// The partition's definition, not encrypted: a TPM that does not give its key back may be why it was lost.
const DEFINITIONS: &str = "/usr/lib/holobooth/disk";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The data is there; whatever failed, it was not that.
    Nothing,
    /// This was a start without data; so many were there now.
    Count(u32),
    /// Enough of them.
    Anew,
}

/// Counts this start, or makes the partition anew.
pub(crate) fn rescue(count: &Path) -> Result<(), ExitCode> {
    let mounts = fs::read_to_string(MOUNTS).map_err(|e| fail(1, &e))?;
    match step(is_mounted(&mounts, DATA), fs::read_to_string(count).ok().as_deref()) {
        Step::Nothing => println!("the data is there"),
        Step::Count(starts) => {
            println!("start {starts} of {TRIES} without data; then its partition is made anew");
            write(count, starts).map_err(|e| fail(1, &e))?;
        }
        Step::Anew => {
            println!("{TRIES} starts without data: its partition is made anew");
            anew().map_err(|e| fail(1, &e))?;
            let _ = fs::remove_file(count);
            println!("the data partition was made anew; the booth is as it was flashed");
        }
    }
    Ok(())
}

/// `counted` is what the count's file holds; one that cannot be read counts as none.
fn step(mounted: bool, counted: Option<&str>) -> Step {
    if mounted {
        return Step::Nothing;
    }
    let starts = counted.and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0).saturating_add(1);
    if starts < TRIES { Step::Count(starts) } else { Step::Anew }
}

/// Whether something is mounted at `place`, the fifth word of a line.
fn is_mounted(mounts: &str, place: &str) -> bool {
    mounts.lines().any(|line| line.split_whitespace().nth(4) == Some(place))
}

fn write(count: &Path, starts: u32) -> io::Result<()> {
    use io::Write;
    let mut file = fs::File::create(count)?;
    writeln!(file, "{starts}")?;
    file.sync_all()
}

/// Has systemd-repart(8) remove the partition that a factory reset removes, and make it again.
fn anew() -> io::Result<()> {
    // A partition that is in use stays; this one was unlocked, perhaps.
    let _ =
        Command::new("systemd-cryptsetup").args(["detach", "holobooth-data"]).stderr(Stdio::null()).status();
    let mut repart = Command::new("systemd-repart");
    repart.args(["--dry-run=no", "--factory-reset=yes", "--definitions", DEFINITIONS]);
    if repart.status()?.success() {
        return Ok(());
    }
    Err(io::Error::other("systemd-repart cannot make the data partition: the disk is broken, replace it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_start_without_data_is_the_last() {
        assert_eq!(step(false, None), Step::Count(1));
        assert_eq!(step(false, Some("1\n")), Step::Count(2));
        assert_eq!(step(false, Some("2\n")), Step::Anew);
        assert_eq!(step(false, Some("\u{0}half")), Step::Count(1));
        assert_eq!(step(false, Some("4294967295")), Step::Anew);
        assert_eq!(step(true, Some("2\n")), Step::Nothing);
    }

    #[test]
    fn what_is_mounted_is_told_from_what_is_below_it() {
        let mounts =
            "36 35 254:1 / /var/log rw - ext4 /dev/vda4 rw\n37 35 254:1 /var / ro - erofs /dev/dm-0 ro\n";
        assert!(!is_mounted(mounts, "/var"));
        assert!(is_mounted(mounts, "/var/log"));
    }
}
