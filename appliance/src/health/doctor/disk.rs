//! Room to write: the data folder; and that nothing else can be written on an image.
//!
//! Source: statvfs(3).

use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::{Judgement, Subject};

/// Less free than this, in MiB, and nothing can be kept any more.
const NOTHING_MIB: u64 = 8;
/// Less than this is little.
const LITTLE_MIB: u64 = 64;

/// What is known of the file system under a folder.
#[derive(Debug, Clone, Copy)]
struct Room {
    free_mib: u64,
    read_only: bool,
}

pub(super) fn check(subject: &Subject) -> Judgement {
    let data = &subject.config.booth.data;
    // Before the first start the folder is not there: then what it would lie on counts.
    let there = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let root_read_only = room(Path::new("/")).is_ok_and(|room| room.read_only);
    let image = crate::update::running().is_some();
    judge(&data.display().to_string(), room(there), root_read_only, image)
}

fn room(path: &Path) -> nix::Result<Room> {
    let found = statvfs(path)?;
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    Ok(Room { free_mib: free >> 20, read_only: found.flags().contains(FsFlags::ST_RDONLY) })
}

fn judge(data: &str, room: nix::Result<Room>, root_read_only: bool, image: bool) -> Judgement {
    let advice = "make room there, or set booth.data to a folder with more";
    let Room { free_mib, read_only } = match room {
        Ok(room) => room,
        Err(e) => {
            return Judgement::wrong(format!("{data}: {e}"), "set booth.data to a folder that is there");
        }
    };
    let root = if root_read_only { "read-only" } else { "writable" };
    let found = format!("{data} has {free_mib} MiB free, the root is {root}");
    if read_only {
        Judgement::wrong(
            format!("{data} is read-only"),
            "its disk may be failing: replace it, or set booth.data",
        )
    } else if free_mib < NOTHING_MIB {
        Judgement::wrong(found, advice)
    } else if free_mib < LITTLE_MIB {
        Judgement::warning(found, advice)
    } else if image && !root_read_only {
        Judgement::warning(found, "this image is not to be changed: flash it again")
    } else {
        Judgement::ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn the_data_folder_must_be_writable_and_have_room() {
        let room = |free_mib, read_only| Ok(Room { free_mib, read_only });
        for (found, root_read_only, image, verdict) in [
            (room(1_000, false), true, true, Fine),
            (room(1_000, false), false, false, Fine),
            (room(1_000, false), false, true, Warning),
            (room(20, false), true, true, Warning),
            (room(1, false), true, true, Wrong),
            (room(1_000, true), true, true, Wrong),
            (Err(nix::errno::Errno::EIO), true, true, Wrong),
        ] {
            assert_eq!(judge("/d", found, root_read_only, image).verdict, verdict, "{found:?}");
        }
        assert!(super::room(Path::new("/")).is_ok());
    }
}
