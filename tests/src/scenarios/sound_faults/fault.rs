//! What can happen to sound.

use std::time::Duration;

use super::cards::{Cards, SIDES};
use crate::booth::{Pair, Status};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::loopback;
use crate::scenario::{Error, failed};

/// How long a card is away, in ms.
const AWAY_MS: std::ops::Range<i64> = 50..2_500;
/// How long a thread is kept from running, in ms: from what its card's buffer outlasts to what is a new
/// beginning for the other booth.
const LATE_MS: std::ops::Range<i64> = 10..500;
/// Clock errors, in ppm.
const PPM: std::ops::RangeInclusive<i32> = -300..=300;
/// What the control of a cable's rate says for 48 kHz; less is faster.
const NO_SHIFT: f64 = 100_000.0;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A booth's card is pulled and plugged in again.
    Unplugged { side: Side, away_ms: i64 },
    /// Both are, and each gets the number of the other.
    Renumbered { away_ms: i64 },
    /// The thread that serves a microphone comes late.
    LateMicrophone { side: Side, ms: i64 },
    /// The same of a loudspeaker.
    LateLoudspeaker { side: Side, ms: i64 },
    /// A cable runs at another rate from one moment to the next.
    Rate { side: Side, cable: u32, ppm: i32 },
}

/// When a fault was over, and what was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    /// From here on there can be sound, in µs of CLOCK_MONOTONIC.
    pub(super) at_us: i64,
    /// Until the booth let go of a card that was pulled, in µs.
    pub(super) released_us: Option<i64>,
}

/// A fault, and the times between which it and the sound after it lie, in µs of CLOCK_MONOTONIC.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) fault: Fault,
    pub(super) at_us: i64,
    pub(super) over: Over,
    pub(super) until_us: i64,
    /// What the machine under the rig took away meanwhile.
    pub(super) stolen_us: i64,
    /// What both booths said before and after.
    pub(super) statuses: [[Status; 2]; 2],
}

impl Fault {
    /// One by chance.
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        let side = SIDES[random.usize(..2)];
        match random.u8(..10) {
            ..4 => Self::Unplugged { side, away_ms: random.i64(AWAY_MS) },
            4 => Self::Renumbered { away_ms: random.i64(AWAY_MS) },
            5..7 => Self::LateMicrophone { side, ms: random.i64(LATE_MS) },
            7..9 => Self::LateLoudspeaker { side, ms: random.i64(LATE_MS) },
            _ => Self::Rate { side, cable: random.u32(..2), ppm: random.i32(PPM) },
        }
    }

    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unplugged { .. } => "unplugged",
            Self::Renumbered { .. } => "renumbered",
            Self::LateMicrophone { .. } => "late_microphone",
            Self::LateLoudspeaker { .. } => "late_loudspeaker",
            Self::Rate { .. } => "rate",
        }
    }

    /// Lets it happen.
    pub(super) fn happen(self, cards: &mut Cards, pair: &Pair) -> Result<Over, Error> {
        let booth = |side| if side == Side::A { &pair.a } else { &pair.b };
        let hold = |side, thread: &str, ms: i64| {
            let length = Duration::from_millis(ms.unsigned_abs());
            booth(side).hold_thread(thread, length).map_err(failed(format!("holding {thread}")))
        };
        let mut released_us = None;
        let at_us = match self {
            Self::Unplugged { side, away_ms } => {
                let at_us = now_us();
                released_us = Some(cards.unplug(&[side])? - at_us);
                sleep_until_us(at_us + away_ms * 1_000);
                cards.plug(&[side])?
            }
            Self::Renumbered { away_ms } => {
                let at_us = now_us();
                let numbers = || ["bootha", "boothb"].map(loopback::number);
                let before = numbers();
                let order = if before[0] < before[1] { [Side::B, Side::A] } else { SIDES };
                released_us = Some(cards.unplug(&SIDES)? - at_us);
                sleep_until_us(at_us + away_ms * 1_000);
                let at_us = cards.plug(&order)?;
                let [a, b] = before;
                cards.not_swapped += u32::from(numbers() != [b, a]);
                at_us
            }
            Self::LateMicrophone { side, ms } => {
                hold(side, "microphone", ms)?;
                now_us()
            }
            Self::LateLoudspeaker { side, ms } => {
                hold(side, "loudspeaker", ms)?;
                now_us()
            }
            Self::Rate { side, cable, ppm } => {
                let shift = (NO_SHIFT / (1.0 + f64::from(ppm) / 1e6)).round() as i32;
                let card = format!("booth{}", side.name());
                loopback::shift_rate(&card, cable, shift).map_err(failed("PCM Rate Shift"))?;
                now_us()
            }
        };
        Ok(Over { at_us, released_us })
    }
}
