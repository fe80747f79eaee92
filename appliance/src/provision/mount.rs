//! Mounting a stick: where nobody else sees it, and so that nothing on it can be run, be a device, or lead
//! elsewhere.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Where it is mounted, in a mount namespace of this process's own.
const AT: &str = "/run/holobooth-stick";
/// MS_NOSYMFOLLOW of linux/mount.h: symbolic links on it lead nowhere.
const NO_SYMLINKS: MsFlags = MsFlags::from_bits_retain(256);
/// Bytes from a device's start in which its file system names itself.
const HEAD: usize = 2048;

/// Why a stick cannot be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device cannot be opened or is none.
    #[error(
        "stick: {device}: {source}; name the block device of a plugged-in stick, such as /dev/sda1, with \
         the right to mount"
    )]
    Device {
        /// The device.
        device: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It holds none of the file systems that are known.
    #[error("stick: {0} holds no FAT, exFAT or ext4 file system; format the stick as one of these")]
    Unknown(PathBuf),
    /// The kernel refused.
    #[error(
        "stick: {device}: cannot mount its {kind}: {source}; check it on another computer, or take another \
         stick"
    )]
    Refused {
        /// The device.
        device: PathBuf,
        /// The file system's name.
        kind: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// No namespace or no folder to mount it in.
    #[error("stick: {what}: {source}; run it with the right to mount (CAP_SYS_ADMIN)")]
    Place {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// A file system that a stick may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fat,
    Exfat,
    Ext4,
}

impl Kind {
    /// By the first bytes of a device. The kernel looks more closely when it is mounted.
    fn of(head: &[u8]) -> Option<Self> {
        let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
        if at(3, b"EXFAT   ") {
            Some(Self::Exfat)
        } else if at(1024 + 0x38, &[0x53, 0xef]) {
            Some(Self::Ext4)
        } else if at(510, &[0x55, 0xaa]) && (at(82, b"FAT32") || at(54, b"FAT1")) {
            Some(Self::Fat)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fat => "vfat",
            Self::Exfat => "exfat",
            Self::Ext4 => "ext4",
        }
    }

    /// Words for the driver. What is damaged must not stop the machine, whatever the stick itself wants
    /// (tune2fs -e panic), and reading alone changes nothing: no journal is carried out.
    fn options(self, access: Access) -> &'static str {
        match (self, access) {
            (Self::Ext4, Access::Read) => "errors=remount-ro,noload",
            _ => "errors=remount-ro",
        }
    }
}

/// What a stick is mounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading alone.
    Read,
    /// Leaving an answer on it.
    Write,
}

/// From here on, what this process mounts is seen by nobody else, and goes with it.
pub(super) fn apart() -> Result<(), Error> {
    let place = |what| move |e: nix::Error| Error::Place { what, source: e.into() };
    unshare(CloneFlags::CLONE_NEWNS).map_err(place("a mount namespace"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(place("mounts of its own"))
}

/// A mounted stick; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts the file system on `device`. Only after [`apart`].
    pub(super) fn new(device: &Path, access: Access) -> Result<Self, Error> {
        let kind = kind(device)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(AT)
            .map_err(|source| Error::Place { what: AT, source })?;
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | NO_SYMLINKS;
        if access == Access::Read {
            flags |= MsFlags::MS_RDONLY;
        }
        mount(Some(device), AT, Some(kind.name()), flags, Some(kind.options(access)))
            .map_err(|e| Error::Refused { device: device.to_owned(), kind: kind.name(), source: e.into() })?;
        Ok(Self(AT.into()))
    }

    /// Its root.
    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// Makes what was written last; then it can be pulled.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::syncfs(File::open(&self.0)?)?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if umount2(&self.0, MntFlags::empty()).is_err() {
            let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        }
    }
}

fn kind(device: &Path) -> Result<Kind, Error> {
    let failed = |source| Error::Device { device: device.to_owned(), source };
    // Without waiting: a FIFO in the device's place would have it wait for ever.
    let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(device);
    let file = opened.map_err(failed)?;
    if !file.metadata().map_err(failed)?.file_type().is_block_device() {
        return Err(failed(io::Error::other("not a block device")));
    }
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
    Kind::of(&head).ok_or_else(|| Error::Unknown(device.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_known_by_its_first_bytes() {
        let head = |marks: &[(usize, &[u8])]| {
            let mut head = vec![0; HEAD];
            for (at, magic) in marks {
                head[*at..at + magic.len()].copy_from_slice(magic);
            }
            Kind::of(&head)
        };
        assert_eq!(head(&[(510, b"\x55\xaa"), (82, b"FAT32   ")]), Some(Kind::Fat));
        assert_eq!(head(&[(510, b"\x55\xaa"), (54, b"FAT16   ")]), Some(Kind::Fat));
        assert_eq!(head(&[(510, b"\x55\xaa"), (3, b"EXFAT   ")]), Some(Kind::Exfat));
        assert_eq!(head(&[(1080, b"\x53\xef")]), Some(Kind::Ext4));
        assert_eq!(head(&[(510, b"\x55\xaa")]), None, "a partition table alone");
        assert_eq!(head(&[(82, b"FAT32   ")]), None);
        assert_eq!(Kind::of(b"EX"), None);
    }

    #[test]
    fn only_a_block_device_is_a_stick() {
        for path in ["/dev/null", "/etc/passwd", "/", "/nonexistent"] {
            assert!(matches!(kind(Path::new(path)), Err(Error::Device { .. })), "{path}");
        }
    }
}
