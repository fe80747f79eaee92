//! USB sticks: image files behind loop devices, with a file system each.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::clock::{now_us, sleep_until_us};

/// From one look at a program to the next, in µs.
const POLL_INTERVAL_US: i64 = 5_000;
/// Being woken later than this is the machine's doing, in µs.
const WAKE_US: i64 = 15_000;

/// A stick's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// FAT32, with the smallest clusters.
    Fat,
    /// exFAT.
    Exfat,
    /// ext4.
    Ext4,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fat, Self::Exfat, Self::Ext4];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fat => "vfat",
            Self::Exfat => "exfat",
            Self::Ext4 => "ext4",
        }
    }

    /// Bytes of an image: as few as the file system allows, and some more.
    fn size(self) -> u64 {
        match self {
            Self::Fat => 40 << 20,
            Self::Exfat | Self::Ext4 => 16 << 20,
        }
    }

    fn make(self, image: &Path) -> io::Result<()> {
        let image = image.display().to_string();
        let words: &[&str] = match self {
            Self::Fat => &["mkfs.fat", "-F", "32", "-s", "1", "-n", "STICK"],
            Self::Exfat => &["mkfs.exfat"],
            Self::Ext4 => &["mkfs.ext4", "-q", "-F"],
        };
        run(&[words, &[image.as_str()]].concat()).map(drop)
    }
}

/// A stick that is not plugged in.
#[derive(Debug)]
pub struct Stick {
    image: PathBuf,
    format: Format,
}

impl Stick {
    /// An empty one; its image is the file `image`.
    ///
    /// # Errors
    /// When the image cannot be made.
    pub fn new(image: PathBuf, format: Format) -> io::Result<Self> {
        let _ = fs::remove_file(&image);
        File::create(&image)?.set_len(format.size())?;
        format.make(&image)?;
        Ok(Self { image, format })
    }

    /// Its file system.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The image file.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// All of its bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.image)
    }

    /// Does something with its files, as another computer would.
    ///
    /// # Errors
    /// When it cannot be mounted, and those of `with`.
    pub fn with<T>(&self, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let plugged = self.plug(false)?;
        let at = self.image.with_extension("mounted");
        fs::create_dir_all(&at)?;
        mount(Some(plugged.device()), &at, Some(self.format.name()), MsFlags::empty(), None::<&str>)?;
        let result = with(&at);
        umount2(&at, MntFlags::empty())?;
        result
    }

    /// Puts a file into its root.
    ///
    /// # Errors
    /// As [`Stick::with`].
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.with(|root| fs::write(root.join(name), bytes))
    }

    /// A text file of its root; empty when there is none.
    ///
    /// # Errors
    /// As [`Stick::with`].
    pub fn text(&self, name: &str) -> io::Result<String> {
        self.with(|root| Ok(fs::read_to_string(root.join(name)).unwrap_or_default()))
    }

    /// Plugs it in.
    ///
    /// # Errors
    /// When there is no loop device to be had.
    pub fn plug(&self, read_only: bool) -> io::Result<Plugged> {
        let image = self.image.display().to_string();
        let words: &[&str] = if read_only { &["-r"] } else { &[] };
        let out = run(&[&["losetup", "--find", "--show"], words, &[image.as_str()]].concat())?;
        Ok(Plugged { device: String::from_utf8_lossy(&out.stdout).trim().into() })
    }
}

/// A stick that is plugged in; pulled when dropped.
#[derive(Debug)]
pub struct Plugged {
    device: PathBuf,
}

impl Plugged {
    /// Its block device.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Pulls it. Whether nothing had hold of it.
    pub fn pull(self) -> bool {
        let name = self.device.file_name().unwrap_or_default().to_owned();
        drop(self);
        !Path::new("/sys/block").join(name).join("loop/backing_file").exists()
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        let _ = run(&["losetup", "--detach", &self.device.display().to_string()]);
    }
}

/// Where a booth keeps what comes by stick, and says so.
#[derive(Debug, Clone)]
pub struct Places {
    /// The image's configuration.
    pub image: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// Notices for the screen.
    pub notices: PathBuf,
    /// Below this the network's files are written.
    pub root: PathBuf,
    /// A folder of programs that stand in for the system's.
    pub programs: PathBuf,
}

/// What `holobooth` did with a stick.
#[derive(Debug)]
pub struct Done {
    /// Its exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub said: String,
    /// How long it took, in ms, without what follows.
    pub took_ms: i64,
    /// How long who looks on was not woken when it should have been: the machine had other things to do.
    pub stalled_ms: i64,
    /// The notice that it left: title and lines; empty when none.
    pub notice: String,
    /// Whether the notice is of trouble.
    pub trouble: bool,
    /// How long after the start the first notice lay there, in ms; none when there is none.
    pub notice_ms: Option<i64>,
}

impl Places {
    /// Places of their own below `dir`, made; the image's configuration is the file `image`.
    ///
    /// # Errors
    /// The system's.
    pub fn new(dir: &Path, image: PathBuf) -> io::Result<Self> {
        let [store, notices, root, programs] =
            ["store", "notices", "root", "programs"].map(|name| dir.join(name));
        let places = Self { image, store, notices, root, programs };
        for folder in [&places.notices, &places.root, &places.programs] {
            fs::create_dir_all(folder)?;
        }
        Ok(places)
    }

    /// Runs `holobooth` with these words and places to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, binary: &Path, words: &[&str]) -> io::Result<Done> {
        let notice = self.notices.join("notice.json");
        let _ = fs::remove_file(&notice);
        let start_us = now_us();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.programs.clone()].into_iter().chain(std::env::split_paths(&path));
        let mut child = Command::new(binary)
            .env("PATH", std::env::join_paths(path).map_err(io::Error::other)?)
            .args(words)
            .arg("--image")
            .arg(&self.image)
            .arg("--store")
            .arg(&self.store)
            .arg("--notices")
            .arg(&self.notices)
            .arg("--into")
            .arg(&self.root)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        let (mut notice_ms, mut stalled_us) = (None, 0);
        let took_ms = |stalled_us: i64| (now_us() - start_us - stalled_us) / 1000;
        while child.try_wait()?.is_none() {
            if notice_ms.is_none() && notice.exists() {
                notice_ms = Some(took_ms(stalled_us));
            }
            let due_us = now_us() + POLL_INTERVAL_US;
            sleep_until_us(due_us);
            stalled_us += (now_us() - due_us - WAKE_US).max(0);
        }
        let took_ms = took_ms(stalled_us);
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        let left: serde_json::Value =
            fs::read(&notice).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let lines = left["lines"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        let told: Vec<&str> = left["title"].as_str().into_iter().chain(lines).collect();
        Ok(Done {
            code: status.code(),
            said: String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
            took_ms,
            stalled_ms: stalled_us / 1000,
            notice: told.join("\n"),
            trouble: left["trouble"].as_bool().unwrap_or(false),
            notice_ms: notice_ms.or((!told.is_empty()).then_some(took_ms)),
        })
    }

    /// Runs `holobooth stick` on a plugged-in stick.
    ///
    /// # Errors
    /// As [`Places::run`].
    pub fn take(&self, binary: &Path, plugged: &Plugged) -> io::Result<Done> {
        self.run(binary, &["stick", &plugged.device().display().to_string()])
    }

    /// All that the store holds, by name.
    pub fn store(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(&self.store)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name() != "lock")
            .map(|entry| {
                (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap_or_default())
            })
            .collect();
        files.sort();
        files
    }

    /// A file of the store as text; empty when there is none.
    pub fn stored(&self, name: &str) -> String {
        fs::read_to_string(self.store.join(name)).unwrap_or_default()
    }
}

/// Runs a program to its good end.
///
/// # Errors
/// When it cannot be started or fails, with what it said.
pub fn run(words: &[&str]) -> io::Result<Output> {
    let out = Command::new(words[0])
        .args(&words[1..])
        .output()
        .map_err(|e| io::Error::other(format!("{}: {e}; `cargo xtask setup` installs it", words[0])))?;
    if out.status.success() {
        return Ok(out);
    }
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(io::Error::other(format!("`{}`: {said}", words.join(" "))))
}

/// What is left of a `holobooth stick` that has ended: mounts that others see, and processes.
pub fn left_behind() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts =
        mounts.lines().filter(|line| line.contains("holobooth-stick")).map(|line| format!("mounted: {line}"));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<_> =
            line.split(|&b| b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let ours = words.get(1).is_some_and(|word| word == "evaluate" || word == "stick");
        ours.then(|| format!("running: {}", words.join(" ")))
    });
    mounts.chain(processes).collect()
}
