//! Disks of this machine, and whether anybody uses them; from sysfs and /proc.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

/// Block devices that are no disks.
const NO_DISKS: [&str; 6] = ["loop", "ram", "zram", "sr", "dm-", "md"];

/// What to do with a wrong name.
const LIST_HINT: &str = "`cargo xtask flash` names the disks";
/// Where the system itself is mounted.
const SYSTEM: [&str; 5] = ["/", "/boot", "/boot/efi", "/usr", "/var"];

/// A whole disk that nobody uses.
pub(crate) struct Disk {
    /// `/dev/sdb`
    pub(crate) path: PathBuf,
    /// How much fits on it.
    pub(crate) bytes: u64,
    model: String,
    removable: bool,
}

impl Disk {
    /// The one at `path`.
    ///
    /// # Errors
    /// When it is no whole disk, or in use: says by what.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let given = path.display();
        let path = path.canonicalize().map_err(|_| anyhow!("there is no {given}: {LIST_HINT}"))?;
        let name = match path.strip_prefix("/dev").map(Path::to_str) {
            Ok(Some(name)) => name,
            _ => bail!("{given} is no disk: {LIST_HINT}"),
        };
        Self::of(name).with_context(|| format!("{given} is not written"))
    }

    /// All that could be disks, by name.
    pub(crate) fn all() -> Vec<(String, Result<Self>)> {
        let names = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| !NO_DISKS.iter().any(|prefix| name.starts_with(prefix)));
        names.sort();
        names.into_iter().map(|name| (name.clone(), Self::of(&name))).collect()
    }

    fn of(name: &str) -> Result<Self> {
        let sys = Path::new("/sys/block").join(name);
        if !sys.is_dir() {
            bail!("it is no whole disk (a partition, or no block device): {LIST_HINT}");
        }
        let text = |file: &str| fs::read_to_string(sys.join(file)).unwrap_or_default().trim().to_owned();
        if text("ro") == "1" {
            bail!("it is read-only: look for a switch on its side");
        }
        // Sectors of 512 bytes, whatever the disk's own are (sysfs-block).
        let bytes = text("size").parse::<u64>().unwrap_or(0) * 512;
        if bytes == 0 {
            bail!("there is no medium in it");
        }
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        for (part, number) in parts(&sys, name) {
            if let Some(place) = mounted(&mounts, &number, &format!("/dev/{part}")) {
                if SYSTEM.contains(&place) {
                    bail!("the system that runs here is on it ({place})");
                }
                bail!("/dev/{part} is mounted at {place}: unmount it first, if this is the right disk");
            }
            if swaps.lines().any(|line| line.split_whitespace().next() == Some(&format!("/dev/{part}"))) {
                bail!("/dev/{part} is this machine's swap space");
            }
        }
        if let Some(holder) = holder(&sys, name) {
            bail!("{holder} uses it (a volume group, a RAID or an encrypted disk)");
        }
        let (model, removable) = (text("device/model"), text("removable") == "1");
        Ok(Self { path: Path::new("/dev").join(name), bytes, model, removable })
    }

    /// Opens it for writing, so that nobody can mount it meanwhile.
    ///
    /// # Errors
    /// When there is no right to, or somebody was faster.
    pub(crate) fn open(&self) -> Result<File> {
        // On a block device O_EXCL without O_CREAT refuses one that is in use (open(2)).
        File::options().read(true).write(true).custom_flags(nix::libc::O_EXCL).open(&self.path).with_context(
            || format!("cannot open {} for writing: be root, and let nobody use it", self.path.display()),
        )
    }

    /// Model and size, for people.
    pub(crate) fn describe(&self) -> String {
        let model = if self.model.is_empty() { "a disk" } else { &self.model };
        let kind = if self.removable { ", removable" } else { "" };
        format!("{model}, {:.1} GB{kind}", self.bytes as f64 / 1e9)
    }
}

/// The disk and its partitions: name, and `major:minor`.
fn parts(sys: &Path, name: &str) -> Vec<(String, String)> {
    let below = fs::read_dir(sys).into_iter().flatten().flatten();
    let partitions = below
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|part| part.starts_with(name) && sys.join(part).join("partition").exists());
    std::iter::once(String::new())
        .chain(partitions)
        .map(|part| {
            let number = fs::read_to_string(sys.join(&part).join("dev")).unwrap_or_default();
            (if part.is_empty() { name.to_owned() } else { part }, number.trim().to_owned())
        })
        .collect()
}

/// Where a device is mounted: the third field of mountinfo is its number, the fifth the place, and behind the dash and the file system's
/// type stands the device (proc_pid_mountinfo(5)). Btrfs has a number of its own.
fn mounted<'a>(mounts: &'a str, number: &str, path: &str) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split_whitespace().skip(2);
        let same = fields.next()? == number || system.split_whitespace().nth(1)? == path;
        same.then(|| fields.nth(1))?
    })
}

/// A device that is built on the disk or on one of its partitions.
fn holder(sys: &Path, name: &str) -> Option<String> {
    parts(sys, name).into_iter().find_map(|(part, _)| {
        let folder = if part == name { sys.to_owned() } else { sys.join(&part) };
        let holder = fs::read_dir(folder.join("holders")).ok()?.flatten().next()?;
        Some(holder.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_known_by_its_number() {
        let mounts = "22 1 254:1 / / rw,noatime shared:1 - ext4 /dev/vda1 rw\n\
                      30 22 8:17 / /media/stick rw - vfat /dev/sdb1 rw\n\
                      31 22 0:27 /home /home rw - btrfs /dev/sdc2 rw,subvol=/home\n";
        assert_eq!(mounted(mounts, "8:17", "/dev/sdb1"), Some("/media/stick"));
        assert_eq!(mounted(mounts, "254:1", "/dev/vda1"), Some("/"));
        assert_eq!(mounted(mounts, "8:34", "/dev/sdc2"), Some("/home"));
        assert_eq!(mounted(mounts, "8:1", "/dev/sda1"), None);
    }

    #[test]
    fn the_disk_that_this_runs_from_is_refused() {
        let used = |(_, disk): &(String, Result<Disk>)| disk.is_err();
        let all = Disk::all();
        assert!(all.is_empty() || all.iter().any(used), "one of them has / on it");
    }

    #[test]
    fn a_partition_or_a_file_is_no_disk() {
        assert!(Disk::find(Path::new("/dev/null")).is_err());
        assert!(Disk::find(Path::new("/proc/self/exe")).is_err());
        assert!(Disk::find(Path::new("/dev/there-is-none")).is_err());
    }
}
