//! Three booths of one room, all cameras on: each receives and decodes the other two.

use std::io;

use holobooth::realtime;
use serde_json::Value;

use super::relay_cluster::relays;
use crate::booth::{Booth, Plan, Status};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::network::{cable, ip};
use crate::relay::PORT;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::steal;
use crate::vivid::{Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "three",
    summary: "three booths of one room, all cameras on, 60 s directly and 60 s through relays: each decodes the other two, no frame lost",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: true,
    time_limit_s: 600,
    run,
};

/// Three booths code three pictures and decode six on the one core of the rig.
const PLAN: Plan =
    Plan { camera: true, screen: false, size: (320, 180), fps: 30, format: "auto", kbps: 2_000 };
const NAMES: [&str; 3] = ["A", "B", "C"];
/// The camera that stands besides those of both sides.
const THIRD_CAMERA: &str = "platform:vivid-002";
const THIRD_NAMESPACE: &str = "c";
/// How long they are waited for.
const TIMEOUT_MS: i64 = 30_000;
const SETTLE_US: i64 = 3_000_000;
/// Frames that may be between two counters at the moment they are read.
pub(super) const IN_FLIGHT: i64 = 4;
/// A camera gives a picture every 33 ms, and has lost one when the machine took more than this away.
const STOLEN_MS: i64 = 25;
const TRIES: u32 = 3;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let seconds = if context.quick { 10 } else { 60 };
    let mut booths = start(context)?;
    meet(&mut report, "directly", &booths, "direct");
    exchange(&mut report, "directly", &booths, seconds)?;
    one_leaves_and_returns(&mut report, "directly", &mut booths, "direct")?;

    // A relay has a machine of its own: a booth that starts beside it on this one core takes nothing from it. A
    // program is as urgent as the thread that starts it.
    let urgent = || realtime::set_realtime_priority(realtime::LINK).and_then(|()| relays(context));
    let relays = std::thread::scope(|scope| scope.spawn(urgent).join());
    let relays = relays.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())).map_err(failed("relays"))?;
    cable([("r1", "c3", "10.9.6.2/24"), (THIRD_NAMESPACE, "uc", "10.9.6.1/24")])
        .map_err(failed("a cable to the relay"))?;
    for (booth, (address, relay)) in
        booths.iter_mut().zip([("10.9.1.2", 0), ("10.9.2.2", 1), ("10.9.6.2", 0)])
    {
        booth.stop();
        booth.meet_at(&format!("{address}:{PORT}"), relays[relay].fingerprint());
    }
    for (namespace, device) in [("a", "va"), ("a", "ca"), ("b", "cb")] {
        ip(&format!("-n {namespace} link set {device} down")).map_err(failed("the direct cables"))?;
    }
    for booth in &mut booths {
        booth.start(PLAN, None)?;
    }
    meet(&mut report, "through relays", &booths, "relay");
    exchange(&mut report, "through relays", &booths, seconds)?;
    one_leaves_and_returns(&mut report, "through relays", &mut booths, "relay")?;
    let ended = booths.iter_mut().find_map(|booth| booth.ended());
    report.check("no process ended", ended.is_none(), "");
    Ok(report)
}

/// Starts all three, with cables between them and something that moves before each.
pub(super) fn start(context: &Context) -> Result<[Booth; 3], Error> {
    for camera in [Side::A.camera(), Side::B.camera(), THIRD_CAMERA] {
        Vivid::open(camera)?.look_at(Scene::moving(Pattern::Bars))?;
    }
    lay_cables().map_err(failed("cables to a third booth"))?;
    let mut booths = [
        Booth::new(Side::A, context.dir())?,
        Booth::new(Side::B, context.dir())?,
        Booth::new(Side::B, &context.dir().join("third"))?,
    ];
    booths[2].call_itself("C");
    booths[2].stand_in(THIRD_NAMESPACE, THIRD_CAMERA);
    for booth in &mut booths {
        booth.start(PLAN, None)?;
    }
    Ok(booths)
}

/// A namespace for the third booth, with a cable to each of the others.
fn lay_cables() -> io::Result<()> {
    cable([("a", "ca", "10.9.4.1/24"), (THIRD_NAMESPACE, "ac", "10.9.4.2/24")])?;
    cable([("b", "cb", "10.9.5.1/24"), (THIRD_NAMESPACE, "bc", "10.9.5.2/24")])
}

/// The fingerprints of the others.
fn others(booths: &[Booth; 3], n: usize) -> Vec<&str> {
    let others = booths.iter().enumerate().filter(|(other, _)| *other != n);
    others.map(|(_, booth)| booth.fingerprint()).collect()
}

/// Waits until each is connected with both others.
pub(super) fn meet(report: &mut Report, title: &str, booths: &[Booth; 3], route: &str) {
    let start_us = now_us();
    let all = || (0..3).all(|n| booths[n].status().meets(&others(booths, n), route));
    let took = wait_until(TIMEOUT_MS, 100, all);
    let found = match took {
        Some(_) => format!("{} ms", (now_us() - start_us) / 1000),
        None => booths
            .iter()
            .map(|booth| booth.status().json().get("peers").map_or(String::new(), Value::to_string))
            .collect(),
    };
    report.check(format!("{title}: all three meet"), took.is_some(), found);
    report.figure(&format!("{}_all_met_ms", title.replace(' ', "_")), took);
}

/// What one booth counted of one peer between two of its statuses.
pub(super) fn grew(before: &Status, after: &Status, peer: &str, counter: &str) -> i64 {
    let at = |status: &Status| status.peer(peer)[counter].as_i64();
    match (at(before), at(after)) {
        (Some(before), Some(after)) => after - before,
        _ => i64::MIN / 4,
    }
}

/// What must not happen to a frame, by the counters of who receives it.
pub(super) const LOSSES: [&str; 3] = ["lost_frames", "decode_errors", "decode_skipped"];

/// All three send for so many seconds, and each decodes all that the other two sent.
fn exchange(report: &mut Report, title: &str, booths: &[Booth; 3], seconds: i64) -> Result<(), Error> {
    let statuses = || booths.each_ref().map(Booth::status);
    let mut tries = 0;
    let (before, after, stolen_ms) = loop {
        sleep_until_us(now_us() + SETTLE_US);
        let before = statuses();
        let stolen_us = steal::longest_us(|| sleep_until_us(now_us() + seconds * 1_000_000));
        let stolen_ms = stolen_us.map_err(failed("looking for stolen time"))? / 1000;
        let after = statuses();
        tries += 1;
        // A picture that a camera lost while the machine took away time says nothing of the booths.
        let kept =
            before.iter().zip(&after).all(|(b, a)| a.number("/camera/lost") <= b.number("/camera/lost"));
        if kept || stolen_ms < STOLEN_MS || tries == TRIES {
            break (before, after, stolen_ms);
        }
    };
    let key = title.replace(' ', "_");
    report.figure(&format!("{key}_measured_again"), tries - 1);
    report.figure(&format!("{key}_stolen_ms"), stolen_ms);
    for n in 0..3 {
        let captured = after[n].number("/video/camera_frames") - before[n].number("/video/camera_frames");
        report.figure(&format!("{key}_{}_captured", NAMES[n]), captured);
        for other in (0..3).filter(|&other| other != n) {
            let counted = |counter| grew(&before[other], &after[other], booths[n].fingerprint(), counter);
            let sent = grew(&before[n], &after[n], booths[other].fingerprint(), "sent_frames");
            report.check(
                format!("{title}: {} sends 30 a second to {}", NAMES[n], NAMES[other]),
                (sent - seconds * 30).abs() <= seconds * 30 / 20 + IN_FLIGHT,
                format!("sent {sent}, captured {captured}"),
            );
            let (received, decoded) = (counted("received_frames"), counted("decoded"));
            let whole = (sent - received).abs() <= IN_FLIGHT && (sent - decoded).abs() <= IN_FLIGHT;
            let found = format!("sent {sent}, received {received}, decoded {decoded}");
            report.check(format!("{title}: {} decodes all of {}", NAMES[other], NAMES[n]), whole, found);
            let losses = LOSSES.map(|counter| (counter, counted(counter)));
            let found = losses.map(|(counter, count)| format!("{counter} {count}")).join(", ");
            let none = losses.iter().all(|(_, count)| *count == 0);
            report.check(format!("{title}: {} loses none of {}", NAMES[other], NAMES[n]), none, found);
            report.figure(&format!("{key}_{}_from_{}", NAMES[other], NAMES[n]), decoded);
        }
    }
    Ok(())
}

/// C's power is cut and comes back; between A and B no frame is lost.
fn one_leaves_and_returns(
    report: &mut Report,
    title: &str,
    booths: &mut [Booth; 3],
    route: &str,
) -> Result<(), Error> {
    let before = [booths[0].status(), booths[1].status()];
    booths[2].kill();
    let gone = wait_until(TIMEOUT_MS, 100, || !booths[0].status().meets(&[booths[2].fingerprint()], ""));
    report.check(format!("{title}: C is gone"), gone.is_some(), format!("{gone:?} ms"));
    sleep_until_us(now_us() + SETTLE_US);
    booths[2].restart()?;
    meet(report, &format!("{title}, C back"), booths, route);
    sleep_until_us(now_us() + SETTLE_US);
    let after = [booths[0].status(), booths[1].status()];
    for (n, other) in [(0, 1), (1, 0)] {
        let counted = |counter| grew(&before[n], &after[n], booths[other].fingerprint(), counter);
        let losses = LOSSES.map(|counter| format!("{counter} {}", counted(counter))).join(", ");
        let none = LOSSES.iter().all(|&counter| counted(counter) == 0) && counted("connects") == 0;
        let received = counted("received_frames");
        let found = format!("{losses}, received {received}, new sessions {}", counted("connects"));
        report.check(
            format!("{title}: C leaves and returns, {} loses no frame of {}", NAMES[n], NAMES[other]),
            none && received > 100,
            found,
        );
    }
    Ok(())
}
