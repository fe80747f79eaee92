//! A flash and a beep at the same moment come out at the other end at the same moment.

use super::hearing::{self, Rooms, check_rooms, voice};
use crate::booth::{Pair, Plan, Sound};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::hearing::Chirp;
use crate::line::{self, Faults, Loss};
use crate::photodiode::{Flip, Photodiode};
use crate::report::Report;
use crate::room::{AHEAD_US, Acoustics};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "lips",
    summary: "200 flashes and beeps at 60 fps, 640x480 and 1280x720, clean and with 2 % loss: light and sound within 20 ms of each other",
    kind: Kind::Long,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 900,
    run,
};

const SIZES: [(u32, u32); 2] = [(640, 480), (1280, 720)];
const LOSSES_PERCENT: [f64; 2] = [0.0, 2.0];
const RTT_MS: u32 = 20;
const RATE_MBIT: u32 = 50;
const FPS: u32 = 60;
/// A flash is in the next picture, half a period later on average. A camera of glass would have seen it in the
/// picture that it was just taking; this one looks only for a moment. In µs.
const CAMERA_US: i64 = 1_000_000 / FPS as i64 / 2;
const TOGETHER_US: i64 = 20_000;
/// Between flashes, in µs; the beep must be asked for ahead, and be heard before the next is said.
const INTERVAL_US: std::ops::Range<i64> = 250_000..350_000;
const LATEST_US: i64 = 600_000;
/// For the delays of both to be found and met.
const SETTLE_US: i64 = 5_000_000;
const WARM_UP_FLIPS: u32 = 5;
const WARM_UP_S: i64 = 20;
const SEED: u64 = 11;
/// What coding and all of the way take a still picture, and a flash.
const STILL_AND_FLASH: [(&str, &str); 4] =
    [("encode", "p50_us"), ("encode", "p99_us"), ("total", "p50_us"), ("total", "p99_us")];
/// Of all, what may be missing from picture or sound, in per cent.
const MISSING_PERCENT: usize = 5;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let events = if context.quick { 30 } else { 200 };
    line::lay().map_err(failed("the line"))?;
    for size in SIZES {
        for loss in LOSSES_PERCENT {
            let title = format!("{}x{}, {loss} % loss", size.0, size.1);
            if !context.only.is_empty() && !context.only.iter().any(|word| title.contains(word.as_str())) {
                continue;
            }
            let faults = Faults { rtt_ms: RTT_MS, loss: Loss::Random(loss), rate_mbit: RATE_MBIT };
            line::set(&faults).map_err(failed("the line"))?;
            together(&mut report, context, &title, size, events)?;
        }
    }
    Ok(report)
}

fn together(
    report: &mut Report,
    context: &Context,
    title: &str,
    size: (u32, u32),
    events: usize,
) -> Result<(), Error> {
    let rooms = Rooms::start(hearing::PPM, [Acoustics::deaf(); 2], 240, |_| {})?;
    let mut pair = Pair::new(context.dir())?;
    let (a, b) = (Plan { fps: FPS, ..Plan::sends(size) }, Plan { fps: FPS, ..Plan::shows(size) });
    hearing::start(&mut pair, [a, b], Sound::of)?;
    let mut diode = Photodiode::new(Side::A.camera(), Side::B.screen(), SEED)?;
    diode.warm_up(WARM_UP_FLIPS, WARM_UP_S)?;
    sleep_until_us(now_us() + SETTLE_US);
    let chirp = Chirp::default();
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut all: Vec<(i64, Flip)> = Vec::with_capacity(events);
    let mut beep_us = now_us() + AHEAD_US;
    for _ in 0..events {
        beep_us = (beep_us + random.i64(INTERVAL_US)).max(now_us() + AHEAD_US);
        rooms.a.say(beep_us, chirp.samples())?;
        sleep_until_us(beep_us);
        all.push((beep_us, diode.flip(LATEST_US)?));
    }
    sleep_until_us(now_us() + LATEST_US);
    let status = pair.b.status();
    let ended = pair.ended();
    pair.a.stop();
    pair.b.stop();
    let recordings = rooms.stop()?;
    recordings[1].save(context.dir(), &format!("{}-b", title.replace([' ', ',', '%'], "")))?;
    report.check(format!("{title}: both booths run on"), ended.is_none(), ended.unwrap_or_default());
    check_rooms(report, &recordings);
    // When the sound was at the microphone is read off what was said; it is when it was asked for.
    let events_seen: Vec<Event> = all
        .iter()
        .map(|&(beep_us, flip)| Event {
            light_us: flip.light_us.map(|light_us| light_us - flip.at_us),
            sound_us: chirp
                .find(&recordings[1].played, beep_us, beep_us + INTERVAL_US.start)
                .map(|heard| heard.at_us - beep_us),
        })
        .collect();
    keep(context, title, &events_seen)?;
    judge(report, title, &events_seen);
    let key = key(title);
    report.figure(&format!("{key}_own_lip_offset_us"), voice(&status, "lip_offset_us"));
    report.figure(&format!("{key}_own_mouth_to_ear_us"), voice(&status, "mouth_to_ear_us"));
    // Every twentieth picture is a flash, in which all is new; the others are still.
    for (stage, figure) in STILL_AND_FLASH {
        report.figure(&format!("{key}_{stage}_{figure}"), status.stage_us(stage, figure));
    }
    Ok(())
}

/// One line an event: how long its light and its sound took, in µs.
fn keep(context: &Context, title: &str, events: &[Event]) -> Result<(), Error> {
    let cell = |us: Option<i64>| us.map_or(String::new(), |us| us.to_string());
    let mut csv = "light_us,sound_us\n".to_owned();
    for event in events {
        csv += &format!("{},{}\n", cell(event.light_us), cell(event.sound_us));
    }
    let path = context.dir().join(format!("{}.csv", key(title)));
    std::fs::write(&path, csv).map_err(failed(path.display().to_string()))
}

fn key(title: &str) -> String {
    title.replace(" % loss", "").replace(", ", "_loss_")
}

/// How long light and sound were under way, in µs.
#[derive(Debug, Clone, Copy)]
struct Event {
    light_us: Option<i64>,
    sound_us: Option<i64>,
}

fn judge(report: &mut Report, title: &str, events: &[Event]) {
    let seen = events.iter().filter(|event| event.light_us.is_some()).count();
    let heard = events.iter().filter(|event| event.sound_us.is_some()).count();
    let both = |event: &Event| event.light_us.zip(event.sound_us);
    let mut offsets: Vec<i64> =
        events.iter().filter_map(both).map(|(light, sound)| light - sound - CAMERA_US).collect();
    offsets.sort_unstable();
    let at = |values: &[i64], percent: usize| {
        let rank = (values.len() * percent).div_ceil(100).max(1);
        values.get(rank - 1).copied().unwrap_or(i64::MAX)
    };
    let mut sizes: Vec<i64> = offsets.iter().map(|offset| offset.abs()).collect();
    sizes.sort_unstable();
    let mut sounds: Vec<i64> = events.iter().filter_map(|event| event.sound_us).collect();
    let mut lights: Vec<i64> = events.iter().filter_map(|event| event.light_us).collect();
    sounds.sort_unstable();
    lights.sort_unstable();
    let (p95, ms) = (at(&sizes, 95), |us: i64| us as f64 / 1_000.0);
    let found = format!(
        "p95 {:.1} ms; light after sound p5 {:.1}, p50 {:.1}, p95 {:.1}; light p50 {:.1}, sound p50 {:.1}",
        ms(p95),
        ms(at(&offsets, 5)),
        ms(at(&offsets, 50)),
        ms(at(&offsets, 95)),
        ms(at(&lights, 50)),
        ms(at(&sounds, 50)),
    );
    println!("{title}: {found}; {seen} seen, {heard} heard of {}", events.len());
    let enough = events.len() - events.len() * MISSING_PERCENT / 100;
    report.check(
        format!("{title}: flashes and beeps arrive"),
        seen.min(heard) >= enough && !events.is_empty(),
        format!("{seen} seen, {heard} heard of {}", events.len()),
    );
    report.check(format!("{title}: light and sound come together"), p95 <= TOGETHER_US, found);
    let key = key(title);
    for (name, value) in [
        ("p95_abs_us", p95),
        ("p50_us", at(&offsets, 50)),
        ("sound_p50_us", at(&sounds, 50)),
        ("light_p50_us", at(&lights, 50)),
    ] {
        report.figure(&format!("{key}_{name}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_apart_or_missing_fails() {
        let event =
            |light_us: i64, sound_us: i64| Event { light_us: Some(light_us), sound_us: Some(sound_us) };
        let passes = |events: &[Event]| {
            let mut report = Report::default();
            judge(&mut report, "x", events);
            report.passed()
        };
        let good = vec![event(90_000, 80_000); 100];
        assert!(passes(&good));
        assert!(!passes(&vec![event(120_000, 80_000); 100]));
        let mut missing = good;
        missing[..6].fill(Event { light_us: Some(90_000), sound_us: None });
        assert!(!passes(&missing));
        assert!(!passes(&[]));
    }
}
