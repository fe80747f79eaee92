//! A booth whose certificate is not the pinned one gets nowhere.

use holobooth::pairing::RoomKey;

use super::meeting::SMALL;
use crate::booth::{Booth, Pair, Plan, room};
use crate::child::Side;
use crate::clock::wait_until;
use crate::report::Report;
use crate::scanout::{Picture, Screen};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};
use crate::vivid::{Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "wrong-peer",
    summary: "a peer with another certificate than the pinned one, or another room key, is refused, logged and counted",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 90,
    run,
};

const TIMEOUT_MS: i64 = 30_000;
/// Who was refused comes again: only then it is known that the first refusal has brought it nothing.
const REFUSALS: i64 = 2;
const LIT: f64 = 128.0;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    for side in [Side::A, Side::B] {
        Vivid::open(side.camera())?.look_at(Scene::still(Pattern::White))?;
    }
    let plan = Plan::both_ways(SMALL);
    let mut pair = Pair::new(context.dir())?;
    let stranger = Booth::new(Side::A, &context.dir().join("stranger"))?.fingerprint().to_owned();
    let (a, b) = (pair.a.fingerprint().to_owned(), pair.b.fingerprint().to_owned());
    report.check("every booth has a certificate of its own", a != b && a != stranger && b != stranger, "");

    for (strict, pinned_by_a, pinned_by_b) in [("A", &stranger, &a), ("B", &b, &stranger)] {
        pair.a.start(plan, Some(pinned_by_a))?;
        pair.b.start(plan, Some(pinned_by_b))?;
        pair.a.wait("running", 10_000, |status| status.answered())?;
        let refuser = if strict == "A" { &pair.a } else { &pair.b };
        wait_until(TIMEOUT_MS, 50, || refused(refuser) >= REFUSALS);
        let (count, log) = (refused(refuser), refuser.log());
        report.check(format!("{strict} refuses and counts, each time"), count >= REFUSALS, count);
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains("fingerprint"));
        report.check(
            format!("{strict} logs why"),
            warned,
            if warned { "" } else { "no warning that names it" },
        );
        for booth in [&pair.a, &pair.b] {
            let status = booth.status();
            let name = booth.side().name().to_uppercase();
            let away =
                status.answered() && !status.connected() && status.number("/total/received_frames") == 0;
            report.check(format!("{strict} strict: {name} receives nothing"), away, status.word("/state"));
            let screen = Screen::open(booth.side().screen())?;
            let brightness = screen.picture()?.as_ref().map_or(0.0, Picture::brightness);
            let dark = brightness < LIT;
            report.check(
                format!("{strict} strict: {name} shows no picture"),
                dark,
                format!("mean {brightness:.1}"),
            );
        }
        report.check(format!("{strict} strict: no process ended"), pair.ended().is_none(), "");
        pair.a.stop();
        pair.b.stop();
    }

    // Each knows the other's certificate, and only one the other's room.
    let (a, b) = (pair.a.fingerprint().to_owned(), pair.b.fingerprint().to_owned());
    pair.b.belong_to(Some(RoomKey::of([8; 32])));
    pair.a.start(plan, Some(&b))?;
    pair.b.start(plan, Some(&a))?;
    pair.b.wait("running", 10_000, |status| status.answered())?;
    for booth in [&pair.a, &pair.b] {
        wait_until(TIMEOUT_MS, 50, || refused(booth) >= REFUSALS);
    }
    for booth in [&pair.a, &pair.b] {
        let (name, status) = (booth.side().name().to_uppercase(), booth.status());
        let count = refused(booth);
        report.check(format!("another room: {name} refuses and counts"), count >= REFUSALS, count);
        report.check(
            format!("another room: {name} says why"),
            status.word("/link/trouble").contains("room.key"),
            status.word("/link/trouble"),
        );
        let away = !status.connected() && status.number("/total/received_frames") == 0;
        report.check(format!("another room: {name} receives nothing"), away, status.word("/state"));
    }
    pair.b.belong_to(Some(room()));

    pair.start(plan, plan)?;
    report.check("with the right certificates they meet", pair.b.status().connected(), "");
    Ok(report)
}

/// How often a booth has refused another.
fn refused(booth: &Booth) -> i64 {
    booth.status().number("/link/refused")
}
