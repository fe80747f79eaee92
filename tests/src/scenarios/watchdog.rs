//! What a booth tells its service manager: ready, how it is, and that it lives, whatever is unplugged.

use super::meeting::SMALL;
use crate::booth::{Booth, Pair, Plan, Status};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::hotplug;
use crate::manager::Manager;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::vivid::{Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "watchdog",
    summary: "the service manager hears that a booth is ready and lives, with or without camera, screen and peer; `reload` ends it in good order",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

const READY_MS: i64 = 10_000;
/// A booth that is not heard of for so long is taken for dead.
const LIMIT_MS: i64 = 2_000;
const AWAY_US: i64 = 4_000_000;
const TIMEOUT_MS: i64 = 15_000;
const ALIVE: &str = "WATCHDOG=1";

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let path = context.dir().join("notify.sock");
    let manager = Manager::listen(&path).map_err(failed("the manager's socket"))?;
    Vivid::open(Side::A.camera())?.look_at(Scene::moving(Pattern::Bars))?;
    let mut pair = Pair::new(context.dir())?;
    pair.a.answer_to(&path, LIMIT_MS);
    let plan = Plan::both_ways(SMALL);

    let since_us = now_us();
    pair.a.start(plan, None)?;
    ready(&mut report, "alone", &manager, since_us);
    let lives_from_us = now_us();
    pair.a.wait("looking", TIMEOUT_MS, |status| status.word("/state") == "looking")?;

    let unplugged = Vivid::open(Side::A.camera())?.unplug()?;
    sleep_until_us(now_us() + AWAY_US);
    lives(&mut report, "without camera", &manager, AWAY_US);
    said(&mut report, &manager, "no-camera", since_us);
    unplugged.plug();

    hotplug::connect(Side::A, false).map_err(failed("the screen's cable"))?;
    sleep_until_us(now_us() + AWAY_US);
    lives(&mut report, "without screen", &manager, AWAY_US);
    hotplug::connect(Side::A, true).map_err(failed("the screen's cable"))?;

    pair.b.start(Plan { screen: false, ..plan }, None)?;
    pair.a.wait("showing a picture", TIMEOUT_MS, Status::shows_picture)?;
    pair.b.kill();
    sleep_until_us(now_us() + AWAY_US);
    lives(&mut report, "without peer", &manager, AWAY_US);
    said(&mut report, &manager, "live", since_us);
    said(&mut report, &manager, "reconnecting", since_us);
    let (times, gap_ms) = manager.rhythm(ALIVE, lives_from_us);
    report.check("all the while", gap_ms <= LIMIT_MS, format!("{times} signs, {gap_ms} ms apart at most"));
    report.figure("longest_silence_ms", gap_ms);

    let (done, answer) = pair.a.command(&["reload"])?;
    report.check("reload is answered", done, answer);
    ended_well(&mut report, &mut pair.a);
    report.check("and said to be meant", manager.first("STOPPING=1", since_us).is_some(), "");

    let since_us = now_us();
    pair.a.start(Plan { camera: false, screen: false, ..plan }, None)?;
    ready(&mut report, "neither camera nor screen", &manager, since_us);
    pair.a.stop();
    hotplug::connect(Side::A, false).map_err(failed("the screen's cable"))?;
    let since_us = now_us();
    pair.a.start(plan, None)?;
    ready(&mut report, "screen unplugged", &manager, since_us);
    hotplug::connect(Side::A, true).map_err(failed("the screen's cable"))?;
    Ok(report)
}

fn ready(report: &mut Report, what: &str, manager: &Manager, since_us: i64) {
    let heard = || manager.first("READY=1", since_us);
    wait_until(READY_MS, 20, || heard().is_some());
    let took_ms = heard().map(|at_us| (at_us - since_us) / 1000);
    report.check_came(format!("{what}: ready"), took_ms);
    report.figure(&format!("{}_ready_ms", what.replace(' ', "_")), took_ms);
}

/// The manager heard of it often enough over the last while.
fn lives(report: &mut Report, what: &str, manager: &Manager, for_us: i64) {
    let (times, gap_ms) = manager.rhythm(ALIVE, now_us() - for_us);
    let found = format!("{times} signs, {gap_ms} ms apart at most");
    report.check(format!("{what}: heard of"), times >= 2 && gap_ms <= LIMIT_MS, found);
}

fn said(report: &mut Report, manager: &Manager, state: &str, since_us: i64) {
    let heard = manager.first(&format!("STATUS={state}"), since_us).is_some();
    report.check(format!("said to be {state}"), heard, "");
}

fn ended_well(report: &mut Report, booth: &mut Booth) {
    let mut status = None;
    wait_until(TIMEOUT_MS, 20, || {
        status = booth.ended();
        status.is_some()
    });
    let code = status.and_then(|status| status.code());
    report.check("it ends with exit status 0", code == Some(0), format!("{code:?}"));
}
