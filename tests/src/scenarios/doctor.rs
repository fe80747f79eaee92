//! `holobooth doctor` sees what is there and what is not, beside a booth that runs and without one.

use std::fs;

use serde_json::Value;

use super::meeting::SMALL;
use crate::booth::{self, Booth, Plan, Status};
use crate::child::{Running, Side};
use crate::clock::{now_us, wait_until};
use crate::hotplug;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::vivid::{Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "doctor",
    summary: "`holobooth doctor` finds camera, screen and peer there or gone, beside a booth that runs and without one, within 10 s",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 150,
    run,
};

const LIMIT_MS: i64 = 10_000;
const TIMEOUT_MS: i64 = 15_000;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    Vivid::open(Side::A.camera())?.look_at(Scene::moving(Pattern::Bars))?;
    let mut booth = Booth::new(Side::A, context.dir())?;
    let plan = Plan::both_ways(SMALL);
    booth.start(plan, None)?;
    let running =
        |status: &Status| status.word("/camera/state") == "streaming" && status.word("/screen/state") == "on";
    booth.wait("running", TIMEOUT_MS, running)?;

    let is = |report: &mut Report, when: &str, booth: &Booth, wanted: &[(&str, &str, &str)], code: i32| {
        let seen = Seen::of(context, booth)?;
        for (layer, verdict, word) in wanted {
            let (found, text) = seen.layer(layer);
            let held = verdict.split('|').any(|one| found == one) && text.contains(word);
            report.check(format!("{when}: {layer} {verdict}"), held, format!("{found}: {text}"));
        }
        report.check(
            format!("{when}: exit status {code}"),
            seen.code == Some(code),
            format!("{:?}", seen.code),
        );
        let found = format!("{} ms", seen.took_ms);
        report.check(format!("{when}: within {LIMIT_MS} ms"), seen.took_ms < LIMIT_MS, found);
        Ok::<(), Error>(())
    };
    // On a machine that has much else to do, fewer pictures come than are promised.
    let camera = ("camera", "ok|warning", "pictures a second come");
    let screen = ("screen", "ok", "screen-a");
    let software = ("encoder", "warning", "libx265");
    let network = ("network", "warning", "va 10.9.0.1");
    let alone = ("peer", "warning", "the other booth");
    is(&mut report, "running", &booth, &[camera, screen, software, network, alone], 0)?;

    let unplugged = Vivid::open(Side::A.camera())?.unplug()?;
    booth.wait("without camera", TIMEOUT_MS, |status| status.word("/camera/state") == "searching")?;
    is(&mut report, "camera unplugged", &booth, &[("camera", "wrong", "plug"), screen], 1)?;
    unplugged.plug();
    hotplug_screen(false)?;
    booth.wait("without screen", TIMEOUT_MS, |status| status.word("/screen/state") == "searching")?;
    is(&mut report, "screen unplugged", &booth, &[camera, ("screen", "wrong", "plug")], 1)?;
    hotplug_screen(true)?;
    booth.wait("running", TIMEOUT_MS, running)?;
    is(&mut report, "plugged in again", &booth, &[camera, screen], 0)?;

    booth.stop();
    let none = ("peer", "warning", "no booth runs");
    let free = ("screen", "ok", "free");
    is(&mut report, "stopped", &booth, &[camera, free, software, ("decoder", "warning", "hevc"), none], 0)?;
    let unplugged = Vivid::open(Side::A.camera())?.unplug()?;
    hotplug_screen(false)?;
    let gone = [("camera", "wrong", "plug"), ("screen", "wrong", "plug")];
    is(&mut report, "stopped, all unplugged", &booth, &gone, 1)?;
    unplugged.plug();
    hotplug_screen(true)?;

    let config = booth.config_path().display().to_string();
    let printed = booth::run_once(&["doctor", "--config", &config])?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    report.check("a line a layer for people", text.lines().count() == 14 && text.contains("\ncamera "), text);
    let usage = booth::run_once(&["doctor", "--nonsense"])?;
    report.check("wrong usage: exit status 2", usage.status.code() == Some(2), usage.status);
    Ok(report)
}

fn hotplug_screen(connected: bool) -> Result<(), Error> {
    let refused = |source| Error::System { what: "the screen's cable".to_owned(), source };
    hotplug::connect(Side::A, connected).map_err(refused)
}

/// What the doctor said.
pub(super) struct Seen {
    code: Option<i32>,
    took_ms: i64,
    said: Value,
}

impl Seen {
    /// Runs it in the booth's own network.
    pub(super) fn of(context: &Context, booth: &Booth) -> Result<Self, Error> {
        let binary = booth::binary()?;
        let log = context.dir().join("doctor.log");
        let _ = fs::remove_file(&log);
        let config = booth.config_path().display().to_string();
        let arguments = ["doctor", "--json", "--config", &config].map(str::to_owned);
        let start_us = now_us();
        let mut process = Running::start(booth.side(), &binary, &arguments, &log)
            .map_err(failed(binary.display().to_string()))?;
        let mut code = None;
        wait_until(2 * LIMIT_MS, 5, || {
            let ended = process.ended();
            code = ended.and_then(|status| status.code());
            ended.is_some()
        });
        let took_ms = (now_us() - start_us) / 1000;
        let printed = process.printed();
        let object = printed.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
        Ok(Self { code, took_ms, said: serde_json::from_str(object).unwrap_or(Value::Null) })
    }

    /// What it thinks of a layer, and what it says about it.
    pub(super) fn layer(&self, name: &str) -> (String, String) {
        let layers = self.said.get("layers").and_then(Value::as_array);
        let word = |line: &Value, key: &str| line.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let line = layers.into_iter().flatten().find(|line| word(line, "layer") == name);
        line.map_or_else(Default::default, |line| {
            (word(line, "verdict"), format!("{}; {}", word(line, "found"), word(line, "advice")))
        })
    }
}
