//! `cargo xtask test`: the checks, one after the other, and a table of how they went.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::{self, Step};
use crate::scenario::{self, Kind};
use crate::setup::Group;
use crate::{cargo, disk_space, folders, imports, interrupt, newcomer, rig, setup, tools};

/// Set to 1, what cannot be checked counts as failed.
const STRICT: &str = "CI_STRICT";

/// `cargo xtask test`.
#[derive(clap::Args)]
#[command(after_help = "\
Checks: format, lints, unit tests, import cycles, shell scripts; then, unless --fast: dependencies (licences, bans, sources,
known vulnerabilities) and every scenario in its rig. Benches are apart: `cargo xtask bench --list`.
A check that cannot run here (no vulnerability database to be reached, no root for `newcomer`) is skipped and
said so; with CI_STRICT=1 in the environment it fails. The last line is `N passed, N failed`.")]
pub(crate) struct Arguments {
    /// Only what needs no rig, in some minutes; no dependencies either
    #[arg(long)]
    fast: bool,
    /// Everything, what takes long too: machines that are cut off at fifty moments, fresh Debians
    #[arg(long, conflicts_with = "fast")]
    full: bool,
}

enum Verdict {
    Passed,
    Failed,
    Skipped(&'static str),
}

struct Row {
    name: String,
    verdict: Verdict,
    took: Duration,
}

/// The checks so far.
struct Checks {
    rows: Vec<Row>,
    logs: PathBuf,
}

/// Runs the checks; success only when none failed.
pub(crate) fn main(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.fast {
        disk_space::for_test()?;
    }
    setup::ensure(&[Group::Appliance, Group::Lint])?;
    let mut checks = Checks { rows: Vec::new(), logs: folders::cache_of("test")? };
    let mut cargo = |name: &str, words: &[&str]| checks.command(name, cargo::cargo().args(words));
    cargo("format", &["fmt", "--all", "--check"])?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    if has_nextest() {
        cargo("unit tests", &["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests", "pass"])?;
    } else {
        cargo("unit tests", &["test", "--workspace", "--all-targets"])?;
    }
    checks.check("import cycles", |_| imports::check().map(|()| Verdict::Passed))?;
    checks.check("shell scripts", shell_scripts)?;
    if !arguments.fast {
        checks.check("dependencies", |log| deny(log, &["licenses", "bans", "sources"]))?;
        checks.check("vulnerabilities", |log| deny(log, &["advisories"]))?;
        checks.check("rig", |_| rig::self_check::run().map(|()| Verdict::Passed))?;
        checks.scenarios(arguments.full)?;
    }
    Ok(checks.summary())
}

impl Checks {
    fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.check(name, |log| progress::logged(command, log, |_| {}).map(|()| Verdict::Passed))
    }

    /// Runs one check. Its failure is a row, not an error; Ctrl-C is an error.
    fn check(&mut self, name: &str, check: impl FnOnce(&Path) -> Result<Verdict>) -> Result<()> {
        let log = self.logs.join(format!("{}.log", name.replace(' ', "-")));
        let _ = std::fs::remove_file(&log);
        let (started, step) = (Instant::now(), Step::begin(name));
        let verdict = match check(&log) {
            Ok(verdict) => verdict,
            Err(_) if interrupt::requested() => bail!("stopped"),
            Err(error) => {
                // The whole story where there is one; commands leave it in the log.
                let story = std::fs::read_to_string(&log).unwrap_or_default();
                eprintln!("{story}{}", if story.is_empty() { format!("{error:#}\n") } else { String::new() });
                Verdict::Failed
            }
        };
        step.done(match &verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::Skipped(why) => why,
        });
        self.rows.push(Row { name: name.to_owned(), verdict, took: started.elapsed() });
        Ok(())
    }

    fn scenarios(&mut self, full: bool) -> Result<()> {
        let programs = match cargo::build() {
            Ok(programs) => programs,
            Err(_) if interrupt::requested() => bail!("stopped"),
            Err(error) => return self.check("scenarios", |_| Err(error)),
        };
        let kinds: &[Kind] = if full { &[Kind::Scenario, Kind::Long] } else { &[Kind::Scenario] };
        let all = match scenario::list(&programs, kinds) {
            Ok(all) => all,
            Err(error) => return self.check("scenarios", |_| Err(error)),
        };
        for scenario in all {
            let lacking = if scenario.name == newcomer::NAME { newcomer::lacking() } else { None };
            self.check(&scenario.name, |log| {
                if let Some(why) = lacking
                    && !is_strict()
                {
                    return Ok(Verdict::Skipped(why));
                }
                let report = scenario::report(&scenario, &programs);
                std::fs::write(log, &report.output)?;
                if report.passed { Ok(Verdict::Passed) } else { bail!("{} failed", scenario.name) }
            })?;
        }
        Ok(())
    }

    fn summary(&self) -> ExitCode {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        println!();
        for Row { name, verdict, took } in &self.rows {
            let verdict = match verdict {
                Verdict::Passed => "passed".to_owned(),
                Verdict::Failed => "FAILED".to_owned(),
                Verdict::Skipped(why) => (*why).to_owned(),
            };
            println!("{name:width$}  {:>6.1} s  {verdict}", took.as_secs_f64());
        }
        let failed = self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed)).count();
        let passed = self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Passed)).count();
        println!("\n{passed} passed, {failed} failed");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn has_nextest() -> bool {
    cargo::cargo().args(["nextest", "--version"]).output().is_ok_and(|out| out.status.success())
}

/// Every script that git knows or would take.
fn shell_scripts(log: &Path) -> Result<Verdict> {
    let out = Command::new("git")
        .current_dir(folders::checkout())
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.sh",
            ".ci/run",
            "systemd/libexec",
        ])
        .output()
        .context("cannot run git")?;
    let listing = String::from_utf8_lossy(&out.stdout);
    let scripts: Vec<_> = listing.lines().collect();
    if scripts.is_empty() {
        return Ok(Verdict::Passed);
    }
    progress::logged(Command::new("shellcheck").current_dir(folders::checkout()).args(scripts), log, |_| {})?;
    Ok(Verdict::Passed)
}

fn deny(log: &Path, checks: &[&str]) -> Result<Verdict> {
    let mut unreachable = false;
    let mut command = Command::new(tools::CARGO_DENY.program()?);
    command.current_dir(folders::checkout()).arg("check").args(checks);
    let result = progress::logged(&mut command, log, |line| {
        unreachable |= line.contains("failed to fetch advisory database");
    });
    match result {
        Ok(()) => Ok(Verdict::Passed),
        Err(_) if unreachable && !is_strict() => {
            Ok(Verdict::Skipped("SKIPPED: the advisory database cannot be reached"))
        }
        Err(error) => Err(error),
    }
}

fn is_strict() -> bool {
    std::env::var_os(STRICT).is_some_and(|value| !value.is_empty() && value != "0")
}
