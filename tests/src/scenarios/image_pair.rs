//! Two flashed disks, switched on: they find each other and show each other, under systemd and its sandboxes.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::machine::picture::{LYING, UPRIGHT};
use crate::machine::{self, uml};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario};

/// `image-pair`
pub(crate) const PAIR: Scenario = Scenario {
    name: "image-pair",
    summary: "two machines start from flashed disks of one room and show each other; switched off and on, again",
    kind: Kind::Scenario,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 600,
    run: pair,
};

/// `image-size`
pub(crate) const SIZE: Scenario = Scenario {
    name: "image-size",
    summary: "the image has at most 450 MB, a machine in a meeting at 1080p uses at most 400 MB, and only its data partition is written",
    kind: Kind::Scenario,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 600,
    run: size,
};

/// `exposure`
pub(crate) const EXPOSURE: Scenario = Scenario {
    name: "exposure",
    summary: "every unit of the appliance has an exposure of at most 1.6, and a meeting runs under it",
    kind: Kind::Scenario,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 600,
    run: exposure,
};

const TIMEOUT: Duration = Duration::from_secs(150);
/// MiB of memory of a machine.
const MEMORY_MIB: u32 = 1024;
/// The most that an image may have, and that a machine in a meeting may use, in bytes.
const IMAGE_MOST: u64 = 450_000_000;
const USED_MOST_KB: u64 = 400_000;
/// The highest exposure of a unit.
const EXPOSED_MOST: f64 = 1.6;
/// Stands before the name of each unit's file that is evaluated.
const NAMED: &str = "evaluating ";
/// The names of the two machines, and what each sees the other's camera show.
const BOTH: [(&str, &str); 2] = [("a", LYING), ("b", UPRIGHT)];

fn pair(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut meeting = Meeting::start(context)?;
    for (n, (name, _)) in BOTH.iter().enumerate() {
        let seen = meeting.wait_for(n)?;
        report.figure(&format!("{name}_first_start_s"), meeting.machines[n].uptime().as_secs_f64());
        report.check(
            format!("{name} says that it is live"),
            seen["status"]["state"] == "live",
            &seen["status"]["state"],
        );
        report.check(
            format!("{name}: the way is direct"),
            seen["status"]["peers"][0]["route"] == "direct",
            &seen["status"]["peers"][0]["route"],
        );
    }
    let name = |seen: Value| seen["status"]["name"].as_str().unwrap_or_default().to_owned();
    let before = name(meeting.wait_for(0)?);
    let mut meeting = meeting.again(context)?;
    for (n, (side, _)) in BOTH.iter().enumerate() {
        meeting.wait_for(n)?;
        report.figure(&format!("{side}_next_start_s"), meeting.machines[n].uptime().as_secs_f64());
    }
    let after = name(meeting.wait_for(0)?);
    report.check("a booth is the same after the power was cut", before == after && !after.is_empty(), after);
    Ok(report)
}

fn size(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let compressed = machine::image("1+room")?.with_file_name("holobooth_1.raw.zst");
    let bytes = std::fs::metadata(&compressed).map_or(u64::MAX, |metadata| metadata.len());
    report.figure("image_mb", bytes / 1_000_000);
    report.check("the compressed image has at most 450 MB", bytes <= IMAGE_MOST, bytes);
    let mut meeting = Meeting::start(context)?;
    for (n, (name, _)) in BOTH.iter().enumerate() {
        meeting.wait_for(n)?;
        // Let it go on for a while: what grows, grows.
        std::thread::sleep(Duration::from_secs(10));
        let seen = meeting.wait_for(n)?;
        let used = seen["used_kb"].as_u64().unwrap_or(u64::MAX);
        report.figure(&format!("{name}_used_mb"), used / 1000);
        report.check(format!("{name} uses at most 400 MB"), used <= USED_MOST_KB, format!("{used} kB"));
        let mode = seen["status"]["camera"]["mode"].as_str().unwrap_or_default().to_owned();
        report.check(format!("{name} has 1080p"), mode.starts_with("1920x1080"), mode);
        let written = seen["writable"].as_array().cloned().unwrap_or_default();
        let others: Vec<_> = written.iter().filter(|place| **place != "/var").collect();
        report.check(
            format!("{name}: only the data partition can be written"),
            !written.is_empty() && others.is_empty(),
            Value::from(written.clone()),
        );
    }
    Ok(report)
}

fn exposure(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut meeting = Meeting::start(context)?;
    for n in 0..BOTH.len() {
        meeting.wait_for(n)?;
    }
    let file = context.dir().join("a.exposure");
    let text = meeting.machines[0].wait("the units' exposure", TIMEOUT, |_| {
        let text = std::fs::read_to_string(&file).ok()?;
        text.contains("\nend").then_some(text)
    })?;
    let files = files(&text);
    let evaluated = files.iter().filter(|(_, level)| level.is_some()).count();
    report.figure("evaluated", evaluated);
    report.check(
        "every unit's file was evaluated",
        evaluated > 0 && evaluated == files.len(),
        format!("{evaluated} of {}", files.len()),
    );
    let running = running(&text).map(|(unit, level)| (unit, Some(level)));
    for (unit, level) in files.into_iter().chain(running) {
        let level = level.unwrap_or(f64::NAN);
        report.check(format!("{unit} is exposed by at most {EXPOSED_MOST}"), level <= EXPOSED_MOST, level);
    }
    report.check(
        "the booth itself was evaluated as it runs",
        text.lines().any(|line| line.starts_with("holobooth.service ")),
        "",
    );
    let seen = meeting.wait_for(0)?;
    report.check("the meeting goes on under it", seen["status"]["state"] == "live", &seen["status"]["state"]);
    Ok(report)
}

/// The units' files that the machine named, and how exposed systemd says that each is, if it says so.
fn files(text: &str) -> Vec<(&str, Option<f64>)> {
    let mut files = Vec::new();
    for line in text.lines() {
        if let Some(file) = line.strip_prefix(NAMED) {
            files.push((file, None));
        } else if let Some((_, evaluation)) = line.split_once("exposure level for ")
            && let Some((_, level)) = files.last_mut()
        {
            *level = evaluation.split_once(": ").and_then(|(_, rest)| first_number(rest));
        }
    }
    files
}

/// The booth's units that run, and how exposed they are: lines of a table.
fn running(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter_map(|line| {
        let (unit, rest) = line.split_once(' ')?;
        let ours = unit.starts_with("holobooth") && unit.ends_with(".service");
        ours.then(|| (unit, first_number(rest).unwrap_or(f64::NAN)))
    })
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Two machines, joined by a cable.
struct Meeting {
    machines: Vec<uml::Machine>,
    folder: std::path::PathBuf,
}

impl Meeting {
    /// Writes the image to two disks and switches both machines on.
    fn start(context: &Context) -> Result<Self, Error> {
        let folder = context.dir();
        let image = machine::image("1+room")?;
        for (name, _) in BOTH {
            uml::flashed(&image, folder, &format!("{name}.disk"))?;
        }
        Self::switch_on(folder)
    }

    /// Cuts the power of both, and switches them on again.
    fn again(self, context: &Context) -> Result<Self, Error> {
        for machine in self.machines {
            machine.cut_power();
        }
        for (name, _) in BOTH {
            let _ = std::fs::remove_file(context.dir().join(format!("{name}.json")));
        }
        Self::switch_on(context.dir())
    }

    fn switch_on(folder: &Path) -> Result<Self, Error> {
        let (end_a, end_b) = uml::cable()?;
        let mut machines = Vec::new();
        for ((n, (name, _)), end) in BOTH.iter().enumerate().zip([&end_a, &end_b]) {
            let options = uml::Options {
                memory_mib: MEMORY_MIB,
                credentials: uml::eyes(folder, name, n == 1)
                    .into_iter()
                    .chain(evaluate(folder, name))
                    .collect(),
                processor: Some(n),
                ..uml::Options::default()
            };
            let disk = folder.join(format!("{name}.disk"));
            machines.push(uml::Machine::start(name, &disk, Some(end), folder, &options)?);
        }
        Ok(Self { machines, folder: folder.to_owned() })
    }

    /// Waits until machine `n` shows the other, from now on; gives what its probe saw.
    fn wait_for(&mut self, n: usize) -> Result<Value, Error> {
        let (name, wanted) = BOTH[n];
        let file = self.folder.join(format!("{name}.json"));
        let _ = std::fs::remove_file(&file);
        let mut looks = 0;
        let seen = self.machines[n].wait(&format!("{wanted} on the screen of {name}"), TIMEOUT, |_| {
            let text = std::fs::read(&file).ok()?;
            let _ = std::fs::remove_file(&file);
            looks += 1;
            let seen: Value = serde_json::from_slice(&text).ok()?;
            // The first one may have begun before.
            (looks > 1 && seen["screen"]["shows"] == wanted).then_some(seen)
        })?;
        Ok(seen)
    }
}

/// A unit that has systemd itself evaluate every unit of the booth.
fn evaluate(folder: &Path, name: &str) -> [(String, String); 2] {
    let evaluate = format!(
        "[Unit]\nRequires=run-eyes.mount\nAfter=run-eyes.mount multi-user.target\n\
         [Service]\nType=oneshot\nStandardOutput=truncate:/run/eyes{}\n\
         ExecStart=/bin/sh -c 'for u in /usr/lib/systemd/system/holobooth*.service; do echo \"{NAMED}$$u\"; \
         systemd-analyze security --offline=true --no-pager $$u | tail -1; done; systemd-analyze security --no-pager; echo; echo end'\n",
        folder.join(format!("{name}.exposure")).display(),
    );
    let wanted = "[Unit]\nWants=evaluate.service\n";
    [
        ("systemd.extra-unit.evaluate.service".to_owned(), evaluate),
        ("systemd.unit-dropin.multi-user.target~evaluate".to_owned(), wanted.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_was_not_judged_is_seen() {
        let text = "evaluating /a@.service\n→ Overall exposure level for a@i.service: 0.4 SAFE\n\
                    evaluating /b.service\nFailed to load b.service\n\
                    evaluating /c.service\n→ Overall exposure level for c.service: x\n\
                    UNIT              EXPOSURE PREDICATE\nholobooth.service      1.5 OK\nother.service 9.6 UNSAFE\n\nend\n";
        assert_eq!(files(text), [("/a@.service", Some(0.4)), ("/b.service", None), ("/c.service", None)]);
        assert_eq!(running(text).collect::<Vec<_>>(), [("holobooth.service", 1.5)]);
    }
}
