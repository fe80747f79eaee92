//! A booth that is muted sends no sound, whatever its microphone hears.

use std::path::Path;
use std::sync::Arc;

use evdev::KeyCode;

use super::hearing::{self, Rooms, check_rooms};
use crate::booth::{Pair, Plan, Sound, Status};
use crate::child::{Running, Side};
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::hearing::{PART, db};
use crate::keyboard::Keyboard;
use crate::report::Report;
use crate::room::{AHEAD_US, Acoustics, RATE_HZ, Recording};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "mute",
    summary: "a full-scale tone at a muted microphone: no voice on the wire, exact silence at the other loudspeaker; both say so; unmuted, it is heard at once; a keyboard's key does the same",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 240,
    run,
};

const S: i64 = 1_000_000;
const COUNT_US: i64 = 4 * S;
const TONE_HZ: f32 = 440.0;
/// A voice frame comes every 10 ms, each in a datagram.
const VOICE_A_SECOND: f64 = 95.0;
/// Until the other loudspeaker is silent, and until it speaks again, in µs.
const SILENT_WITHIN_US: i64 = 300_000;
const HEARD_WITHIN_US: i64 = 500_000;
/// A tone that is there, in dB.
const HEARD_DB: f32 = -20.0;
const KEYBOARD: &str = "A keyboard of the rig";
/// Until a booth has noticed a keyboard or a key, in ms.
const KEY_WITHIN_MS: i64 = 3_000;
/// A file of tcpdump's: its header, and that of each packet.
const PCAP_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

fn run(context: &Context) -> Result<Report, Error> {
    hearing::undisturbed(|| attempt(context))
}

fn attempt(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let rooms = Rooms::start(hearing::PPM, [Acoustics::deaf(); 2], 90, |plan| plan.noise_db = None)?;
    let mut pair = Pair::new(context.dir())?;
    // Without video, so that what is on the wire is sound, or is there without it too.
    let plan = Plan { camera: false, screen: false, ..Plan::both_ways((640, 480)) };
    // B has no microphone: a voice of its own would be acknowledged by packets that A's voice carries along.
    let sound = |side| match side {
        Side::A => Sound::of(side),
        Side::B => Sound { microphone: Sound::none().microphone, ..Sound::of(side) },
    };
    hearing::start(&mut pair, [plan; 2], sound)?;
    let start_us = now_us() + 2 * AHEAD_US;
    rooms.a.say(start_us, tone(60))?;
    sleep_until_us(start_us + S);

    let open = Wire::count(context.dir(), "open")?;
    let muted_us = order(&mut report, &pair, "mute")?;
    sleep_until_us(muted_us + S);
    let before = [pair.a.status(), pair.b.status()];
    let closed = Wire::count(context.dir(), "closed")?;
    let after = [pair.a.status(), pair.b.status()];
    let unmuted_us = now_us();
    let said_us = order(&mut report, &pair, "unmute")?;
    sleep_until_us(said_us + 2 * S);
    let end = [pair.a.status(), pair.b.status()];
    key(&mut report, &pair)?;
    report.check("both booths run on", pair.ended().is_none(), pair.ended().unwrap_or_default());
    pair.a.stop();
    pair.b.stop();
    let recordings = rooms.stop()?;
    recordings[1].save(context.dir(), "b")?;
    check_rooms(&mut report, &recordings);
    wire(&mut report, &open, &closed);
    statuses(&mut report, &before, &after, &end);
    heard(&mut report, &recordings[1], (start_us + S, muted_us, unmuted_us, said_us));
    Ok(report)
}

/// Runs a command of booth A; when it was done.
fn order(report: &mut Report, pair: &Pair, command: &str) -> Result<i64, Error> {
    let (done, said) = pair.a.command(&[command])?;
    report.check(format!("holobooth {command}"), done, said);
    Ok(now_us())
}

/// A keyboard is plugged in: its key mutes A, however long it is held, and pressed again lets A speak.
fn key(report: &mut Report, pair: &Pair) -> Result<(), Error> {
    let mut keyboard =
        Keyboard::plug_in(KEYBOARD, KeyCode::KEY_MICMUTE).map_err(failed("a keyboard (uinput)"))?;
    let said = |line: &str| pair.a.log().matches(line).count();
    let (opened, pressed) = (format!("input: {KEYBOARD} switches"), format!("key of {KEYBOARD} was pressed"));
    let took_ms = wait_until(KEY_WITHIN_MS, 20, || said(&opened) == 1);
    report.check("a keyboard that is plugged in is read", took_ms.is_some(), format!("{took_ms:?} ms"));
    for (times, muted) in [(1, true), (2, false)] {
        keyboard.press().map_err(failed("a key"))?;
        wait_until(KEY_WITHIN_MS, 20, || said(&pressed) >= times);
        let is = || {
            [(&pair.a, "/sound/muted"), (&pair.b, "/peers/0/muted")]
                .map(|(booth, path)| booth.status().json().pointer(path).and_then(serde_json::Value::as_bool))
        };
        wait_until(KEY_WITHIN_MS, 20, || is() == [Some(muted); 2]);
        let found = format!("muted {:?}, {} times pressed", is(), said(&pressed));
        let title = format!("its key pressed and held, time {times}: both say so");
        report.check(title, is() == [Some(muted); 2] && said(&pressed) == times, found);
        let coded = || pair.a.status().number("/sound/coded");
        // A voice ends with a few frames of silence.
        sleep_until_us(now_us() + S / 5);
        let before = coded();
        sleep_until_us(now_us() + S / 2);
        let grew = coded() - before;
        let title =
            if muted { "muted by key, no frame is coded" } else { "unmuted by key, frames are coded" };
        report.check(title, (grew == 0) == muted, grew);
    }
    drop(keyboard);
    let gone = format!("input: {KEYBOARD} (");
    let took_ms = wait_until(KEY_WITHIN_MS, 20, || said(&gone) == 1);
    report.check("unplugged, it is said once", took_ms.is_some(), format!("{took_ms:?} ms"));
    Ok(())
}

/// As loud as can be.
fn tone(seconds: u32) -> Arc<[f32]> {
    let sample = |n: u32| (n as f32 / RATE_HZ as f32 * TONE_HZ % 1.0 * std::f32::consts::TAU).sin();
    (0..seconds * RATE_HZ).map(sample).collect()
}

/// What A put on the wire in a while.
struct Wire {
    a_second: f64,
    /// The lengths of all packets, sorted.
    lengths: Vec<u32>,
}

impl Wire {
    fn count(dir: &Path, name: &str) -> Result<Self, Error> {
        let file = std::env::temp_dir().join(format!("mute-{name}.pcap"));
        let path = file.display().to_string();
        let words =
            ["-i", "va", "-U", "-s", "64", "-w", &path, "udp", "and", "src", "host", Side::A.address()];
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let log = dir.join(format!("tcpdump-{name}.log"));
        let mut tcpdump =
            Running::start(Side::A, Path::new("tcpdump"), &words, &log).map_err(failed("tcpdump"))?;
        wait_until(5_000, 50, || tcpdump.printed().contains("listening on"));
        sleep_until_us(now_us() + COUNT_US);
        tcpdump.stop();
        let bytes = std::fs::read(&file).map_err(failed(path))?;
        let _ = std::fs::remove_file(&file);
        Ok(Self::of(&packets(&bytes)))
    }

    fn of(packets: &[(i64, u32)]) -> Self {
        let span_us = packets.last().zip(packets.first()).map_or(0, |(last, first)| last.0 - first.0);
        let mut lengths: Vec<u32> = packets.iter().map(|&(_, length)| length).collect();
        lengths.sort_unstable();
        // Fewer than some a second come in any case, and the first and last are near the ends.
        Self { a_second: lengths.len() as f64 * 1e6 / span_us.max(COUNT_US) as f64, lengths }
    }

    fn describe(&self) -> String {
        let at = |part: usize| self.lengths.get(self.lengths.len() * part / 100).copied().unwrap_or(0);
        format!("{:.1} packets/s, half of them up to {} bytes", self.a_second, at(50))
    }
}

/// Time in µs and length of each packet in a file of tcpdump's (pcap-savefile(5), in this machine's byte order).
fn packets(file: &[u8]) -> Vec<(i64, u32)> {
    let mut rest = file.get(PCAP_HEADER..).unwrap_or(&[]);
    let mut packets = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<PACKET_HEADER>() {
        let [seconds, us, kept, length] = std::array::from_fn(|n| {
            let bytes = header[n * 4..].first_chunk::<4>().copied().unwrap_or_default();
            u32::from_ne_bytes(bytes)
        });
        packets.push((i64::from(seconds) * S + i64::from(us), length));
        rest = behind.get(kept as usize..).unwrap_or(&[]);
    }
    packets
}

fn wire(report: &mut Report, open: &Wire, closed: &Wire) {
    // With video off, nothing but a voice is nearly as long as what half of the packets are that carry one. What
    // else leaves, such as feedback, is now more and now less.
    let long = open.lengths.get(open.lengths.len() / 2).map_or(0, |median| median * 3 / 4);
    let carried = open.lengths.iter().filter(|&&length| length >= long).count();
    let voice_a_second = open.a_second * carried as f64 / open.lengths.len().max(1) as f64;
    let found = format!(
        "{voice_a_second:.1}/s with {long} bytes or more; open {}; muted {}",
        open.describe(),
        closed.describe()
    );
    report.check(
        "open, as many long datagrams leave as a voice takes",
        voice_a_second >= VOICE_A_SECOND,
        found,
    );
    let voices = closed.lengths.iter().filter(|&&length| length >= long).count();
    let found = format!("{voices} of {} with {long} bytes or more", closed.lengths.len());
    report.check("muted, no datagram is as long as a voice's", voices == 0 && long > 0, found);
    // Nor do short ones leave as often as a voice's would.
    let found = format!("{:.1} packets/s, a voice alone takes {VOICE_A_SECOND}", closed.a_second);
    report.check(
        "muted, less than half of a voice's datagrams leave",
        closed.a_second < VOICE_A_SECOND / 2.0,
        found,
    );
    report.figure("open_packets_a_second", open.a_second);
    report.figure("muted_packets_a_second", closed.a_second);
}

fn statuses(report: &mut Report, before: &[Status; 2], after: &[Status; 2], end: &[Status; 2]) {
    let is = |status: &Status, path: &str| status.json().pointer(path).and_then(serde_json::Value::as_bool);
    let muted = [(&after[0], "/sound/muted"), (&after[1], "/peers/0/muted")].map(|(s, path)| is(s, path));
    let open = [(&end[0], "/sound/muted"), (&end[1], "/peers/0/muted")].map(|(s, path)| is(s, path));
    report.check("muted, both say so", muted == [Some(true); 2], format!("{muted:?}"));
    report.check("unmuted, both say so", open == [Some(false); 2], format!("{open:?}"));
    let grew = |n: usize, path: &str| after[n].number(path) - before[n].number(path);
    let counts =
        [("coded at A", grew(0, "/sound/coded")), ("received at B", grew(1, "/peers/0/voice_received"))];
    let there =
        before.iter().zip(["/sound/coded", "/peers/0/voice_received"]).all(|(s, path)| s.number(path) > 0);
    let found = counts.map(|(what, count)| format!("{count} {what}")).join(", ");
    report.check("muted, no frame is coded or received", there && counts.iter().all(|&(_, n)| n == 0), found);
    let again = end[1].number("/peers/0/voice_received") - after[1].number("/peers/0/voice_received");
    report.check("unmuted, frames are received", again > 0, again);
}

/// What B's loudspeaker played, before, while, and after A was muted.
fn heard(report: &mut Report, b: &Recording, (open_us, muted_us, unmuted_us, said_us): (i64, i64, i64, i64)) {
    let level = db(&b.played.between(open_us, open_us + S));
    report.check("open, the tone is heard", level > HEARD_DB, format!("{level:.1} dB"));
    let silence = b.played.raw(muted_us + SILENT_WITHIN_US, unmuted_us);
    let sounds = silence.iter().filter(|&&sample| sample != 0).count();
    let loudest = silence.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    let found = format!("{sounds} of {} samples are not zero, {loudest} at most", silence.len());
    report.check("muted, the other loudspeaker is exactly silent", sounds == 0 && !silence.is_empty(), found);
    let again = b.played.between(unmuted_us, said_us + 2 * S);
    let first = again.chunks_exact(PART).position(|part| db(part) > HEARD_DB);
    let after_us = first.map(|part| (part * PART) as i64 * S / i64::from(RATE_HZ));
    let held = after_us.is_some_and(|after_us| after_us <= HEARD_WITHIN_US);
    report.check("unmuted, it is heard at once", held, format!("after {after_us:?} µs"));
    report.figure("heard_again_us", after_us);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_from_a_file() {
        let mut file = vec![0; PCAP_HEADER];
        for (seconds, us, length) in [(1_u32, 500_u32, 90_u32), (2, 0, 300)] {
            for word in [seconds, us, 4, length] {
                file.extend(word.to_ne_bytes());
            }
            file.extend([0; 4]);
        }
        file.extend([1, 2, 3]);
        assert_eq!(packets(&file), [(1_000_500, 90), (2_000_000, 300)]);
        assert_eq!(Wire::of(&packets(&file)).lengths, [90, 300]);
    }
}
