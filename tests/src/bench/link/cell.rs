//! One scheme on one line: which there are, and running one.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::clip::FPS;
use super::files::Files;
use super::measure::{Figures, Step};
use super::player::{COUNTING, WARM_UP};
use super::scheme::{READY, Scheme};
use crate::booth::tail;
use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::line::{self, Faults, Loss};
use crate::relay::Relay;
use holobooth::realtime;

/// How long each of the step's three rates holds, in µs.
const PHASE_US: i64 = 10_000_000;
/// Of a step, in Mbit/s.
const WIDE_MBIT: u32 = 20;
const NARROW_MBIT: u32 = 5;
const START_MS: i64 = 20_000;
/// What an end may take besides playing the clip, in ms.
const SLACK_MS: i64 = 20_000;

/// Which part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What is promised, with checks.
    Promise,
    /// A wider look, figures only.
    Grid,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Promise => "promise",
            Self::Grid => "grid",
        })
    }
}

/// How wide the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// So many Mbit/s throughout.
    Steady(u32),
    /// 20 Mbit/s, then 5, then 20 again, ten seconds each.
    Step,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steady(mbit) => write!(f, "{mbit}mbit"),
            Self::Step => f.write_str("step"),
        }
    }
}

/// A line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// Round trip in ms.
    pub rtt_ms: u32,
    /// What is lost.
    pub loss: Loss,
    /// How wide it is.
    pub rate: Rate,
}

impl Network {
    fn faults(self, rate_mbit: u32) -> Faults {
        Faults { rtt_ms: self.rtt_ms, loss: self.loss, rate_mbit }
    }
}

/// One scheme on one line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// What it is for.
    pub part: Part,
    /// Who carries the clip.
    pub scheme: Scheme,
    /// Over which line.
    pub network: Network,
    /// For so long, the warm-up not counted.
    pub seconds: u32,
}

impl Cell {
    /// By what it can be chosen: a word for each of its properties.
    pub fn words(&self) -> [String; 5] {
        let Network { rtt_ms, loss, rate } = self.network;
        [
            self.part.to_string(),
            format!("{rtt_ms}ms"),
            loss.to_string(),
            rate.to_string(),
            self.scheme.to_string(),
        ]
    }

    /// About how long it takes, in seconds.
    pub fn takes_s(&self) -> u32 {
        self.seconds + WARM_UP / FPS + 3
    }
}

/// What a cell gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which cell.
    pub cell: Cell,
    /// Its figures, or why there are none.
    pub figures: Result<Figures, String>,
    /// The share of its time that the rig's processor worked: both ends, the decoder and the line. Near 1,
    /// times are the processor's, not the scheme's.
    pub busy: f64,
}

impl Outcome {
    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        let [part, rtt, loss, rate, scheme] = self.cell.words();
        let mut object = json!({
            "part": part, "rtt": rtt, "loss": loss, "rate": rate, "scheme": scheme, "seconds": self.cell.seconds, "busy": self.busy
        });
        let figures = match &self.figures {
            Ok(figures) => figures.to_json(),
            Err(why) => json!({ "failed": why }),
        };
        if let (Value::Object(object), Value::Object(figures)) = (&mut object, figures) {
            object.extend(figures);
        }
        object
    }
}

/// Runs a cell with files in `dir`, where the clip lies. `before` is the folder of an earlier build's
/// programs.
///
/// # Errors
/// When the rig fails; a scheme that fails is told in the outcome.
pub fn run(cell: Cell, dir: &Path, before: Option<&Path>) -> io::Result<Outcome> {
    let network = cell.network;
    let first_mbit = match network.rate {
        Rate::Steady(mbit) => mbit,
        Rate::Step => WIDE_MBIT,
    };
    line::set(&network.faults(first_mbit))?;
    let files = Files::new(dir);
    files.clear();
    // Killed at the end of the cell.
    let _relay = if cell.scheme == Scheme::UsRelay { Some(start_relay(&files)?) } else { None };
    let program = match before {
        Some(before) if cell.scheme == Scheme::UsBefore => before.join("holobooth-tests"),
        _ => std::env::current_exe()?,
    };
    let mut receiver = end("receive", cell, &program, &files, Side::B)?;
    if wait_until(START_MS, 20, || receiver.printed().contains(READY)).is_none() {
        return Ok(failed(cell, "the receiver does not start", &receiver));
    }
    let mut sender = end("send", cell, &program, &files, Side::A)?;
    let mut over = false;
    let started = Processor::now();
    wait_until(START_MS + i64::from(WARM_UP / FPS) * 1000, 5, || {
        over = sender.ended().is_some();
        over || sender.printed().contains(COUNTING)
    });
    let step = match network.rate {
        Rate::Step if !over => Some(walk(network)?),
        _ => None,
    };
    let mut status = None;
    wait_until(i64::from(cell.seconds) * 1000 + SLACK_MS, 20, || {
        status = sender.ended();
        status.is_some()
    });
    receiver.stop();
    if !status.is_some_and(|status| status.success()) {
        return Ok(failed(cell, "the sender failed", &sender));
    }
    let figures = files.read(step).map_err(|error| error.to_string());
    Ok(Outcome { cell, figures, busy: started.busy() })
}

fn start_relay(files: &Files) -> io::Result<Relay> {
    // What an earlier one printed is not this one's.
    let _ = fs::remove_file(&files.relay_log);
    let mut relay = Relay::new(line::RELAY, &files.dir)?;
    fs::write(&files.relay, relay.fingerprint())?;
    // A program is as urgent as the thread that starts it.
    let start = || realtime::set_realtime_priority(realtime::LINK).and_then(|()| relay.start());
    std::thread::scope(|scope| scope.spawn(start).join()).map_err(|_| io::Error::other("the relay"))??;
    wait_until(START_MS, 50, || relay.log().contains("listening"));
    Ok(relay)
}

fn failed(cell: Cell, what: &str, end: &Running) -> Outcome {
    Outcome { cell, figures: Err(format!("{what}: {}", tail(&end.printed(), 4))), busy: 0.0 }
}

/// How long the processor has worked and idled so far, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Processor {
    all: u64,
    idle: u64,
}

impl Processor {
    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// From the first line of proc(5)'s stat: user, nice, system, idle, iowait and more.
    fn parse(text: &str) -> Self {
        let words = text.lines().next().unwrap_or("").split_whitespace().skip(1);
        let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        Self { all: ticks.iter().sum(), idle: ticks.iter().skip(3).take(2).sum() }
    }

    /// The share of the time since then that it worked.
    fn busy(self) -> f64 {
        let now = Self::now();
        let (all, idle) = (now.all.saturating_sub(self.all), now.idle.saturating_sub(self.idle));
        1.0 - idle as f64 / all.max(1) as f64
    }
}

/// Takes the line through the step; when it became narrow and wide again.
fn walk(network: Network) -> io::Result<Step> {
    let start_us = now_us();
    sleep_until_us(start_us + PHASE_US);
    line::change(&network.faults(NARROW_MBIT))?;
    let down_us = now_us();
    sleep_until_us(start_us + 2 * PHASE_US);
    line::change(&network.faults(WIDE_MBIT))?;
    Ok(Step { down_us, up_us: now_us() })
}

fn end(role: &str, cell: Cell, program: &Path, files: &Files, side: Side) -> io::Result<Running> {
    let seconds = cell.seconds.to_string();
    let rtt_ms = cell.network.rtt_ms.to_string();
    // An earlier build calls itself what this one does.
    let scheme = if cell.scheme == Scheme::UsBefore { Scheme::Us } else { cell.scheme };
    let (dir, scheme) = (files.dir.display().to_string(), scheme.to_string());
    let arguments = ["link-end", role, &scheme, "--dir", &dir, "--seconds", &seconds, "--rtt-ms", &rtt_ms];
    let log = if side == Side::A { &files.sender_log } else { &files.receiver_log };
    Running::start(side, program, &arguments.map(str::to_owned), log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_works_when_it_does_not_idle() {
        assert_eq!(Processor::parse("cpu  1 2 3 40 5 6\ncpu0 9\n"), Processor { all: 57, idle: 45 });
        assert_eq!(Processor::parse(""), Processor { all: 0, idle: 0 });
    }
}
