//! The rates of sound devices' clocks, kept from one start to the next: a small file for each device.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sys::replace_file;

/// How often the file is written at most, in µs: crystals do not change faster, and flash wears.
const EVERY_US: u64 = 600_000_000;
/// A file longer than this is none of ours.
const MAX_BYTES: u64 = 64;

/// The file of one device.
#[derive(Debug)]
pub struct KeptRate {
    path: PathBuf,
    next_us: u64,
}

impl KeptRate {
    /// The file in `folder` of the device with this key ([`Candidate::key`](super::device::Candidate::key));
    /// it is `now_us`.
    pub fn new(folder: &Path, key: &str, now_us: u64) -> Self {
        let name = key.replace(|c: char| !c.is_ascii_alphanumeric() && !".:".contains(c), "_");
        // Not a hidden file, whatever the key begins with.
        let path = folder.join(format!("clock-{name}"));
        let next_us = if path.exists() { now_us + EVERY_US } else { now_us };
        Self { path, next_us }
    }

    /// The rate in Hz, when there is one.
    pub fn read(&self) -> Option<f64> {
        let mut text = String::new();
        File::open(&self.path).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().filter(|rate: &f64| rate.is_finite())
    }

    /// Writes the rate, unless that was done a short while ago. It waits for the disk: not for a thread that
    /// keeps sound going.
    ///
    /// # Errors
    /// The system's; it is tried again after as long.
    pub fn write_when_due(&mut self, rate_hz: f64, now_us: u64) -> io::Result<()> {
        if now_us < self.next_us {
            return Ok(());
        }
        self.next_us = now_us + EVERY_US;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        replace_file(&self.path, format!("{rate_hz:.4}\n").as_bytes(), 0o640)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_by_device_and_not_written_often() {
        let folder = std::env::temp_dir().join(format!("holobooth-rates-{}", std::process::id()));
        let key = "usb-0000:00:14.0-2 ../USB 0";
        let mut kept = KeptRate::new(&folder, key, 1_000);
        assert_eq!(kept.read(), None);
        kept.write_when_due(47_999.5, 1_000).unwrap();
        assert_eq!(kept.read(), Some(47_999.5), "the first is worth most");
        let mut kept = KeptRate::new(&folder, key, 1_000);
        kept.write_when_due(48_000.5, 1_000 + EVERY_US - 1).unwrap();
        assert_eq!(kept.read(), Some(47_999.5), "too early");
        kept.write_when_due(48_001.234_56, 1_000 + EVERY_US).unwrap();
        assert_eq!(kept.read(), Some(48_001.234_6));
        kept.write_when_due(1.0, 1_000 + EVERY_US + 1).unwrap();
        assert_eq!(kept.read(), Some(48_001.234_6));
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["clock-usb_0000:00:14.0_2_.._USB_0"]);
        assert_eq!(KeptRate::new(&folder, "another", 0).read(), None);
        for text in ["", "fast", "NaN", "inf"] {
            fs::write(&kept.path, text).unwrap();
            assert_eq!(kept.read(), None, "{text}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
