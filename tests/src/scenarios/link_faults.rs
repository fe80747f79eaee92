//! Hours of two links over a line with everything wrong with it, in virtual time.

use holobooth::link::testkit::{Outcome, simulate};

use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "link-faults",
    summary: "two hours of virtual time under random faults: no deadlock, no growth, no frame twice or out of order",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 600,
    run,
};

/// Each seed is another history, of so many virtual seconds.
const SEEDS: u64 = 12;
const SECONDS: u64 = 600;
/// After the first history, memory grows by no more than this.
const GROWTH_KIB: u64 = 4096;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let seeds = if context.quick { 2 } else { SEEDS };
    let mut sum = Outcome::default();
    let mut grown = Vec::new();
    for seed in 1..=seeds {
        let system =
            |source: nix::Error| Error::System { what: "a mailbox".to_owned(), source: source.into() };
        let outcome = simulate(seed, SECONDS).map_err(system)?;
        println!(
            "  seed {seed:>2}: {} sent, {} decoded, {} given up, {} shards repaired, {} keyframes asked for, {} freezes, {} sessions",
            outcome.sent,
            outcome.decoded,
            outcome.lost,
            outcome.repairs,
            outcome.keyframe_requests,
            outcome.freezes,
            outcome.sessions
        );
        for violation in &outcome.violations {
            println!("           {violation}");
        }
        grown.push(resident_kib());
        sum.seconds += outcome.seconds;
        sum.sent += outcome.sent;
        sum.decoded += outcome.decoded;
        sum.repairs += outcome.repairs;
        sum.malformed += outcome.malformed;
        sum.decrypt_failed += outcome.decrypt_failed;
        sum.violations.extend(outcome.violations);
    }
    let found = sum.violations.first().map_or(String::new(), |first| first.clone());
    report.check("no frame wrong, twice or out of order, and none stuck", sum.violations.is_empty(), found);
    let decoded = format!("{} of {}", sum.decoded, sum.sent);
    report.check("most frames arrive all the same", sum.decoded * 10 > sum.sent * 8, decoded);
    let faults =
        format!("{} shards repaired, {} datagrams changed or repeated", sum.repairs, sum.decrypt_failed);
    report.check("the faults took place", sum.repairs > 0 && sum.decrypt_failed > 0, faults);
    report.check("nothing made no sense", sum.malformed == 0, sum.malformed);
    let (first, most) = (grown.first().copied().unwrap_or(0), grown.iter().copied().max().unwrap_or(0));
    let growth = most.saturating_sub(first);
    report.check(
        "memory does not grow",
        first > 0 && growth <= GROWTH_KIB,
        format!("{growth} KiB on {first}"),
    );
    report.figure("virtual_seconds", sum.seconds);
    report.figure("sent", sum.sent);
    report.figure("decoded", sum.decoded);
    report.figure("repairs", sum.repairs);
    report.figure("growth_kib", growth);
    Ok(report)
}

/// Resident memory of this process, in KiB; 0 when unknown.
fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4
}
