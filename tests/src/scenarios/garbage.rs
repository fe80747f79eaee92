//! Noise at a booth's port changes nothing.

use super::meeting::meeting;
use super::two_way::{direction, watch_while};
use crate::booth::PORT;
use crate::child::{Running, Side};
use crate::clock::{now_us, wait_until};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "garbage",
    summary: "20,000 random datagrams at a live booth's port: the picture flows on, no frame lost",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 150,
    run,
};

const PACKETS: u32 = 20_000;
const FLOOD_ENDS_MS: i64 = 60_000;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut pair = meeting(context)?;
    let own = std::env::current_exe().map_err(failed("own path"))?;
    let (mut flooded, mut took_us) = (Ok(None), 0);
    let spans = watch_while(&mut report, "flood", &pair, || {
        let start_us = now_us();
        let to = format!("{}:{PORT}", Side::A.address());
        let arguments = ["flood", "--to", &to, "--packets", &PACKETS.to_string()].map(str::to_owned);
        flooded =
            Running::start(Side::B, &own, &arguments, &context.dir().join("flood.log")).map(|mut flood| {
                wait_until(FLOOD_ENDS_MS, 50, || flood.ended().is_some());
                flood.ended()
            });
        took_us = now_us() - start_us;
    })?;
    let status = flooded.map_err(failed("flood"))?;
    report.check(
        "the flood was sent",
        status.is_some_and(|status| status.success()),
        format!("{took_us} us"),
    );
    let seconds = (took_us + 500_000) / 1_000_000;
    direction(&mut report, "A to B", &spans[0], &spans[1], seconds);
    direction(&mut report, "B to A", &spans[1], &spans[0], seconds);
    for (span, name) in spans.iter().zip(["A", "B"]) {
        let connects = span.grew("/total/connects");
        let held = span.end().connected() && connects == 0;
        report.check(format!("{name} stays connected"), held, format!("{connects} new connections"));
    }
    report.figure("packets", PACKETS);
    report.check("both booths run on", pair.ended().is_none(), "");
    Ok(report)
}
