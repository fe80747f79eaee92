//! The data partition cannot be had: lost with its TPM, or beyond what fsck repairs. The booth is started again, and after three such
//! starts in a row, or twenty where a TPM has the key, the partition is made anew. What goes with it is what came after the flashing: the booth's key, what sticks brought.
//!
//! The starts are counted on the EFI system partition, the only other place that can be written.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::fail;

/// Where starts without data are counted; holobooth-kept.service removes it at a good start.
pub(crate) const COUNT: &str = "/boot/holobooth-starts-without-data";
/// So many are tried; more where a TPM has to give its key, which it may be kept from for a while.
const TRIES: u32 = 3;
const TRIES_SEALED: u32 = 20;
/// What the TPM is to unlock.
const SEALED: &str = "/dev/holobooth/sealed";
/// While a version is on trial: that may be why, and systemd-boot goes back by itself (The Boot Loader Interface).
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
    Anew,
}

/// Counts this start, or makes the partition anew.
pub(crate) fn rescue(count: &Path) -> Result<(), ExitCode> {
    let mounts = fs::read_to_string(MOUNTS).map_err(|e| fail(1, &e))?;
    let blameless = is_mounted(&mounts, DATA) || Path::new(ON_TRIAL).exists();
    let tries = if Path::new(SEALED).exists() { TRIES_SEALED } else { TRIES };
    match step(blameless, fs::read_to_string(count).ok().as_deref(), tries) {
        Step::Nothing => println!("the data is there, or a version on trial does not find it"),
        Step::Count(starts) => {
            println!("start {starts} of {tries} without data; then its partition is made anew");
            write(count, starts).map_err(|e| fail(1, &e))?;
        }
        Step::Anew => {
            println!("{tries} starts without data: its partition is made anew");
            anew().map_err(|e| fail(1, &e))?;
            let _ = fs::remove_file(count);
            println!("the data partition was made anew; the booth is as it was flashed");
        }
    }
    Ok(())
}

/// `counted` is what the count's file holds; one that cannot be read counts as none.
fn step(blameless: bool, counted: Option<&str>, tries: u32) -> Step {
    if blameless {
        return Step::Nothing;
    }
    let starts = counted.and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0).saturating_add(1);
    if starts < tries { Step::Count(starts) } else { Step::Anew }
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
        let third = |counted| step(false, counted, TRIES);
        assert_eq!(third(None), Step::Count(1));
        assert_eq!(third(Some("1\n")), Step::Count(2));
        assert_eq!(third(Some("2\n")), Step::Anew);
        assert_eq!(third(Some("\u{0}half")), Step::Count(1));
        assert_eq!(third(Some("4294967295")), Step::Anew);
        assert_eq!(step(false, Some("2\n"), TRIES_SEALED), Step::Count(3));
        assert_eq!(step(true, Some("2\n"), TRIES), Step::Nothing);
    }

    #[test]
    fn what_is_mounted_is_told_from_what_is_below_it() {
        let mounts =
            "36 35 254:1 / /var/log rw - ext4 /dev/vda4 rw\n37 35 254:1 /var / ro - erofs /dev/dm-0 ro\n";
        assert!(!is_mounted(mounts, "/var"));
        assert!(is_mounted(mounts, "/var/log"));
    }
}
