//! The line narrows from 20 to 5 Mbit/s in the middle of a meeting, and widens again.
//!
//! The link is the booth's, over the kernel's network; what it carries comes from a stand-in for the encoder,
//! for none in software makes 16 Mbit/s on the rig's one core.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us};
use crate::line::{LINE, lay};
use crate::network::tc;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use holobooth::realtime;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "rate-step",
    summary: "the line goes from 20 to 5 Mbit/s and back: no freeze, the queue gone within 2 s, the rate back within 10 s",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

const WIDE_MBIT: i64 = 20;
const NARROW_MBIT: i64 = 5;
/// One way. Not where the line is narrow: netem lets what waits for its turn wait out its delay meanwhile,
/// which hides a queue's beginning.
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
/// The queue is gone when it was low for so long, in µs; a probe may fill it again for a moment.
const CALM_US: i64 = 1_000_000;
const BACK_MS: i64 = 10_000;
const BACK_PERCENT: i64 = 80;

/// One look at the line.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_us: i64,
    mbit: i64,
    /// Bytes that have left the line's queue.
    left: i64,
    /// Bytes that stand in it.
    stand: i64,
}

impl Sample {
    /// How long the last in the queue waits.
    fn queue_ms(&self) -> i64 {
        self.stand * 8 / (self.mbit * 1000)
    }
}

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let line = |verb: &str, mbit: i64| {
        let words = format!("-n {LINE} qdisc {verb} dev lb root netem rate {mbit}mbit limit 1000");
        tc(&words).map_err(failed(words))
    };
    lay().map_err(failed("the line"))?;
    line("add", WIDE_MBIT)?;
    for (end, device) in [("a", "va"), ("b", "vb")] {
        let way = format!("-n {end} qdisc add dev {device} root netem delay {DELAY_MS}ms");
        tc(&way).map_err(failed(way))?;
    }

    let own = std::env::current_exe().map_err(failed("own path"))?;
    let start = |side: Side| {
        // As urgent as a booth's link is: a train of padding that waits for a core looks like one that waits
        // for the line.
        let words = format!(
            "-f {} {} stand-in --side {} --dir {} --kbps {ENCODER_KBPS}",
            realtime::LINK,
            own.display(),
            side.name(),
            context.dir().display()
        );
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        Running::start(side, Path::new("chrt"), &words, &context.dir().join(format!("{}.log", side.name())))
            .map_err(failed("stand-in"))
    };
    // One after the other: each makes both sides' identities unless they are there.
    let mut b = start(Side::B)?;
    sleep_until_us(now_us() + 500_000);
    let mut a = start(Side::A)?;
    let mut samples = Vec::new();
    watch(WIDE_MBIT, SETTLE_S, &mut samples)?;
    let before = samples.len();
    line("change", NARROW_MBIT)?;
    let narrow_us = now_us();
    watch(NARROW_MBIT, NARROW_S, &mut samples)?;
    let widened = samples.len();
    line("change", WIDE_MBIT)?;
    let wide_us = now_us();
    watch(WIDE_MBIT, WIDE_S, &mut samples)?;
    let frames = arrivals(&b.printed());
    trace(&samples, &frames, narrow_us);

    let filled = rate_kbps(&samples[..before], 3_000_000);
    report.check("before: the line is in use", filled >= WIDE_MBIT * 500, format!("{filled} kbit/s"));
    let freeze_ms = freeze_ms(&frames, narrow_us, now_us());
    report.check(format!("no freeze over {FREEZE_MS} ms"), freeze_ms <= FREEZE_MS, format!("{freeze_ms} ms"));
    let narrow = &samples[before..widened];
    let drained_ms = calm_from_us(narrow).map(|us| (us - narrow_us) / 1000);
    let worst_ms = narrow.iter().map(Sample::queue_ms).max().unwrap_or(0);
    let after = drained_ms.map_or("never".to_owned(), |ms| format!("after {ms} ms"));
    let found = format!("{after}; at worst {worst_ms} ms stood");
    report.check(
        format!("the queue under {QUEUE_MS} ms within {DRAINED_MS} ms"),
        drained_ms.is_some_and(|ms| ms <= DRAINED_MS),
        found,
    );
    let wide = &samples[widened..];
    let goal = WIDE_MBIT * 10 * BACK_PERCENT;
    let reached = (1..=wide.len()).find(|&n| rate_kbps(&wide[..n], 1_000_000) >= goal);
    let back_ms = reached.map(|n| (wide[n - 1].at_us - wide_us) / 1000);
    let what = format!("{BACK_PERCENT} % of {WIDE_MBIT} Mbit/s again within {BACK_MS} ms");
    report.check_in_time(what, back_ms, BACK_MS);
    report.check("no process ended", a.ended().is_none() && b.ended().is_none(), "");
    report.figure("before_kbps", filled);
    report.figure("freeze_ms", freeze_ms);
    report.figure("drained_ms", drained_ms);
    report.figure("worst_queue_ms", worst_ms);
    let calm_us = calm_from_us(narrow).unwrap_or(i64::MAX);
    let later = narrow.iter().filter(|s| s.at_us >= calm_us).map(Sample::queue_ms).max();
    report.figure("worst_queue_later_ms", later);
    report.figure("back_ms", back_ms);
    report.figure("narrow_kbps", rate_kbps(narrow, 5_000_000));
    Ok(report)
}

/// From when on the queue was low for a second.
fn calm_from_us(samples: &[Sample]) -> Option<i64> {
    let low = |s: &Sample| s.queue_ms() <= QUEUE_MS;
    let from = |start: usize| {
        let first_us = samples[start].at_us;
        samples[start..].iter().take_while(move |s| s.at_us - first_us < CALM_US)
    };
    (0..samples.len()).find(|&start| from(start).all(low)).map(|start| samples[start].at_us)
}

fn watch(mbit: i64, seconds: i64, samples: &mut Vec<Sample>) -> Result<(), Error> {
    let end_us = now_us() + seconds * 1_000_000;
    while now_us() < end_us {
        let at_us = now_us();
        let (left, stand) = queue().map_err(failed("tc"))?;
        samples.push(Sample { at_us, mbit, left, stand });
        sleep_until_us(at_us + EVERY_US);
    }
    Ok(())
}

/// Bytes that have left the queue of the line from A to B, and those that stand in it.
fn queue() -> io::Result<(i64, i64)> {
    let out = Command::new("tc").args(["-n", LINE, "-s", "qdisc", "show", "dev", "lb"]).output()?;
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

/// When each frame came, as the far end printed it.
fn arrivals(printed: &str) -> Vec<i64> {
    let frames = printed.lines().filter(|line| !line.starts_with('#'));
    frames.filter_map(|line| line.split_once(' ')?.1.parse().ok()).collect()
}

/// The longest time without a frame between `from_us` and `to_us`.
fn freeze_ms(frames: &[i64], from_us: i64, to_us: i64) -> i64 {
    let mut last = frames.iter().rev().find(|&&at| at <= from_us).map_or(from_us, |&at| at);
    let mut longest = 0;
    for &at in frames.iter().filter(|&&at| at > from_us && at < to_us).chain([&to_us]) {
        longest = longest.max(at - last);
        last = at;
    }
    longest / 1000
}

fn trace(samples: &[Sample], frames: &[i64], from_us: i64) {
    println!("  time s   line Mbit/s   out Mbit/s   queue ms   frames/s");
    for half in samples
        .chunk_by(|a, b| (a.at_us - from_us).div_euclid(500_000) == (b.at_us - from_us).div_euclid(500_000))
    {
        let (Some(first), Some(last)) = (half.first(), half.last()) else { continue };
        let span_us = (last.at_us - first.at_us).max(1);
        let worst = half.iter().map(Sample::queue_ms).max().unwrap_or(0);
        let came = frames.iter().filter(|&&at| at >= first.at_us && at < last.at_us).count();
        println!(
            "  {:>6.1}   {:>11}   {:>10.1}   {worst:>8}   {:>8.0}",
            (first.at_us - from_us) as f64 / 1e6,
            first.mbit,
            (last.left - first.left) as f64 * 8.0 / span_us as f64,
            came as f64 * 1e6 / span_us as f64
        );
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
    fn a_queue_is_gone_when_it_stays_gone() {
        let sample =
            |ms: i64, queue_ms: i64| Sample { at_us: ms * 1000, mbit: 8, left: 0, stand: queue_ms * 1000 };
        let stands = [
            sample(0, 300),
            sample(400, 20),
            sample(800, 90),
            sample(1_200, 20),
            sample(1_700, 10),
            sample(2_300, 99),
        ];
        assert_eq!(calm_from_us(&stands), Some(1_200_000));
        assert_eq!(calm_from_us(&[sample(0, 300), sample(900, 60)]), None);
    }

    #[test]
    fn a_gap_is_a_freeze_even_at_the_end() {
        assert_eq!(freeze_ms(&[0, 40_000, 400_000, 440_000], 20_000, 450_000), 360);
        assert_eq!(freeze_ms(&[0, 40_000], 20_000, 700_000), 660);
        assert_eq!(arrivals("7 1000\nsaid something\n8 2000\n"), [1_000, 2_000]);
    }
}
