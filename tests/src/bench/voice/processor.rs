//! What a booth's sound takes of a core, beside what its cards and the kernel do.

use std::time::Duration;

use holobooth::sound::testkit;

use crate::report::Report;
use crate::room::voice::Speaker;
use crate::scenario::{Context, Error, failed};

/// Of a core, at most, in per cent: microphone, canceller, and the playout of two peers.
pub(super) const MOST_PERCENT: f64 = 8.0;
const FRAME: Duration = Duration::from_millis(10);

/// Has a booth hear and say what two people speak, as fast as it can.
pub(super) fn run(report: &mut Report, context: &Context) -> Result<(), Error> {
    let (far, near) = (Speaker::Anna.speaks()?, Speaker::Bert.speaks()?);
    let frames = if context.quick { 500 } else { 6_000 };
    let took = testkit::processor([&far, &near], frames);
    let took = took.map_err(|e| failed("the sound of a booth")(std::io::Error::other(e)))?;
    let [microphone, playout] = took.map(|took| took.as_secs_f64() / FRAME.as_secs_f64() * 100.0);
    let found = format!(
        "{:.1} %: microphone, canceller and coder {microphone:.1} %, two peers' playout {playout:.1} %",
        microphone + playout
    );
    println!("\nsound takes of a core, without its cards: {found}");
    let what = format!("without its cards, sound takes at most {MOST_PERCENT} % of a core");
    report.check(what, microphone + playout <= MOST_PERCENT, found);
    report.figure("microphone_percent", microphone);
    report.figure("two_peers_playout_percent", playout);
    Ok(())
}
