//! What was heard while things happened, and seen.

use std::collections::BTreeMap;

use super::cards::{SIDES, TONES_HZ, index};
use super::fault::Happened;
use crate::booth::Status;
use crate::hearing::{PART, levels_db, loudest_click_db};
use crate::report::Report;
use crate::room::{RATE_HZ, Recording};

/// Sound is back within this time, in ms.
const BACK_MS: i64 = 1_000;
/// A card that was pulled is let go of within this time, in ms.
const RELEASE_MS: i64 = 500;
/// The loudest click, in dB of full scale.
const CLICK_DB: f32 = -30.0;
/// When a loudspeaker runs dry, what it played is cut off, and until the kernel sees that, the card plays what stood
/// in its ring before: from one peak of the tone to the other at most, 2 × [`PEAK`](super::cards::PEAK).
const CUT_DB: f32 = -20.0;
/// So long after sound can be back, nothing is cut off any more, in µs: what stood in the ring is over, and what begins
/// fades in.
const CUT_UNTIL_US: i64 = 30_000;
/// The tone is −29 dB (RMS), less what codec and canceller take of it.
const HEARD_DB: f32 = -35.0;
/// Parts of 20 ms in a row that are sound.
const SOUND: usize = 3;
/// Before a fault nobody knows of it: so much is judged with it, in µs.
const BEFORE_US: i64 = 20_000;
/// A fault during which the machine under the rig took away more time than this says nothing, in µs.
const STOLEN_US: i64 = 8_000;
/// Of all faults at least so many must say something, in per cent.
const JUDGED_PERCENT: usize = 60;
/// What must not happen to a frame, by the counters of who receives it.
const LOSSES: [&str; 3] = ["lost_frames", "decode_errors", "decode_skipped"];
/// So few pictures a second that the rig's one core has time left: one that is missing is missing because of sound.
pub(super) const FPS: u32 = 15;
/// The camera gives a picture so often; fewer than nine of ten are a picture that stood.
const FRAME_US: i64 = 1_000_000 / FPS as i64;

/// What is known of all faults of a kind.
#[derive(Debug, Default)]
struct Kind {
    faults: usize,
    judged: usize,
    /// Until sound was back, at the worse side, in ms, sorted at the end; `i64::MAX` for never.
    back_ms: Vec<i64>,
    released_ms: i64,
    interruptions: usize,
    click_db: Option<f32>,
    cut_db: Option<f32>,
    losses: i64,
    stood: usize,
}

/// All that was seen and heard.
#[derive(Debug, Default)]
pub(super) struct Judge {
    kinds: BTreeMap<&'static str, Kind>,
}

/// What was heard at a side after a fault.
struct Heard {
    /// `i64::MAX` for never.
    back_ms: i64,
    /// Parts of 20 ms without sound after that.
    interruptions: usize,
    /// Until nothing is cut off any more, and after that.
    click_db: [f32; 2],
}

impl Judge {
    /// Takes in what happened, and what was recorded in both rooms meanwhile.
    pub(super) fn round(&mut self, happened: &[Happened], recordings: &[Vec<Recording>; 2]) {
        for one in happened {
            let kept_up = recordings.iter().flatten().all(|recording| recording.held_up == 0);
            let heard = SIDES.map(|side| hear(one, &recordings[index(side)], TONES_HZ[index(side) ^ 1]));
            let (losses, stood) = pictures(one);
            let dry = SIDES.map(|side| ran_dry(one, index(side)));
            let judged = kept_up && one.stolen_us <= STOLEN_US;
            println!(
                "{:?}: back after {} and {} ms, {} and {} parts missing, clicks {:.0} and {:.0} dB, ran dry {} and {} \
                 times, {losses} frames lost, {} ms stolen{}{}",
                one.fault,
                shown(heard[0].back_ms),
                shown(heard[1].back_ms),
                heard[0].interruptions,
                heard[1].interruptions,
                heard[0].click_db[0].max(heard[0].click_db[1]),
                heard[1].click_db[0].max(heard[1].click_db[1]),
                dry[0],
                dry[1],
                one.stolen_us / 1_000,
                if stood { ", pictures stood" } else { "" },
                if judged { "" } else { ", not judged" },
            );
            let kind = self.kinds.entry(one.fault.name()).or_default();
            kind.faults += 1;
            if !judged {
                continue;
            }
            kind.judged += 1;
            kind.back_ms.push(heard[0].back_ms.max(heard[1].back_ms));
            kind.released_ms = kind.released_ms.max(one.over.released_us.unwrap_or(0) / 1_000);
            kind.interruptions += heard[0].interruptions + heard[1].interruptions;
            kind.losses += losses;
            kind.stood += usize::from(stood);
            for side in SIDES {
                let n = index(side);
                let louder = |most: &mut Option<f32>, click_db: f32| {
                    *most = Some(most.map_or(click_db, |most| most.max(click_db)));
                };
                let [while_cut, after] = heard[n].click_db;
                louder(if dry[n] > 0 { &mut kind.cut_db } else { &mut kind.click_db }, while_cut);
                louder(&mut kind.click_db, after);
            }
        }
    }

    /// Says how it was; of a quick run, a kind may have nothing to say.
    pub(super) fn report(mut self, report: &mut Report, quick: bool) {
        let (mut faults, mut judged) = (0, 0);
        for (name, kind) in &mut self.kinds {
            (faults, judged) = (faults + kind.faults, judged + kind.judged);
            if kind.judged == 0 {
                report.check(format!("{name}: some of it undisturbed"), quick, "none");
                continue;
            }
            kind.back_ms.sort_unstable();
            let worst_ms = kind.back_ms.last().copied().unwrap_or(0);
            let median_ms = kind.back_ms.get(kind.back_ms.len() / 2).copied().unwrap_or(0);
            let found = format!("{} ms at worst, half within {median_ms} ms", shown(worst_ms));
            report.check(format!("{name}: sound back within {BACK_MS} ms"), worst_ms <= BACK_MS, found);
            let gone = kind.interruptions;
            report.check(
                format!("{name}: and it stays"),
                gone == 0,
                format!("{gone} parts of 20 ms missing"),
            );
            for (what, most_db, limit_db) in
                [("no click", kind.click_db, CLICK_DB), ("no more than cut off", kind.cut_db, CUT_DB)]
            {
                if let Some(most_db) = most_db {
                    let what = format!("{name}: {what} over {limit_db} dB");
                    report.check(what, most_db <= limit_db, format!("{most_db:.1} dB"));
                    report.figure(
                        &format!("{name}_{}_db", if limit_db == CUT_DB { "cut" } else { "click" }),
                        most_db,
                    );
                }
            }
            let released_ms = kind.released_ms;
            if released_ms > 0 {
                let what = format!("{name}: let go of within {RELEASE_MS} ms");
                report.check(what, released_ms <= RELEASE_MS, format!("{released_ms} ms"));
            }
            let found = format!("{} frames lost, stood {} times", kind.losses, kind.stood);
            report.check(format!("{name}: pictures go on"), kind.losses == 0 && kind.stood == 0, found);
            report.figure(&format!("{name}_faults"), kind.faults);
            report.figure(&format!("{name}_back_worst_ms"), worst_ms);
            report.figure(&format!("{name}_back_median_ms"), median_ms);
        }
        let found = format!("{judged} of {faults}");
        report.check("enough of it undisturbed", judged * 100 >= faults * JUDGED_PERCENT, found);
    }
}

fn shown(ms: i64) -> String {
    if ms == i64::MAX { "never".to_owned() } else { ms.to_string() }
}

/// What was heard in a room, with the other's tone.
fn hear(one: &Happened, recordings: &[Recording], tone_hz: f32) -> Heard {
    let (from_us, until_us) = (one.at_us - BEFORE_US, one.until_us);
    let loudest = |from_us, until_us| {
        let clicks = recordings.iter().map(|r| loudest_click_db(r.played.raw(from_us, until_us), tone_hz));
        clicks.fold(f32::MIN, f32::max)
    };
    let cut_until_us = (one.over.at_us + CUT_UNTIL_US).min(until_us);
    let click_db = [loudest(from_us, cut_until_us), loudest(cut_until_us, until_us)];
    let after = recordings.iter().rfind(|r| r.played.span_us().0 < until_us);
    let levels = after.map_or_else(Vec::new, |r| levels_db(&r.played.between(one.over.at_us, until_us)));
    let loud: Vec<bool> = levels.iter().map(|&level| level > HEARD_DB).collect();
    let back = loud.windows(SOUND).position(|parts| parts.iter().all(|&loud| loud));
    let interruptions = back.map_or(0, |back| loud[back..].iter().filter(|&&loud| !loud).count());
    let part_ms = (PART * 1_000) as i64 / i64::from(RATE_HZ);
    Heard { back_ms: back.map_or(i64::MAX, |back| back as i64 * part_ms), interruptions, click_db }
}

/// How often the loudspeaker at a side ran dry.
fn ran_dry(one: &Happened, n: usize) -> i64 {
    let count = |status: &[Status; 2]| status[n].number("/sound/playback_xruns");
    count(&one.statuses[1]) - count(&one.statuses[0])
}

/// Frames that either booth lost, and whether either's pictures stood.
fn pictures(one: &Happened) -> (i64, bool) {
    let [before, after] = &one.statuses;
    let grew = |n: usize, path: &str| after[n].number(path) - before[n].number(path);
    let counted = |n: usize, name: &str| grew(n, &format!("/peers/0/{name}"));
    let losses = (0..2).flat_map(|n| LOSSES.map(|name| counted(n, name))).map(i64::abs).sum();
    let due = (one.until_us - one.at_us) / FRAME_US * 9 / 10;
    let shown = |n: usize| after[n].pictures_shown() - before[n].pictures_shown();
    (losses, (0..2).any(|n| shown(n) < due))
}
