//! What listens and speaks in the scenarios about sound does so truly: rates, delays and echoes are as asked for.

use std::sync::Arc;

use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::hearing::{Chirp, db};
use crate::report::Report;
use crate::room::{AHEAD_US, Acoustics, Plan, RATE_HZ, Room};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "room",
    summary: "the rooms that booths are listened to in: a chirp arrives when it should, a cable's clock errs as it should, an echo is as loud as it should be",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

const CHIRPS: i64 = 20;
const EVERY_US: i64 = 250_000;
/// Of a cable alone, from the moment that it takes a sample at one end to the one at which it gives it at the
/// other, in µs.
const HOP_US: i64 = 1_000;
/// Clock errors of loudspeaker and microphone, in ppm.
const PPM: (i32, i32) = (-100, 100);

fn run(_: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    one_cable(&mut report)?;
    echo(&mut report)?;
    Ok(report)
}

/// Says a chirp several times from `start_us` on.
fn chirps(room: &Room, start_us: i64) -> Result<Vec<i64>, Error> {
    let times: Vec<i64> = (0..CHIRPS).map(|n| start_us + n * EVERY_US).collect();
    let chirp = Chirp::default();
    for &at_us in &times {
        room.say(at_us, chirp.samples())?;
    }
    sleep_until_us(start_us + CHIRPS * EVERY_US + EVERY_US);
    Ok(times)
}

/// A microphone's cable by itself.
fn one_cable(report: &mut Report) -> Result<(), Error> {
    let plan = Plan::of(Side::A, (0, PPM.1), Acoustics::deaf(), 30).one_cable();
    let room = Room::start(plan)?;
    let times = chirps(&room, now_us() + 1_000_000)?;
    let heard = room.stop()?;
    report.check("one cable: the room kept up", heard.kept_up(), format!("{} times late", heard.held_up));
    let chirp = Chirp::default();
    let late = |track, &at_us: &i64| Some(chirp.find(track, at_us - 50_000, at_us + 50_000)?.at_us - at_us);
    let mut said: Vec<i64> = times.iter().filter_map(|at| late(&heard.said, at)).collect();
    let mut hops: Vec<i64> = times.iter().filter_map(|at| late(&heard.played, at)).collect();
    said.sort_unstable();
    hops.sort_unstable();
    for (what, late) in [("said", &said), ("heard", &hops)] {
        let range = (late.first().copied().unwrap_or(i64::MAX), late.last().copied().unwrap_or(i64::MAX));
        let held = late.len() == times.len() && range.0 >= -HOP_US && range.1 <= HOP_US;
        let found = format!("{} of {}, {} to {} µs late", late.len(), times.len(), range.0, range.1);
        report.check(format!("one cable: each chirp is {what} when it should be"), held, found);
    }
    report.figure("hop_us", hops.get(hops.len() / 2).copied().unwrap_or(i64::MAX));
    Ok(())
}

/// A loudspeaker that plays chirps and noise, and what the microphone hears of it.
fn echo(report: &mut Report) -> Result<(), Error> {
    let acoustics = Acoustics::booth(1);
    let mut plan = Plan::of(Side::A, PPM, acoustics, 30);
    plan.noise_db = None;
    let room = Room::start(plan)?;
    let booth = Room::start(Plan { acoustics: Acoustics::deaf(), ..plan.mirrored() })?;
    let start_us = now_us() + 3_000_000;
    let times = chirps(&booth, start_us)?;
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Arc<[f32]> = (0..3 * RATE_HZ).map(|_| 0.2 * (random.f32() - 0.5)).collect();
    let noise_us = now_us() + 2 * AHEAD_US;
    booth.say(noise_us, noise)?;
    sleep_until_us(noise_us + 3_200_000);
    let (outer, inner) = (room.stop()?, booth.stop()?);
    let kept_up = outer.kept_up() && inner.kept_up();
    let found = format!("{} and {} times late, {} samples", outer.held_up, inner.held_up, outer.missing);
    report.check("echo: both rooms kept up", kept_up, found);
    let chirp = Chirp::default();
    let late = |track, &at_us: &i64| Some(chirp.find(track, at_us, at_us + 100_000)?.at_us - at_us);
    let mut echoes: Vec<i64> = times.iter().filter_map(|at| late(&inner.played, at)).collect();
    echoes.sort_unstable();
    let (first, last) = (echoes.first().copied().unwrap_or(0), echoes.last().copied().unwrap_or(0));
    let held = echoes.len() == times.len()
        && (first - acoustics.bulk_us).abs() <= 2 * HOP_US
        && last - first <= HOP_US;
    report.check(
        "echo: 60 ms after the loudspeaker",
        held,
        format!("{first} to {last} µs, {} heard", echoes.len()),
    );
    let (from_us, to_us) = (noise_us + 1_000_000, noise_us + 2_500_000);
    let (played, echo) =
        (db(&outer.played.between(from_us, to_us)), db(&inner.played.between(from_us, to_us)));
    let found = format!("{played:.1} dB played, {echo:.1} dB come back");
    report.check("echo: as loud as what is played", (played - echo).abs() < 1.0, found);
    Ok(())
}
