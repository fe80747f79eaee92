//! Glass to glass, us and others, in one run.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::booth::{self, Booth, Pair, Plan, Status, tail};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::gstreamer::{Pipeline, Transport};
use crate::photodiode::{self, Latencies, Photodiode};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::vivid::{Pattern, Scene, Vivid};

/// The bench `latency`.
pub(super) const LATENCY: Scenario = Scenario {
    name: "latency",
    summary: "glass to glass from camera A to screen B: us, GStreamer over RTP and over SRT, in one run",
    kind: Kind::Bench,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 1800,
    run: latency,
};

const SIZES: [(u32, u32); 2] = [(640, 480), (1280, 720)];
const CAMERA_PERIOD_US: i64 = 33_333;
const REFRESH_US: i64 = 16_667;
const WARM_UP_FLIPS: u32 = 5;
const WARM_UP_S: i64 = 20;
const SETTLE_US: i64 = 1_000_000;
const SEED: u64 = 7;
const STAGES: [&str; 8] = ["dequeue", "stage", "encode", "send", "receive", "decode", "flip", "total"];

/// What lies between a booth's median and its floor at 640x480p30, at most: a flip, a change of every pixel,
/// takes the encoder longer than the pictures do whose median is in the floor.
const ABOVE_FLOOR_MS: f64 = 10.0;
/// A build is as fast as the one before it when it is not slower by more than this, or by so many ms: what
/// the rig's scheduling moves a stage, and what the phase of camera and screen, which each start draws anew,
/// moves the whole.
const SAME: f64 = 1.05;
const SAME_STAGE_MS: f64 = 0.5;
const SAME_WHOLE_MS: f64 = REFRESH_US as f64 / 2000.0;
/// The stage that waits for the screen, as long as the phase says.
const WAITS: &str = "flip";
/// So often builds that are compared take turns, so that a machine that grows slower does so for all.
const ROUNDS: usize = 3;
/// For so long processor time is counted, in seconds.
const PROCESSOR_S: i64 = 20;

/// What one build of ours showed, in one round or more.
struct Ours {
    name: &'static str,
    latencies: Latencies,
    rounds: Vec<Round>,
}

struct Round {
    /// Of the booth with the screen.
    status: Status,
    /// Both booths' processor time for each picture that was shown, in ms. A build that leaves pictures out
    /// takes less of a core, and is no better for it.
    processor_ms: [Option<f64>; 2],
    /// Pictures shown a second meanwhile.
    shown_fps: f64,
}

impl Ours {
    /// A stage's figure in µs, of the round that was disturbed least.
    fn stage_us(&self, stage: &str, figure: &str) -> Option<i64> {
        self.rounds.iter().filter_map(|round| round.status.stage_us(stage, figure)).min()
    }

    /// A booth's processor time, likewise.
    fn processor_ms(&self, side: usize) -> Option<f64> {
        self.rounds.iter().filter_map(|round| round.processor_ms[side]).reduce(f64::min)
    }

    /// Pictures shown a second, of the round in which they were most.
    fn shown_fps(&self) -> f64 {
        self.rounds.iter().map(|round| round.shown_fps).fold(0.0, f64::max)
    }

    /// Half a camera period, encoding, decoding and half a refresh, in milliseconds.
    fn floor_ms(&self) -> Option<f64> {
        let codec_us = self.stage_us("encode", "p50_us")? + self.stage_us("decode", "p50_us")?;
        Some(round((CAMERA_PERIOD_US / 2 + codec_us + REFRESH_US / 2) as f64 / 1000.0))
    }

    /// A whole camera period, encoding and decoding at their p95, and a whole refresh, in milliseconds.
    fn worst_floor_ms(&self) -> Option<f64> {
        let codec_us = self.stage_us("encode", "p95_us")? + self.stage_us("decode", "p95_us")?;
        Some(round((CAMERA_PERIOD_US + codec_us + REFRESH_US) as f64 / 1000.0))
    }
}

fn latency(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let flips = if context.quick { 16 } else { 100 };
    for size in SIZES {
        let title = format!("{}x{}p30", size.0, size.1);
        let rtp = peer(context, Transport::Rtp, size, flips)?;
        let srt = peer(context, Transport::Srt, size, flips)?;
        let builds = builds(context, size, flips)?;
        let best = [&rtp, &srt].into_iter().filter_map(|peer| p_ms(peer.as_ref().ok()?, 50)).reduce(f64::min);
        let mut rows: Vec<(&str, Result<&Latencies, &String>)> =
            builds.iter().map(|ours| (ours.name, Ok(&ours.latencies))).collect();
        rows.extend([("GStreamer RTP", rtp.as_ref()), ("GStreamer SRT", srt.as_ref())]);
        print_table(&title, &rows, best);
        for ours in &builds {
            print_stages(ours, best);
        }
        let of = |peer: &Result<Latencies, String>| match peer {
            Ok(latencies) => latencies.to_json(),
            Err(why) => json!({ "failed": why }),
        };
        let mut figures = json!({ "gstreamer_rtp": of(&rtp), "gstreamer_srt": of(&srt) });
        for ours in &builds {
            figures[ours.name.replace(' ', "_")] = figures_of(ours, best);
        }
        report.figure(&title, figures);
        for (peer, name) in [(&rtp, "RTP"), (&srt, "SRT")] {
            let why = peer.as_ref().err().cloned().unwrap_or_default();
            report.check(format!("{title}: GStreamer's {name} ran"), peer.is_ok(), why);
        }
        let Some((now, earlier)) = builds.split_last() else { continue };
        report.check(
            format!("{title}: no flip of ours lost"),
            now.latencies.lost() == 0,
            now.latencies.lost(),
        );
        if size == SIZES[0] {
            check_floor(&mut report, &title, now);
        }
        for before in earlier {
            check_same(&mut report, &title, before, now);
        }
    }
    Ok(report)
}

/// No more than what is physically there, and a little: half a camera period and half a refresh of waiting at
/// the median, a whole one of each at worst, and the codec.
fn check_floor(report: &mut Report, title: &str, ours: &Ours) {
    for (percent, floor) in [(50, ours.floor_ms()), (95, ours.worst_floor_ms())] {
        let Some((found, floor)) = p_ms(&ours.latencies, percent).zip(floor) else {
            report.check(format!("{title}: p{percent} and its floor"), false, "none");
            continue;
        };
        let (held, limit) = (found <= floor + ABOVE_FLOOR_MS, floor + ABOVE_FLOOR_MS);
        let what = format!("{title}: p{percent} at most {ABOVE_FLOOR_MS} ms above its floor");
        report.check(what, held, format!("{found:.1} ms, {limit:.1} allowed"));
    }
}

/// The build under test is not slower than the one before it, as a whole and in each stage, and takes no more
/// processor time.
fn check_same(report: &mut Report, title: &str, before: &Ours, now: &Ours) {
    let mut same = |what: String, before: Option<f64>, now: Option<f64>, grain: f64| {
        let held = before.zip(now).is_some_and(|(before, now)| now <= (before * SAME).max(before + grain));
        let text = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.2}"));
        report.check(format!("{title}: {what} as before"), held, format!("{}, {}", text(before), text(now)));
    };
    same("p50 in ms".into(), p_ms(&before.latencies, 50), p_ms(&now.latencies, 50), SAME_WHOLE_MS);
    for stage in STAGES {
        let ms = |ours: &Ours| ours.stage_us(stage, "p50_us").map(|us| us as f64 / 1000.0);
        let grain = if stage == "total" { SAME_WHOLE_MS } else { SAME_STAGE_MS };
        if stage != WAITS {
            same(format!("{stage} in ms"), ms(before), ms(now), grain);
        }
    }
    for (side, name) in ["A", "B"].iter().enumerate() {
        let what = format!("processor of booth {name} in ms a picture");
        same(what, before.processor_ms(side), now.processor_ms(side), 0.0);
    }
}

/// The build under test, last, and before it the one to compare with, if any.
fn builds(context: &Context, size: (u32, u32), flips: usize) -> Result<Vec<Ours>, Error> {
    let now = booth::binary()?;
    let (all, rounds) = match &context.before {
        None => (vec![("holobooth", now)], 1),
        Some(before) => (vec![("holobooth before", before.join("holobooth")), ("holobooth", now)], ROUNDS),
    };
    let new =
        |&(name, _): &(&'static str, _)| Ours { name, latencies: Latencies::default(), rounds: Vec::new() };
    let mut builds: Vec<Ours> = all.iter().map(new).collect();
    for _ in 0..rounds {
        for ((_, binary), ours) in all.iter().zip(&mut builds) {
            let (latencies, round) = us(context, binary, size, flips.div_ceil(rounds))?;
            ours.latencies.add(latencies);
            ours.rounds.push(round);
        }
    }
    Ok(builds)
}

fn us(context: &Context, binary: &Path, size: (u32, u32), flips: usize) -> Result<(Latencies, Round), Error> {
    let mut pair = Pair::of(binary, context.dir())?;
    pair.start(Plan::sends(size), Plan::shows(size))?;
    let mut diode = Photodiode::new(Side::A.camera(), Side::B.screen(), SEED)?;
    diode.warm_up(WARM_UP_FLIPS, WARM_UP_S)?;
    let latencies = diode.measure(flips)?;
    let status = pair.b.status();
    drop(diode);
    // Pictures that move everywhere cost what a meeting does.
    Vivid::open(Side::A.camera())?.look_at(Scene::moving(Pattern::Bars))?;
    sleep_until_us(now_us() + SETTLE_US);
    let processor = |pair: &Pair| [&pair.a, &pair.b].map(Booth::processor_us);
    let shown = |pair: &Pair| pair.b.status().pictures_shown();
    let (from_us, before, shown_before) = (now_us(), processor(&pair), shown(&pair));
    sleep_until_us(from_us + PROCESSOR_S * 1_000_000);
    let (took_us, after) = ((now_us() - from_us) as f64, processor(&pair));
    let pictures = shown(&pair) - shown_before;
    let each_ms = |side: usize| {
        let (before, after) = before[side].zip(after[side])?;
        (pictures > 0).then(|| round((after - before) as f64 / 1000.0 / pictures as f64))
    };
    let shown_fps = round(pictures as f64 * 1e6 / took_us);
    Ok((latencies, Round { status, processor_ms: [each_ms(0), each_ms(1)], shown_fps }))
}

fn figures_of(ours: &Ours, best: Option<f64>) -> Value {
    let (p50, floor) = (p_ms(&ours.latencies, 50), ours.floor_ms());
    let mut figures = ours.latencies.to_json();
    figures["ratio_to_best"] = json!(p50.zip(best).map(|(p50, best)| round(p50 / best)));
    figures["floor_ms"] = json!(floor);
    // Nobody's ratio can be less than this one.
    figures["floor_to_best"] = json!(floor.zip(best).map(|(floor, best)| round(floor / best)));
    figures["above_floor_ms"] = json!(p50.zip(floor).map(|(p50, floor)| round(p50 - floor)));
    figures["processor_ms"] = json!([ours.processor_ms(0), ours.processor_ms(1)]);
    figures["shown_fps"] = json!(ours.shown_fps());
    figures["stages"] = stages(ours);
    figures
}

/// A peer's latencies, or why it showed nothing; only a rig that fails is an error.
fn peer(
    context: &Context,
    transport: Transport,
    size: (u32, u32),
    flips: usize,
) -> Result<Result<Latencies, String>, Error> {
    let camera = Vivid::open(Side::A.camera())?.path().to_owned();
    let mut pipeline =
        Pipeline::start(transport, &camera, size, context.dir()).map_err(failed("gst-launch-1.0"))?;
    sleep_until_us(now_us() + SETTLE_US);
    let mut diode = Photodiode::new(Side::A.camera(), Side::B.screen(), SEED)?;
    let measured = match diode.warm_up(WARM_UP_FLIPS, WARM_UP_S) {
        Ok(()) => match pipeline.set_realtime_priorities() {
            Ok(()) => Ok(diode.measure(flips)?),
            Err(error) => Err(error.to_string()),
        },
        Err(dark @ photodiode::Error::Dark(_)) => Err(format!("{dark}: {}", tail(&pipeline.printed(), 8))),
        Err(other) => return Err(other.into()),
    };
    pipeline.stop();
    Ok(measured)
}

fn p_ms(latencies: &Latencies, percent: usize) -> Option<f64> {
    latencies.percentile_us(percent).map(|us| us as f64 / 1000.0)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn stages(ours: &Ours) -> Value {
    let entry = |&stage: &&str| {
        let figures = ["mean_us", "p50_us", "p95_us"].map(|figure| ours.stage_us(stage, figure));
        (stage.to_owned(), json!(figures))
    };
    Value::Object(STAGES.iter().map(entry).collect::<Map<_, _>>())
}

fn print_table(title: &str, rows: &[(&str, Result<&Latencies, &String>)], best: Option<f64>) {
    println!("\n{title}          p50 ms   p95 ms   max ms   lost   p50 to the best peer's");
    for (name, row) in rows {
        match row {
            Ok(latencies) => {
                let cell = |percent| p_ms(latencies, percent).map_or("-".to_owned(), |ms| format!("{ms:.1}"));
                let ratio = p_ms(latencies, 50)
                    .zip(best)
                    .map_or("-".to_owned(), |(p50, best)| format!("{:.2}", p50 / best));
                let (p50, p95, max) = (cell(50), cell(95), cell(100));
                println!("{name:<18} {p50:>9} {p95:>8} {max:>8} {:>6}   {ratio:>6}", latencies.lost());
            }
            Err(why) => println!("{name:<18} {why}"),
        }
    }
}

fn print_stages(ours: &Ours, best: Option<f64>) {
    println!("{}: stages, ms (mean / p50 / p95):", ours.name);
    for stage in STAGES {
        let cells = ["mean_us", "p50_us", "p95_us"].map(|figure| {
            let us = ours.stage_us(stage, figure);
            us.map_or("-".to_owned(), |us| format!("{:.2}", us as f64 / 1000.0))
        });
        println!("  {stage:<8} {}", cells.join(" / "));
    }
    let each = |side: usize| ours.processor_ms(side).map_or("-".to_owned(), |ms| format!("{ms:.2}"));
    let fps = ours.shown_fps();
    println!("  processor, ms a picture: booth A {}, booth B {}, at {fps:.1} pictures/s", each(0), each(1));
    let (p50, floor) = (p_ms(&ours.latencies, 50), ours.floor_ms());
    if let (Some(floor), Some(p50), Some(best)) = (floor, p50, best) {
        println!(
            "  floor {floor:.1} ms (half a camera period + encode + decode + half a refresh), {:.2} of the best \
             peer's p50; ours {:.1} ms above it, the best peer {:.1} ms",
            floor / best,
            p50 - floor,
            best - floor
        );
    }
}
