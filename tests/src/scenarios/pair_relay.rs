//! Booths flashed alike find each other through relays, and move to a common network and back while they
//! meet.

use super::meeting::{SMALL, look_at_movement, start_as_strangers};
use super::relay_cluster::relays;
use crate::booth::{Pair, Plan, Status, tail};
use crate::clock::now_us;
use crate::flow;
use crate::network::ip;
use crate::relay::PORT;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "pair-relay",
    summary: "two booths with one room key, told of a relay and of nobody: live 5 s after both were started; then onto one network and off it",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: true,
    time_limit_s: 180,
    run,
};

/// From the start of the later one to pictures on both screens.
const LIVE_MS: i64 = 5_000;
/// From a common network to a direct meeting, and from its end to one through the relay.
const MOVED_MS: i64 = 5_000;
/// How long either booth may show nothing new when a better way comes up, and when the only one breaks.
const BETTER_GAP_MS: i64 = 500;
const BROKEN_GAP_MS: i64 = 2_500;
/// Longer than allowed, so that a late meeting shows as late and not as none.
const TIMEOUT_MS: i64 = 20_000;
const SETTLE_MS: i64 = 3_000;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    look_at_movement()?;
    ip("-n a link set va down").map_err(failed("the direct cable"))?;
    let relays = relays(context).map_err(failed("relays"))?;
    let mut pair = Pair::new(context.dir())?;
    pair.a.meet_at(&format!("10.9.1.2:{PORT}"), relays[0].fingerprint());
    pair.b.meet_at(&format!("10.9.2.2:{PORT}"), relays[1].fingerprint());

    start_as_strangers(&mut pair, Plan::both_ways(SMALL))?;
    let since_us = now_us();
    let over = |way: &'static str| move |status: &Status| status.route() == way && status.connected();
    let took_ms = flow::watch(&pair, 0, TIMEOUT_MS, over("relay")).took_ms;
    let took_ms = took_ms.map(|_| (now_us() - since_us) / 1000);
    if took_ms.is_none() {
        for booth in [&pair.a, &pair.b] {
            println!("booth {}:\n{}", booth.side().name(), tail(&booth.log(), 20));
        }
    }
    report.check_in_time(format!("through the relay: live within {LIVE_MS} ms"), took_ms, LIVE_MS);
    report.figure("through_the_relay_ms", took_ms);
    for booth in [&pair.a, &pair.b] {
        let (name, members) = (booth.side().name().to_uppercase(), booth.status().members());
        report.check(format!("{name} sees the other in the room"), members == 1, members);
    }

    let moves = [
        ("onto one network", "up", "direct", BETTER_GAP_MS),
        ("off it", "down", "relay", BROKEN_GAP_MS),
        ("onto it again", "up", "direct", BETTER_GAP_MS),
    ];
    for (what, cable, way, gap_ms) in moves {
        flow::gap_ms(&pair, SETTLE_MS);
        ip(&format!("-n a link set va {cable}")).map_err(failed("the direct cable"))?;
        let seen = flow::watch(&pair, 0, TIMEOUT_MS, over(way));
        let held = seen.took_ms.is_some_and(|ms| ms <= MOVED_MS) && seen.gap_ms <= gap_ms;
        let found = seen
            .took_ms
            .map_or("never".to_owned(), |ms| format!("after {ms} ms, with a gap of {} ms", seen.gap_ms));
        report.check(format!("{what}: {way} within {MOVED_MS} ms, gap at most {gap_ms} ms"), held, found);
        let key = what.replace(' ', "_");
        report.figure(&format!("{key}_ms"), seen.took_ms);
        report.figure(&format!("{key}_gap_ms"), seen.gap_ms);
    }
    report.check("no process ended", pair.ended().is_none(), "");
    Ok(report)
}
