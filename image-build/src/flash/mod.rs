//! `cargo xtask flash`: an image onto a disk that nobody uses, and back again to see that it is there.

mod disk;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest, Sha256};

use crate::flash::disk::Disk;
use crate::image::publish::sha256;
use crate::progress::Step;
use crate::{folders, interrupt};

/// What is written at once, in bytes.
const BLOCK: usize = 4 << 20;

/// `cargo xtask flash`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask flash                      name the disks that could be written
  cargo xtask flash /dev/sdb             asks once more, with the disk's name and size
  cargo xtask flash /dev/sdb --yes --image holobooth_0.1.0.raw.zst

Refuses a partition, a disk that is mounted or otherwise in use, and one that is too small. What was written is read again and
compared. Needs the right to write the disk: root, or the group disk.")]
pub(crate) struct Arguments {
    /// The disk, such as /dev/sdb: all that is on it is lost
    device: Option<PathBuf>,
    /// The image; the one in target/image unless given
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Writes an image, or names the disks.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let Some(device) = &arguments.device else { return list() };
    let disk = Disk::find(device)?;
    let image = match &arguments.image {
        Some(image) => image.clone(),
        None => newest(&folders::target().join("image"))?,
    };
    check_sum(&image)?;
    let size = unpacked_size(&image).unwrap_or(0);
    if size > disk.bytes {
        bail!("the image has {} MB, {} only {}", size / 1_000_000, device.display(), disk.bytes / 1_000_000);
    }
    let mut target = disk.open()?;
    if !arguments.yes {
        confirm(&disk)?;
    }
    let (mut unpacking, mut content) = unpacked(&image)?;
    let written = write(&mut content, &mut target, disk.bytes, size)
        .with_context(|| format!("cannot write {}", device.display()))?;
    let status = unpacking.wait()?;
    if !status.success() {
        bail!("{} is damaged: zstd failed ({status})", image.display());
    }
    verify(&mut target, &written).with_context(|| format!("{} is not as written", device.display()))?;
    println!("{} is a booth's disk now; put it in and switch on.", device.display());
    Ok(())
}

fn list() -> Result<()> {
    let all = Disk::all();
    for (name, disk) in &all {
        match disk {
            Ok(disk) => println!("/dev/{name}  {}", disk.describe()),
            Err(why) => println!("/dev/{name}  no: {why:#}"),
        }
    }
    if all.iter().any(|(_, disk)| disk.is_ok()) {
        return Ok(());
    }
    bail!("no disk can be written: plug one in, of 8 GB or more")
}

/// The image in a folder; of several, the one made last.
fn newest(folder: &Path) -> Result<PathBuf> {
    let images = std::fs::read_dir(folder).into_iter().flatten().flatten();
    images
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".raw.zst"))
        .filter(|entry| !entry.file_name().to_string_lossy().contains(".root-"))
        .max_by_key(|entry| entry.metadata().and_then(|metadata| metadata.modified()).ok())
        .map(|entry| entry.path())
        .with_context(|| format!("no image in {}: make one with `cargo xtask image`", folder.display()))
}

/// Holds the image against the list of sums beside it, where there is one.
fn check_sum(image: &Path) -> Result<()> {
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(sums) = std::fs::read_to_string(image.with_file_name("SHA256SUMS")) else { return Ok(()) };
    let Some(wanted) = sums.lines().find_map(|line| line.strip_suffix(&name)?.split_whitespace().next())
    else {
        return Ok(());
    };
    let step = Step::begin("Checking the image");
    if sha256(image)? != wanted {
        bail!("{} is not what SHA256SUMS says: copy it again", image.display());
    }
    step.done("as SHA256SUMS says");
    Ok(())
}

fn confirm(disk: &Disk) -> Result<()> {
    eprintln!("All that is on {} will be lost: {}.", disk.path.display(), disk.describe());
    eprint!("Type its name to go on: ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let name = disk.path.display().to_string();
    if line.trim() == name || format!("/dev/{}", line.trim()) == name {
        Ok(())
    } else {
        bail!("nothing was written")
    }
}

/// The image's content, as zstd unpacks it; or the file itself.
fn unpacked(image: &Path) -> Result<(std::process::Child, impl Read)> {
    let (program, words): (_, &[&str]) =
        if image.extension().is_some_and(|e| e == "zst") { ("zstd", &["-dcq"]) } else { ("cat", &[]) };
    let mut child = Command::new(program)
        .args(words)
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}: `cargo xtask setup` installs it"))?;
    let out = child.stdout.take().context("it has no output")?;
    Ok((child, out))
}

/// What went onto the disk.
struct Written {
    bytes: u64,
    sum: Vec<u8>,
}

/// The image's size in bytes once unpacked, as zstd says; for the progress bar, and to refuse a disk that is too small.
fn unpacked_size(image: &Path) -> Option<u64> {
    let out = Command::new("zstd").args(["--list", "--verbose"]).arg(image).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("Decompressed Size:"))?;
    line.rsplit_once('(')?.1.split_whitespace().next()?.parse().ok()
}

/// Writes all of `content`, about `size` bytes; `room` is how many the disk has.
fn write(content: &mut impl Read, target: &mut File, room: u64, size: u64) -> Result<Written> {
    let step = Step::counting("Writing", size.div_ceil(BLOCK as u64));
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut block = vec![0; BLOCK];
    loop {
        if interrupt::requested() {
            bail!("stopped; what is on the disk is no image");
        }
        let filled = fill(content, &mut block)?;
        if filled == 0 {
            break;
        }
        bytes += filled as u64;
        if bytes > room {
            bail!("the image is larger than the disk ({} MB)", room / 1_000_000);
        }
        digest.update(&block[..filled]);
        target.write_all(&block[..filled])?;
        step.advance();
        // What waits in memory would be written at the end, while the bar stands still.
        if bytes % (16 * BLOCK as u64) == 0 {
            target.sync_data()?;
        }
    }
    target.sync_all()?;
    step.done(&format!("{} MB", bytes / 1_000_000));
    Ok(Written { bytes, sum: digest.finalize().to_vec() })
}

/// Reads it again, from the disk and not from memory.
fn verify(target: &mut File, written: &Written) -> Result<()> {
    let step = Step::counting("Reading it again", written.bytes.div_ceil(BLOCK as u64));
    // Whatever of it is in memory is what was meant to be written.
    posix_fadvise(target.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    target.rewind()?;
    let mut digest = Sha256::new();
    let mut left = target.take(written.bytes);
    let mut block = vec![0; BLOCK];
    loop {
        if interrupt::requested() {
            bail!("stopped before it was compared");
        }
        let filled = fill(&mut left, &mut block)?;
        if filled == 0 {
            break;
        }
        digest.update(&block[..filled]);
        step.advance();
    }
    if digest.finalize().as_slice() != written.sum {
        bail!("the disk gives back something else than what was written: it is broken, take another");
    }
    step.done("as written");
    Ok(())
}

/// Reads until the block is full or there is no more.
fn fill(from: &mut impl Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_compared() {
        let mut target = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..BLOCK as u32 + 1234).map(|n| (n % 251) as u8).collect();
        let written = write(&mut content.as_slice(), &mut target, 1 << 30, 0).unwrap();
        assert_eq!(written.bytes, content.len() as u64);
        verify(&mut target, &written).unwrap();
        target.seek(std::io::SeekFrom::Start(BLOCK as u64 + 7)).unwrap();
        target.write_all(&[0xff]).unwrap();
        assert!(verify(&mut target, &written).unwrap_err().to_string().contains("broken"));
    }

    #[test]
    fn a_disk_that_is_too_small_is_told_so() {
        let mut target = tempfile::tempfile().unwrap();
        let error = write(&mut vec![1; 2000].as_slice(), &mut target, 1000, 0).err().unwrap();
        assert!(error.to_string().contains("larger than the disk"));
    }

    #[test]
    fn an_image_that_is_not_as_its_sum_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("x.raw.zst");
        std::fs::write(&image, "image").unwrap();
        check_sum(&image).unwrap();
        let sums = folder.path().join("SHA256SUMS");
        std::fs::write(&sums, format!("{}  x.raw.zst\n", sha256(&image).unwrap())).unwrap();
        check_sum(&image).unwrap();
        std::fs::write(&image, "imagf").unwrap();
        assert!(check_sum(&image).is_err());
    }
}
