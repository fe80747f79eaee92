//! A booth's address changes in the middle of a meeting, at either end, and nobody restarts anything.

use super::meeting::meeting;
use crate::booth::Status;
use crate::child::Side;
use crate::flow;
use crate::network::ip;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "roam",
    summary: "the address of each booth changes mid-meeting, there and back: pictures flow again within 1.5 s, directly",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

/// How long either booth may show nothing new.
const GAP_MS: i64 = 1_500;
/// From one move to the next.
const SETTLE_MS: i64 = 2_000;
/// Longer than allowed, so that a late recovery shows as late and not as none.
const TIMEOUT_MS: i64 = 10_000;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut pair = meeting(context)?;
    flow::gap_ms(&pair, SETTLE_MS);
    // Of the two, one dialled the connection that they share. B moves once more while both configurations are
    // wrong.
    let moves = [
        ("A moves", Side::A, "10.9.0.1", "10.9.0.11"),
        ("A moves back", Side::A, "10.9.0.11", "10.9.0.1"),
        ("B moves", Side::B, "10.9.0.2", "10.9.0.12"),
        ("A moves too", Side::A, "10.9.0.1", "10.9.0.13"),
        ("B moves back", Side::B, "10.9.0.12", "10.9.0.2"),
    ];
    for (what, side, from, to) in moves {
        let name = side.name();
        for (step, address) in [("del", from), ("add", to)] {
            let words = format!("-n {name} addr {step} {address}/24 dev v{name}");
            ip(&words).map_err(failed(words))?;
        }
        let direct = |status: &Status| status.route() == "direct" && status.connected();
        // What was under way when the address went is no flow.
        let seen = flow::watch(&pair, 1_000, TIMEOUT_MS, direct);
        let in_time = seen.took_ms.is_some() && seen.gap_ms <= GAP_MS;
        let found =
            if seen.took_ms.is_some() { format!("a gap of {} ms", seen.gap_ms) } else { "never".into() };
        report.check(format!("{what}: pictures flow again within {GAP_MS} ms"), in_time, found);
        report.figure(&format!("{}_gap_ms", what.to_lowercase().replace(' ', "_")), seen.gap_ms);
        report.check(format!("{what}: no process ended"), pair.ended().is_none(), "");
        flow::gap_ms(&pair, SETTLE_MS);
    }
    Ok(report)
}
