//! Whether the rig keeps its promises: output apart and whole, the exit status, devices, networks, an end.

use anyhow::{Result, ensure};

use crate::rig::options::Options;
use crate::rig::run::{Running, Stream};

/// What a command left.
struct Ran {
    status: u8,
    out: String,
    err: String,
}

/// Boots a few rigs; a broken promise is an error.
pub(crate) fn run() -> Result<()> {
    let one = Options::default();
    let ran = shell(&one, "id -u; seq 100000 | tail -n 1; echo complaint >&2; exit 7")?;
    ensure!(ran.status == 7, "the exit status is {} and not the command's 7", ran.status);
    ensure!(ran.out == "0\n100000\n", "standard output came as {:?}", ran.out);
    ensure!(ran.err == "complaint\n", "standard error came as {:?}", ran.err);

    let two = Options { two_booths: true, ..Options::default() };
    let devices = "cd /sys/class; cat video4linux/*/name; for c in drm/card?; do basename $(realpath $c/device); done; \
                   cat sound/card?/id; ip -n a -br addr show va; ip -n b -br addr show vb";
    let ran = shell(&two, devices)?;
    for device in ["screen-a", "screen-b", "bootha", "boothb", "10.9.0.1/24", "10.9.0.2/24"] {
        ensure!(ran.out.contains(device), "there is no {device}, only:\n{}{}", ran.out, ran.err);
    }
    ensure!(ran.out.matches("vivid").count() == 3, "not three cameras, but:\n{}", ran.out);

    let short = Options { time_limit_s: 1, ..Options::default() };
    let ran = shell(&short, "sleep 60 & echo begun; sleep 60")?;
    ensure!(
        ran.status == 124 && ran.out == "begun\n",
        "the time limit gave {} and {:?}",
        ran.status,
        ran.out
    );

    let ran = shell(&one, "sleep 60 & kill -KILL $$")?;
    ensure!(ran.status == 137, "a killed command gave {} and not 137", ran.status);
    Ok(())
}

fn shell(options: &Options, script: &str) -> Result<Ran> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let status = Running::start(options, command, Vec::new())?.wait(&mut |stream, bytes| match stream {
        Stream::Out => out.extend_from_slice(bytes),
        Stream::Err => err.extend_from_slice(bytes),
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { status, out: text(out), err: text(err) })
}
