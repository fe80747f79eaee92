//! What is concealed when the line loses sound, and what a booth's sound costs.

use serde_json::json;

use super::booths::{SETTLE_US, booths, rooms, voice};
use crate::booth::Booth;
use crate::clock::{now_us, sleep_until_us};
use crate::line::{self, Faults, Loss};
use crate::report::Report;
use crate::room::AHEAD_US;
use crate::room::voice::Speaker;
use crate::scenario::{Context, Error, failed};

const RTT_MS: u32 = 20;
const RATE_MBIT: u32 = 20;
/// The line's losses, and whether they come one by one.
const LOSSES: [(&str, Loss); 3] = [
    ("clean", Loss::Random(0.0)),
    ("5 % random", Loss::Random(5.0)),
    ("5 % in bursts of 3", Loss::Bursts { percent: 5.0, length: 3.0 }),
];
/// What names a booth's threads of sound.
const THREADS: [&str; 2] = ["microphone", "loudspeaker"];

/// What is concealed, and what a booth's sound costs.
pub(super) fn run(report: &mut Report, context: &Context) -> Result<(), Error> {
    let seconds = if context.quick { 10 } else { 60 };
    let speech = Speaker::Anna.speaks()?;
    line::lay().map_err(failed("the line"))?;
    println!("\nline                   concealed   late   mouth to ear ms   sound's share of a core: A, B");
    for (name, loss) in LOSSES {
        let faults = Faults { rtt_ms: RTT_MS, loss, rate_mbit: RATE_MBIT };
        line::set(&faults).map_err(failed("the line"))?;
        let [a, b] = rooms(seconds as u32 + 60)?;
        let mut pair = booths(context)?;
        sleep_until_us(now_us() + SETTLE_US);
        let samples: Vec<f32> = speech.iter().copied().cycle().take((seconds * 48_000) as usize).collect();
        a.say(now_us() + AHEAD_US, samples.into())?;
        let (from_us, before) = (now_us(), pair.b.status());
        let busy = || [&pair.a, &pair.b].map(processor_us);
        let busy_before = busy();
        sleep_until_us(from_us + seconds * 1_000_000);
        let (took_us, busy_after, after) = (now_us() - from_us, busy(), pair.b.status());
        let ended = pair.ended();
        pair.a.stop();
        pair.b.stop();
        let _ = (a.stop()?, b.stop()?);
        let grew = |count: &str| voice(&after, count) - voice(&before, count);
        let all = grew("played") + grew("concealed");
        let share = grew("concealed") as f64 * 100.0 / all.max(1) as f64;
        let cost = [0, 1].map(|n| (busy_after[n] - busy_before[n]) as f64 * 100.0 / took_us as f64);
        let way_us = voice(&after, "mouth_to_ear_us");
        println!(
            "{name:<22} {share:>7.2} % {:>6} {:>17.1}   {:.1} %, {:.1} %",
            grew("late"),
            way_us as f64 / 1_000.0,
            cost[0],
            cost[1]
        );
        report.check(format!("{name}: both booths run on"), ended.is_none(), ended.unwrap_or_default());
        report.check(format!("{name}: a voice is played"), all >= seconds * 90, all);
        let figures = json!({
            "concealed_percent": share, "late": grew("late"), "mouth_to_ear_us": way_us, "buffer_us": voice(&after, "buffer_us"),
            "processor_percent": cost,
        });
        report.figure(name, figures);
    }
    Ok(())
}

/// What its threads of sound took so far.
fn processor_us(booth: &Booth) -> i64 {
    THREADS.iter().map(|name| booth.thread_processor_us(name)).sum()
}
