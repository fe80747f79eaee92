//! Two booths live, and what their screens show, written to files once a second.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::booth::{Booth, Pair, Plan};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::scanout::Screen;
use crate::scenario::Error;
use crate::vivid::{Pattern, Scene, Vivid};

/// What the demo shows and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Ends by itself after so many seconds.
    pub seconds: Option<i64>,
    /// Picture size in pixels.
    pub size: (u32, u32),
}

const EVERY_US: i64 = 1_000_000;

/// Runs two booths. Every second `a.png`, `b.png` (the screens) and `a.json`, `b.json` (the status)
/// are renewed in `out`, each whole or not at all. Ends when `stop` is set,
/// when the time is up, or when a booth has ended. The booths' own files go into `dir`.
///
/// # Errors
/// When a camera, a screen or a booth fails to start, or `out` cannot be written.
pub fn run(out: &Path, dir: &Path, options: Options, stop: &AtomicBool) -> Result<(), Error> {
    fs::create_dir_all(out).map_err(|source| Error::System { what: out.display().to_string(), source })?;
    for (side, pattern) in [(Side::A, Pattern::Bars), (Side::B, Pattern::Squares)] {
        let camera = Vivid::open(side.camera())?;
        camera.look_at(Scene { text: side == Side::B, ..Scene::moving(pattern) })?;
    }
    let mut pair = Pair::new(dir)?;
    let plan = Plan::both_ways(options.size);
    pair.start(plan, plan)?;
    let screens = [Screen::open(Side::A.screen())?, Screen::open(Side::B.screen())?];
    let start_us = now_us();
    for tick in 1.. {
        for (booth, screen) in [&pair.a, &pair.b].into_iter().zip(&screens) {
            publish(out, booth, screen)?;
        }
        if let Some(how) = pair.ended() {
            println!("{how}");
            break;
        }
        let over = options.seconds.is_some_and(|seconds| now_us() - start_us >= seconds * EVERY_US);
        if over || wait(start_us + tick * EVERY_US, stop) {
            break;
        }
    }
    Ok(())
}

/// Waits; whether to end.
fn wait(until_us: i64, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return true;
        }
        if now_us() >= until_us {
            return false;
        }
        sleep_until_us(until_us.min(now_us() + EVERY_US / 10));
    }
}

fn publish(out: &Path, booth: &Booth, screen: &Screen) -> Result<(), Error> {
    let name = booth.side().name();
    if let Some(picture) = screen.picture()? {
        picture.save(&out.join(format!("{name}.png")))?;
    }
    let status = booth.status();
    if status.answered() {
        let (path, part) = (out.join(format!("{name}.json")), out.join(format!("{name}.json.part")));
        let written = fs::write(&part, status.json().to_string()).and_then(|()| fs::rename(&part, &path));
        written.map_err(|source| Error::System { what: path.display().to_string(), source })?;
    }
    Ok(())
}
