//! Booths flashed alike and put on one network find each other, and nobody types anything.

use super::meeting::{SMALL, look_at_movement, start_as_strangers};
use crate::booth::{Booth, PORT, Pair, Plan, Status};
use crate::child::Side;
use crate::clock::now_us;
use crate::flow;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "pair-lan",
    summary: "two booths with one room key on one network, told of nobody: live 5 s after both were started; a third meets both",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

/// From the start of the later one to pictures on both screens.
const LIVE_MS: i64 = 5_000;
/// Longer than allowed, so that a late meeting shows as late and not as none.
const TIMEOUT_MS: i64 = 20_000;
const SETTLE_MS: i64 = 2_000;
/// How long a meeting may show nothing new while another booth comes.
const GAP_MS: i64 = 200;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    look_at_movement()?;
    let mut pair = Pair::new(context.dir())?;
    let plan = Plan::both_ways(SMALL);
    let live = |pair: &Pair, since_us: i64| {
        let early_ms = (now_us() - since_us) / 1000;
        let direct = |status: &Status| status.connected() && status.route() == "direct";
        flow::watch(pair, 0, TIMEOUT_MS, direct).took_ms.map(|ms| ms + early_ms)
    };
    let mut check = |what: &str, took_ms: Option<i64>| {
        report.check_in_time(format!("{what}: live within {LIVE_MS} ms"), took_ms, LIVE_MS);
        report.figure(&format!("{}_ms", what.replace(' ', "_")), took_ms);
    };

    start_as_strangers(&mut pair, plan)?;
    check("both started", live(&pair, now_us()));
    flow::gap_ms(&pair, SETTLE_MS);
    pair.b.kill();
    flow::gap_ms(&pair, SETTLE_MS);
    pair.b.restart()?;
    check("one started again", live(&pair, now_us()));
    flow::gap_ms(&pair, SETTLE_MS);

    for (booth, other) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let (name, status) = (booth.side().name().to_uppercase(), booth.status());
        let right = status.word("/peers/0/fingerprint") == other.fingerprint();
        report.check(format!("{name} names the other"), right, status.word("/peers/0/name"));
    }

    let mut third = Booth::new(Side::B, &context.dir().join("third"))?;
    third.call_itself("third");
    third.listen_on(PORT + 1);
    third.start(Plan { camera: false, screen: false, ..plan }, None)?;
    third.wait("running", TIMEOUT_MS, Status::answered)?;
    let gap = flow::gap_ms(&pair, LIVE_MS);
    report.check(
        format!("a third booth disturbs nobody for {GAP_MS} ms"),
        gap <= GAP_MS,
        format!("{gap} ms"),
    );
    for (booth, name) in [(&pair.a, "A"), (&pair.b, "B"), (&third, "the third")] {
        let status = booth.status();
        report.check(format!("{name} sees two others"), status.members() == 2, status.members());
    }
    let took = third.wait("meeting both", TIMEOUT_MS, |status| status.meets(&["A", "B"], "direct"))?;
    report.figure("third_met_both_ms", took);
    report.check("no process ended", pair.b.ended().is_none() && third.ended().is_none(), "");
    Ok(report)
}
