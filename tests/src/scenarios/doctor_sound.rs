//! `holobooth doctor sound` in rooms of which all is known: beside a booth that runs, without one, and by stick.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::Value;

use super::hearing;
use crate::booth::{self, Booth, Plan, Sound, Status};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::hearing::db;
use crate::report::Report;
use crate::room::{self, Acoustics, Recording, Room};
use crate::scanout::{Picture, Screen};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::stick::{Format, Places, Stick};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "doctor-sound",
    summary: "`holobooth doctor sound` finds a room's delay, gain, noise and reverberation, a loudspeaker that is too loud or silent, and a microphone that is none; a stick asks for the same",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 280,
    run,
};

const SIZE: (u32, u32) = (640, 480);
const TIMEOUT_MS: i64 = 15_000;
/// Seconds that a room lasts at most.
const SECONDS: u32 = 60;
/// How far what is found may be from what the room is.
const DELAY_MS: f64 = 1.0;
const GAIN_DB: f64 = 1.0;
const NOISE_DB: f64 = 1.0;
const REVERBERATION: f64 = 0.2;
/// Frames of 10 ms in which nothing leaves the booth: of a check, seven seconds.
const SILENT_FRAMES: i64 = 600;
/// How much of the screen's width the loudspeaker's bar takes at -12 dB, on a scale from -60 to 0 dB.
const SWEEP_BAR: f64 = 0.84 * 48.0 / 60.0;
const LOOK_US: i64 = 100_000;
const CONFIG: &str = "holobooth.toml";
const CHECK: &str = "[check]\nsound = true\n";

/// A booth whose echo is half as loud as a voice.
fn good() -> Acoustics {
    Acoustics { echo_db: Some(-6.0), ..Acoustics::booth(3) }
}

fn run(context: &Context) -> Result<Report, Error> {
    hearing::undisturbed(|| attempt(context))
}

fn attempt(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut booth = Booth::new(Side::A, context.dir())?;
    booth.take_sticks();
    known_room(context, &mut report, &mut booth)?;
    let loud = Acoustics { echo_db: Some(15.0), ..good() };
    let advice = [("echo", "wrong", "or turn it down"), ("level", "warning|wrong", "gain down")];
    advised(&mut report, &mut booth, "too loud", loud, Sound::of(Side::A), &advice)?;
    let deaf = [("heard", "wrong", "nothing of the loudspeaker; check the loudspeaker's cable")];
    advised(&mut report, &mut booth, "nothing heard", Acoustics::deaf(), Sound::of(Side::A), &deaf)?;
    let none = Sound { microphone: Sound::none().microphone, ..Sound::of(Side::A) };
    let none_advice = [("sound", "wrong", "this booth has no microphone")];
    advised(&mut report, &mut booth, "no microphone", good(), none, &none_advice)?;
    Ok(report)
}

/// Around booth A, whose loudspeaker's and microphone's clocks err.
fn room(acoustics: Acoustics) -> Result<Room, Error> {
    Ok(Room::start(room::Plan::of(Side::A, hearing::PPM[0], acoustics, SECONDS))?)
}

/// Starts the booth, and waits until its sound runs.
fn start(booth: &mut Booth, sound: Sound) -> Result<(), Error> {
    let cards: Vec<&str> = [("microphone", &sound.microphone), ("loudspeaker", &sound.loudspeaker)]
        .into_iter()
        .filter(|(_, device)| **device != Sound::none().microphone)
        .map(|(what, _)| what)
        .collect();
    booth.use_sound(sound);
    booth.start(Plan { camera: false, ..Plan::both_ways(SIZE) }, None)?;
    let runs = |status: &Status| {
        let card = |what: &&str| status.word(&format!("/sound/{what}/state")) == "running";
        cards.iter().all(card) && status.word("/screen/state") == "on"
    };
    booth.wait("running with sound", TIMEOUT_MS, runs)?;
    Ok(())
}

/// What `holobooth doctor sound --json` said.
struct Seen {
    code: Option<i32>,
    said: Value,
}

impl Seen {
    fn of(booth: &Booth) -> Result<Self, Error> {
        let config = booth.config_path().display().to_string();
        let output = booth::run_once(&["doctor", "sound", "--json", "--config", &config])?;
        let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Ok(Self { code: output.status.code(), said })
    }

    fn layer(&self, name: &str) -> (String, String) {
        let layers = self.said["layers"].as_array();
        let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let line = layers.into_iter().flatten().find(|line| line["layer"] == name);
        line.map_or_else(Default::default, |line| {
            (word(line, "verdict"), format!("{}; {}", word(line, "found"), word(line, "advice")))
        })
    }
}

/// Holds numbers against those of the room.
fn close(report: &mut Report, when: &str, seen: &Value, acoustics: Acoustics, sweep_db: f64) {
    let path = &seen["path"];
    let rt60_ms = f64::from(acoustics.rt60_s) * 1e3;
    let noise_db = f64::from(room::voice::LEVEL_DB - room::voice::OVER_NOISE_DB);
    for (name, found, wanted, within) in [
        ("delay_ms", &path["delay_ms"], acoustics.bulk_us as f64 / 1e3, DELAY_MS),
        ("gain_db", &path["gain_db"], sweep_db, GAIN_DB),
        ("reverberation_ms", &path["reverberation_ms"], rt60_ms, rt60_ms * REVERBERATION),
        ("noise_db", &seen["noise_db"], noise_db, NOISE_DB),
    ] {
        let held = found.as_f64().is_some_and(|found| (found - wanted).abs() <= within);
        let text = format!("{found}, and it is {wanted:.2}");
        report.check(format!("{when}: {name} within {within:.1}"), held, text);
        report.figure(&format!("{}_{name}", when.replace(' ', "_")), found.clone());
    }
    report.check(format!("{when}: nothing clips"), seen["clipped"] == 0, &seen["clipped"]);
}

/// A good room: beside the booth, by stick, and without the booth.
fn known_room(context: &Context, report: &mut Report, booth: &mut Booth) -> Result<(), Error> {
    let around = room(good())?;
    start(booth, Sound::of(Side::A))?;
    let before = booth.status();
    let over = AtomicBool::new(false);
    let (seen, levels) = std::thread::scope(|scope| {
        let levels = scope.spawn(|| levels(&over));
        let seen = Seen::of(booth);
        over.store(true, Relaxed);
        (seen, levels.join().unwrap_or_default())
    });
    let (seen, after) = (seen?, booth.status());
    let loudest = levels.iter().copied().fold(0.0, f64::max);
    let found = format!("{loudest:.2} of the screen's width at most, in {} looks", levels.len());
    report.check("the screen shows the loudspeaker's level", (loudest - SWEEP_BAR).abs() < 0.03, found);
    let shown = after.word("/screen/card").to_owned();
    report.check("then it shows the result", shown == "notice", shown);
    let stick = by_stick(context, report, booth)?;
    let shown = booth.status().word("/screen/card").to_owned();
    report.check("by stick: a card over the picture", shown == "notice", shown);
    booth.stop();
    let alone = Seen::of(booth)?;
    let recording = around.stop()?;
    recording.save(context.dir(), "known-room")?;
    report.check("the room kept up", recording.kept_up(), format!("{} times late", recording.held_up));
    let sweeps = sweeps(&recording);
    report.check("a sweep each time", sweeps.len() == 3, sweeps.len());
    for (number, (when, seen)) in [
        ("beside a booth", &seen.said["measured"]),
        ("by stick", &stick["measured"]),
        ("alone", &alone.said["measured"]),
    ]
    .into_iter()
    .enumerate()
    {
        let sweep_db = sweeps.get(number).map_or(f64::NAN, |&at_us| gain_db(&recording, at_us));
        close(report, when, seen, good(), sweep_db);
    }
    for (when, seen) in [("beside a booth", &seen), ("alone", &alone)] {
        let found = seen.said["layers"].to_string();
        report.check(format!("{when}: exit status 0"), seen.code == Some(0), found);
        let (verdict, text) = seen.layer("microphone");
        let named = verdict == "ok" && text.contains("48000 Hz");
        report.check(format!("{when}: names the microphone"), named, text);
    }
    let grew = |name: &str| after.number(name) - before.number(name);
    let silent = grew("/sound/captured") - grew("/sound/coded") - grew("/sound/send_dropped");
    report.check("meanwhile nothing leaves the booth", silent >= SILENT_FRAMES, format!("{silent} frames"));
    Ok(())
}

/// How much of the screen's width the bar of the loudspeaker takes, as often as it is looked at, until `over`.
fn levels(over: &AtomicBool) -> Vec<f64> {
    let Ok(screen) = Screen::open(Side::A.screen()) else { return Vec::new() };
    let mut levels = Vec::new();
    while !over.load(Relaxed) {
        levels.extend(screen.picture().ok().flatten().map(|picture| bar(&picture)));
        sleep_until_us(now_us() + LOOK_US);
    }
    levels
}

/// The part of the row through the upper bar that is lit brightly.
fn bar(picture: &Picture) -> f64 {
    let (width, height) = picture.size();
    // Eleven and a half hundredths of the card's height above its middle.
    let row = height / 2 - height * 115 / 1000;
    let lit = (0..width).filter(|&x| picture.at(x, row)[1] > 100).count();
    lit as f64 / width as f64
}

/// When each sweep began to be played, in µs.
fn sweeps(recording: &Recording) -> Vec<i64> {
    const PART_US: i64 = 20_000;
    let (from_us, to_us) = recording.played.span_us();
    let mut found: Vec<i64> = Vec::new();
    let mut last_us = i64::MIN;
    for at_us in (from_us..to_us).step_by(PART_US as usize) {
        if db(&recording.played.between(at_us, at_us + PART_US)) > -60.0 {
            if at_us.saturating_sub(last_us) > 1_000_000 {
                found.push(at_us);
            }
            last_us = at_us;
        }
    }
    found
}

/// How much louder a sweep is at the microphone than at the loudspeaker.
fn gain_db(recording: &Recording, at_us: i64) -> f64 {
    let level = |track: &room::Track| db(&track.between(at_us, at_us + 1_500_000));
    f64::from(level(&recording.given) - level(&recording.played))
}

/// A stick that asks for nothing but the check; what it then holds.
fn by_stick(context: &Context, report: &mut Report, booth: &Booth) -> Result<Value, Error> {
    let places = Places::new(booth.dir(), booth.config_path()).map_err(failed("places"))?;
    let before = places.store();
    let stick = Stick::new(context.dir().join("stick.img"), Format::Fat).map_err(failed("a stick"))?;
    stick.put(CONFIG, CHECK).map_err(failed(CONFIG))?;
    let plugged = stick.plug(false).map_err(failed("plug"))?;
    let done = places.take(&booth::binary()?, &plugged).map_err(failed("stick"))?;
    report.check("by stick: nothing is left behind", plugged.pull(), "");
    let text = stick.text("holobooth-result.txt").map_err(failed("holobooth-result.txt"))?;
    let answered = done.code == Some(0) && done.notice.starts_with("Sound check: all is well");
    report.check("by stick: a card says what was found", answered, format!("{}\n{}", done.notice, done.said));
    let written = text.contains("delay: ") && text.contains("echo: ");
    report.check("by stick: so does a file", written, text);
    report.check("by stick: no configuration changes", places.store() == before, "");
    let json = stick.text("sound-check.json").map_err(failed("sound-check.json"))?;
    Ok(serde_json::from_str(&json).unwrap_or(Value::Null))
}

/// What is wrong, and what to do about it.
fn advised(
    report: &mut Report,
    booth: &mut Booth,
    when: &str,
    acoustics: Acoustics,
    sound: Sound,
    advice: &[(&str, &str, &str)],
) -> Result<(), Error> {
    let around = room(acoustics)?;
    start(booth, sound)?;
    let seen = Seen::of(booth)?;
    booth.stop();
    around.stop()?;
    for (layer, verdict, word) in advice {
        let (found, text) = seen.layer(layer);
        let held = verdict.split('|').any(|one| found == one) && text.contains(word);
        report.check(format!("{when}: {layer} {verdict}"), held, format!("{found}: {text}"));
    }
    report.check(format!("{when}: exit status 1"), seen.code == Some(1), format!("{:?}", seen.code));
    Ok(())
}
