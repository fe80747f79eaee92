//! Booths that cannot reach each other meet through two stock relays, and leave them when they can.

use std::net::Ipv4Addr;

use super::meeting::{SMALL, look_at_movement};
use crate::booth::{Pair, Plan, Status, tail};
use crate::clock::wait_until;
use crate::flow;
use crate::network::{cable, ip, tc};
use crate::relay::{PORT, Relay};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "relay-cluster",
    summary: "two clustered stock relays, a booth on each: live; a relay killed and restarted: live in 3 s; direct as soon as it works",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: true,
    time_limit_s: 240,
    run,
};

/// From a relay's restart to pictures on both screens.
const LIVE_AGAIN_MS: i64 = 3_000;
/// From a working cable to a direct meeting.
const DIRECT_MS: i64 = 7_000;
/// How long either booth may show nothing new when a better way comes up, and when the only one breaks.
const BETTER_GAP_MS: i64 = 500;
const BROKEN_GAP_MS: i64 = 2_500;
/// Longer than allowed, so that a late recovery shows as late and not as none.
const TIMEOUT_MS: i64 = 20_000;
/// Relays that nothing has been heard of yet may be starting for so long.
const RELAYS_UP_MS: i64 = 20_000;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    look_at_movement()?;
    ip("-n a link set va down").map_err(failed("the direct cable"))?;
    let mut relays = relays(context).map_err(failed("relays"))?;
    let mut pair = Pair::new(context.dir())?;
    pair.a.meet_at(&format!("10.9.1.2:{PORT}"), relays[0].fingerprint());
    pair.b.meet_at(&format!("10.9.2.2:{PORT}"), relays[1].fingerprint());
    let plan = Plan::both_ways(SMALL);
    if let Err(error) = pair.start(plan, plan) {
        for (relay, name) in relays.iter().zip(["1", "2"]) {
            println!("relay {name}:\n{}", tail(&relay.log(), 20));
        }
        return Err(error.into());
    }
    let over = |way: &'static str| move |status: &Status| status.route() == way && status.connected();
    let seen = flow::watch(&pair, 0, TIMEOUT_MS, over("relay"));
    report.check("both live through the relays", seen.took_ms.is_some(), both(&pair, Status::route));

    for (n, name) in [(0, "1"), (1, "2")] {
        flow::gap_ms(&pair, 3_000);
        relays[n].kill();
        let dark = flow::gap_ms(&pair, 4_000);
        report.check(
            format!("relay {name} killed: nothing flows"),
            dark >= 3_000,
            format!("{dark} ms without a picture"),
        );
        relays[n].start().map_err(failed("a relay"))?;
        let took_ms = flow::watch(&pair, 0, TIMEOUT_MS, over("relay")).took_ms;
        let found = took_ms.map_or("not back".to_owned(), |ms| format!("{ms} ms"));
        report.check(
            format!("relay {name} restarted: live within {LIVE_AGAIN_MS} ms"),
            took_ms.is_some_and(|ms| ms <= LIVE_AGAIN_MS),
            found,
        );
        report.figure(&format!("relay_{name}_restarted_live_ms"), took_ms);
        report.check(format!("relay {name} restarted: no process ended"), pair.ended().is_none(), "");
    }

    flow::gap_ms(&pair, 3_000);
    let mut switch = |what: &str, way, within_ms, gap_ms| {
        let seen = flow::watch(&pair, 0, TIMEOUT_MS, over(way));
        let found = seen.took_ms.map_or_else(
            || format!("never: {}", both(&pair, Status::route)),
            |ms| format!("after {ms} ms, with a gap of {} ms", seen.gap_ms),
        );
        let held = seen.took_ms.is_some_and(|ms| ms <= within_ms) && seen.gap_ms <= gap_ms;
        report.check(format!("{what}: {way} within {within_ms} ms, gap at most {gap_ms} ms"), held, found);
        let key = what.replace(' ', "_");
        report.figure(&format!("{key}_ms"), seen.took_ms);
        report.figure(&format!("{key}_gap_ms"), seen.gap_ms);
        flow::gap_ms(&pair, 3_000);
    };
    ip("-n a link set va up").map_err(failed("the direct cable"))?;
    switch("cable plugged in", "direct", DIRECT_MS, BETTER_GAP_MS);
    // A cable that carries nothing any more, and does not say so.
    tc("-n a qdisc add dev va root netem loss 100%").map_err(failed("the direct cable"))?;
    tc("-n b qdisc add dev vb root netem loss 100%").map_err(failed("the direct cable"))?;
    switch("cable dead", "relay", BROKEN_GAP_MS + 1_000, BROKEN_GAP_MS);
    tc("-n a qdisc del dev va root").map_err(failed("the direct cable"))?;
    tc("-n b qdisc del dev vb root").map_err(failed("the direct cable"))?;
    switch("cable alive", "direct", 3 * DIRECT_MS, BETTER_GAP_MS);
    ip("-n a link set va down").map_err(failed("the direct cable"))?;
    switch("cable pulled", "relay", BROKEN_GAP_MS + 1_000, BROKEN_GAP_MS);
    report.check("both booths run on", pair.ended().is_none(), "");
    Ok(report)
}

/// Booth a reaches relay 1 alone, booth b relay 2 alone, and the relays each other.
pub(super) fn relays(context: &Context) -> std::io::Result<[Relay; 2]> {
    cable([("a", "ua", "10.9.1.1/24"), ("r1", "u1", "10.9.1.2/24")])?;
    cable([("b", "ub", "10.9.2.1/24"), ("r2", "u2", "10.9.2.2/24")])?;
    cable([("r1", "c1", "10.9.3.1/24"), ("r2", "c2", "10.9.3.2/24")])?;
    let (mut one, mut two) = (Relay::new("r1", context.dir())?, Relay::new("r2", context.dir())?);
    // Each dials the other, so that whichever starts anew is back in the cluster at once.
    one.join(&two, Ipv4Addr::new(10, 9, 3, 2));
    two.join(&one, Ipv4Addr::new(10, 9, 3, 1));
    for relay in [&mut one, &mut two] {
        relay.start()?;
        wait_until(RELAYS_UP_MS, 50, || relay.log().contains("listening"));
    }
    Ok([one, two])
}

fn both(pair: &Pair, word: impl Fn(&Status) -> &str) -> String {
    let of = |status: Status| word(&status).to_owned();
    format!("a: {:?}, b: {:?}", of(pair.a.status()), of(pair.b.status()))
}
