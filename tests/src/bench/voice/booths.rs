//! Two booths with sound, a room around each.

use crate::booth::{Pair, Plan, Sound, Status};
use crate::child::Side;
use crate::room::{self, Acoustics, Room};
use crate::scenario::{Context, Error};

/// From the first voice until anything is measured, in µs.
pub(super) const SETTLE_US: i64 = 5_000_000;
const FIRST_VOICE_MS: i64 = 15_000;

/// Both rooms, without an echo, for so many seconds; with noise at the microphones, or without.
pub(super) fn rooms(seconds: u32, noise: bool) -> Result<[Room; 2], Error> {
    let start = |side| {
        let plan = room::Plan::of(side, (0, 0), Acoustics::deaf(), seconds);
        Room::start(room::Plan { noise_db: plan.noise_db.filter(|_| noise), ..plan })
    };
    Ok([start(Side::A)?, start(Side::B)?])
}

/// Two booths with sound and without video, that hear each other.
pub(super) fn booths(context: &Context) -> Result<Pair, Error> {
    let mut pair = Pair::new(context.dir())?;
    pair.a.use_sound(Sound::of(Side::A));
    pair.b.use_sound(Sound::of(Side::B));
    let plan = Plan { camera: false, screen: false, ..Plan::both_ways((640, 480)) };
    pair.start(plan, plan)?;
    for booth in [&mut pair.a, &mut pair.b] {
        booth.wait("playing a voice", FIRST_VOICE_MS, |status| voice(status, "played") > 100)?;
    }
    Ok(pair)
}

pub(super) fn voice(status: &Status, name: &str) -> i64 {
    status.number(&format!("/peers/0/voice/{name}"))
}
