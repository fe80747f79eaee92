//! Whatever is pulled and put back, the picture comes back by itself, and nobody stands frozen meanwhile.

use super::meeting::SMALL;
use crate::booth::{Pair, Plan};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::hotplug;
use crate::report::Report;
use crate::scanout::{Picture, Screen};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::vivid::{Fault, Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "unplug",
    summary: "camera, screen and peer go and come back: picture within 2 s, a card meanwhile, no process ends",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 180,
    run,
};

const BACK_MS: i64 = 2_000;
/// Half a second to black, and a tenth for looking.
const GONE_MS: i64 = 600;
const AWAY_US: i64 = 3_000_000;
const SAID_MS: i64 = 10_000;
/// A white picture is lighter than this on average.
const LIT: f64 = 128.0;
/// A card is darker than this on average, and so is a picture that has faded away.
const DARK: f64 = 12.0;
/// Less than this on average is no card either.
const NOTHING: f64 = 0.2;

fn run(context: &Context) -> Result<Report, Error> {
    let mut pair = Pair::new(context.dir())?;
    for side in [Side::A, Side::B] {
        Vivid::open(side.camera())?.look_at(Scene::still(Pattern::White))?;
    }
    let plan = Plan::both_ways(SMALL);
    pair.start(plan, plan)?;
    let mut watch = Watch {
        report: Report::default(),
        a: Screen::open(Side::A.screen())?,
        b: Screen::open(Side::B.screen())?,
    };
    watch.back("at the start", 5_000);

    let unplugged = Vivid::open(Side::A.camera())?.unplug()?;
    watch.gone("camera unplugged");
    watch.no_exit("camera unplugged", &mut pair);
    unplugged.plug();
    watch.back("camera plugged in", BACK_MS);

    for (what, fault) in [
        ("damaged buffer", Fault::DamagedBuffer),
        ("streaming error", Fault::StreamingError),
        ("again a streaming error", Fault::StreamingError),
    ] {
        let camera = Vivid::open(Side::A.camera())?;
        if fault == Fault::StreamingError {
            // So that its first attempt to start again fails as well.
            camera.inject(Fault::StartError)?;
        }
        camera.show(Pattern::Black)?;
        let dark = wait_until(BACK_MS, 20, || !watch.lit_b());
        watch.report.check(format!("{what}: follows before"), dark.is_some(), "");
        camera.inject(fault)?;
        camera.show(Pattern::White)?;
        drop(camera);
        watch.back(what, BACK_MS);
        watch.no_exit(what, &mut pair);
    }

    plug_screen(Side::B, false)?;
    let away_until_us = now_us() + AWAY_US;
    let said = wait_until(SAID_MS, 50, || pair.b.status().word("/screen/state") == "searching");
    watch.report.check_came("screen unplugged: the booth says so", said);
    sleep_until_us(away_until_us);
    watch.no_exit("screen unplugged", &mut pair);
    plug_screen(Side::B, true)?;
    watch.back("screen plugged in", BACK_MS);

    pair.a.kill();
    watch.gone("peer killed");
    pair.a.restart()?;
    watch.back("peer restarted", BACK_MS);
    let both = wait_until(BACK_MS, 20, || lit(&mut watch.a));
    watch.report.check("peer restarted: its own screen too", both.is_some(), "");

    pair.b.kill();
    sleep_until_us(now_us() + AWAY_US);
    pair.b.restart()?;
    watch.back("own booth restarted", BACK_MS);
    watch.no_exit("at the end", &mut pair);
    Ok(watch.report)
}

fn plug_screen(side: Side, connected: bool) -> Result<(), Error> {
    let what = || format!("{} connected: {connected}", side.screen());
    hotplug::connect(side, connected).map_err(failed(what()))
}

/// Whether the whole screen is light; a quick look at its middle first.
fn lit(screen: &mut Screen) -> bool {
    let middle = screen.luma().ok().flatten().is_some_and(|luma| f64::from(luma) > LIT);
    middle && screen.picture().ok().flatten().is_some_and(|picture| picture.brightness() > LIT)
}

struct Watch {
    report: Report,
    a: Screen,
    b: Screen,
}

impl Watch {
    fn lit_b(&mut self) -> bool {
        lit(&mut self.b)
    }

    /// Mean brightness of screen B.
    fn brightness_b(&self) -> Option<f64> {
        self.b.picture().ok().flatten().as_ref().map(Picture::brightness)
    }

    /// The white picture of camera A is back on screen B in time.
    fn back(&mut self, after: &str, within_ms: i64) {
        // Looked for longer than allowed, so that a late recovery shows as late and not as none.
        let took_ms = wait_until(3 * within_ms, 20, || self.lit_b());
        let found = took_ms.map_or("not back".to_owned(), |ms| format!("{ms} ms"));
        let in_time = took_ms.is_some_and(|ms| ms <= within_ms);
        self.report.check(format!("{after}: picture within {within_ms} ms"), in_time, found);
        self.report.figure(&format!("{}_back_ms", after.replace(' ', "_")), took_ms);
    }

    /// The picture leaves screen B in time, and a card comes and stays.
    fn gone(&mut self, after: &str) {
        let start_us = now_us();
        let took_ms = wait_until(3_000, 25, || self.brightness_b().is_some_and(|mean| mean < DARK));
        let found = took_ms.map_or("frozen".to_owned(), |ms| format!("{ms} ms"));
        let in_time = took_ms.is_some_and(|ms| ms <= GONE_MS);
        self.report.check(format!("{after}: last picture gone within {GONE_MS} ms"), in_time, found);
        self.report.figure(&format!("{}_gone_ms", after.replace(' ', "_")), took_ms);
        sleep_until_us(start_us + AWAY_US);
        let brightness = self.brightness_b().unwrap_or(0.0);
        let is_card = (NOTHING..DARK).contains(&brightness);
        self.report.check(format!("{after}: a card is shown"), is_card, format!("mean {brightness:.1}"));
    }

    fn no_exit(&mut self, when: &str, pair: &mut Pair) {
        let ended = pair.ended();
        self.report.check(format!("{when}: no process ended"), ended.is_none(), ended.unwrap_or_default());
    }
}
