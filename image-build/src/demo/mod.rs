//! `cargo xtask demo`: two booths in the rig, live on the terminal and in a browser; or this machine's own
//! camera and screen.

mod picture;
mod real;
mod status;
mod view;
mod web;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::demo::status::Status;
use crate::demo::view::{View, watch};
use crate::demo::web::Web;
use crate::rig::options::{Line, Options};
use crate::rig::run::{Running, tail};
use crate::{cargo, folders, interrupt, kernel};

/// How much of the booths' log an error shows.
const LINES_IN_AN_ERROR: usize = 20;
/// What booting, starting and ending may take beside the seconds asked for.
const SPARE_S: u32 = 60;
/// A demo without an end ends after a day: the rig always ends.
const A_DAY_S: u32 = 24 * 60 * 60;

/// `cargo xtask demo`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo
  cargo xtask demo --seconds 20 --picture demo.png
  cargo xtask demo --delay 20 --loss 1 --rate 30
  cargo xtask demo --real

What each screen shows is read back from its scanned-out framebuffer each second and served, with the booths'
states and latencies, on a web page of this machine. The booths' logs go to demo.log in the cache folder.")]
pub(crate) struct Arguments {
    /// End after this many seconds, instead of with Ctrl-C
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..i64::from(A_DAY_S)), value_name = "N")]
    seconds: Option<u32>,
    /// This machine's own camera and screen, in a loop with itself, instead of the rig
    #[arg(long, conflicts_with_all = ["port", "delay", "loss", "rate", "picture"])]
    real: bool,
    /// Port of the web page; another one is taken when this one is in use
    #[arg(long, default_value_t = 8090, value_name = "P")]
    port: u16,
    /// One-way delay of the line in milliseconds, in each direction
    #[arg(long, value_name = "MS")]
    delay: Option<u32>,
    /// Packets lost at random, in per cent, in each direction
    #[arg(long, value_name = "PCT")]
    loss: Option<f64>,
    /// Capacity of the line in Mbit/s, in each direction
    #[arg(long, value_name = "MBIT")]
    rate: Option<u32>,
    /// At the end, write both screens side by side into this PNG file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Runs the demo to its end.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let programs = cargo::build()?;
    if arguments.real {
        return real::main(&programs, arguments.seconds);
    }
    kernel::ensure()?;
    let folder = tempfile::Builder::new()
        .prefix(&format!("{}-demo-", std::process::id()))
        .tempdir_in(folders::cache_of("runs")?)?;
    let web = Web::start(folder.path(), arguments.port)?;
    let mut command = vec![programs.tests.display().to_string(), "demo".into()];
    command.extend(["--dir".into(), folder.path().display().to_string()]);
    command.extend(arguments.seconds.iter().flat_map(|seconds| ["--seconds".into(), seconds.to_string()]));
    let options = Options {
        two_booths: true,
        line: Line {
            delay_ms: arguments.delay,
            loss_percent: arguments.loss,
            burst_loss: None,
            rate_mbit: arguments.rate,
        },
        time_limit_s: arguments.seconds.map_or(A_DAY_S, |seconds| seconds + SPARE_S),
        ..Options::default()
    };
    let log = folders::cache()?.join("demo.log");
    let mut log_file = std::fs::File::create(&log)?;
    let mut rig = Running::start(&options, command, programs.environment())?;
    println!("What the screens show: {}", web.address());
    let mut view = View::new(&format!("holobooth demo · {}", web.address()), ["booth A", "booth B"]);
    let status = watch(
        &mut view,
        || {
            let mut kept = Ok(());
            let ended = rig.step(&mut |_, bytes| kept = log_file.write_all(bytes))?;
            kept?;
            Ok(ended)
        },
        || ["a.json", "b.json"].map(|name| Status::parse(&std::fs::read(folder.path().join(name)).ok()?)),
    )?;
    if status != 0 && !interrupt::requested() {
        bail!(
            "the demo ended with status {status}; the end of {}:\n{}",
            log.display(),
            tail(&log, LINES_IN_AN_ERROR)
        );
    }
    if let Some(file) = &arguments.picture {
        picture::side_by_side(&folder.path().join("a.png"), &folder.path().join("b.png"), file)
            .context("the demo left no pictures of the screens")?;
        println!("Both screens are in {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}
