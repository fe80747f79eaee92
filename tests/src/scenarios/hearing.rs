//! What scenarios about sound have in common: two booths that hear and speak, a room around each.

use crate::booth::{Pair, Plan, Sound, Status};
use crate::child::Side;
use crate::report::Report;
use crate::room::{self, Acoustics, Recording, Room};
use crate::scenario::{Error, failed};
use crate::steal;

/// Until both hear each other, in ms.
const FIRST_VOICE_MS: i64 = 15_000;
/// So many frames of a voice are a beginning: a second.
const FLOWS: i64 = 100;
/// A room, and a booth's sound, ride out less than this, in ms.
const STOLEN_MS: i64 = 8;
const TRIES: u32 = 3;

/// Clock errors of loudspeaker and microphone at either side, in ppm: all four different.
pub(super) const PPM: [(i32, i32); 2] = [(100, -100), (-60, 50)];

/// Both rooms; both say nothing yet.
pub(super) struct Rooms {
    /// Around booth A.
    pub(super) a: Room,
    /// Around booth B.
    pub(super) b: Room,
}

impl Rooms {
    /// Starts both; `change` is given each plan.
    pub(super) fn start(
        ppm: [(i32, i32); 2],
        acoustics: [Acoustics; 2],
        seconds: u32,
        change: impl Fn(&mut room::Plan),
    ) -> Result<Self, Error> {
        let start = |side: Side, index: usize| {
            let mut plan = room::Plan::of(side, ppm[index], acoustics[index], seconds);
            change(&mut plan);
            Room::start(plan)
        };
        Ok(Self { a: start(Side::A, 0)?, b: start(Side::B, 1)? })
    }

    /// Ends both.
    pub(super) fn stop(self) -> Result<[Recording; 2], Error> {
        Ok([self.a.stop()?, self.b.stop()?])
    }
}

/// Starts both booths with sound, and waits until each plays the other's voice, if that has a microphone.
pub(super) fn start(pair: &mut Pair, plans: [Plan; 2], sound: impl Fn(Side) -> Sound) -> Result<(), Error> {
    let (a, b) = (sound(Side::A), sound(Side::B));
    let speak = [&b, &a].map(|sound| sound.microphone != Sound::none().microphone);
    pair.a.use_sound(a);
    pair.b.use_sound(b);
    pair.start(plans[0], plans[1])?;
    for (booth, other_speaks) in [&mut pair.a, &mut pair.b].into_iter().zip(speak) {
        if other_speaks {
            booth.wait("playing a voice", FIRST_VOICE_MS, |status| voice(status, "played") >= FLOWS)?;
        }
    }
    Ok(())
}

/// A number of the one peer's voice.
pub(super) fn voice(status: &Status, name: &str) -> i64 {
    status.number(&format!("/peers/0/voice/{name}"))
}

/// Does it, and again when it failed while the machine under the rig took away more time than sound can do
/// without ([`steal`]); a few times at most.
pub(super) fn undisturbed(mut attempt: impl FnMut() -> Result<Report, Error>) -> Result<Report, Error> {
    for repeats in 0.. {
        let mut outcome = None;
        let stolen_us =
            steal::longest_us(|| outcome = Some(attempt())).map_err(failed("looking for stolen time"))?;
        let Some(mut report) = outcome.transpose()? else { break };
        if report.passed() || stolen_us / 1000 < STOLEN_MS || repeats + 1 == TRIES {
            report.figure("stolen_ms", stolen_us / 1000);
            report.figure("repeats", repeats);
            return Ok(report);
        }
        eprintln!("{}the machine took {} ms away; once more", report.to_table(), stolen_us / 1000);
    }
    Ok(Report::default())
}

/// That neither room lost anything.
pub(super) fn check_rooms(report: &mut Report, recordings: &[Recording; 2]) {
    let [a, b] = recordings;
    let found =
        format!("{} and {} times late, {} and {} samples", a.held_up, b.held_up, a.missing, b.missing);
    report.check("the rooms kept up", a.kept_up() && b.kept_up(), found);
}
