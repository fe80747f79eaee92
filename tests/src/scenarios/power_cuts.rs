//! The plug is pulled while sticks change the configuration, again and again; and the data partition is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::stick::Stick;
use crate::machine::{self, uml};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

/// `power-cuts`
pub(crate) const CUTS: Scenario = Scenario {
    name: "power-cuts",
    summary: "fifty times the power is cut at a random moment while two sticks take turns: the booth starts, with the one or the other",
    kind: Kind::Long,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 3000,
    run: cuts,
};

/// `full-data`
pub(crate) const FULL: Scenario = Scenario {
    name: "full-data",
    summary: "with a full data partition the booth starts and runs; a stick's file is refused and the old one stays",
    kind: Kind::Long,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 600,
    run: full,
};

const TIMEOUT: Duration = Duration::from_secs(120);
/// How often the power is cut.
const CUTS_WANTED: usize = 50;
/// When it is cut, after the booth came up, in ms.
const MOMENT_MS: std::ops::Range<u64> = 0..6_000;
/// The names that the two sticks give the booth.
const NAMES: [&str; 2] = ["north", "south"];
/// What the system says when a disk is full.
const NO_SPACE: &str = "No space left";

fn cuts(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let disk = uml::flashed(&machine::image("1+room")?, folder, "disk")?;
    let sticks = sticks(folder)?;
    let turns =
        "while :; do systemctl start holobooth-stick@ubdb; systemctl start holobooth-stick@ubdc; done";
    let options = uml::Options::with_sticks(&sticks, turns);
    let wanted = if context.quick { 5 } else { CUTS_WANTED };
    let mut random = fastrand::Rng::with_seed(5);
    let (mut seen, mut troubles, mut slowest) = ([0; 2], Vec::new(), Duration::ZERO);
    for cut in 0..wanted {
        let _ = fs::remove_file(folder.join("m.console"));
        let mut machine = uml::Machine::start("m", &disk, None, folder, &options)?;
        let name =
            machine.wait(&format!("a booth, at cut {cut}"), TIMEOUT, |machine| named(&machine.console()))?;
        slowest = slowest.max(machine.uptime());
        match NAMES.iter().position(|known| *known == name) {
            Some(n) => seen[n] += 1,
            // Until the first stick has been read it has the name that follows from its key.
            None if cut == 0 => {}
            None => troubles.push(format!("cut {cut}: it called itself {name}")),
        }
        if cut == 0 {
            machine.wait("the first stick", TIMEOUT, |machine| {
                machine.console().contains("booth north").then_some(())
            })?;
        }
        std::thread::sleep(Duration::from_millis(random.u64(MOMENT_MS)));
        let console = machine.console();
        if let Some(line) =
            console.lines().find(|line| line.contains("is damaged") || line.contains("emergency"))
        {
            troubles.push(format!("cut {cut}: {line}"));
        }
        machine.cut_power();
    }
    report.figure("starts", wanted);
    report.figure("started_as_north", seen[0]);
    report.figure("started_as_south", seen[1]);
    report.figure("slowest_start_s", slowest.as_secs_f64());
    report.check("it always started as the one or the other", troubles.is_empty(), troubles.join("; "));
    report.check(
        "both were met, so the cuts fell between changes",
        context.quick || seen.iter().all(|&n| n > 0),
        format!("{seen:?}"),
    );
    Ok(report)
}

fn full(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let disk = uml::flashed(&machine::image("1+room")?, folder, "disk")?;
    let sticks = sticks(folder)?;
    let fill = "systemctl start holobooth-stick@ubdb; dd if=/dev/zero of=/var/fill bs=1M; sync; echo the disk is full; \
                systemctl start holobooth-stick@ubdc; echo the second stick was read";
    let mut machine =
        uml::Machine::start("m", &disk, None, folder, &uml::Options::with_sticks(&sticks, fill))?;
    machine.wait("the second stick", TIMEOUT, |machine| {
        machine.console().contains("the second stick was read").then_some(())
    })?;
    let console = machine.console();
    let (before, after) = console.split_once("the disk is full").unwrap_or_default();
    let filled = line_with(before, &["dd: ", NO_SPACE]);
    report.check("the disk was full", filled.is_some(), filled.unwrap_or_default());
    let refused = line_with(after, &["provision", NO_SPACE]);
    report.check(
        "the second stick is refused and says why",
        refused.is_some(),
        refused.or_else(|| line_with(after, &["provision"])).unwrap_or_default(),
    );
    machine.cut_power();
    let _ = fs::remove_file(folder.join("m.console"));
    let mut machine =
        uml::Machine::start("m", &disk, None, folder, &uml::Options::with_sticks(&sticks, "sleep infinity"))?;
    let name = machine.wait("a booth with a full disk", TIMEOUT, |machine| named(&machine.console()))?;
    report.check("with a full disk it starts, as the first stick said", name == "north", name);
    Ok(report)
}

/// A line that has all these words.
fn line_with<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    text.lines().find(|line| words.iter().all(|word| line.contains(word)))
}

/// What a booth calls itself on the console.
fn named(console: &str) -> Option<String> {
    let line = console
        .lines()
        .rev()
        .find(|line| line.contains("holobooth::booth::report") && line.contains("] booth "))?;
    Some(line.split("] booth ").nth(1)?.split(':').next()?.to_owned())
}

fn sticks(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    NAMES
        .iter()
        .map(|name| {
            let file = folder.join(format!("{name}.toml"));
            fs::write(&file, format!("[booth]\nname = \"{name}\"\n"))
                .map_err(failed(file.display().to_string()))?;
            let stick = Stick::with(folder.join(format!("{name}.img")), &[("holobooth.toml", &file)])?;
            Ok(stick.image().to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booths_name_is_found_on_the_console() {
        let console = "holobooth[9]: [… INFO  holobooth::booth::report] booth proud-robin-11: Looking\n\
                       holobooth[12]: [… INFO  holobooth::booth::report] booth north: Looking\nother\n";
        assert_eq!(named(console).as_deref(), Some("north"));
        assert_eq!(named("booth north: x"), None);
    }

    #[test]
    fn one_line_has_all_the_words() {
        let text = "dd: writing\ncp: No space left\ndd: /var: No space left on device\n";
        assert_eq!(line_with(text, &["dd: ", NO_SPACE]), Some("dd: /var: No space left on device"));
        assert_eq!(line_with("dd: writing\ncp: No space left", &["dd: ", NO_SPACE]), None);
    }
}
