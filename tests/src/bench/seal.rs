//! What sealing costs: closing and opening a meeting's datagrams, as a share of one core.

use holobooth::link::time_sealing;

use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario};

pub(super) const SEAL: Scenario = Scenario {
    name: "seal",
    summary: "what closing and opening 50 Mbit/s takes of a core",
    kind: Kind::Bench,
    place: Place::Rig { cores: 1, memory_mib: 512 },
    relay: false,
    time_limit_s: 120,
    run,
};

const MBIT: usize = 50;
/// Of a datagram through a relay, before it is sealed: the smallest, so the most seals.
const BYTES: usize = 1_075;
/// So much of a meeting is sealed.
const SECONDS: usize = 60;
const ALLOWED_PERCENT: f64 = 3.0;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let seconds = if context.quick { SECONDS / 10 } else { SECONDS };
    let count = MBIT * 1_000_000 / 8 / BYTES * seconds;
    let times = time_sealing(count, BYTES)
        .map_err(|e| Error::System { what: "sealing".to_owned(), source: std::io::Error::other(e) })?;
    let [closing, opening] = times.map(|time| 100.0 * time.as_secs_f64() / seconds as f64);
    println!(
        "{count} datagrams of {BYTES} bytes, {seconds} s of {MBIT} Mbit/s: {closing:.2} % of a core to close, {opening:.2} % to open"
    );
    let found = format!("{:.2} %", closing + opening);
    report.check(
        format!("closing and opening {MBIT} Mbit/s take at most {ALLOWED_PERCENT} % of a core"),
        closing + opening <= ALLOWED_PERCENT,
        found,
    );
    report.figure("closing_percent", closing);
    report.figure("opening_percent", opening);
    Ok(report)
}
