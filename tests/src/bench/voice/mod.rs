//! Mouth to ear, us and GStreamer, in one run; what a line that loses sound does to a voice; what it costs.

mod booths;
mod gstreamer;
mod in_step;
mod loss;
mod processor;
mod visqol;

use serde_json::{Value, json};

use self::booths::{SETTLE_US, booths, rooms, voice};
use self::gstreamer::{Pipeline, Tuning};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::hearing::Chirp;
use crate::report::Report;
use crate::room::{self, AHEAD_US, Acoustics, Recording, Room};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};

/// The bench `voice`.
pub(super) const VOICE: Scenario = Scenario {
    name: "voice",
    summary: "mouth to ear of a voice without video: us and GStreamer with WebRTC's canceller; what 5 % loss conceals and does to a voice; processor",
    kind: Kind::Bench,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 2_100,
    run,
};

/// A card's period and its whole buffer, in ms.
const TUNINGS: [Tuning; 5] = [
    Tuning::at_once("GStreamer, at once, 10/20", (10, 20), (10, 20)),
    Tuning::at_once("GStreamer, at once, 10/40 and 10/20", (10, 40), (10, 20)),
    Tuning::at_once("GStreamer, at once, 10/40 and 5/15", (10, 40), (5, 15)),
    Tuning::at_once("GStreamer, at once, 5/40 and 5/20", (5, 40), (5, 20)),
    Tuning::by_clock("GStreamer, by clock, 10/40, jitter 20", (10, 40), (10, 40), 20),
];
/// So often each is started: what the phase of both cards adds is drawn anew each time.
const ROUNDS: usize = 3;
const INTERVAL_US: std::ops::Range<i64> = 450_000..650_000;
const LONGEST_US: i64 = 600_000;
const SEED: u64 = 13;
/// More chirps lost than this, in per cent, and a chain is no telephone.
const LOST_PERCENT: usize = 2;

/// What was measured of one chain, in µs, sorted.
struct Row {
    name: String,
    delays_us: Vec<i64>,
    asked: usize,
    /// Why there is nothing.
    why: String,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), delays_us: Vec::new(), asked: 0, why: String::new() }
    }

    /// Adds what was measured another time.
    fn add(&mut self, other: Self) {
        self.delays_us.extend(other.delays_us);
        self.delays_us.sort_unstable();
        self.asked += other.asked;
        self.why = if other.why.is_empty() { std::mem::take(&mut self.why) } else { other.why };
    }

    fn at(&self, percent: usize) -> Option<i64> {
        let rank = (self.delays_us.len() * percent).div_ceil(100).max(1);
        self.delays_us.get(rank - 1).copied()
    }

    fn lost(&self) -> usize {
        self.asked - self.delays_us.len()
    }

    /// Whether it carries what it is given.
    fn works(&self) -> bool {
        self.asked > 0 && self.lost() * 100 <= self.asked * LOST_PERCENT
    }

    fn to_json(&self, cable_us: i64) -> Value {
        let ms = |percent| self.at(percent).map(|us| us as f64 / 1_000.0);
        let net = self.at(50).map(|us| (us - cable_us) as f64 / 1_000.0);
        json!({
            "chain": self.name, "p50_ms": ms(50), "p95_ms": ms(95), "max_ms": ms(100), "lost": self.lost(),
            "p50_without_cables_ms": net, "why": self.why,
        })
    }
}

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let chirps = if context.quick { 20 } else { 100 };
    let part = |name: &str| context.only.is_empty() || context.only.iter().any(|word| word == name);
    if part("delay") {
        delay(&mut report, context, chirps)?;
    }
    if part("processor") {
        processor::run(&mut report, context)?;
    }
    if part("loss") {
        loss::run(&mut report, context)?;
    }
    Ok(report)
}

fn delay(report: &mut Report, context: &Context, chirps: usize) -> Result<(), Error> {
    let cable = cable(chirps.min(20))?;
    // A voice passes two: one to the booth, and one from it.
    let cable_us = 2 * cable.at(50).unwrap_or(0);
    let rounds = if context.quick { 1 } else { ROUNDS };
    let each = chirps.div_ceil(rounds);
    let mut rows = vec![Row::new("holobooth")];
    rows.extend(TUNINGS.iter().map(|tuning| Row::new(tuning.name)));
    for _ in 0..rounds {
        rows[0].add(ours(context, each)?);
        for (row, tuning) in rows[1..].iter_mut().zip(TUNINGS) {
            row.add(peer(context, tuning, each)?);
        }
    }
    println!("\nmouth to ear, clean line, no video     p50 ms   p95 ms   max ms   lost   p50 without cables");
    for row in rows.iter().chain([&cable]) {
        let cell = |us: Option<i64>| us.map_or("-".to_owned(), |us| format!("{:.1}", us as f64 / 1_000.0));
        let net = cell(row.at(50).map(|us| us - cable_us));
        let (p50, p95, max) = (cell(row.at(50)), cell(row.at(95)), cell(row.at(100)));
        println!("{:<38} {p50:>6} {p95:>8} {max:>8} {:>6}   {net:>6}   {}", row.name, row.lost(), row.why);
    }
    let best = rows[1..].iter().filter(|row| row.works()).filter_map(|row| row.at(50)).min();
    let us = rows[0].at(50);
    report.check("ours: no chirp lost", rows[0].lost() == 0, rows[0].lost());
    report.check(
        "a chain of GStreamer's ran",
        best.is_some(),
        rows[1..].iter().map(|row| row.why.as_str()).collect::<String>(),
    );
    report.figure("cable", cable.to_json(0));
    report.figure("mouth_to_ear", rows.iter().map(|row| row.to_json(cable_us)).collect::<Vec<_>>());
    report.figure("ratio_to_best", us.zip(best).map(|(us, best)| us as f64 / best as f64));
    Ok(())
}

/// Says chirps at random moments in the room of A.
fn say(room: &Room, count: usize) -> Result<Vec<i64>, Error> {
    let (chirp, mut random) = (Chirp::default(), fastrand::Rng::with_seed(SEED));
    let mut at_us = now_us() + AHEAD_US;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        at_us += random.i64(INTERVAL_US);
        room.say(at_us, chirp.samples())?;
        times.push(at_us);
    }
    sleep_until_us(at_us + LONGEST_US);
    Ok(times)
}

/// From the cable of a microphone to that of a loudspeaker.
fn row(name: &str, times: &[i64], said: &Recording, heard: &Recording) -> Row {
    let chirp = Chirp::default();
    let delay = |&at_us: &i64| {
        let from = chirp.find(&said.said, at_us - 20_000, at_us + 20_000)?;
        Some(
            chirp.find(&heard.played, from.at_us - 20_000, from.at_us + INTERVAL_US.start)?.at_us
                - from.at_us,
        )
    };
    let mut delays_us: Vec<i64> = times.iter().filter_map(delay).collect();
    delays_us.sort_unstable();
    let why =
        if said.kept_up() && heard.kept_up() { String::new() } else { "a room did not keep up".to_owned() };
    Row { name: name.to_owned(), delays_us, asked: times.len(), why }
}

/// One cable, from end to end, with nothing in between.
fn cable(chirps: usize) -> Result<Row, Error> {
    let room = Room::start(room::Plan::of(Side::A, (0, 0), Acoustics::deaf(), 60).one_cable())?;
    let times = say(&room, chirps)?;
    let heard = room.stop()?;
    Ok(row("one cable alone", &times, &heard, &heard))
}

fn ours(context: &Context, chirps: usize) -> Result<Row, Error> {
    let [a, b] = rooms(120, true)?;
    let mut pair = booths(context)?;
    sleep_until_us(now_us() + SETTLE_US);
    let times = say(&a, chirps)?;
    let status = pair.b.status();
    pair.a.stop();
    pair.b.stop();
    let (a, b) = (a.stop()?, b.stop()?);
    println!("ours says of itself: {} µs mouth to ear", voice(&status, "mouth_to_ear_us"));
    Ok(row("holobooth", &times, &a, &b))
}

fn peer(context: &Context, tuning: Tuning, chirps: usize) -> Result<Row, Error> {
    let [a, b] = rooms(120, true)?;
    let nothing = |why: String| Row { name: tuning.name.to_owned(), delays_us: Vec::new(), asked: 0, why };
    let mut pipeline = match Pipeline::start(tuning, context.dir()) {
        Ok(pipeline) => pipeline,
        Err(error) => return Ok(nothing(error.to_string())),
    };
    sleep_until_us(now_us() + SETTLE_US);
    let times = say(&a, chirps)?;
    let printed = pipeline.printed();
    pipeline.stop();
    let (a, b) = (a.stop()?, b.stop()?);
    let mut row = row(tuning.name, &times, &a, &b);
    if row.delays_us.is_empty() {
        row.why = crate::booth::tail(&printed, 4).replace('\n', "; ");
    }
    Ok(row)
}
