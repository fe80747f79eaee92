//! Scenarios and benches: what the program `holobooth-tests` can do, each in the rig that it asks for.

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::cargo::{self, Programs};
use crate::rig::{self, options::Options, run::Running, run::Stream};
use crate::{image, kernel, setup, tools};

/// `cargo xtask scenario`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask scenario --list
  cargo xtask scenario colour-bars
  cargo xtask scenario two-way --json | tail -n 1

The exit status is 0 only when the scenario passed.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// `cargo xtask bench`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --list
  cargo xtask bench latency
  cargo xtask bench link -- --quick --only promise,us,rtp

A bench measures; let the machine be quiet meanwhile. The exit status is 0 only when its demands are met.")]
pub(crate) struct BenchArguments {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Common {
    /// Which one
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Name them all, a line each
    #[arg(long, conflicts_with = "name")]
    list: bool,
    /// Print the figures as one JSON object, on the last line
    #[arg(long)]
    json: bool,
    /// Words for it alone, handed on as they are
    #[arg(last = true)]
    extra: Vec<String>,
}

/// Names the folder of images to a scenario that boots them.
const IMAGES: &str = "HOLOBOOTH_IMAGES";
/// Names the kernel with cameras and screens to it.
const RIG_KERNEL: &str = "HOLOBOOTH_RIG_KERNEL";
/// Names the relay's program to a scenario that needs it.
const RELAY: &str = "HOLOBOOTH_RELAY_BIN";

/// What a scenario or bench is about, and what it needs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Scenario {
    /// How it is called.
    pub(crate) name: String,
    /// One line for people.
    pub(crate) summary: String,
    /// Pass or fail, or figures.
    pub(crate) kind: Kind,
    /// The rig it wants.
    #[serde(default)]
    pub(crate) rig: Options,
    /// The versions of the image that it boots, on the host; none when it runs in the rig.
    #[serde(default)]
    pub(crate) images: Vec<String>,
    /// Whether booths are to meet at a relay in it.
    #[serde(default)]
    pub(crate) relay: bool,
    /// Seconds after which it has hung.
    pub(crate) time_limit_s: u32,
}

/// Sorts of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Passes or fails; part of `cargo xtask test`.
    Scenario,
    /// Passes or fails, and takes long; part of `cargo xtask test --full`.
    Long,
    /// Measures; run on demand.
    Bench,
}

/// Runs or lists scenarios.
pub(crate) fn main(arguments: Arguments) -> Result<ExitCode> {
    run_or_list(arguments.common, &[Kind::Scenario, Kind::Long])
}

/// Runs or lists benches.
pub(crate) fn bench(arguments: BenchArguments) -> Result<ExitCode> {
    run_or_list(arguments.common, &[Kind::Bench])
}

fn run_or_list(arguments: Common, kinds: &[Kind]) -> Result<ExitCode> {
    let programs = cargo::build()?;
    let all = list(&programs, kinds)?;
    let Some(name) = arguments.name else {
        print(&all, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(scenario) = all.iter().find(|scenario| scenario.name == name) else {
        let names: Vec<_> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        bail!("there is no {name}; there are: {}", names.join(", "));
    };
    if scenario.kind == Kind::Bench {
        setup::ensure(&[setup::Group::Peers])?;
    }
    let mut flags = arguments.extra;
    if arguments.json {
        flags.insert(0, "--json".into());
    }
    let status = run(scenario, &programs, &flags, &mut rig::pass_on)?;
    Ok(ExitCode::from(status))
}

fn print(all: &[Scenario], json: bool) -> Result<()> {
    if json {
        let entries: Vec<_> =
            all.iter().map(|s| serde_json::json!({"name": s.name, "summary": s.summary})).collect();
        println!("{}", serde_json::to_string(&entries)?);
    } else {
        let width = all.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
        for Scenario { name, summary, .. } in all {
            println!("{name:width$}  {summary}");
        }
    }
    Ok(())
}

/// All of these kinds, in the order in which the program names them.
pub(crate) fn list(programs: &Programs, kinds: &[Kind]) -> Result<Vec<Scenario>> {
    let out = Command::new(&programs.tests)
        .args(["list", "--json"])
        .output()
        .with_context(|| format!("cannot run {}", programs.tests.display()))?;
    let all: Vec<Scenario> = serde_json::from_slice(&out.stdout)
        .with_context(|| format!("`{} list --json` gave no list of scenarios", programs.tests.display()))?;
    Ok(all.into_iter().filter(|scenario| kinds.contains(&scenario.kind)).collect())
}

/// Runs one in its rig and gives its exit status: 0 when it passed.
pub(crate) fn run(
    scenario: &Scenario,
    programs: &Programs,
    flags: &[String],
    on_output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<u8> {
    let mut command = vec![programs.tests.display().to_string(), "run".into(), scenario.name.clone()];
    command.extend(flags.iter().cloned());
    if !scenario.images.is_empty() {
        return on_host(scenario, &command, on_output);
    }
    let options = Options { time_limit_s: scenario.time_limit_s, ..scenario.rig.clone() };
    let mut environment = programs.environment();
    if scenario.relay {
        environment.push((RELAY.into(), tools::MOQ_RELAY.program()?.display().to_string()));
    }
    Running::start(&options, command, environment)?.wait(on_output)
}

/// Runs one that switches machines on itself.
fn on_host(scenario: &Scenario, command: &[String], on_output: &mut dyn FnMut(Stream, &[u8])) -> Result<u8> {
    setup::ensure(&[setup::Group::Machine])?;
    let images = image::for_tests(&scenario.images)?;
    let limit = scenario.time_limit_s.to_string();
    // timeout ends all that it started; setpriv sees to it that it ends with this program.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "timeout", "--kill-after=5", &limit])
        .args(command)
        .env(IMAGES, images)
        .env(RIG_KERNEL, kernel::ensure()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the scenario with setpriv and timeout")?;
    let mut out = child.stdout.take().context("the scenario has no output")?;
    let mut buffer = [0; 4096];
    loop {
        match out.read(&mut buffer)? {
            0 => break,
            read => on_output(Stream::Out, &buffer[..read]),
        }
    }
    Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// How a scenario ended, for a summary.
pub(crate) struct Report {
    /// Whether it passed.
    pub(crate) passed: bool,
    /// All it wrote, for when it failed.
    pub(crate) output: Vec<u8>,
}

/// Runs one quietly.
pub(crate) fn report(scenario: &Scenario, programs: &Programs) -> Report {
    let mut output = Vec::new();
    let result = run(scenario, programs, &["--json".into()], &mut |_, bytes| output.extend_from_slice(bytes));
    if let Err(error) = &result {
        output.extend_from_slice(format!("error: {error:#}\n").as_bytes());
    }
    Report { passed: matches!(result, Ok(0)), output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_says_what_rig_it_wants() {
        let text = r#"{"name":"x","summary":"y","kind":"bench","time_limit_s":9,
                       "rig":{"cores":2,"memory_mib":1024,"two_booths":true,"delay_ms":5}}"#;
        let scenario: Scenario = serde_json::from_str(text).unwrap();
        assert_eq!(
            (scenario.kind, scenario.rig.memory_mib, scenario.rig.two_booths),
            (Kind::Bench, 1024, true)
        );
    }
}
