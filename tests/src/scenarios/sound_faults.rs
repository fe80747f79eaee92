//! Whatever happens to sound cards, by chance: sound comes back by itself and at once, nothing cracks, and the
//! pictures go on.

mod cards;
mod fault;
mod judge;
mod test_card;

use self::cards::Cards;
use self::fault::{Fault, Happened};
use self::judge::{FPS, Judge};
use super::hearing;
use super::meeting::{SMALL, look_at_movement};
use crate::booth::{Pair, Plan, Sound};
use crate::clock::{now_us, sleep_until_us};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::steal;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "sound-faults",
    summary: "300 times a sound card is pulled, renumbered, changes its rate or stands still, or a thread comes late: sound within 1 s, no click, no picture lost",
    kind: Kind::Long,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 3_000,
    run,
};

const PLAN: Plan = Plan { fps: FPS, ..Plan::both_ways(SMALL) };
const SEED: u64 = 1;
/// Faults of the cards with rooms around them, and of the test card; and the same for a developer at work.
const FAULTS: (usize, usize) = (270, 30);
const QUICK: (usize, usize) = (17, 3);
/// Faults between two looks at what was recorded: so much sound fits into the rig's memory.
const ROUND: usize = 15;
const S: i64 = 1_000_000;
/// Sound plays before the first fault, and between two of them, in µs; by chance up to so much longer.
const SETTLE_US: i64 = 3 * S;
const BETWEEN_US: i64 = 13 * S / 10;
const LONGER_US: u64 = 400_000;

fn run(context: &Context) -> Result<Report, Error> {
    let (faults, of_test_card) = if context.quick { QUICK } else { FAULTS };
    let mut report = Report::default();
    let mut random = fastrand::Rng::with_seed(SEED);
    look_at_movement()?;
    with_rooms(&mut report, context, faults, &mut random)?;
    test_card::run(&mut report, context, PLAN, of_test_card, &mut random)?;
    Ok(report)
}

/// Faults of the cards of both booths, in rooms where a tone is to be heard all the time.
fn with_rooms(
    report: &mut Report,
    context: &Context,
    faults: usize,
    random: &mut fastrand::Rng,
) -> Result<(), Error> {
    let mut cards = Cards::new()?;
    let mut pair = Pair::new(context.dir())?;
    hearing::start(&mut pair, [PLAN; 2], Sound::of)?;
    let mut judge = Judge::default();
    for round in 0..faults.div_ceil(ROUND) {
        if round > 0 {
            cards.open_rooms()?;
        }
        sleep_until_us(now_us() + SETTLE_US);
        let mut happened = Vec::new();
        for _ in 0..ROUND.min(faults - round * ROUND) {
            let fault = Fault::draw(random);
            happened.push(happen(fault, &mut cards, &pair, random)?);
            if let Some(ended) = pair.ended() {
                report.check("both booths run on", false, format!("{ended} after {fault:?}"));
                return Ok(());
            }
        }
        let recordings = cards.close_rooms()?;
        for (n, side) in recordings.iter().enumerate() {
            for (m, recording) in side.iter().enumerate() {
                recording.save(context.dir(), &format!("{round}-{n}-{m}"))?;
            }
        }
        judge.round(&happened, &recordings);
    }
    judge.report(report, context.quick);
    report.check("both booths run on", true, "");
    let found = format!("{} times not", cards.not_swapped);
    report.check("renumbered: each has the number of the other", cards.not_swapped == 0, found);
    report.figure("plugged_in_again", cards.repeats);
    Ok(())
}

/// Lets a fault happen, and sound play after it.
fn happen(
    fault: Fault,
    cards: &mut Cards,
    pair: &Pair,
    random: &mut fastrand::Rng,
) -> Result<Happened, Error> {
    let statuses = || [pair.a.status(), pair.b.status()];
    let before = statuses();
    let at_us = now_us();
    let mut outcome = None;
    let stolen_us = steal::longest_us(|| {
        let over = fault.happen(cards, pair);
        let until_us = now_us() + BETWEEN_US + random.u64(..LONGER_US) as i64;
        sleep_until_us(until_us);
        outcome = Some(over);
    });
    let stolen_us = stolen_us.map_err(failed("looking for stolen time"))?;
    let until_us = now_us();
    let over = outcome.unwrap_or_else(|| Err(failed("a fault")(std::io::ErrorKind::Other.into())))?;
    Ok(Happened { fault, at_us, over, until_us, stolen_us, statuses: [before, statuses()] })
}
