//! Eyes inside a machine that runs the finished image: a program of the host's that the scenario has systemd
//! start there. It sees the screen, asks the booth, counts memory, and writes what it found into a file of
//! the host's, once a second.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::machine::picture::bars;
use crate::scanout::Screen;
use crate::vivid::{Pattern, Scene, Vivid};

/// The booth's socket on an appliance.
const SOCKET: &str = "/run/holobooth/status.sock";
/// The camera's bus address, and the screen's device.
const CAMERA: &str = "platform:vivid-000";
const SCREEN: &str = "vkms";

/// What it is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The file that it writes.
    #[arg(long)]
    out: PathBuf,
    /// The camera sees lying bars, not upright ones.
    #[arg(long)]
    lying: bool,
}

/// Looks until the machine is switched off.
///
/// # Errors
/// When the file cannot be written.
pub fn run(arguments: &Arguments) -> io::Result<()> {
    let pattern = if arguments.lying { Pattern::Rows } else { Pattern::Bars };
    let scene = Vivid::open(CAMERA).and_then(|camera| camera.look_at(Scene::still(pattern)));
    let scene = scene.map_or_else(|e| e.to_string(), |()| "set".into());
    loop {
        let status = holobooth::health::ask(Path::new(SOCKET));
        let status = status.map_or_else(|e| json!(e.to_string()), |status| json!(status));
        let seen = json!({
            "camera": scene,
            "status": status,
            "screen": screen(&arguments.out),
            "used_kb": used_kb(),
            "writable": writable(),
        });
        let new = arguments.out.with_extension("new");
        fs::write(&new, seen.to_string())?;
        fs::rename(new, &arguments.out)?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What is on the screen, in a word; and the picture beside the file.
fn screen(out: &Path) -> Value {
    let picture = Screen::open(SCREEN).and_then(|screen| screen.picture());
    match picture {
        Ok(Some(picture)) => {
            let _ = picture.save(&out.with_extension("png"));
            let (width, height) = picture.size();
            let at = |x: usize, y: usize| picture.at(x as u32, y as u32);
            json!({"shows": bars(width as usize, height as usize, at), "width": width, "height": height})
        }
        Ok(None) => json!({"shows": "nothing"}),
        Err(e) => json!({"shows": "unknown", "why": e.to_string()}),
    }
}

/// Where the first process sees file systems on disks that can be written (proc_pid_mountinfo(5)).
fn writable() -> Vec<String> {
    const IN_MEMORY: [&str; 16] = [
        "autofs",
        "bpf",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hostfs",
        "mqueue",
        "proc",
        "pstore",
        "securityfs",
        "sysfs",
        "tracefs",
    ];
    let text = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
    let places = text.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split_whitespace().skip(4);
        let (place, options) = (fields.next()?, fields.next()?);
        let mut system_fields = system.split_whitespace();
        let (kind, _, whole) = (system_fields.next()?, system_fields.next()?, system_fields.next()?);
        let can = options.split(',').any(|o| o == "rw") && whole.split(',').any(|o| o == "rw");
        let in_memory = IN_MEMORY.contains(&kind) || kind == "tmpfs" || kind == "ramfs";
        (can && !in_memory).then(|| place.to_owned())
    });
    places.collect()
}

/// What is not to be had any more, in kB: the whole memory less what the kernel says is available
/// (proc_meminfo(5)).
fn used_kb() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    Some(of("MemTotal:")?.saturating_sub(of("MemAvailable:")?))
}
