//! `holobooth-tests`: runs a scenario, a bench or the demo inside the rig.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use holobooth_tests::attack::Attack;
use holobooth_tests::bench::link;
use holobooth_tests::child::Side;
use holobooth_tests::machine::server;
use holobooth_tests::scenario::{Context, Scenario};
use holobooth_tests::{all, demo, flood, probe, stand_in};

/// Black-box tests and benches of two booths in the rig.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists scenarios and benches.
    List {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Runs one.
    Run {
        /// Its name.
        name: String,
        /// Prints one JSON object as the last line.
        #[arg(long)]
        json: bool,
        /// Less of everything that takes long: for developing, not for figures.
        #[arg(long)]
        quick: bool,
        /// Only a part of it, for those that have parts; an unknown word shows which there are.
        #[arg(long, value_name = "WORDS", value_delimiter = ',')]
        only: Vec<String>,
        /// Of `latency` and `link`: measures the programs of an earlier build as well, which lie in this
        /// folder.
        #[arg(long, value_name = "DIR")]
        before: Option<PathBuf>,
        /// Keeps logs and pictures in this folder.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// One end of a scheme that the bench `link` measures.
    #[command(hide = true)]
    LinkEnd(link::End),
    /// Runs two booths and writes what their screens show, every second.
    Demo {
        /// Where a.png, b.png, a.json and b.json go; a file named `stop` there ends the demo.
        #[arg(long)]
        dir: PathBuf,
        /// Ends after so many seconds.
        #[arg(long)]
        seconds: Option<i64>,
        /// Picture width in pixels.
        #[arg(long, default_value_t = 640)]
        width: u32,
        /// Picture height in pixels.
        #[arg(long, default_value_t = 480)]
        height: u32,
    },
    /// The link alone, with a stand-in for the encoder; the scenario `rate-step` runs one at each end.
    #[command(hide = true)]
    StandIn {
        /// `a` or `b`.
        #[arg(long)]
        side: String,
        /// Where both sides' identities lie.
        #[arg(long)]
        dir: PathBuf,
        /// The highest rate, in kbit/s.
        #[arg(long)]
        kbps: u32,
        /// Sends sound too, and a keyframe every second.
        #[arg(long)]
        voice: bool,
    },
    /// Attacks a booth; the scenario `attackers` runs these.
    #[command(hide = true, subcommand)]
    Attack(Attack),
    /// Looks at a booth from inside its machine; scenarios that boot the image have systemd start it there.
    #[command(hide = true)]
    Probe(probe::Arguments),
    /// Answers one HTTPS request on standard input and output; QEMU starts it for a machine that asks.
    #[command(hide = true)]
    Serve(server::Arguments),
    /// Throws random datagrams at a port; the scenario `garbage` runs it in the peer's network.
    #[command(hide = true)]
    Flood {
        /// Where to.
        #[arg(long)]
        to: SocketAddr,
        /// How many.
        #[arg(long)]
        packets: u32,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List { json } => list(json),
        Command::Run { name, json, quick, only, before, keep } => {
            match all().find(|scenario| scenario.name == name) {
                Some(scenario) => run(scenario, json, keep, |dir| Context::new(dir, quick, only, before)),
                None => fail(&format!("no scenario or bench named {name}; `list` names them")),
            }
        }
        Command::Demo { dir, seconds, width, height } => {
            let options = demo::Options { seconds, size: (width, height) };
            let work = work_dir(None);
            let stop = stop_on_signal();
            let outcome = demo::run(&dir, &work, options, &stop);
            let _ = std::fs::remove_dir_all(&work);
            outcome.map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Command::StandIn { side, dir, kbps, voice } => {
            let side = if side == "a" { Side::A } else { Side::B };
            stand_in::run(side, &dir, kbps, voice)
                .map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Command::LinkEnd(end) => {
            static STOP: AtomicBool = AtomicBool::new(false);
            let _ = ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed));
            end.run(&STOP).map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Command::Attack(attack) => match attack.run() {
            Ok(done) => {
                println!("{done}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error.to_string()),
        },
        Command::Probe(arguments) => {
            probe::run(&arguments).map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Command::Serve(arguments) => {
            server::serve(&arguments).map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
        }
        Command::Flood { to, packets } => match flood::send(to, packets, 1) {
            Ok(sent) => {
                println!("{sent} sent");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error.to_string()),
        },
    }
}

fn list(as_json: bool) -> ExitCode {
    if as_json {
        println!("{}", Value::Array(all().map(Scenario::to_json).collect()));
        return ExitCode::SUCCESS;
    }
    for scenario in all() {
        println!("{:<16} {:<9} {}", scenario.name, scenario.kind.name(), scenario.summary);
    }
    ExitCode::SUCCESS
}

fn run(
    scenario: &Scenario,
    as_json: bool,
    keep: Option<PathBuf>,
    context: impl FnOnce(PathBuf) -> Context,
) -> ExitCode {
    let kept = keep.is_some();
    let dir = work_dir(keep);
    if let Err(error) = std::fs::create_dir_all(&dir) {
        return fail(&format!("{}: {error}", dir.display()));
    }
    let outcome = (scenario.run)(&context(dir.clone()));
    if !kept {
        let _ = std::fs::remove_dir_all(&dir);
    }
    let (passed, table, object) = match outcome {
        Ok(report) => (report.passed(), report.to_table(), report.to_json(scenario.name)),
        Err(error) => {
            let why = error.to_string();
            let object = json!({ "name": scenario.name, "pass": false, "error": why });
            (false, format!("  {why}\n"), object)
        }
    };
    print!("{}: {}\n{table}", scenario.name, if passed { "passed" } else { "FAILED" });
    if kept && !as_json {
        println!("  what it left is in {}", dir.display());
    }
    if as_json {
        println!("{object}");
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work_dir(keep: Option<PathBuf>) -> PathBuf {
    keep.unwrap_or_else(|| std::env::temp_dir().join(format!("holobooth-tests-{}", std::process::id())))
}

fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // Without a handler a signal still ends the process, only less cleanly.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
    stop
}

fn fail(why: &str) -> ExitCode {
    eprintln!("holobooth-tests: {why}");
    ExitCode::FAILURE
}
