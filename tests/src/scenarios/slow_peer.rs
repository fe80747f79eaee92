//! One of three booths is behind a line on which no picture worth looking at fits: it is told so, and the two
//! others meet as if it were not there.

use super::doctor::Seen;
use super::three::{IN_FLIGHT, LOSSES, grew, meet, start};
use crate::booth::{Booth, Status};
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::network::tc;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::steal;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "slow-peer",
    summary: "one of three booths gets a line of 200 kbit/s: it and the others say so, it gets fewer pictures, and between the others no frame is lost",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 300,
    run,
};

/// What C's line carries, in each direction and with each of the others, in kbit/s; and packets that wait at it.
const LINE_KBIT: u32 = 200;
const LINE_PACKETS: u32 = 25;
/// The interfaces at both ends of C's cables.
const ENDS: [(&str, &str); 4] = [("a", "ca"), ("c", "ac"), ("b", "cb"), ("c", "bc")];
const SETTLE_US: i64 = 3_000_000;
/// For five seconds everybody waits for a slow booth; until then its path has to be known as slow.
const TOLD_MS: i64 = 30_000;
/// Until it takes part again on a line that is wide again: what its path carries is found step by step.
const BACK_MS: i64 = 60_000;
/// What the others' encoders may take of the 2000 kbit/s they are set for, in per cent, at least.
const TARGET_PERCENT: i64 = 75;
const SET_KBPS: i64 = 2_000;
/// A camera gives a picture every 33 ms, and has lost one when the machine took more than this away.
const STOLEN_MS: i64 = 25;
const TRIES: u32 = 3;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let seconds = if context.quick { 10 } else { 30 };
    let mut booths = start(context)?;
    meet(&mut report, "at first", &booths, "direct");
    sleep_until_us(now_us() + SETTLE_US);

    let before = [booths[0].status(), booths[1].status()];
    for (namespace, device) in ENDS {
        let line = format!(
            "-n {namespace} qdisc add dev {device} root netem rate {LINE_KBIT}kbit limit {LINE_PACKETS}"
        );
        tc(&line).map_err(failed(line))?;
    }
    let told = wait_until(TOLD_MS, 100, || knows(&booths, true));
    let found = told.map_or_else(|| paths(&booths), |ms| format!("{ms} ms"));
    report.check("C is told that its line is too slow, and the others know", told.is_some(), found);
    report.figure("told_ms", told);
    doctors(&mut report, context, &booths)?;
    sleep_until_us(now_us() + SETTLE_US);
    others_meet(&mut report, &booths, seconds)?;
    let after = [booths[0].status(), booths[1].status()];
    losses(&mut report, "all the while", &booths, [&before, &after]);

    for (namespace, device) in ENDS {
        let line = format!("-n {namespace} qdisc del dev {device} root");
        tc(&line).map_err(failed(line))?;
    }
    let back = wait_until(BACK_MS, 100, || knows(&booths, false));
    let found = back.map_or_else(|| paths(&booths), |ms| format!("{ms} ms"));
    report.check("with a wide line C takes part again", back.is_some(), found);
    report.figure("back_ms", back);
    let ended = booths.iter_mut().find_map(|booth| booth.ended());
    report.check("no process ended", ended.is_none(), "");
    Ok(report)
}

/// Whether A and B call C too slow and C says the same of itself, or none of that.
fn knows(booths: &[Booth; 3], slow: bool) -> bool {
    let says =
        |booth: &Booth, peer: &Booth, what: &str| booth.status().peer(peer.fingerprint())[what] == slow;
    let [a, b, c] = booths;
    [a, b].iter().all(|other| says(other, c, "too_slow") && says(c, other, "gets_fewer_pictures"))
        && booths[0].status().peer(b.fingerprint())["too_slow"] == false
}

/// What each booth thinks of its peers' paths.
fn paths(booths: &[Booth; 3]) -> String {
    let one = |booth: &Booth| {
        let status = booth.status();
        let path = |peer: &serde_json::Value| {
            format!("{} {} kbit/s, too slow: {}", peer["name"], peer["path_kbps"], peer["too_slow"])
        };
        let paths: Vec<String> = status.peers().map(path).collect();
        format!("{}: {}", status.word("/name"), paths.join(", "))
    };
    booths.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `holobooth doctor` names the line at A and at C.
fn doctors(report: &mut Report, context: &Context, booths: &[Booth; 3]) -> Result<(), Error> {
    for (name, booth, whose) in [
        ("A", &booths[0], "C: its line is too slow"),
        ("C", &booths[2], "the line of this booth is too slow"),
    ] {
        let (verdict, text) = Seen::of(context, booth)?.layer("peer");
        let held = verdict == "warning" && text.contains(whose);
        report.check(format!("doctor at {name} says whose line it is"), held, format!("{verdict}: {text}"));
    }
    Ok(())
}

/// A and B send each other all pictures, at the rate that they are set for; C gets some.
fn others_meet(report: &mut Report, booths: &[Booth; 3], seconds: i64) -> Result<(), Error> {
    let statuses = || booths.each_ref().map(Booth::status);
    let mut tries = 0;
    let (before, after, lowest) = loop {
        let before = statuses();
        let mut lowest = [i64::MAX; 2];
        let stolen_us = steal::longest_us(|| {
            for second in 1..=seconds {
                sleep_until_us(now_us() + 1_000_000);
                if second > 1 {
                    let target = |n: usize| booths[n].status().number("/sent/target_kbps");
                    lowest = [0, 1].map(|n| lowest[n].min(target(n)));
                }
            }
        });
        let stolen_ms = stolen_us.map_err(failed("looking for stolen time"))? / 1000;
        let after = statuses();
        tries += 1;
        let lost = |status: &Status| status.number("/camera/lost");
        let kept = before.iter().zip(&after).all(|(before, after)| lost(after) <= lost(before));
        if kept || stolen_ms < STOLEN_MS || tries == TRIES {
            break (before, after, lowest);
        }
    };
    for (n, other, name) in [(0, 1, "A"), (1, 0, "B")] {
        let counted =
            |who: usize, of: usize, what| grew(&before[who], &after[who], booths[of].fingerprint(), what);
        let (sent, decoded) = (counted(n, other, "sent_frames"), counted(other, n, "decoded"));
        let all = (sent - seconds * 30).abs() <= seconds * 30 / 20 + IN_FLIGHT;
        let whole = (sent - decoded).abs() <= IN_FLIGHT;
        let found = format!("sent {sent} in {seconds} s, decoded {decoded}");
        report.check(format!("{name}'s pictures all come to the other"), all && whole, found);
        let held = lowest[n] >= SET_KBPS * TARGET_PERCENT / 100;
        report.check(format!("{name} codes at its own rate"), held, format!("{} kbit/s at least", lowest[n]));
        let (sent, decoded) = (counted(n, 2, "sent_frames"), counted(2, n, "decoded"));
        let fewer = sent > 0 && decoded > 0 && sent < seconds * 30 / 2;
        let found = format!("sent {sent} in {seconds} s, decoded {decoded}");
        report.check(format!("C gets fewer pictures of {name}, and some"), fewer, found);
        report.figure(&format!("c_decoded_of_{name}"), decoded);
        let sessions = [(n, 2), (2, n)]
            .map(|(who, of)| grew(&before[who], &after[who], booths[of].fingerprint(), "connects"));
        report.figure(&format!("sessions_of_c_with_{name}"), sessions[0].max(sessions[1]));
        report.figure(&format!("{name}_lowest_kbps"), lowest[n]);
    }
    let [before_a, before_b, _] = before;
    let [after_a, after_b, _] = after;
    losses(report, "once it is told", booths, [&[before_a, before_b], &[after_a, after_b]]);
    Ok(())
}

/// Between A and B nothing is lost.
fn losses(report: &mut Report, when: &str, booths: &[Booth; 3], [before, after]: [&[Status; 2]; 2]) {
    for (n, other, name) in [(0, 1, "A"), (1, 0, "B")] {
        let counts =
            LOSSES.map(|what| (what, grew(&before[n], &after[n], booths[other].fingerprint(), what)));
        let found = counts.map(|(what, count)| format!("{what} {count}")).join(", ");
        let none = counts.iter().all(|&(_, count)| count == 0);
        report.check(format!("{when}: {name} loses no frame of the other"), none, found);
    }
}
