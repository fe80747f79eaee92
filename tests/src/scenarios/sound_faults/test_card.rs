//! A microphone that stands still, and then cannot be opened: the kernel's test card (snd-pcmtest) as booth B's.
//!
//! Its clock is the kernel's tick and some per cent off, which no card's is: what B hears of it is counted, and not
//! sent as a voice that comes in time.

use crate::booth::{Pair, Plan, Sound, Status};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::report::Report;
use crate::room::{self, Acoustics, Room};
use crate::scenario::{Context, Error, failed};

const MICROPHONE: &str = "hw:pcmtest,0";
/// Ticks of the kernel by which each move of the card is late: 10 s.
const STALL: &str = "3000";
/// For so long it stands still, which is longer than a booth waits for it, and for so long it cannot be opened after that, in ms.
const STILL_MS: std::ops::Range<i64> = 800..2_000;
const REFUSED_MS: std::ops::Range<i64> = 0..1_500;
/// How it refuses to be opened: as another program's, in its settings, its readiness, and its start.
const REFUSALS: [&str; 4] =
    ["inject_open_err", "inject_hwpars_err", "inject_prepare_err", "inject_trigger_err"];
/// The card moves by 200 ms at once, and only then anything can be heard: it is waited for longer than that is
/// demanded of others.
const BACK_MS: i64 = 1_000 + 200;
const TIMEOUT_MS: i64 = 5_000;
/// Until the first is heard, in ms.
const FIRST_MS: i64 = 15_000;
/// Frames of 10 ms that are sound, and until the next fault, in µs.
const FLOWS: i64 = 5;
const BETWEEN_US: i64 = 1_000_000;

/// Lets it fail so many times.
pub(super) fn run(
    report: &mut Report,
    context: &Context,
    plan: Plan,
    faults: usize,
    random: &mut fastrand::Rng,
) -> Result<(), Error> {
    let seconds = (faults * 10 + 60) as u32;
    let room = |side| Room::start(room::Plan::of(side, (0, 0), Acoustics::deaf(), seconds));
    let rooms = [room(Side::A)?, room(Side::B)?];
    let mut pair = Pair::new(&context.dir().join("test-card"))?;
    pair.a.use_sound(Sound::of(Side::A));
    pair.b.use_sound(Sound { microphone: MICROPHONE.to_owned(), ..Sound::of(Side::B) });
    pair.start(plan, plan)?;
    pair.b.wait("hearing its microphone", FIRST_MS, |status| captured(status) >= FLOWS)?;
    let before = [pair.a.status(), pair.b.status()];
    let (mut worst_ms, mut unnoticed) = (Some(0), 0);
    for _ in 0..faults {
        let refusal = REFUSALS[random.usize(..REFUSALS.len())];
        let (still_ms, refused_ms) = (random.i64(STILL_MS), random.i64(REFUSED_MS));
        let restarts = || pair.b.status().number("/sound/restarts");
        let restarts_before = restarts();
        inject("inject_delay", STALL)?;
        sleep_until_us(now_us() + still_ms * 1_000);
        inject(refusal, "1")?;
        inject("inject_delay", "0")?;
        sleep_until_us(now_us() + refused_ms * 1_000);
        inject(refusal, "0")?;
        let before = captured(&pair.b.status());
        let back_ms = wait_until(TIMEOUT_MS, 10, || captured(&pair.b.status()) >= before + FLOWS);
        println!("stands still for {still_ms} ms, {refusal} for {refused_ms} ms: back after {back_ms:?} ms");
        unnoticed += usize::from(restarts() <= restarts_before);
        worst_ms = worst_ms.zip(back_ms).map(|(worst, back)| worst.max(back));
        sleep_until_us(now_us() + BETWEEN_US);
    }
    let after = [pair.a.status(), pair.b.status()];
    let ended = pair.ended();
    report.check("test card: both booths run on", ended.is_none(), ended.unwrap_or_default());
    report.check_in_time(format!("test card: heard again within {BACK_MS} ms"), worst_ms, BACK_MS);
    let found = format!("{unnoticed} of {faults} were not noticed");
    report.check("test card: opened again after each", unnoticed == 0, found);
    let lost: i64 = (0..2)
        .flat_map(|n| {
            ["lost_frames", "decode_errors", "decode_skipped"].map(|name| (n, format!("/peers/0/{name}")))
        })
        .map(|(n, path)| (after[n].number(&path) - before[n].number(&path)).abs())
        .sum();
    report.check("test card: pictures go on", lost == 0, format!("{lost} frames lost"));
    report.figure("test_card_faults", faults);
    report.figure("test_card_back_worst_ms", worst_ms);
    pair.a.stop();
    pair.b.stop();
    for room in rooms {
        room.stop()?;
    }
    Ok(())
}

/// Frames that the microphone gave.
fn captured(status: &Status) -> i64 {
    status.number("/sound/captured")
}

fn inject(fault: &str, value: &str) -> Result<(), Error> {
    let path = format!("/sys/module/snd_pcmtest/parameters/{fault}");
    std::fs::write(&path, value).map_err(failed(path))
}
