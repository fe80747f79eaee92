//! The link beside others: one coded clip, carried by each scheme in turn over the same bad lines.
//!
//! A clip ([`clip`]) is played in real time ([`player`]) into a scheme ([`schemes`]) in one namespace and
//! decoded in another ([`viewer`]); the line between them ([`crate::line`]) delays, loses and holds up
//! packets. Each frame carries its number inside ([`stamp`]), so that only two instants are needed of any
//! scheme: when it got a frame, and when that frame was decoded. What follows from them is arithmetic
//! ([`measure`]).

pub mod cell;
pub mod clip;
pub mod files;
pub mod gdp;
pub mod measure;
pub mod player;
pub mod scheme;
pub mod schemes;
pub mod stamp;
pub mod table;
pub mod viewer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use holobooth::codec;
use holobooth::pairing::Identity;
use serde_json::Value;

use self::cell::{Cell, Network, Outcome, Part, Rate};
use self::clip::{Clip, Extent, FPS, KBPS};
use self::files::Files;
use self::player::WARM_UP;
use self::scheme::{Scheme, Surroundings};
use self::viewer::Viewer;
use crate::child::Side;
use crate::line::{self, Loss};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario};

/// The bench `link`.
pub(super) const LINK: Scenario = Scenario {
    name: "link",
    summary: "one coded clip over bad lines: us direct and by relay, GStreamer over RTP and SRT, a QUIC stream a frame; two hours",
    kind: Kind::Bench,
    place: Place::Rig { cores: 1, memory_mib: 3072 },
    relay: true,
    time_limit_s: 3 * 3600,
    run,
};

const BURSTS: Loss = Loss::Bursts { percent: 3.0, length: 6.0 };
const NO_LOSS: Loss = Loss::Random(0.0);
const TWO_PERCENT: Loss = Loss::Random(2.0);
const FIVE_PERCENT: Loss = Loss::Random(5.0);

const PROMISE_RTT_MS: u32 = 40;
const PROMISE_LOSSES: [Loss; 4] = [NO_LOSS, TWO_PERCENT, FIVE_PERCENT, BURSTS];
const PROMISE_SECONDS: u32 = 300;
const PEER_SECONDS: u32 = 60;

const GRID_RTT_MS: [u32; 2] = [20, 80];
const GRID_LOSSES: [Loss; 5] = [NO_LOSS, Loss::Random(0.5), TWO_PERCENT, FIVE_PERCENT, BURSTS];
const GRID_SECONDS: u32 = 12;
const STEADY: Rate = Rate::Steady(30);
const STEP_SECONDS: u32 = 30;
const QUICK_SECONDS: u32 = 5;

/// What is promised at 40 ms and 30 Mbit/s.
const LATE_PERCENT: f64 = 0.5;
const OVERHEAD: f64 = 0.25;
/// Of the clip's bit rate, what must have been sent.
const WHOLE: f64 = 0.98;

/// All cells, in the order in which they run: line by line. An earlier build runs right after ours, where
/// something is promised.
fn cells(quick: bool, before: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut line = |part, rtt_ms, loss, rate, seconds: &dyn Fn(Scheme) -> u32| {
        let network = Network { rtt_ms, loss, rate };
        for scheme in schemes(before && part == Part::Promise) {
            let seconds = match rate {
                Rate::Step => STEP_SECONDS,
                Rate::Steady(_) if quick => QUICK_SECONDS,
                Rate::Steady(_) => seconds(scheme),
            };
            cells.push(Cell { part, scheme, network, seconds });
        }
    };
    for loss in PROMISE_LOSSES {
        let seconds = |scheme| match scheme {
            Scheme::Us | Scheme::UsBefore => PROMISE_SECONDS,
            _ => PEER_SECONDS,
        };
        line(Part::Promise, PROMISE_RTT_MS, loss, STEADY, &seconds);
    }
    for rtt_ms in GRID_RTT_MS {
        for rate in [STEADY, Rate::Step] {
            for loss in GRID_LOSSES {
                line(Part::Grid, rtt_ms, loss, rate, &|_| GRID_SECONDS);
            }
        }
    }
    cells
}

fn schemes(before: bool) -> Vec<Scheme> {
    let mut schemes = Scheme::ALL.to_vec();
    if before {
        schemes.insert(1, Scheme::UsBefore);
    }
    schemes
}

/// The cells that `words` leave: of each property that a word names, those with one of the words.
fn chosen(cells: Vec<Cell>, words: &[String]) -> Result<Vec<Cell>, String> {
    let all: Vec<[String; 5]> = cells.iter().map(Cell::words).collect();
    let names = |at: usize| -> Vec<&String> {
        let mut names: Vec<&String> = all.iter().map(|words| &words[at]).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let properties: Vec<Vec<&String>> = (0..5).map(names).collect();
    if let Some(word) = words.iter().find(|word| !properties.iter().any(|names| names.contains(word))) {
        let known: Vec<&str> = properties.iter().flatten().map(|name| name.as_str()).collect();
        return Err(format!("--only knows no {word}; it knows {}", known.join(", ")));
    }
    let fits = |of_cell: &[String; 5]| {
        of_cell.iter().zip(&properties).all(|(own, names)| {
            let mut asked = words.iter().filter(|word| names.contains(word)).peekable();
            asked.peek().is_none() || asked.any(|word| word == own)
        })
    };
    Ok(cells.into_iter().zip(&all).filter(|(_, words)| fits(words)).map(|(cell, _)| cell).collect())
}

fn run(context: &Context) -> Result<Report, Error> {
    let system = |what: &str| {
        let what = what.to_owned();
        move |source| Error::System { what, source }
    };
    let cells = chosen(cells(context.quick, context.before.is_some()), &context.only)
        .map_err(|why| system("the choice of cells")(io::Error::other(why)))?;
    let extent = Extent {
        keyframes: cells.iter().any(|cell| cell.scheme.asks()),
        renditions: cells.iter().any(|cell| cell.scheme.is_ours()),
    };
    prepare(context, extent).map_err(system("the clip"))?;
    line::lay().map_err(system("the line"))?;
    let mut outcomes = Vec::with_capacity(cells.len());
    let mut left_s: u32 = cells.iter().map(Cell::takes_s).sum();
    println!("{:<44}{}", "", table::HEAD);
    for (at, &cell) in cells.iter().enumerate() {
        let outcome = cell::run(cell, context.dir(), context.before.as_deref()).map_err(system("a cell"))?;
        left_s -= cell.takes_s();
        let [part, rtt, loss, rate, _] = cell.words();
        let place = format!("{}/{}", at + 1, cells.len());
        println!(
            "{place:>7} {:>4} min left  {part} {rtt} {loss} {rate}\n{:<44}{}",
            left_s.div_ceil(60),
            "",
            table::row(&outcome)
        );
        let _ = io::stdout().flush();
        outcomes.push(outcome);
    }
    print!("{}", table::tables(&outcomes));
    Ok(report(&outcomes))
}

/// Codes the clip and makes both ends' keys.
fn prepare(context: &Context, extent: Extent) -> io::Result<()> {
    codec::init().map_err(io::Error::other)?;
    println!("coding the clip …");
    Clip::make(extent).map_err(io::Error::other)?.save(&Files::new(context.dir()).clip)?;
    for side in [Side::A, Side::B] {
        Identity::load_or_make(&context.dir().join(side.name())).map_err(io::Error::other)?;
    }
    Ok(())
}

fn report(outcomes: &[Outcome]) -> Report {
    let mut report = Report::default();
    for outcome in outcomes {
        check_ran(&mut report, outcome);
        if outcome.cell.part == Part::Promise && outcome.cell.scheme == Scheme::Us {
            check_promise(&mut report, outcome, outcomes);
        }
    }
    let ran = outcomes.iter().filter(|outcome| outcome.figures.is_ok()).count();
    report.check("every cell ran", ran == outcomes.len(), format!("{ran} of {}", outcomes.len()));
    report.figure("cells", outcomes.iter().map(Outcome::to_json).collect::<Vec<Value>>());
    report
}

fn check_ran(report: &mut Report, outcome: &Outcome) {
    if let Err(why) = &outcome.figures {
        report.check(format!("{} ran", outcome.cell.words().join(" ")), false, why);
    }
}

/// What is promised of us on this line, and that every peer on the same line does worse where anything is
/// lost.
fn check_promise(report: &mut Report, ours: &Outcome, outcomes: &[Outcome]) {
    let Ok(figures) = &ours.figures else { return };
    let network = ours.cell.network;
    let line = format!("{}ms {}", network.rtt_ms, network.loss);
    let late = figures.late_percent();
    let found = format!("{} of {}, {late:.2} %", figures.late, figures.frames);
    if network.loss == NO_LOSS || network.loss == TWO_PERCENT {
        report.check(format!("{line}: no frame late"), figures.late == 0, &found);
    } else {
        let held = late <= LATE_PERCENT;
        report.check(format!("{line}: at most {LATE_PERCENT} % late"), held, &found);
    }
    if network.loss == TWO_PERCENT {
        let found = format!("{:.1} %", 100.0 * figures.overhead);
        report.check(
            format!("{line}: overhead at most {} %", 100.0 * OVERHEAD),
            figures.overhead <= OVERHEAD,
            found,
        );
    }
    // Who sends less video than the peers has it easier than they.
    let found = format!("{:.2} Mbit/s", figures.video_kbps / 1000.0);
    report.check(
        format!("{line}: the whole bit rate"),
        figures.video_kbps >= WHOLE * f64::from(KBPS[0]),
        found,
    );
    let found = format!("{} of them, the longest gap {} ms", figures.freezes, figures.longest_gap_us / 1000);
    report.check(format!("{line}: no freeze over 200 ms"), figures.freezes == 0, found);
    if network.loss.is_none() {
        return;
    }
    let peers = outcomes.iter().filter(|outcome| {
        let cell = outcome.cell;
        cell.network == network && cell.part == Part::Promise && !cell.scheme.is_ours()
    });
    for peer in peers {
        if let Ok(figures) = &peer.figures {
            let theirs = figures.late_percent();
            let what = format!("{line}: {} does worse", peer.cell.scheme.title());
            report.check(what, theirs > late, format!("{theirs:.2} % late"));
        }
    }
}

/// One end of a cell, as a program of its own in its namespace.
#[derive(clap::Args)]
pub struct End {
    /// Which end.
    role: Role,
    /// By which scheme.
    #[arg(value_parser = scheme)]
    scheme: Scheme,
    /// Where the clip and the keys lie, and what was sent and seen goes.
    #[arg(long)]
    dir: PathBuf,
    /// How long to play after the warm-up.
    #[arg(long)]
    seconds: u32,
    /// The line's round trip.
    #[arg(long)]
    rtt_ms: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    Send,
    Receive,
}

fn scheme(name: &str) -> Result<Scheme, String> {
    Scheme::ALL
        .into_iter()
        .find(|scheme| scheme.to_string() == name)
        .ok_or_else(|| "no such scheme".to_owned())
}

impl End {
    /// Plays the clip, or views it until `stop`.
    ///
    /// # Errors
    /// When the scheme fails.
    pub fn run(&self, stop: &'static AtomicBool) -> io::Result<()> {
        codec::init().map_err(io::Error::other)?;
        let files = Files::new(&self.dir);
        let around = Surroundings { dir: &self.dir, rtt_ms: self.rtt_ms };
        match self.role {
            Role::Send => {
                let clip = Clip::load(&files.clip)?;
                let mut carrier = schemes::sender(self.scheme, around)?;
                player::play(&clip, self.seconds * FPS, carrier.as_mut(), &files.sent)
            }
            Role::Receive => {
                let mut viewer = Viewer::new(WARM_UP, &files.seen).map_err(io::Error::other)?;
                let received = schemes::receive(self.scheme, around, &mut viewer, stop);
                viewer.save()?;
                received
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_cells() {
        let choose = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            chosen(cells(false, false), &words)
        };
        assert_eq!(choose(&[]).unwrap().len(), (4 + 20) * Scheme::ALL.len());
        assert_eq!(choose(&["promise"]).unwrap().len(), 4 * Scheme::ALL.len());
        assert_eq!(choose(&["us", "rtp", "promise", "loss-2"]).unwrap().len(), 2);
        assert_eq!(choose(&["us", "20ms", "step"]).unwrap().len(), 5);
        let compared = chosen(cells(false, true), &["us".to_owned(), "us-before".to_owned()]).unwrap();
        assert_eq!(compared.len(), 4 + 20 + 4);
        assert_eq!(compared[1].scheme, Scheme::UsBefore);
        assert_eq!(compared[1].seconds, compared[0].seconds);
        assert!(choose(&["nobody"]).unwrap_err().contains("srt-fit"));
    }
}
