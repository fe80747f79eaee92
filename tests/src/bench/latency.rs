//! Glass to glass, us and others, in one run.

use serde_json::{Map, Value, json};

use crate::booth::{Pair, Plan, Status, tail};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::gstreamer::{Pipeline, Transport};
use crate::photodiode::{self, Latencies, Photodiode};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::vivid::Vivid;

/// The bench `latency`.
pub(super) const LATENCY: Scenario = Scenario {
    name: "latency",
    summary: "glass to glass from camera A to screen B: us, GStreamer over RTP and over SRT, in one run",
    kind: Kind::Bench,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 900,
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

/// What is asked of 640x480p30.
const P50_MS: f64 = 40.0;
const P95_MS: f64 = 60.0;
const RATIO: f64 = 0.6;
const ABOVE_FLOOR_MS: f64 = 10.0;

fn latency(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let flips = if context.quick { 15 } else { 100 };
    for size in SIZES {
        let title = format!("{}x{}p30", size.0, size.1);
        let rtp = peer(context, Transport::Rtp, size, flips)?;
        let srt = peer(context, Transport::Srt, size, flips)?;
        let (ours, status) = us(context, size, flips)?;
        let best = [&rtp, &srt].into_iter().filter_map(|peer| p_ms(peer.as_ref().ok()?, 50)).reduce(f64::min);
        let p50 = p_ms(&ours, 50);
        let ratio = p50.zip(best).map(|(ours, best)| round(ours / best));
        let floor = floor_ms(&status);
        let above_floor = p50.zip(floor).map(|(p50, floor)| round(p50 - floor));
        print_table(
            &title,
            &[("holobooth", Ok(&ours)), ("GStreamer RTP", rtp.as_ref()), ("GStreamer SRT", srt.as_ref())],
            best,
        );
        print_stages(&status, floor, p50, best);
        let of = |peer: &Result<Latencies, String>| match peer {
            Ok(latencies) => latencies.to_json(),
            Err(why) => json!({ "failed": why }),
        };
        report.figure(
            &title,
            json!({
                "holobooth": ours.to_json(), "gstreamer_rtp": of(&rtp), "gstreamer_srt": of(&srt),
                "ratio_to_best": ratio, "floor_ms": floor,
                // Nobody's ratio can be less than this one.
                "floor_to_best": floor.zip(best).map(|(floor, best)| round(floor / best)), "above_floor_ms": above_floor, "stages": stages(&status),
            }),
        );
        report.check(format!("{title}: no flip of ours lost"), ours.lost() == 0, ours.lost());
        report.check(format!("{title}: the peers ran"), rtp.is_ok() && srt.is_ok(), "");
        if size == SIZES[0] {
            let at_most = |report: &mut Report, what: &str, found: Option<f64>, limit: f64| {
                let held = found.is_some_and(|found| found <= limit);
                let found = found.map_or("none".to_owned(), |found| format!("{found:.2}"));
                report.check(format!("{title}: {what} at most {limit}"), held, found);
            };
            at_most(&mut report, "p50 in ms", p50, P50_MS);
            at_most(&mut report, "p95 in ms", p_ms(&ours, 95), P95_MS);
            at_most(&mut report, "p50 over the best peer's", ratio, RATIO);
            at_most(&mut report, "p50 above the floor in ms", above_floor, ABOVE_FLOOR_MS);
        }
    }
    Ok(report)
}

fn us(context: &Context, size: (u32, u32), flips: usize) -> Result<(Latencies, Status), Error> {
    let mut pair = Pair::new(context.dir())?;
    pair.start(Plan::sends(size), Plan::shows(size))?;
    let mut diode = Photodiode::new(Side::A.camera(), Side::B.screen(), SEED)?;
    diode.warm_up(WARM_UP_FLIPS, WARM_UP_S)?;
    let latencies = diode.measure(flips)?;
    Ok((latencies, pair.b.status()))
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
        Ok(()) => Ok(diode.measure(flips)?),
        Err(dark @ photodiode::Error::Dark(_)) => Err(format!("{dark}: {}", tail(&pipeline.printed(), 8))),
        Err(other) => return Err(other.into()),
    };
    pipeline.stop();
    Ok(measured)
}

/// Half a camera period, encoding, decoding and half a refresh, in milliseconds.
fn floor_ms(status: &Status) -> Option<f64> {
    let codec_us = status.stage_us("encode", "p50_us")? + status.stage_us("decode", "p50_us")?;
    Some(round((CAMERA_PERIOD_US / 2 + codec_us + REFRESH_US / 2) as f64 / 1000.0))
}

fn p_ms(latencies: &Latencies, percent: usize) -> Option<f64> {
    latencies.percentile_us(percent).map(|us| us as f64 / 1000.0)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn stages(status: &Status) -> Value {
    let entry = |&stage: &&str| {
        let figures = ["mean_us", "p50_us", "p95_us"].map(|figure| status.stage_us(stage, figure));
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

fn print_stages(status: &Status, floor: Option<f64>, p50: Option<f64>, best: Option<f64>) {
    println!("stages, ms (mean / p50 / p95):");
    for stage in STAGES {
        let cells = ["mean_us", "p50_us", "p95_us"].map(|figure| {
            status.stage_us(stage, figure).map_or("-".to_owned(), |us| format!("{:.2}", us as f64 / 1000.0))
        });
        println!("  {stage:<8} {}", cells.join(" / "));
    }
    if let (Some(floor), Some(p50), Some(best)) = (floor, p50, best) {
        println!(
            "floor {floor:.1} ms (half a camera period + encode + decode + half a refresh), {:.2} of the best peer's p50; \
             ours {:.1} ms above it, the best peer {:.1} ms",
            floor / best,
            p50 - floor,
            best - floor
        );
    }
}
