//! Damage to a stick's file system, from outside.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use fastrand::Rng;

use super::fault::Fault;
use crate::stick::{Format, Stick, run};

/// Does it the damage that belongs to the fault, if any.
pub(super) fn damage(stick: &Stick, fault: Fault, rng: &mut Rng) -> io::Result<()> {
    let unix = stick.format() == Format::Ext4;
    match fault {
        Fault::Truncated => {
            let image = OpenOptions::new().write(true).open(stick.image())?;
            let whole = image.metadata()?.len();
            // Of whole blocks: a loop device has no halves.
            image.set_len(rng.u64(whole / 512 / 50..whole / 512 / 2) * 512)
        }
        Fault::Corrupted | Fault::SignedCorrupted => corrupt(stick, rng, 1),
        Fault::CorruptedBlocks => corrupt(stick, rng, 512),
        Fault::Loop if stick.format() == Format::Fat => go_round(stick, rng),
        Fault::Loop => corrupt(stick, rng, 4),
        Fault::AsksForPanic if unix => {
            let image = stick.image().display().to_string();
            run(&["tune2fs", "-e", "panic", &image])?;
            // The root folder's own block: whoever looks a name up there finds the damage.
            let blocks = run(&["debugfs", "-R", "blocks /", &image])?;
            let block = String::from_utf8_lossy(&blocks.stdout)
                .split_whitespace()
                .next()
                .and_then(|n| n.parse().ok());
            let block: u64 = block.ok_or(io::Error::other("debugfs names no block"))?;
            let size = 1024 << u32::from(stick.bytes()?[1024 + 24]);
            let garbage: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
            OpenOptions::new().write(true).open(stick.image())?.write_all_at(&garbage, block * size)
        }
        Fault::AsksForPanic => corrupt(stick, rng, 64),
        _ => Ok(()),
    }
}

/// Other bytes, `run` in a row, at a few dozen places where a file system keeps its structures: mostly at the
/// start.
fn corrupt(stick: &Stick, rng: &mut Rng, run: usize) -> io::Result<()> {
    let image = OpenOptions::new().write(true).open(stick.image())?;
    let whole = image.metadata()?.len();
    for _ in 0..rng.u32(5..80) {
        let reach = [4096, 65_536, 2 << 20, whole][rng.usize(0..4)];
        let at = rng.u64(0..reach.min(whole) - run as u64);
        let bytes: Vec<u8> = (0..run).map(|_| rng.u8(..)).collect();
        image.write_all_at(&bytes, at)?;
    }
    // The signatures by which it is known stay, or there would be nothing to look at.
    restore_magic(&image, stick.format())
}

fn restore_magic(image: &File, format: Format) -> io::Result<()> {
    match format {
        Format::Fat => {
            image.write_all_at(b"FAT32   ", 82)?;
            image.write_all_at(b"\x55\xaa", 510)
        }
        Format::Exfat => {
            image.write_all_at(b"EXFAT   ", 3)?;
            image.write_all_at(b"\x55\xaa", 510)
        }
        Format::Ext4 => image.write_all_at(b"\x53\xef", 1080),
    }
}

/// Lets chains of a FAT32 go round: each entry that is in use points back at an earlier one, the root's own
/// too, or at itself.
fn go_round(stick: &Stick, rng: &mut Rng) -> io::Result<()> {
    let mut bytes = stick.bytes()?;
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let (sector, reserved, tables) = (u16_at(11), u16_at(14), usize::from(bytes[16]));
    let size = u32::from_le_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]) as usize * sector;
    let first = if rng.bool() { 2 } else { 3 };
    let mut used = Vec::new();
    for cluster in first..size / 4 {
        let at = reserved * sector + cluster * 4;
        if bytes[at..at + 4] == [0; 4] {
            break;
        }
        used.push(cluster);
    }
    for (n, &cluster) in used.iter().enumerate() {
        let to = used[rng.usize(0..=n)] as u32;
        for table in 0..tables {
            let at = reserved * sector + table * size + cluster * 4;
            bytes[at..at + 4].copy_from_slice(&to.to_le_bytes());
        }
    }
    fs::write(stick.image(), bytes)
}
