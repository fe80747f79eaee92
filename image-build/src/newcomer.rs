//! `newcomer`: `cargo xtask setup` and `cargo xtask demo` on a fresh Debian, as the README promises them.
//!
//! debootstrap makes the system in a folder of the cache; it has git, a C linker and this machine's Rust, and the
//! checkout's last commit as a clone. Commands run in it by chroot(2), with mounts and processes of their own that
//! end with them; so it takes root. The network is this machine's, and so are mirror, certificates and the crates
//! that were downloaded already.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::{Map, Value, json};

use crate::debian::mirror;
use crate::progress::{self, Step};
use crate::rig::run::{Stream, work_folder};
use crate::setup::{self, Group};
use crate::{cargo, folders};

/// What it is called on the command line.
pub(crate) const NAME: &str = "newcomer";
/// One line for people.
pub(crate) const SUMMARY: &str =
    "setup and demo on a fresh Debian 12 and 13, and on a 12 with a newer QEMU from backports";
/// When a command counts as hung, in seconds. The first demo compiles everything: an hour on a busy machine.
pub(crate) const TIME_LIMIT_S: u32 = 3 * 3600;
/// What the README asks for besides Rust.
const PACKAGES: &str = "ca-certificates,gcc,git,libc6-dev";
/// What takes long to compile and depends on nothing but the release: the next system of the same one gets it.
const COMPILED: [&str; 2] = ["root/holobooth/target", "root/.cache/holobooth/kernels"];
/// The checkout and cargo's folder in the new system.
const CHECKOUT: &str = "root/holobooth";
const CARGO: &str = "root/.cargo";
/// What a program in there is told of this machine's way to the network.
const PASSED_ON: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "CARGO_HTTP_PROXY",
    "CARGO_HTTP_CAINFO",
    "SSL_CERT_FILE",
];

/// A system that a newcomer may have.
struct System {
    name: &'static str,
    suite: &'static str,
    /// A package that was installed from the suite's backports, which are no source of packages any more.
    backport: Option<&'static str>,
}

const SYSTEMS: [System; 3] = [
    System { name: "debian-12", suite: "bookworm", backport: None },
    System { name: "debian-12-backports", suite: "bookworm", backport: Some("qemu-utils") },
    System { name: "debian-13", suite: "trixie", backport: None },
];

/// Words after `--`.
#[derive(Parser)]
#[command(name = NAME, no_binary_name = true)]
struct Words {
    /// Print the figures as one JSON object, on the last line
    #[arg(long)]
    json: bool,
    /// Only these systems
    #[arg(long, value_delimiter = ',', value_parser = SYSTEMS.map(|system| system.name))]
    only: Vec<String>,
}

/// Why it cannot run here, if so.
pub(crate) fn lacking() -> Option<&'static str> {
    (!nix::unistd::geteuid().is_root()).then_some("SKIPPED: it needs root, to make a Debian and run in it")
}

/// Runs it with these words and gives its exit status: 0 when it passed.
///
/// # Errors
/// When there is no root, or a system cannot be made.
pub(crate) fn run(words: &[String], on_output: &mut dyn FnMut(Stream, &[u8])) -> Result<u8> {
    let words = Words::try_parse_from(words)?;
    if lacking().is_some() {
        bail!(
            "{NAME} makes a Debian (debootstrap) and runs in it (mount, chroot), which takes root: run it with sudo"
        );
    }
    setup::ensure(&[Group::Image, Group::Newcomer])?;
    let mut figures = Map::new();
    let mut failed = Vec::new();
    let work = work_folder()?;
    for system in &SYSTEMS {
        if !words.only.is_empty() && !words.only.iter().any(|name| name == system.name) {
            continue;
        }
        match system.tried(work.path()) {
            Ok(measured) => {
                on_output(Stream::Out, format!("  ok      {}: {measured}\n", system.name).as_bytes());
                figures.insert(system.name.to_owned(), measured);
            }
            Err(error) => {
                let why = format!("{}: {error:#}", system.name);
                on_output(Stream::Out, format!("  FAILED  {why}\n").as_bytes());
                failed.push(why);
            }
        }
    }
    let pass = failed.is_empty();
    if words.json {
        let mut object = json!({"name": NAME, "pass": pass, "failed": failed});
        object.as_object_mut().into_iter().for_each(|object| object.append(&mut figures));
        on_output(Stream::Out, format!("{object}\n").as_bytes());
    }
    Ok(u8::from(!pass))
}

impl System {
    /// Makes it in the folder `work`, and has it do what the README says; gives the figures. Afterwards it is gone.
    fn tried(&self, work: &Path) -> Result<Value> {
        let (root, compiled) = (work.join(self.name), work.join(self.suite));
        let log = folders::cache_of(NAME)?.join(format!("{}.log", self.name));
        let _ = fs::remove_file(&log);
        let machine = Machine { root, log };
        let result = self.used(&machine, &compiled);
        // Of one that failed, nothing is lent to another.
        if result.is_ok() {
            move_compiled(&machine.root, &compiled)?;
        }
        let _ = fs::remove_dir_all(&machine.root);
        result.with_context(|| format!("all that was said is in {}", machine.log.display()))
    }

    fn used(&self, machine: &Machine, compiled: &Path) -> Result<Value> {
        let step = Step::begin(&format!("{}: making the system", self.name));
        self.make(machine)?;
        move_compiled(compiled, &machine.root)?;
        step.done("");
        let before = machine.packages()?;

        let (step, started) = (Step::begin(&format!("{}: cargo xtask setup", self.name)), Instant::now());
        machine.run("cd holobooth && cargo xtask setup", |_| {})?;
        let setup_s = started.elapsed().as_secs();
        step.done("");
        let after = machine.packages()?;
        if let Some(lost) = before.iter().find(|package| !after.iter().any(|now| now.0 == package.0)) {
            bail!("setup removed the package {}", lost.0);
        }
        let backport = |packages: &BTreeSet<(String, String)>| {
            packages.iter().find(|package| Some(package.0.as_str()) == self.backport).cloned()
        };
        ensure!(
            backport(&before) == backport(&after),
            "setup has put another version in the place of {:?}",
            backport(&before)
        );

        let (step, started) = (Step::begin(&format!("{}: cargo xtask demo", self.name)), Instant::now());
        let mut live = 0;
        machine.run("cd holobooth && cargo xtask demo --seconds 20", |line| {
            live += u32::from(both_live(line));
        })?;
        let demo_s = started.elapsed().as_secs();
        step.done("");
        ensure!(live > 0, "the demo ended well, but in no second were both booths live");
        Ok(json!({
            "setup_s": setup_s,
            "demo_s": demo_s,
            "live_lines": live,
            "packages_installed": after.len() - before.len(),
        }))
    }

    fn make(&self, machine: &Machine) -> Result<()> {
        let Machine { root, log } = machine;
        fs::create_dir_all(root)?;
        let mirror = mirror::find()?;
        // What it mounts is gone with it.
        let mut debootstrap = Command::new("unshare");
        debootstrap.args(["--mount", "debootstrap", "--variant=minbase"]);
        debootstrap.arg(format!("--include={PACKAGES}")).arg(self.suite).arg(root).arg(&mirror);
        progress::logged(&mut debootstrap, log, |_| {}).context("cannot make a Debian")?;
        let sources = mirror::sources(&mirror, mirror::find_security().as_deref(), self.suite);
        fs::write(root.join("etc/apt/sources.list"), "")?;
        fs::write(root.join("etc/apt/sources.list.d/debian.sources"), sources)?;
        for file in ["etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"] {
            let here = Path::new("/").join(file);
            if here.exists() {
                fs::copy(here, root.join(file)).with_context(|| format!("cannot copy /{file}"))?;
            }
        }
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet"]).arg(folders::clean(folders::checkout())).arg(root.join(CHECKOUT));
        progress::logged(&mut clone, log, |_| {}).context("cannot clone the checkout")?;
        let cargo_home = cargo::home()?;
        let registry = root.join(CARGO).join("registry");
        fs::create_dir_all(&registry)?;
        for (from, to) in [
            (cargo_home.join("config.toml"), root.join(CARGO)),
            (cargo_home.join("registry/index"), registry.clone()),
            (cargo_home.join("registry/cache"), registry),
        ] {
            if from.exists() {
                let mut cp = Command::new("cp");
                progress::logged(cp.args(["--archive", "--reflink=auto"]).arg(&from).arg(to), log, |_| {})
                    .with_context(|| format!("cannot copy {}", from.display()))?;
            }
        }
        if let Some(package) = self.backport {
            let suite = format!("{}-backports", self.suite);
            fs::write(
                root.join("etc/apt/sources.list.d/backports.list"),
                format!("deb {mirror} {suite} main\n"),
            )?;
            machine
                .run(
                    &format!("apt-get update && apt-get install --yes --target-release {suite} {package}"),
                    |_| {},
                )
                .with_context(|| format!("cannot install {package} from {suite}"))?;
            fs::remove_file(root.join("etc/apt/sources.list.d/backports.list"))?;
        }
        Ok(())
    }
}

/// Moves what is there of [`COMPILED`] from one root to another.
fn move_compiled(from: &Path, to: &Path) -> Result<()> {
    for folder in COMPILED {
        let (from, to) = (from.join(folder), to.join(folder));
        if from.exists() {
            fs::create_dir_all(to.parent().unwrap_or(&to))?;
            fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))?;
        }
    }
    Ok(())
}

/// A system in a folder.
struct Machine {
    root: PathBuf,
    log: PathBuf,
}

impl Machine {
    /// Runs a line of shell in it, as root in root's home folder. All that it starts ends with it.
    fn run(&self, script: &str, on_line: impl FnMut(&str)) -> Result<()> {
        const MOUNTS: &str = r#"set -eu; root="$1" rust="$2"; shift 2
            mount -t proc proc "$root/proc"
            mount -t sysfs sysfs "$root/sys"
            mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
            mount -t devpts devpts "$root/dev/pts"
            mkdir -p "$root/opt/rust"
            mount --bind "$rust" "$root/opt/rust"
            mount -o remount,bind,ro "$root/opt/rust"
            exec chroot "$root" "$@""#;
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &TIME_LIMIT_S.to_string()]);
        command.args(["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", MOUNTS, "sh"]).arg(&self.root).arg(cargo::toolchain()?);
        command.args(["env", "--ignore-environment", "--chdir=/root"]);
        command.args(["HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LANG=C.UTF-8"]);
        command.arg("PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        for name in PASSED_ON {
            command.args(std::env::var(name).ok().map(|value| format!("{name}={value}")));
        }
        command.args(["sh", "-c", script]);
        progress::logged(&mut command, &self.log, on_line).with_context(|| format!("`{script}` failed"))
    }

    /// Name and version of every package that is installed.
    fn packages(&self) -> Result<BTreeSet<(String, String)>> {
        let out = Command::new("dpkg-query")
            .arg(format!("--admindir={}", self.root.join("var/lib/dpkg").display()))
            .args(["--show", "--showformat=${Package} ${Version} ${db:Status-Status}\n"])
            .output()
            .context("cannot run dpkg-query")?;
        let text = String::from_utf8_lossy(&out.stdout);
        let words = text.lines().filter_map(|line| line.strip_suffix(" installed")?.split_once(' '));
        Ok(words.map(|(name, version)| (name.to_owned(), version.to_owned())).collect())
    }
}

/// Whether the demo says in this line that both booths are live.
fn both_live(line: &str) -> bool {
    ["booth A: live", "booth B: live"].iter().all(|part| line.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_counts_when_both_booths_are_live() {
        let line = |a: &str, b: &str| format!("   3 s  booth A: {a} 30.0 fps | booth B: {b} 30.0 fps");
        assert!(both_live(&line("live", "live")));
        assert!(!both_live(&line("live", "looking")) && !both_live(&line("starting", "live")));
    }

    #[test]
    fn what_was_compiled_is_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (one, next) = (folder.path().join("one"), folder.path().join("next"));
        fs::create_dir_all(one.join(COMPILED[0])).unwrap();
        fs::write(one.join(COMPILED[0]).join("file"), "text").unwrap();
        move_compiled(&one, &next).unwrap();
        assert_eq!(fs::read_to_string(next.join(COMPILED[0]).join("file")).unwrap(), "text");
        assert!(!one.join(COMPILED[0]).exists() && !next.join(COMPILED[1]).exists());
    }

    #[test]
    fn only_systems_that_there_are_can_be_asked_for() {
        let parse = |words: &[&str]| Words::try_parse_from(words).map(|words| (words.json, words.only));
        assert_eq!(parse(&["--json", "--only", "debian-13"]).unwrap(), (true, vec!["debian-13".to_owned()]));
        assert!(parse(&["--only", "debian-7"]).is_err());
    }
}
