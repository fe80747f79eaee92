//! The data partition cannot be had: lost with its TPM, or beyond what fsck repairs. The booth is started
//! again, and after three such starts in a row, or twenty where a TPM has the key, the partition is
//! recreated. What goes with it is what came after the flashing: the booth's key, what sticks brought.
//!
//! The starts are counted on the EFI system partition, the only other place that can be written; a good start
//! leaves that alone, so a count that is an hour old is over.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use holobooth::sys::replace_file;

use crate::exit::fail;

/// Where starts without data are counted: how many, and when the last was, in seconds of the Unix epoch.
pub(crate) const COUNT: &str = "/boot/holobooth-starts-without-data";
/// So many are tried; more where a TPM has to give its key, which it may be kept from for a while.
const TRIES: u32 = 3;
const TRIES_SEALED: u32 = 20;
/// From one to the next they are not further apart, in seconds.
const MIN_SPACING_S: u64 = 3600;
/// What the TPM is to unlock.
const SEALED: &str = "/dev/holobooth/sealed";
/// While a version is on trial: that may be why, and systemd-boot goes back by itself (The Boot Loader
/// Interface).
const ON_TRIAL: &str = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// What has to be mounted, and where the system says so (proc_pid_mountinfo(5)).
const DATA: &str = "/var";
const MOUNTS: &str = "/proc/self/mountinfo";
/// The partition's definition, not encrypted: a TPM that does not give its key back may be why it was lost.
const DEFINITIONS: &str = "/usr/lib/holobooth/disk";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The data is there, or a version on trial does not find it.
    Nothing,
    /// This was a start without data; so many were there now.
    Count(u32),
    /// Enough of them.
    Recreate,
}

/// Counts this start, or recreates the partition.
pub(crate) fn rescue(count: &Path) -> Result<(), ExitCode> {
    let mounts = fs::read_to_string(MOUNTS).map_err(|e| fail(1, &e))?;
    let blameless = is_mounted(&mounts, DATA) || Path::new(ON_TRIAL).exists();
    let tries = if Path::new(SEALED).exists() { TRIES_SEALED } else { TRIES };
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let before = fs::read_to_string(count).ok().and_then(|text| Count::parse(&text));
    match step(blameless, before, now_s, tries) {
        Step::Nothing => println!("the data is there, or a version on trial does not find it"),
        Step::Count(starts) => {
            println!("start {starts} of {tries} without data; then its partition is recreated");
            write(count, Count { starts, last_s: now_s }).map_err(|e| fail(1, &e))?;
        }
        Step::Recreate => {
            println!("{tries} starts without data: its partition is recreated");
            recreate().map_err(|e| fail(1, &e))?;
            let _ = fs::remove_file(count);
            println!("the data partition was recreated; the booth is as it was flashed");
        }
    }
    Ok(())
}

/// Starts without data, in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    starts: u32,
    last_s: u64,
}

impl Count {
    fn parse(text: &str) -> Option<Self> {
        let (starts, last_s) = text.trim().split_once(' ')?;
        Some(Self { starts: starts.parse().ok()?, last_s: last_s.parse().ok()? })
    }
}

fn step(blameless: bool, before: Option<Count>, now_s: u64, tries: u32) -> Step {
    if blameless {
        return Step::Nothing;
    }
    let in_a_row = before.filter(|count| count.last_s.abs_diff(now_s) < MIN_SPACING_S);
    let starts = in_a_row.map_or(0, |count| count.starts).saturating_add(1);
    if starts < tries { Step::Count(starts) } else { Step::Recreate }
}

/// Whether something is mounted at `place`, the fifth word of a line.
fn is_mounted(mounts: &str, place: &str) -> bool {
    mounts.lines().any(|line| line.split_whitespace().nth(4) == Some(place))
}

fn write(path: &Path, count: Count) -> io::Result<()> {
    replace_file(path, format!("{} {}\n", count.starts, count.last_s).as_bytes(), 0o644)
}

/// Has systemd-repart(8) remove the partition that a factory reset removes, and make it again.
fn recreate() -> io::Result<()> {
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
        let after = |starts, last_s| step(false, Some(Count { starts, last_s }), 10_000, TRIES);
        assert_eq!(step(false, None, 10_000, TRIES), Step::Count(1));
        assert_eq!(after(1, 9_900), Step::Count(2));
        assert_eq!(after(2, 9_900), Step::Recreate);
        assert_eq!(after(u32::MAX, 10_100), Step::Recreate, "a clock that went back a little");
        assert_eq!(after(2, 10_000 - MIN_SPACING_S), Step::Count(1));
        assert_eq!(after(2, 99_999), Step::Count(1));
        let two = Some(Count { starts: 2, last_s: 10_000 });
        assert_eq!(step(false, two, 10_000, TRIES_SEALED), Step::Count(3));
        assert_eq!(step(true, two, 10_000, TRIES), Step::Nothing);
    }

    #[test]
    fn a_count_that_cannot_be_read_is_none() {
        assert_eq!(Count::parse("2 1764111111\n"), Some(Count { starts: 2, last_s: 1_764_111_111 }));
        for text in ["", "2", "2 ", "x 1", "\u{0}half 3", "-1 5"] {
            assert_eq!(Count::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_mounted_is_told_from_what_is_below_it() {
        let mounts =
            "36 35 254:1 / /var/log rw - ext4 /dev/vda4 rw\n37 35 254:1 /var / ro - erofs /dev/dm-0 ro\n";
        assert!(!is_mounted(mounts, "/var"));
        assert!(is_mounted(mounts, "/var/log"));
    }
}
