//! Sound beside video that fills the line: it leaves at once, through every keyframe, and what is lost costs
//! nothing.

use std::path::Path;
use std::process::Command;

use holobooth::link::testkit::voice_first;
use holobooth::realtime;

use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us};
use crate::line::{self, Faults, Loss};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "voice-first",
    summary: "a voice frame every 10 ms beside video at a line's limit, a keyframe a second: 99 of 100 leave within 5 ms, at 2 % loss none is late",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 240,
    run,
};

/// What the rig's one core carries, both ends and the line in it, without being the limit itself.
const RATE_MBIT: u32 = 6;
const RTT_MS: u32 = 40;
const LOSSES_PERCENT: [f64; 2] = [0.0, 2.0];
/// What the encoder may make: more than the line takes.
const ENCODER_KBPS: u32 = 15_000;
const SETTLE_S: i64 = 5;
const DELAYED_PERCENT: f64 = 1.0;
/// From capture to the other end, in µs.
const LATE_US: i64 = 60_000;
/// Of the line's rate, what video and sound together take at least, in per cent.
const LOAD_PERCENT: i64 = 75;
/// Voice frames that may be under way when one end is looked at after the other.
const UNDER_WAY: i64 = 30;
/// The simulator's seed and length.
const SEED: u64 = 7;
const SIMULATED_S: u64 = 60;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let seconds = if context.quick { 10 } else { 30 };
    for loss in LOSSES_PERCENT {
        simulate(&mut report, loss)?;
    }
    line::lay().map_err(failed("the line"))?;
    for loss in LOSSES_PERCENT {
        let faults = Faults { rtt_ms: RTT_MS, loss: Loss::Random(loss), rate_mbit: RATE_MBIT };
        line::set(&faults).map_err(failed("the line"))?;
        in_the_rig(&mut report, context, loss, seconds)?;
    }
    Ok(report)
}

fn simulate(report: &mut Report, loss: f64) -> Result<(), Error> {
    let kbps = u64::from(RATE_MBIT) * 1000;
    let outcome = voice_first(SEED, SIMULATED_S, kbps, (loss / 100.0) as f32)
        .map_err(|e| failed("simulation")(e.into()))?;
    let title = format!("simulated, {loss} % loss");
    report.check(
        format!("{title}: 99 of 100 leave within 5 ms"),
        outcome.send_p99_us <= 5_000,
        format!("p99 {} µs, most {} µs", outcome.send_p99_us, outcome.send_max_us),
    );
    let missing = outcome.sent.saturating_sub(outcome.received);
    report.check(
        format!("{title}: none late"),
        outcome.late == 0 && missing as i64 <= UNDER_WAY,
        format!("{} of {} late, {missing} under way or missing", outcome.late, outcome.sent),
    );
    report.figure(&format!("simulated_{loss}_send_p99_us"), outcome.send_p99_us);
    Ok(())
}

fn in_the_rig(report: &mut Report, context: &Context, loss: f64, seconds: i64) -> Result<(), Error> {
    let own = std::env::current_exe().map_err(failed("own path"))?;
    let dir = context.dir().join(format!("loss-{loss}"));
    std::fs::create_dir_all(&dir).map_err(failed("a folder"))?;
    let start = |side: Side| {
        let words = format!(
            "-f {} {} stand-in --side {} --dir {} --kbps {ENCODER_KBPS} --voice",
            realtime::LINK,
            own.display(),
            side.name(),
            dir.display()
        );
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        // In memory: what is written to the host's disk holds the whole rig up.
        let log = std::env::temp_dir().join(format!("voice-first-{loss}-{}.log", side.name()));
        Running::start(side, Path::new("chrt"), &words, &log).map_err(failed("stand-in"))
    };
    // One after the other: each makes both sides' identities unless they are there.
    let b = start(Side::B)?;
    sleep_until_us(now_us() + 500_000);
    let a = start(Side::A)?;
    sleep_until_us(now_us() + SETTLE_S * 1_000_000);
    let (told, sent_bytes) = (last_told(&a.printed()), tx_bytes()?);
    let from_us = now_us();
    sleep_until_us(from_us + seconds * 1_000_000);
    let (now_told, now_bytes) = (last_told(&a.printed()), tx_bytes()?);
    let took_us = now_us() - from_us;
    let frames = voices(&b.printed(), from_us);
    a.kill();
    b.kill();

    let title = format!("{loss} % loss");
    let kbps = (now_bytes - sent_bytes) * 8_000 / took_us;
    let limit = i64::from(RATE_MBIT) * 10 * LOAD_PERCENT;
    report.check(format!("{title}: the line is full"), kbps >= limit, format!("{kbps} kbit/s"));
    let (sent, delayed) = (now_told.sent - told.sent, now_told.delayed - told.delayed);
    let share = delayed as f64 * 100.0 / sent.max(1) as f64;
    report.check(
        format!("{title}: 99 of 100 leave within 5 ms"),
        sent >= seconds * 90 && share <= DELAYED_PERCENT,
        format!("{delayed} of {sent} left later"),
    );
    let late = frames.iter().filter(|frame| frame.came_us - frame.capture_us > LATE_US).count();
    let most_ms = frames.iter().map(|frame| frame.came_us - frame.capture_us).max().unwrap_or(0) / 1000;
    let span = frames.iter().map(|f| f.number).max().unwrap_or(0)
        - frames.iter().map(|f| f.number).min().unwrap_or(0)
        + 1;
    let missing = span - frames.len() as i64;
    report.check(
        format!("{title}: none later than {} ms, and none missing", LATE_US / 1000),
        late == 0 && missing == 0 && frames.len() as i64 >= seconds * 90,
        format!("{late} of {} late, {missing} missing, most {most_ms} ms", frames.len()),
    );
    report.figure(&format!("loss_{loss}_delayed_percent"), share);
    report.figure(&format!("loss_{loss}_most_ms"), most_ms);
    Ok(())
}

/// What the sending end counted.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    sent: i64,
    delayed: i64,
}

fn last_told(printed: &str) -> Told {
    let line = printed.lines().rev().find(|line| line.starts_with("voice put "));
    let after = |word: &str| {
        let mut words = line.unwrap_or("").split_whitespace().skip_while(|w| *w != word);
        words.nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Told { sent: after("sent"), delayed: after("delayed") }
}

/// A voice frame that came.
#[derive(Debug, Clone, Copy)]
struct Came {
    number: i64,
    came_us: i64,
    capture_us: i64,
}

/// Those captured from `from_us` on.
fn voices(printed: &str, from_us: i64) -> Vec<Came> {
    let parse = |line: &str| {
        let mut numbers = line.strip_prefix("v ")?.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Came { number: next()?, came_us: next()?, capture_us: next()? })
    };
    printed.lines().filter_map(parse).filter(|frame| frame.capture_us >= from_us).collect()
}

/// What A's interface has sent so far.
fn tx_bytes() -> Result<i64, Error> {
    let words = ["netns", "exec", "a", "cat", "/sys/class/net/va/statistics/tx_bytes"];
    let out = Command::new("ip").args(words).output().map_err(failed("tx_bytes"))?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_ends_print_is_read() {
        let told =
            last_told("# x\nvoice put 100 sent 99 delayed 1\nvoice put 200 sent 198 delayed 3\nv 1 2 3\n");
        assert_eq!((told.sent, told.delayed), (198, 3));
        let came = voices("7 5\nv 1 900 100\nv 2 1900 1100\nv x\n", 1_000);
        assert_eq!(came.iter().map(|c| (c.number, c.came_us)).collect::<Vec<_>>(), [(2, 1_900)]);
    }
}
