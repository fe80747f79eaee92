//! Whoever does not belong there gets nothing, is counted, and disturbs nobody.

use std::path::Path;
use std::process::Command;

use holobooth::pairing::RoomKey;
use holobooth::realtime;

use super::meeting::{SMALL, look_at_movement, start_as_strangers};
use super::two_way::{direction, watch_while};
use crate::attack;
use crate::booth::{Booth, PORT, Pair, Plan, Status, room};
use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::network::{cable, ip};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "attackers",
    summary: "between two booths that pair, guessing codes, another room, another's name, floods, replays, a faithless relay: refused, counted, no frame lost",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 450,
    run,
};

const HALF_OPEN: usize = 10_000;
const RECORDS: u32 = 10_000;
const RECORDED: u32 = 2_000;
const TIMEOUT_MS: i64 = 20_000;
const FLOOD_ENDS_MS: i64 = 60_000;
const RELAYED_S: i64 = 15;
const RELAY_PORT: u16 = 4443;
/// Where the one between two booths listens.
const BETWEEN_PORT: u16 = 4500;

/// An attacker would have a processor of its own; here it gets what the booths leave.
const NICE: [&str; 3] = ["nice", "-n", "19"];

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    look_at_movement()?;
    let packets = context.dir().join("half-open");
    attack::prepare(HALF_OPEN, &packets).map_err(failed("first packets"))?;
    let mut pair = Pair::new(context.dir())?;
    pairing(context, &mut report, &mut pair)?;
    meeting(context, &mut report, &mut pair, &packets)?;
    relayed(context, &mut report, &mut pair)?;
    Ok(report)
}

/// Starts one of our attackers in a network namespace.
fn start(context: &Context, namespace: &str, words: &[&str]) -> Result<Running, Error> {
    let own = std::env::current_exe().map_err(failed("own path"))?;
    let own = own.display().to_string();
    let all = [&NICE[1..], &[&own[..], "attack"], words].concat();
    let arguments: Vec<_> = all.into_iter().map(str::to_owned).collect();
    let log = context.dir().join(format!("{}.log", words[0]));
    let started = Running::start_in(namespace, Path::new(NICE[0]), &arguments, &log);
    started.map_err(failed("an attacker"))
}

/// Two booths without a room, somebody between them, and somebody who guesses.
fn pairing(context: &Context, report: &mut Report, pair: &mut Pair) -> Result<(), Error> {
    let plan = Plan { camera: false, ..Plan::both_ways(SMALL) };
    pair.a.belong_to(None);
    pair.b.belong_to(None);
    start_as_strangers(pair, plan)?;
    let shows = |status: &Status| status.word("/link/code").len() == 8;
    pair.a.wait("showing a code", TIMEOUT_MS, shows)?;
    pair.b.wait("showing a code", TIMEOUT_MS, shows)?;
    let listen = format!("{}:{BETWEEN_PORT}", Side::A.address());
    let to = format!("{}:{PORT}", Side::A.address());
    let between = start(context, "a", &["between", "--listen", &listen, "--to", &to, "--name", "between"])?;
    let code = pair.a.status().word("/link/code").to_owned();
    let refused = |booth: &Booth| booth.status().number("/link/guesses_refused");

    let enter = |pair: &Pair| pair.b.command(&["pair", &code, "--booth", "between"]);
    let (mut done, mut said) = enter(pair)?;
    let tried_from_us = now_us();
    // Until its announcement has come to B.
    while !done && said.contains("no booth that waits") && now_us() - tried_from_us < TIMEOUT_MS * 1000 {
        (done, said) = enter(pair)?;
    }
    let passes = || between.printed().contains("passed on: Ok([65,");
    let passed = wait_until(TIMEOUT_MS, 50, passes).is_some();
    report.check("between two booths: what both say is passed on", passed, between.printed().trim());
    report.check("between two booths: B gives nothing", !done, said);
    wait_until(TIMEOUT_MS, 50, || refused(&pair.a) == 1);
    report.check("between two booths: refused and counted at A", refused(&pair.a) == 1, refused(&pair.a));
    drop(between);

    let wrong = if code == "00000000" { "00000001" } else { "00000000" };
    for _ in 0..4 {
        pair.b.command(&["pair", wrong, "--booth", "A"])?;
    }
    report.check("guesses: each counted", refused(&pair.a) == 5, refused(&pair.a));
    let gone = wait_until(TIMEOUT_MS, 50, || pair.a.status().word("/link/code").is_empty()).is_some();
    report.check("guesses: the fifth ends the code", gone, "");
    let (done, said) = pair.b.command(&["pair", &code, "--booth", "A"])?;
    report.check("guesses: the right one comes too late", !done, said);
    report.check("guesses: and is counted", refused(&pair.a) > 5, refused(&pair.a));
    report.check("no room came of it", pair.a.status().word("/state") == "pairing", "");
    pair.a.stop();
    pair.b.stop();
    Ok(())
}

/// A meeting, and everybody at its door.
fn meeting(context: &Context, report: &mut Report, pair: &mut Pair, packets: &Path) -> Result<(), Error> {
    let plan = Plan::both_ways(SMALL);
    pair.a.belong_to(Some(room()));
    pair.b.belong_to(Some(room()));
    start_as_strangers(pair, plan)?;
    for booth in [&mut pair.a, &mut pair.b] {
        booth.wait("showing a picture", TIMEOUT_MS, Status::shows_picture)?;
    }
    let blind = Plan { camera: false, screen: false, ..plan };
    let mut strangers = Vec::new();
    let another = RoomKey::of([8; 32]);
    for (n, name, key, why) in [(1, "stranger", another, "room.key"), (2, "B", room(), "booth.name")] {
        let mut stranger = Booth::new(Side::B, &context.dir().join(format!("stranger-{n}")))?;
        stranger.call_itself(name);
        stranger.belong_to(Some(key));
        stranger.listen_on(PORT + n);
        stranger.call_the_other_side();
        stranger.start(blind, None)?;
        stranger.wait("running", TIMEOUT_MS, Status::answered)?;
        stranger.wait("told why", TIMEOUT_MS, |status| status.word("/link/trouble").contains(why))?;
        strangers.push(stranger);
    }
    for (stranger, what) in strangers.iter().zip(["another room", "another's name"]) {
        let status = stranger.status();
        report.check(format!("{what}: gets nothing"), !status.connected(), status.word("/link/trouble"));
    }
    let count = |what: &str, pair: &Pair| pair.a.status().number(what);
    let refused = count("/link/refused", pair);
    report.check("both are refused and counted", refused >= 2, refused);

    let recorded = context.dir().join("recorded.pcap").display().to_string();
    let tcpdump =
        format!("tcpdump -i vb -w {recorded} -c {RECORDED} udp and src 10.9.0.1 and dst port {PORT}");
    tool("b", &tcpdump).map_err(failed("tcpdump"))?;
    let (to, packets) = (format!("{}:{PORT}", Side::A.address()), packets.display().to_string());
    let records = RECORDS.to_string();
    let (mut took_us, mut replayed, mut ended) = (0, Ok(0.0), Vec::new());
    let spans = watch_while(report, "floods", pair, || {
        let start_us = now_us();
        for words in [
            &["half-open", "--to", &to[..], "--packets", &packets][..],
            &["records", "--count", &records, "--from", Side::B.address()],
        ] {
            ended.push(start(context, "b", words).map(|mut attacker| {
                wait_until(FLOOD_ENDS_MS, 50, || attacker.ended().is_some());
                (attacker.ended().is_some_and(|status| status.success()), attacker.printed())
            }));
        }
        replayed = replay(&recorded);
        took_us = now_us() - start_us;
    })?;
    for attacker in ended {
        let (done, said) = attacker?;
        report.check("the attack was carried out", done, said.trim());
    }
    let replayed = replayed.map_err(failed("tcpreplay"))?;
    // Some were recorded as the batches in which the sender handed them over, which no cable would carry
    // again.
    report.check(
        "recorded datagrams came once more",
        replayed > f64::from(RECORDED) / 2.0,
        format!("{replayed:.0} of {RECORDED}"),
    );
    let rejected_busy = spans[0].grew("/link/rejected_busy");
    report.check("half-open connections: put off and counted", rejected_busy > 9_000, rejected_busy);
    let refused: i64 = spans.iter().map(|span| span.grew("/link/records_refused")).sum();
    report.check("false records: refused and counted", refused > 0, refused);
    let seconds = (took_us + 500_000) / 1_000_000;
    direction(report, "A to B", &spans[0], &spans[1], seconds);
    direction(report, "B to A", &spans[1], &spans[0], seconds);
    for (span, name) in spans.iter().zip(["A", "B"]) {
        let connects = span.grew("/total/connects");
        report.check(format!("{name} stays connected"), span.end().connected() && connects == 0, connects);
    }
    let ended = strangers.iter_mut().any(|stranger| stranger.ended().is_some());
    report.check("no process ended", pair.ended().is_none() && !ended, "");
    report.figure("rejected_busy", rejected_busy);
    report.figure("records_refused", refused);
    pair.a.stop();
    pair.b.stop();
    Ok(())
}

/// A meeting through a relay that tampers.
fn relayed(context: &Context, report: &mut Report, pair: &mut Pair) -> Result<(), Error> {
    ip("-n a link set va down").map_err(failed("the direct cable"))?;
    cable([("a", "ua", "10.9.1.1/24"), ("r", "u1", "10.9.1.2/24")]).map_err(failed("a cable"))?;
    cable([("b", "ub", "10.9.2.1/24"), ("r", "u2", "10.9.2.2/24")]).map_err(failed("a cable"))?;
    let (listen, file) = (format!("0.0.0.0:{RELAY_PORT}"), context.dir().join("relay"));
    let words = ["faithless", "--listen", &listen, "--fingerprint", &file.display().to_string()];
    // A relay has a machine of its own: on the rig's one core it is as urgent as a booth's link.
    let urgent = || {
        realtime::set_realtime_priority(realtime::LINK).map_err(failed("SCHED_FIFO"))?;
        start(context, "r", &words)
    };
    let relay = std::thread::scope(|scope| scope.spawn(urgent).join());
    let relay = relay.unwrap_or_else(|_| Err(failed("a relay")(std::io::ErrorKind::Other.into())))?;
    wait_until(TIMEOUT_MS, 50, || relay.printed().contains("listening"));
    let fingerprint = std::fs::read_to_string(&file).map_err(failed("the relay's fingerprint"))?;
    pair.a.meet_at(&format!("10.9.1.2:{RELAY_PORT}"), &fingerprint);
    pair.b.meet_at(&format!("10.9.2.2:{RELAY_PORT}"), &fingerprint);
    let plan = Plan::both_ways(SMALL);
    start_as_strangers(pair, plan)?;
    for booth in [&mut pair.a, &mut pair.b] {
        let live = |status: &Status| status.route() == "relay" && status.shows_picture();
        booth.wait("live through the relay", TIMEOUT_MS, live)?;
    }
    let spans =
        watch_while(report, "faithless relay", pair, || sleep_until_us(now_us() + RELAYED_S * 1_000_000))?;
    direction(report, "faithless relay, A to B", &spans[0], &spans[1], RELAYED_S);
    direction(report, "faithless relay, B to A", &spans[1], &spans[0], RELAYED_S);
    for (span, name) in spans.iter().zip(["A", "B"]) {
        let decrypt_failed = span.grew("/total/decrypt_failed");
        // Of fifteen hundred datagrams or so one in a hundred is changed, two are repeated, and five recorded
        // ones come again.
        let what = format!("faithless relay: {name} counts what is changed, repeated and replayed");
        report.check(what, decrypt_failed > 80, decrypt_failed);
        report.figure(&format!("{}_unopened", name.to_lowercase()), decrypt_failed);
    }
    report.check("no process ended", pair.ended().is_none(), "");
    Ok(())
}

/// Sends once more what was recorded on its way to B; how many datagrams came there beyond what the meeting
/// sends in that time.
fn replay(recorded: &str) -> std::io::Result<f64> {
    let per_us = |from: (i64, i64), to: (i64, i64)| (to.1 - from.1) as f64 / (to.0 - from.0) as f64;
    let look = || udp_taken("b").map(|taken| (now_us(), taken));
    let first = look()?;
    sleep_until_us(now_us() + 5_000_000);
    let before = look()?;
    tool("a", &format!("tcpreplay-edit --fixcsum --timer=nano --pps=400 -q -i va {recorded}"))?;
    let after = look()?;
    Ok((per_us(before, after) - per_us(first, before)) * (after.0 - before.0) as f64)
}

/// Runs a program to its end in a network namespace.
fn tool(namespace: &str, words: &str) -> std::io::Result<()> {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(NICE)
        .args(words.split_whitespace())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(std::io::Error::other(format!("`{words}`: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// UDP datagrams that were taken for some program of a namespace (proc_pid_net(5), `snmp`).
fn udp_taken(namespace: &str) -> std::io::Result<i64> {
    let output = Command::new("ip").args(["netns", "exec", namespace, "cat", "/proc/net/snmp"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().filter_map(|line| line.strip_prefix("Udp: ")).nth(1);
    let taken = line.and_then(|line| line.split(' ').next()).and_then(|taken| taken.parse().ok());
    taken.ok_or_else(|| std::io::Error::other("no UDP counters in /proc/net/snmp"))
}
