//! Room to write: the data folder; that nothing else can be written on an image, and that a TPM there is made
//! use of.
//!
//! Source: statvfs(3).

use std::fs;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::evaluation::Evaluation;
use super::subject::Subject;

/// Less free than this, in MiB, and nothing can be kept any more.
const NOTHING_MIB: u64 = 8;
/// Less than this is little.
const LITTLE_MIB: u64 = 64;

/// The TPM's version, and what the data partition is unlocked to, on the appliance.
const TPM: &str = "/sys/class/tpm/tpm0/tpm_version_major";
const UNLOCKED: &str = "/dev/mapper/holobooth-data";

/// What is known of the file system under a folder.
#[derive(Debug, Clone, Copy)]
struct Room {
    free_mib: u64,
    read_only: bool,
}

/// The image that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Image {
    /// Its data is encrypted where there is a TPM.
    AsMade,
    /// There is a TPM, and its data is not encrypted to it.
    TpmIdle,
}

pub(super) fn check(subject: &Subject) -> Evaluation {
    let data = &subject.config.booth.data;
    // Before the first start the folder is not there: then what it would lie on counts.
    let there = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let root_read_only = room(Path::new("/")).is_ok_and(|room| room.read_only);
    let image = crate::update::running().map(|_| {
        let tpm = fs::read_to_string(TPM).is_ok_and(|version| version.trim() == "2");
        if !tpm || Path::new(UNLOCKED).exists() { Image::AsMade } else { Image::TpmIdle }
    });
    evaluate(&data.display().to_string(), room(there), root_read_only, image)
}

fn room(path: &Path) -> nix::Result<Room> {
    let found = statvfs(path)?;
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    Ok(Room { free_mib: free >> 20, read_only: found.flags().contains(FsFlags::ST_RDONLY) })
}

fn evaluate(data: &str, room: nix::Result<Room>, root_read_only: bool, image: Option<Image>) -> Evaluation {
    let advice = "make room there, or set booth.data to a folder with more";
    let Room { free_mib, read_only } = match room {
        Ok(room) => room,
        Err(e) => {
            return Evaluation::wrong(format!("{data}: {e}"), "set booth.data to a folder that is there");
        }
    };
    let root = if root_read_only { "read-only" } else { "writable" };
    let found = format!("{data} has {free_mib} MiB free, the root is {root}");
    if read_only {
        Evaluation::wrong(
            format!("{data} is read-only"),
            "its disk may be failing: replace it, or set booth.data",
        )
    } else if free_mib < NOTHING_MIB {
        Evaluation::wrong(found, advice)
    } else if free_mib < LITTLE_MIB {
        Evaluation::warning(found, advice)
    } else if image.is_some() && !root_read_only {
        Evaluation::warning(found, "this image is not to be changed: flash it again")
    } else if image == Some(Image::TpmIdle) {
        let found = format!("{found}, its data is not encrypted though there is a TPM");
        Evaluation::warning(
            found,
            "the TPM refused when the data was made: see to it in the firmware, flash the disk again",
        )
    } else {
        Evaluation::ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn the_data_folder_must_be_writable_and_have_room() {
        let room = |free_mib, read_only| Ok(Room { free_mib, read_only });
        for (found, root_read_only, image, verdict) in [
            (room(1_000, false), true, Some(Image::AsMade), Fine),
            (room(1_000, false), true, Some(Image::TpmIdle), Warning),
            (room(1_000, false), false, None, Fine),
            (room(1_000, false), false, Some(Image::AsMade), Warning),
            (room(20, false), true, Some(Image::AsMade), Warning),
            (room(1, false), true, Some(Image::AsMade), Wrong),
            (room(1_000, true), true, Some(Image::AsMade), Wrong),
            (Err(nix::errno::Errno::EIO), true, Some(Image::AsMade), Wrong),
        ] {
            assert_eq!(evaluate("/d", found, root_read_only, image).verdict, verdict, "{found:?}");
        }
        assert!(super::room(Path::new("/")).is_ok());
    }
}
