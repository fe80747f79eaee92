//! Scenarios and benches: what the program `holobooth-tests` can do, each in the rig that it asks for.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::cargo::{self, Programs};
use crate::machine_tools::MachineTools;
use crate::rig::{self, options::Options, run::Running, run::Stream};
use crate::{image, interrupt, kernel, newcomer, setup, tools};

/// `cargo xtask scenario`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask scenario --list
  cargo xtask scenario colour-bars
  cargo xtask scenario two-way --json | tail -n 1
  cargo xtask scenario image-pair --image target/image/holobooth_0.1.0.raw.zst -- --keep /tmp/pair

The exit status is 0 only when the scenario passed.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Boot this image, as `cargo xtask image` made it, in the place of one made for the scenario: for those that boot a single one
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    image: Option<PathBuf>,
}

/// `cargo xtask bench`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --list
  cargo xtask bench latency
  cargo xtask bench link -- --quick --only promise,us,rtp
  cargo xtask bench latency -- --before ~/kept/target/release

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
/// Names the folder of UEFI firmware to it.
const FIRMWARE: &str = "HOLOBOOTH_FIRMWARE";
/// Names the relay's program to a scenario that needs it.
const RELAY: &str = "HOLOBOOTH_RELAY_BIN";
/// How soon Ctrl-C is heeded.
const LOOK_FOR_CTRL_C_EVERY: Duration = Duration::from_millis(100);
/// Letters that a scenario's folder may have: 107 (unix(7)) less what the scenario and its machines put behind it.
const LONGEST_PATH: usize = 107 - "/holobooth-tests-4194304/a/mconsole".len();

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
    run_or_list(arguments.common, arguments.image.as_deref(), &[Kind::Scenario, Kind::Long])
}

/// Runs or lists benches.
pub(crate) fn bench(arguments: BenchArguments) -> Result<ExitCode> {
    run_or_list(arguments.common, None, &[Kind::Bench])
}

fn run_or_list(arguments: Common, image: Option<&Path>, kinds: &[Kind]) -> Result<ExitCode> {
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
    let status = run(scenario, &programs, image, &flags, &mut rig::pass_on)?;
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

/// All of these kinds, in the order in which the program names them; then `newcomer`, which needs no rig.
pub(crate) fn list(programs: &Programs, kinds: &[Kind]) -> Result<Vec<Scenario>> {
    let out = Command::new(&programs.tests)
        .args(["list", "--json"])
        .output()
        .with_context(|| format!("cannot run {}", programs.tests.display()))?;
    let all: Vec<Scenario> = serde_json::from_slice(&out.stdout)
        .with_context(|| format!("`{} list --json` gave no list of scenarios", programs.tests.display()))?;
    let all = all.into_iter().chain([fresh_debian()]);
    Ok(all.filter(|scenario| kinds.contains(&scenario.kind)).collect())
}

/// `newcomer`'s entry.
fn fresh_debian() -> Scenario {
    Scenario {
        name: newcomer::NAME.into(),
        summary: newcomer::SUMMARY.into(),
        kind: Kind::Long,
        rig: Options::default(),
        images: Vec::new(),
        relay: false,
        time_limit_s: newcomer::TIME_LIMIT_S,
    }
}

/// Runs one in its rig and gives its exit status: 0 when it passed. One that boots a single image may be given it.
pub(crate) fn run(
    scenario: &Scenario,
    programs: &Programs,
    image: Option<&Path>,
    flags: &[String],
    on_output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<u8> {
    let mut command = vec![programs.tests.display().to_string(), "run".into(), scenario.name.clone()];
    command.extend(flags.iter().cloned());
    if !scenario.images.is_empty() {
        return on_host(scenario, image, &command, on_output);
    }
    if image.is_some() {
        bail!("{} boots no image", scenario.name);
    }
    if scenario.name == newcomer::NAME {
        return newcomer::run(flags, on_output);
    }
    let options = Options { time_limit_s: scenario.time_limit_s, ..scenario.rig.clone() };
    let mut environment = programs.environment();
    if scenario.relay {
        environment.push((RELAY.into(), tools::MOQ_RELAY.program()?.display().to_string()));
    }
    Running::start(&options, command, environment)?.wait(on_output)
}

/// Runs one that switches machines on itself.
fn on_host(
    scenario: &Scenario,
    image: Option<&Path>,
    command: &[String],
    on_output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<u8> {
    let tools = MachineTools::ensure()?;
    let work = rig::run::work_folder()?;
    let images = match (image, &scenario.images[..]) {
        (None, versions) => image::for_tests(versions)?,
        (Some(file), [version]) => image::given(file, version, &work.path().join("images"))?,
        (Some(_), versions) => bail!("{} boots several images: {}", scenario.name, versions.join(", ")),
    };
    let length = work.path().as_os_str().len();
    if length > LONGEST_PATH {
        bail!(
            "no socket can lie as deep as in {}: set XDG_CACHE_HOME to a path that is {} letters shorter",
            work.path().display(),
            length - LONGEST_PATH
        );
    }
    let limit = scenario.time_limit_s.to_string();
    // timeout ends all that it started; setpriv sees to it that it ends with this program.
    let mut program = Command::new("setpriv");
    program
        .args(["--pdeathsig", "TERM", "timeout", "--kill-after=5", &limit])
        .args(command)
        .env(IMAGES, images)
        .env(RIG_KERNEL, kernel::ensure()?)
        .env(FIRMWARE, tools.firmware())
        .env("PATH", tools.path()?)
        .env("TMPDIR", work.path());
    follow(&mut program, interrupt::requested, on_output)
        .context("cannot run the scenario with setpriv and timeout")
}

/// Runs a command to its end, or until `stop`; gives its exit status.
fn follow(
    command: &mut Command,
    stop: impl Fn() -> bool,
    on_output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<u8> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut out = child.stdout.take().context("it has no output")?;
    let (pieces, arriving) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = out.read(&mut buffer) {
            if pieces.send(buffer[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    loop {
        if stop() {
            // timeout, in a group of its own, hands it on to all in it.
            let _ = kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM);
            child.wait()?;
            while let Ok(piece) = arriving.recv_timeout(LOOK_FOR_CTRL_C_EVERY) {
                on_output(Stream::Out, &piece);
            }
            return Ok(rig::run::INTERRUPTED);
        }
        match arriving.recv_timeout(LOOK_FOR_CTRL_C_EVERY) {
            Ok(piece) => on_output(Stream::Out, &piece),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
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
    let result =
        run(scenario, programs, None, &["--json".into()], &mut |_, bytes| output.extend_from_slice(bytes));
    if let Err(error) = &result {
        output.extend_from_slice(format!("error: {error:#}\n").as_bytes());
    }
    Report { passed: matches!(result, Ok(0)), output }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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

    #[test]
    fn what_runs_is_followed_to_its_end_and_stopped_before() {
        let mut said = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two; exit 3"]);
        let status = follow(&mut command, || false, &mut |_, piece| said.extend_from_slice(piece)).unwrap();
        assert_eq!((status, &said[..]), (3, &b"one\ntwo\n"[..]));
        let begun = Cell::new(false);
        let mut said = String::new();
        let mut command = Command::new("timeout");
        // timeout hands on only what comes after it has taken note of its child, which may have run before.
        let script = "sleep 0.2; trap 'echo ended; exit' TERM; echo begun; while :; do :; done";
        command.args(["60", "sh", "-c", script]);
        let status = follow(&mut command, || begun.get(), &mut |_, piece| {
            begun.set(true);
            said.push_str(&String::from_utf8_lossy(piece));
        });
        assert_eq!((status.unwrap(), &said[..]), (rig::run::INTERRUPTED, "begun\nended\n"));
    }
}
