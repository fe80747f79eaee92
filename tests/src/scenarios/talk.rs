//! Two people talk, at the same time half of the time: each hears the other and not oneself.

use std::sync::Arc;

use super::hearing::{self, PPM, Rooms, check_rooms, voice};
use super::meeting::{SMALL, look_at_movement};
use crate::booth::{Pair, Plan, Sound, Status};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::hearing::{PART, align, db, draw, gaps, levels_db, spoken, telephone};
use crate::report::Report;
use crate::room::voice::{LEVEL_DB, OVER_NOISE_DB, Speaker};
use crate::room::{AHEAD_US, Acoustics, RATE_HZ, Recording, Room};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "talk",
    summary: "30 s of two people who talk, half of it at once, in rooms that echo: each hears the other without gaps, and not oneself",
    kind: Kind::Long,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 400,
    run: |context| run(context, 3),
};

pub(crate) const LONG: Scenario = Scenario {
    name: "talk-long",
    summary: "the same for 5 minutes: clocks drift apart by 60 ms, and nobody hears it",
    kind: Kind::Long,
    time_limit_s: 1_500,
    run: |context| run(context, 30),
    ..SCENARIO
};

const S: i64 = 1_000_000;
/// A round: A alone, both, B alone, silence; half of it both.
const ROUND: [(Who, i64); 4] =
    [(Who::A, 22 * S / 10), (Who::Both, 5 * S), (Who::B, 22 * S / 10), (Who::Nobody, 6 * S / 10)];
const ROUND_US: i64 = 10 * S;
/// Before the rounds each speaks alone, for the echo cancellers to know the rooms.
const PRELUDE: [(Who, i64); 2] = [(Who::A, 4 * S), (Who::B, 4 * S)];
/// What is said or heard changes hands within this time, in µs: the way there and back, and the echo's tail.
const CHANGE_US: i64 = 600_000;
/// The longest way from mouth to ear that is looked for, in µs.
const LONGEST_WAY_US: i64 = 400_000;
/// Pieces by which a voice is followed, in µs.
const PIECE_US: i64 = S / 2;
/// What is said louder than this, in dB, must be heard.
const SPOKEN_DB: f32 = LEVEL_DB - 10.0;
const GAP_DB: f32 = 20.0;
/// Parts of 20 ms in a piece in which enough is said.
const ENOUGH: usize = 8;
/// How far a voice may be beside its place within a piece, in µs.
const BESIDE_US: i64 = 5_000;
/// While both speak, a canceller that takes the other's echo takes some of one's own voice: parts, in per cent.
const BOTH_GAPS_PERCENT: usize = 2;
/// Alike enough for where it was found to be where it is; and enough to be the same voice, behind codec and
/// canceller.
const SURE: f32 = 0.6;
const ALIKE: f32 = 0.75;
/// So many gaps are named.
const TOLD: usize = 20;
/// By how much what a booth keeps of a voice may have grown, in µs.
const GROWTH_US: i64 = 5_000;
const WATCH_US: i64 = S;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    A,
    B,
    Both,
    Nobody,
}

impl Who {
    fn speaks(self, side: Side) -> bool {
        self == Self::Both || self.alone(side)
    }

    fn alone(self, side: Side) -> bool {
        self == if side == Side::A { Self::A } else { Self::B }
    }
}

/// Somebody's turn to speak, in µs of CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy)]
struct Turn {
    who: Who,
    from_us: i64,
    to_us: i64,
    /// Of the prelude.
    early: bool,
}

fn run(context: &Context, rounds: i64) -> Result<Report, Error> {
    let rounds = if context.quick { 1 } else { rounds };
    let voices = [Speaker::Anna.speaks()?, Speaker::Bert.speaks()?];
    look_at_movement()?;
    hearing::undisturbed(|| attempt(context, rounds, &voices))
}

fn attempt(context: &Context, rounds: i64, voices: &[Vec<f32>; 2]) -> Result<Report, Error> {
    let mut report = Report::default();
    let seconds = (rounds * ROUND_US / S) as u32 + 60;
    let rooms = Rooms::start(PPM, [Acoustics::booth(1), Acoustics::booth(2)], seconds, |_| {})?;
    let mut pair = Pair::new(context.dir())?;
    hearing::start(&mut pair, [Plan::both_ways(SMALL); 2], Sound::of)?;
    let turns = turns(now_us() + 3 * AHEAD_US, rounds);
    say(&rooms.a, Side::A, &voices[0], &turns)?;
    say(&rooms.b, Side::B, &voices[1], &turns)?;
    let end_us = turns.last().map_or(0, |turn| turn.to_us) + S;
    let statuses = watch(&pair, end_us);
    report.check("both booths run on", pair.ended().is_none(), pair.ended().unwrap_or_default());
    pair.a.stop();
    pair.b.stop();
    let recordings = rooms.stop()?;
    for (recording, name) in recordings.iter().zip(["a", "b"]) {
        recording.save(context.dir(), name)?;
    }
    picture(context, &recordings, &turns)?;
    check_rooms(&mut report, &recordings);
    let [a, b] = &recordings;
    let ways = [
        way(&mut report, "A to B", Side::A, a, b, &turns),
        way(&mut report, "B to A", Side::B, b, a, &turns),
    ];
    for (side, own) in [(Side::A, a), (Side::B, b)] {
        echo(&mut report, side, own, &turns, ways.iter().sum::<i64>());
    }
    for (n, name) in ["A", "B"].into_iter().enumerate() {
        counters(&mut report, name, &statuses[n]);
    }
    Ok(report)
}

fn turns(start_us: i64, rounds: i64) -> Vec<Turn> {
    let early = PRELUDE.iter().map(|turn| (turn, true));
    let all = early.chain((0..rounds).flat_map(|_| ROUND.iter().map(|turn| (turn, false))));
    let mut from_us = start_us;
    all.map(|(&(who, length_us), early)| {
        let turn = Turn { who, from_us, to_us: from_us + length_us, early };
        from_us = turn.to_us;
        turn
    })
    .collect()
}

/// Cuts a voice into its turns, one after the other, and over again when there is no more of it.
fn say(room: &Room, side: Side, voice: &[f32], turns: &[Turn]) -> Result<(), Error> {
    let fade = RATE_HZ as usize / 200;
    let mut from = 0;
    let mut rest = turns.iter().filter(|turn| turn.who.speaks(side)).peekable();
    while let Some(first) = rest.next() {
        // Turns that follow each other are one: a voice does not start anew because the other's does.
        let mut to_us = first.to_us;
        while let Some(next) = rest.next_if(|next| next.from_us == to_us) {
            to_us = next.to_us;
        }
        let count = ((to_us - first.from_us) * i64::from(RATE_HZ) / S) as usize;
        let faded = |(n, sample): (usize, &f32)| {
            let edge = n.min(count - 1 - n).min(fade) as f32 / fade as f32;
            sample * edge
        };
        let samples: Arc<[f32]> =
            voice.iter().cycle().skip(from).take(count).enumerate().map(faded).collect();
        from = (from + count) % voice.len().max(1);
        room.say(first.from_us, samples)?;
    }
    Ok(())
}

/// Both booths' status, once a second.
fn watch(pair: &Pair, end_us: i64) -> [Vec<Status>; 2] {
    let mut statuses = [Vec::new(), Vec::new()];
    while now_us() < end_us {
        let from_us = now_us();
        statuses[0].push(pair.a.status());
        statuses[1].push(pair.b.status());
        sleep_until_us(from_us + WATCH_US);
    }
    statuses
}

/// What of a voice arrives at the other side.
#[derive(Default)]
struct Way {
    /// From mouth to ear while one speaks alone, in µs.
    delays_us: Vec<i64>,
    /// How alike both are then.
    likenesses: Vec<f32>,
    /// Parts that were spoken, and of these those that were not heard; alone, and while both speak.
    spoken: [usize; 2],
    missed: [usize; 2],
}

/// Follows a voice piece by piece. While both speak it may not be found, and is then where it was before.
fn follow(title: &str, side: Side, from: &Recording, to: &Recording, turns: &[Turn]) -> Way {
    let (mut way, mut delay_us, mut told) = (Way::default(), 0, 0);
    let part_us = PART as i64 * S / i64::from(RATE_HZ);
    for turn in turns.iter().filter(|turn| turn.who.speaks(side)) {
        for piece in 0..(turn.to_us - turn.from_us) / PIECE_US {
            let at_us = turn.from_us + piece * PIECE_US;
            let (said_us, end_us) = (at_us - part_us, at_us + PIECE_US + part_us);
            let said = from.said.between(said_us, end_us);
            let said_db = levels_db(&said);
            let loud = spoken(&said_db, SPOKEN_DB).iter().filter(|&&loud| loud).count();
            if loud < ENOUGH {
                continue;
            }
            let heard = to.played.between(said_us, end_us + LONGEST_WAY_US);
            let found = align(&telephone(&said), &telephone(&heard));
            let sure = found.filter(|found| found.likeness >= SURE);
            if let Some(found) = sure {
                delay_us = found.lag as i64 * S / i64::from(RATE_HZ);
            }
            if turn.early {
                continue;
            }
            if turn.who.alone(side) {
                way.delays_us.extend(sure.map(|_| delay_us));
                way.likenesses.push(found.map_or(0.0, |found| found.likeness));
            }
            // A voice that is being stretched is a little beside its place.
            let beside = [-BESIDE_US, 0, BESIDE_US].map(|beside_us| {
                let shift_us = delay_us + beside_us;
                levels_db(&to.played.between(said_us + shift_us, end_us + shift_us))
            });
            let heard_db: Vec<f32> = (0..said_db.len())
                .map(|part| {
                    beside.iter().filter_map(|levels| levels.get(part)).copied().fold(f32::MIN, f32::max)
                })
                .collect();
            let gaps = gaps(&said_db, &heard_db, SPOKEN_DB, GAP_DB);
            let both = usize::from(turn.who == Who::Both);
            way.spoken[both] += loud;
            way.missed[both] += gaps.len();
            for gap in gaps.into_iter().take(TOLD.saturating_sub(told)) {
                told += 1;
                let at_s = (said_us + gap as i64 * part_us - turns[0].from_us) as f64 / 1e6;
                let (said, heard) = (said_db[gap], heard_db[gap]);
                println!(
                    "{title}: {:?}: at {at_s:.2} s {said:.0} dB are said, {heard:.0} dB heard",
                    turn.who
                );
            }
        }
    }
    way.delays_us.sort_unstable();
    way.likenesses.sort_unstable_by(f32::total_cmp);
    way
}

/// What of a voice arrives at the other side, and when: the median way from mouth to ear, in µs.
fn way(
    report: &mut Report,
    title: &str,
    side: Side,
    from: &Recording,
    to: &Recording,
    turns: &[Turn],
) -> i64 {
    let Way { delays_us, likenesses, spoken, missed } = follow(title, side, from, to, turns);
    let delay_us = delays_us.get(delays_us.len() / 2).copied().unwrap_or(0);
    let spread_us = delays_us.last().zip(delays_us.first()).map_or(0, |(last, first)| last - first);
    let median = likenesses.get(likenesses.len() / 2).copied().unwrap_or(0.0);
    let found = format!(
        "likeness {median:.2}, {:.2} at least, {} pieces; mouth to ear {:.1} ms, varies by {:.1}",
        likenesses.first().copied().unwrap_or(0.0),
        likenesses.len(),
        delay_us as f64 / 1e3,
        spread_us as f64 / 1e3
    );
    report.check(format!("{title}: it is the voice that is heard"), median >= ALIKE, found);
    let found = |n: usize| format!("{} of {} parts", missed[n], spoken[n]);
    report.check(format!("{title}: no gap while one speaks"), missed[0] == 0 && spoken[0] > 0, found(0));
    let held = spoken[1] > 0 && missed[1] * 100 <= spoken[1] * BOTH_GAPS_PERCENT;
    report.check(format!("{title}: hardly a gap while both speak"), held, found(1));
    let key = title.to_lowercase().replace(' ', "_");
    report.figure(&format!("{key}_mouth_to_ear_us"), delay_us);
    report.figure(&format!("{key}_varies_us"), spread_us);
    report.figure(&format!("{key}_likeness"), median);
    report.figure(&format!("{key}_gaps_alone"), missed[0]);
    report.figure(&format!("{key}_gaps_both"), missed[1]);
    report.figure(&format!("{key}_spoken_both"), spoken[1]);
    delay_us
}

/// While one speaks alone, what comes back to one's own loudspeaker is no louder than the other end's noise.
fn echo(report: &mut Report, side: Side, own: &Recording, turns: &[Turn], ways_us: i64) {
    let noise_db = LEVEL_DB - OVER_NOISE_DB;
    let mut parts: Vec<f32> = Vec::new();
    for turn in turns.iter().filter(|turn| !turn.early && turn.who.alone(side)) {
        // Of what the other said just before, the last is still under way.
        let (from_us, to_us) = (turn.from_us + CHANGE_US, turn.to_us + ways_us / 2);
        parts.extend(own.played.between(from_us, to_us.min(turn.to_us)));
    }
    let level_db = db(&parts);
    let loudest = levels_db(&parts).into_iter().fold(f32::MIN, f32::max);
    let name = side.name().to_uppercase();
    report.check(
        format!("{name} does not hear oneself: an echo below the noise"),
        // Noise and as much echo are twice as much.
        level_db <= noise_db + 3.0,
        format!("{level_db:.1} dB, noise {noise_db:.1}, loudest 20 ms {loudest:.1}"),
    );
    report.figure(&format!("echo_to_{}_db", side.name()), level_db);
}

/// What the booths count.
fn counters(report: &mut Report, name: &str, statuses: &[Status]) {
    let (Some(first), Some(last)) = (statuses.first(), statuses.last()) else { return };
    let grew = |path: &str| last.number(path) - first.number(path);
    let bad = [
        ("concealed", grew("/peers/0/voice/concealed")),
        ("late", grew("/peers/0/voice/late")),
        ("dropped", grew("/peers/0/voice/dropped")),
        ("malformed", grew("/peers/0/voice/malformed")),
        ("microphone overruns", grew("/sound/capture_xruns")),
        ("loudspeaker underruns", grew("/sound/playback_xruns")),
        ("restarts", grew("/sound/restarts")),
        ("samples of the reference late", grew("/sound/reference_late")),
        ("jumps of the reference", grew("/sound/reference_jumps")),
    ];
    let found = bad.map(|(what, count)| format!("{count} {what}")).join(", ");
    report.check(format!("{name}: nothing lost"), bad.iter().all(|&(_, count)| count == 0), found);
    let settled = statuses.get(10).unwrap_or(first);
    let (then_us, now_us) = (voice(settled, "buffer_us"), voice(last, "buffer_us"));
    let held = then_us >= 0 && now_us >= 0 && now_us <= then_us + GROWTH_US;
    let found =
        format!("{:.1} ms after 10 s, {:.1} ms at the end", then_us as f64 / 1e3, now_us as f64 / 1e3);
    report.check(format!("{name}: the buffer does not grow"), held, found);
    let figures = ["jumps", "buffer_us", "mouth_to_ear_us", "lip_offset_us"];
    for figure in figures {
        report.figure(&format!("{}_{figure}", name.to_lowercase()), voice(last, figure));
    }
    let own = ["erle_db", "echo_delay_us", "captured", "coded", "limited"];
    for figure in own {
        report.figure(&format!("{}_{figure}", name.to_lowercase()), last.number(&format!("/sound/{figure}")));
    }
    let drift = last.json().pointer("/peers/0/voice/drift_ppm").and_then(serde_json::Value::as_f64);
    report.figure(&format!("{}_drift_ppm", name.to_lowercase()), drift);
}

/// What A said, what B's loudspeaker played, what B said, what A's played.
fn picture(context: &Context, [a, b]: &[Recording; 2], turns: &[Turn]) -> Result<(), Error> {
    let (Some(first), Some(last)) = (turns.first(), turns.last()) else { return Ok(()) };
    let tracks = [&a.said, &b.played, &b.said, &a.played];
    let tracks = tracks.map(|track| track.between(first.from_us, last.to_us + S));
    let tracks: Vec<&[f32]> = tracks.iter().map(Vec::as_slice).collect();
    draw(&context.dir().join("talk.png"), &tracks).map_err(failed("talk.png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_both_speak() {
        let turns = turns(0, 2);
        let length =
            |pick: fn(&&Turn) -> bool| turns.iter().filter(pick).map(|t| t.to_us - t.from_us).sum::<i64>();
        assert_eq!(length(|turn| !turn.early), 2 * ROUND_US);
        assert_eq!(length(|turn| turn.who == Who::Both), ROUND_US);
    }
}
