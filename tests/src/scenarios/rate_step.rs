//! The line narrows from 20 to 5 Mbit/s in the middle of a meeting, and widens again.

use std::io;
use std::process::Command;

use super::SMALL;
use crate::booth::{Pair, Plan};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::network::tc;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};
use crate::vivid::{Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "rate-step",
    summary: "the line goes from 20 to 5 Mbit/s and back: no freeze, the queue gone within 2 s, the rate back within 10 s",
    kind: Kind::Scenario,
    rig: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

const WIDE_MBIT: i64 = 20;
const NARROW_MBIT: i64 = 5;
const DELAY_MS: i64 = 20;
/// What the encoder may make: more than the line takes, with what goes around it.
const ENCODER_KBPS: u32 = 18_000;
const SETTLE_S: i64 = 12;
const NARROW_S: i64 = 10;
const WIDE_S: i64 = 14;
const EVERY_US: i64 = 40_000;

/// What is asked.
const FREEZE_MS: i64 = 500;
const QUEUE_MS: i64 = 50;
const DRAINED_MS: i64 = 2_000;
const BACK_MS: i64 = 10_000;
const BACK_PERCENT: i64 = 80;

/// One look at the line and at the far screen.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_us: i64,
    mbit: i64,
    /// Bytes that have left the line's queue.
    left: i64,
    /// Bytes that stand in it, those on their way included.
    stand: i64,
    shown: i64,
}

impl Sample {
    /// What the queue adds to the line's own delay. The line's emulation lets packets wait out their delay in the queue.
    fn queue_ms(&self) -> i64 {
        (self.stand * 8 / (self.mbit * 1000) - DELAY_MS).max(0)
    }
}

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    Vivid::open(Side::A.camera())?.look_at(Scene::moving(Pattern::Noise))?;
    let line = |verb: &str, mbit: i64| {
        let words =
            format!("-n a qdisc {verb} dev va root netem delay {DELAY_MS}ms rate {mbit}mbit limit 1000");
        tc(&words).map_err(|source| Error::System { what: words, source })
    };
    line("add", WIDE_MBIT)?;
    let back = format!("-n b qdisc add dev vb root netem delay {DELAY_MS}ms");
    tc(&back).map_err(|source| Error::System { what: back, source })?;

    let mut pair = Pair::new(context.dir())?;
    pair.start(Plan { kbps: ENCODER_KBPS, ..Plan::sends(SMALL) }, Plan::shows(SMALL))?;
    let mut samples = Vec::new();
    watch(&pair, WIDE_MBIT, SETTLE_S, &mut samples)?;
    let before = samples.len();
    line("change", NARROW_MBIT)?;
    let narrow_us = now_us();
    watch(&pair, NARROW_MBIT, NARROW_S, &mut samples)?;
    let widened = samples.len();
    line("change", WIDE_MBIT)?;
    let wide_us = now_us();
    watch(&pair, WIDE_MBIT, WIDE_S, &mut samples)?;
    trace(&samples, narrow_us);

    let filled = rate_kbps(&samples[..before], 3_000_000);
    report.check("before: the line is in use", filled >= WIDE_MBIT * 500, format!("{filled} kbit/s"));
    let freeze_ms = freeze_ms(&samples[before - 1..]);
    report.check(format!("no freeze over {FREEZE_MS} ms"), freeze_ms <= FREEZE_MS, format!("{freeze_ms} ms"));
    let narrow = &samples[before..widened];
    let last_high = narrow.iter().rev().find(|s| s.queue_ms() > QUEUE_MS);
    let drained_ms = last_high.map_or(0, |s| (s.at_us - narrow_us) / 1000);
    let worst_ms = narrow.iter().map(Sample::queue_ms).max().unwrap_or(0);
    let found = format!("{drained_ms} ms; at worst {worst_ms} ms stood");
    report.check(
        format!("the queue under {QUEUE_MS} ms within {DRAINED_MS} ms"),
        drained_ms <= DRAINED_MS,
        found,
    );
    let wide = &samples[widened..];
    let goal = WIDE_MBIT * 10 * BACK_PERCENT;
    let reached = (1..=wide.len()).find(|&n| rate_kbps(&wide[..n], 1_000_000) >= goal);
    let back_ms = reached.map(|n| (wide[n - 1].at_us - wide_us) / 1000);
    let found = back_ms.map_or("never".to_owned(), |ms| format!("{ms} ms"));
    report.check(
        format!("{BACK_PERCENT} % of {WIDE_MBIT} Mbit/s again within {BACK_MS} ms"),
        back_ms.is_some_and(|ms| ms <= BACK_MS),
        found,
    );
    report.check("no process ended", pair.ended().is_none(), "");
    report.figure("before_kbps", filled);
    report.figure("freeze_ms", freeze_ms);
    report.figure("drained_ms", drained_ms);
    report.figure("worst_queue_ms", worst_ms);
    report.figure("back_ms", back_ms);
    report.figure("narrow_kbps", rate_kbps(narrow, 5_000_000));
    Ok(report)
}

fn watch(pair: &Pair, mbit: i64, seconds: i64, samples: &mut Vec<Sample>) -> Result<(), Error> {
    let end_us = now_us() + seconds * 1_000_000;
    while now_us() < end_us {
        let at_us = now_us();
        let (left, stand) = queue().map_err(|source| Error::System { what: "tc".to_owned(), source })?;
        let shown = pair.b.status().number("/screen/shown");
        samples.push(Sample { at_us, mbit, left, stand, shown });
        sleep_until_us(at_us + EVERY_US);
    }
    Ok(())
}

/// Bytes that have left the queue of the line from A to B, and those that stand in it.
fn queue() -> io::Result<(i64, i64)> {
    let out = Command::new("tc").args(["-n", "a", "-s", "qdisc", "show", "dev", "va"]).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    parse(&text).ok_or_else(|| io::Error::other(format!("no statistics in {text:?}")))
}

fn parse(text: &str) -> Option<(i64, i64)> {
    let after = |word: &str| text.split(word).nth(1)?.split_whitespace().next();
    let stand = after("backlog ")?;
    let (number, unit) = stand.split_at(stand.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "b" => 1,
        "Kb" => 1024,
        "Mb" => 1024 * 1024,
        _ => return None,
    };
    Some((after("Sent ")?.parse().ok()?, number.parse::<i64>().ok()? * factor))
}

/// What left the line in the last `span_us` of `samples`, in kbit/s; 0 when they do not reach so far.
fn rate_kbps(samples: &[Sample], span_us: i64) -> i64 {
    let Some(last) = samples.last() else { return 0 };
    let first = samples.iter().rev().find(|s| last.at_us - s.at_us >= span_us);
    first.map_or(0, |first| (last.left - first.left) * 8_000 / (last.at_us - first.at_us))
}

/// The longest time in which the far screen showed nothing new.
fn freeze_ms(samples: &[Sample]) -> i64 {
    let Some(&first) = samples.first() else { return 0 };
    let (mut last, mut longest) = (first, 0);
    for &sample in samples {
        longest = longest.max(sample.at_us - last.at_us);
        if sample.shown > last.shown {
            last = sample;
        }
    }
    longest / 1000
}

fn trace(samples: &[Sample], from_us: i64) {
    println!("  time s   line Mbit/s   out Mbit/s   queue ms   shown/s");
    let mut end = 1;
    while end < samples.len() {
        let start = end - 1;
        end = (start..samples.len())
            .find(|&i| samples[i].at_us - samples[start].at_us >= 500_000)
            .unwrap_or(samples.len());
        let (a, b) = (samples[start], samples[end.min(samples.len() - 1)]);
        let span_us = (b.at_us - a.at_us).max(1);
        let worst = samples[start..end].iter().map(Sample::queue_ms).max().unwrap_or(0);
        println!(
            "  {:>6.1}   {:>11}   {:>10.1}   {worst:>8}   {:>7.0}",
            (a.at_us - from_us) as f64 / 1e6,
            a.mbit,
            (b.left - a.left) as f64 * 8.0 / span_us as f64,
            (b.shown - a.shown) as f64 * 1e6 / span_us as f64
        );
        end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read() {
        let text = "qdisc netem 8001: root refcnt 2 limit 1000 delay 20ms rate 5Mbit\n \
                    Sent 123456 bytes 99 pkt (dropped 0, overlimits 0 requeues 0) \n backlog 36Kb 25p requeues 0\n";
        assert_eq!(parse(text), Some((123_456, 36 * 1024)));
        assert_eq!(parse("backlog 7480b 5p Sent 1 bytes"), Some((1, 7480)));
        assert_eq!(parse("nothing"), None);
    }

    #[test]
    fn a_gap_is_a_freeze_even_at_the_end() {
        let sample = |ms: i64, shown| Sample { at_us: ms * 1000, mbit: 5, left: 0, stand: 0, shown };
        assert_eq!(freeze_ms(&[sample(0, 1), sample(40, 2), sample(400, 3), sample(440, 4)]), 360);
        assert_eq!(freeze_ms(&[sample(0, 1), sample(40, 2), sample(700, 2)]), 660);
    }
}
