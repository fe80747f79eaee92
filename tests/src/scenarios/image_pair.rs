//! Two flashed disks, switched on: they find each other and show each other.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::machine::{self, uml};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "image-pair",
    summary: "two machines start from flashed disks of one room, under systemd, and show each other; exposure of the units, memory",
    kind: Kind::Scenario,
    place: Place::Machines(&["1+room"]),
    relay: false,
    time_limit_s: 600,
    run,
};

const PATIENCE: Duration = Duration::from_secs(120);

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let image = machine::image("1+room")?;
    let (end_a, end_b) = uml::cable()?;
    let mut machines = Vec::new();
    for (name, end, lying, processor) in [("a", &end_a, false, 0), ("b", &end_b, true, 1)] {
        let disk = uml::flashed(&image, folder, &format!("{name}.disk"))?;
        let options = uml::Options {
            memory_mib: 1024,
            credentials: probe(&folder.join(format!("{name}.json")), lying),
            processor: Some(processor),
            ..uml::Options::default()
        };
        machines.push((name, uml::Machine::start(name, &disk, Some(end), folder, &options)?));
    }
    for ((name, machine), wanted) in machines.iter_mut().zip(["lying bars", "upright bars"]) {
        let file = folder.join(format!("{name}.json"));
        let seen = machine.wait(&format!("{wanted} on the screen of {name}"), PATIENCE, |_| {
            let seen = read(&file)?;
            (seen["screen"]["shows"] == wanted).then_some(seen)
        })?;
        let live_s = machine.uptime().as_secs_f64();
        report.figure(&format!("{name}_live_s"), live_s);
        report.check(format!("{name} shows the other booth"), true, wanted);
        report.check(
            format!("{name} says that it is live"),
            seen["status"]["state"] == "live",
            &seen["status"]["state"],
        );
        let used_mb = seen["used_kb"].as_u64().unwrap_or(u64::MAX) / 1000;
        report.figure(&format!("{name}_used_mb"), used_mb);
    }
    Ok(report)
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Units that let the host's program `probe` look out of the machine: the host's files, and the program in them.
fn probe(out: &Path, lying: bool) -> Vec<(String, String)> {
    let program = std::env::current_exe().unwrap_or_default();
    let mount =
        "[Unit]\nDefaultDependencies=no\n[Mount]\nWhat=host\nWhere=/run/host\nType=hostfs\nOptions=/\n";
    let service = format!(
        "[Unit]\nRequires=run-host.mount\nAfter=run-host.mount holobooth.service\n\
         [Service]\nRootDirectory=/run/host\nMountAPIVFS=yes\nBindPaths=/run/holobooth:/run/holobooth\n\
         Restart=always\nRestartSec=1\nExecStart={} probe --out {}{}\n",
        program.display(),
        out.display(),
        if lying { " --lying" } else { "" },
    );
    // Wanted by a target, as a unit that is enabled would be.
    let target = "[Unit]\nWants=probe.service\n".to_owned();
    vec![
        ("systemd.extra-unit.run-host.mount".into(), mount.into()),
        ("systemd.extra-unit.probe.service".into(), service),
        ("systemd.unit-dropin.multi-user.target".into(), target),
    ]
}
