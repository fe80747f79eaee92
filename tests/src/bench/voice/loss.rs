//! What a line that loses sound does to a voice, and what a booth's sound costs.

use serde_json::{Value, json};

use super::booths::{SETTLE_US, booths, rooms, voice};
use super::in_step::{LONGEST_WAY, in_step};
use super::processor::MOST_PERCENT;
use super::visqol::mos;
use crate::bench::echo::stoi::stoi;
use crate::booth::Status;
use crate::clock::{now_us, sleep_until_us};
use crate::line::{self, Faults, Loss};
use crate::report::Report;
use crate::room::voice::Speaker;
use crate::room::{AHEAD_US, RATE_HZ};
use crate::scenario::{Context, Error, failed};

const RTT_MS: u32 = 20;
const RATE_MBIT: u32 = 20;

/// A line, and what is demanded on it.
struct Line {
    name: &'static str,
    loss: Loss,
    /// Frames that are concealed, at most, in per cent.
    concealed_percent: f64,
}

/// The line without loss first: what is heard there is what the others are held against. With three frames in a
/// datagram a frame is lost with three datagrams: at 5 % one by one that is 0.01 %, in bursts of 3 on average
/// (geometric) 5 % · (2/3)² = 2.2 %.
const LINES: [Line; 3] = [
    Line { name: "clean", loss: Loss::Random(0.0), concealed_percent: 0.1 },
    Line { name: "5 % random", loss: Loss::Random(5.0), concealed_percent: 0.1 },
    Line {
        name: "5 % in bursts of 3",
        loss: Loss::Bursts { percent: 5.0, length: 3.0 },
        concealed_percent: 2.5,
    },
];
/// Of a voice, the share that is no pause.
const FOUND: f64 = 0.7;
/// What a booth counts of the time for sound, in µs. The kernel of the rig counts by ticks of 3.3 ms, which a thread that
/// a tick wakes is always done before.
const BUSY: [&str; 2] = ["/sound/microphone_busy_us", "/sound/loudspeaker_busy_us"];

/// What one line did.
struct Outcome {
    concealed_percent: f64,
    late: i64,
    way_us: i64,
    buffer_us: i64,
    /// Of a core, at A and B.
    processor_percent: [f64; 2],
    /// What was heard, in step with what was said.
    heard: Vec<f32>,
}

/// Speaks over each line.
pub(super) fn run(report: &mut Report, context: &Context) -> Result<(), Error> {
    let seconds = if context.quick { 20 } else { 120 };
    let speech = Speaker::Anna.speaks()?;
    line::lay().map_err(failed("the line"))?;
    println!(
        "\nline                   concealed   late   mouth to ear ms   sound's share of a core: A, B   \
         STOI, MOS against clean"
    );
    let mut clean: Option<Vec<f32>> = None;
    for Line { name, loss, concealed_percent } in LINES {
        let outcome = speak(report, context, name, loss, (&speech, seconds))?;
        let clean = clean.get_or_insert_with(|| outcome.heard.clone());
        let quality = [stoi(clean, &outcome.heard), mos(clean, &outcome.heard).map_err(failed("ViSQOL"))?];
        println!(
            "{name:<22} {:>7.2} % {:>6} {:>17.1}   {:>25}   {:.3}, {:.2}",
            outcome.concealed_percent,
            outcome.late,
            outcome.way_us as f64 / 1_000.0,
            outcome.processor_percent.map(|percent| format!("{percent:.1} %")).join(", "),
            quality[0],
            quality[1],
        );
        report.check(
            format!("{name}: at most {concealed_percent} % of the frames are concealed"),
            outcome.concealed_percent <= concealed_percent,
            format!("{:.3} %", outcome.concealed_percent),
        );
        report.check(
            format!("{name}: sound takes at most {MOST_PERCENT} % of a core"),
            outcome.processor_percent.iter().all(|&percent| percent <= MOST_PERCENT),
            format!("{:.1?} %", outcome.processor_percent),
        );
        report.figure(name, outcome.to_json(quality));
    }
    Ok(())
}

impl Outcome {
    fn to_json(&self, [stoi, mos]: [f64; 2]) -> Value {
        json!({
            "concealed_percent": self.concealed_percent, "late": self.late, "mouth_to_ear_us": self.way_us,
            "buffer_us": self.buffer_us, "processor_percent": self.processor_percent,
            "stoi_against_clean": stoi, "mos_against_clean": mos,
        })
    }
}

/// Has A speak for so many seconds over a line that loses so.
fn speak(
    report: &mut Report,
    context: &Context,
    name: &str,
    loss: Loss,
    (speech, seconds): (&[f32], i64),
) -> Result<Outcome, Error> {
    let faults = Faults { rtt_ms: RTT_MS, loss, rate_mbit: RATE_MBIT };
    line::set(&faults).map_err(failed("the line"))?;
    // Noise would be another one each time, and no fault of the line's.
    let [a, b] = rooms(seconds as u32 + 60, false)?;
    let mut pair = booths(context)?;
    sleep_until_us(now_us() + SETTLE_US);
    let samples: Vec<f32> = speech.iter().copied().cycle().take((seconds * 48_000) as usize).collect();
    let said_us = now_us() + AHEAD_US;
    a.say(said_us, samples.into())?;
    let (from_us, before) = (now_us(), pair.b.status());
    let busy = || [&pair.a, &pair.b].map(|booth| busy_us(&booth.status()));
    let busy_before = busy();
    sleep_until_us(from_us + seconds * 1_000_000);
    let (took_us, busy_after, after) = (now_us() - from_us, busy(), pair.b.status());
    let ended = pair.ended();
    let end_us = said_us + seconds * 1_000_000;
    let heard_us = end_us + LONGEST_WAY as i64 * 1_000_000 / i64::from(RATE_HZ);
    sleep_until_us(heard_us + AHEAD_US);
    pair.a.stop();
    pair.b.stop();
    let (a, b) = (a.stop()?, b.stop()?);
    let grew = |count: &str| voice(&after, count) - voice(&before, count);
    let all = grew("played") + grew("concealed");
    report.check(format!("{name}: both booths run on"), ended.is_none(), ended.unwrap_or_default());
    report.check(format!("{name}: a voice is played"), all >= seconds * 90, all);
    let kept_up = a.kept_up() && b.kept_up();
    report.check(format!("{name}: the rooms kept up"), kept_up, format!("{} late", a.held_up + b.held_up));
    a.save(context.dir(), &format!("a-{loss}"))?;
    b.save(context.dir(), &format!("b-{loss}"))?;
    let said = a.said.between(said_us, end_us);
    let (heard, found) = in_step(&said, &b.played.between(said_us, heard_us));
    let what = format!("{name}: what is said is found in what is heard");
    report.check(what, found >= FOUND, format!("{:.0} % of it", found * 100.0));
    Ok(Outcome {
        concealed_percent: grew("concealed") as f64 * 100.0 / all.max(1) as f64,
        late: grew("late"),
        way_us: voice(&after, "mouth_to_ear_us"),
        buffer_us: voice(&after, "buffer_us"),
        processor_percent: [0, 1].map(|n| (busy_after[n] - busy_before[n]) as f64 * 100.0 / took_us as f64),
        heard,
    })
}

/// How long a booth's threads of sound were busy so far.
fn busy_us(status: &Status) -> i64 {
    BUSY.iter().map(|path| status.number(path)).sum()
}
