//! A notice is shown over the picture for its time, and then the picture is back.

use std::fs;

use holobooth::health::Notice;

use super::meeting::SMALL;
use crate::booth::{Pair, Plan, Status};
use crate::child::Side;
use crate::clock::wait_until;
use crate::report::Report;
use crate::scanout::{Picture, Screen};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};
use crate::vivid::{Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "notice",
    summary: "a notice takes the place of the live picture for its time, in the colour of its kind; then the picture is back",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 90,
    run,
};

/// From the leaving of a notice to its being on the screen, and from its end to the picture.
const SOON_MS: i64 = 500;
const SHOWN_S: u32 = 3;
/// A white picture is lighter than this on average, and a card darker.
const LIT: f64 = 128.0;
const CARD: f64 = 40.0;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    for side in [Side::A, Side::B] {
        Vivid::open(side.camera())?.look_at(Scene::still(Pattern::White))?;
    }
    let mut pair = Pair::new(context.dir())?;
    let plan = Plan::both_ways(SMALL);
    pair.start(plan, plan)?;
    let screen = Screen::open(Side::B.screen())?;
    let before = wait_until(5_000, 20, || looks(&screen, |picture| picture.brightness() > LIT));
    report.check("a picture is shown", before.is_some(), "");
    let folder = pair.b.notices();
    let refused = |source| Error::System { what: folder.display().to_string(), source };
    fs::create_dir_all(&folder).map_err(refused)?;

    for (trouble, word) in [(false, "notice"), (true, "trouble")] {
        let lines = (1..=10).map(|line| format!("Line {line} of what there is to know")).collect();
        let notice = Notice { title: format!("A {word}"), lines, trouble, shown_s: SHOWN_S };
        notice.leave(&folder).map_err(refused)?;
        let took_ms = wait_until(3_000, 20, || looks(&screen, |picture| card(picture) == Some(trouble)));
        report.check_in_time(format!("{word}: on the screen within {SOON_MS} ms"), took_ms, SOON_MS);
        report.figure(&format!("{word}_shown_ms"), took_ms);
        let status = pair.b.status();
        let told = status.word("/screen/card") == word && status.word("/notice/title") == notice.title;
        report.check(format!("{word}: status tells of it"), told, status.word("/screen/card"));
        // It stays although pictures come.
        let shown = status.number("/video/shown");
        let gone = wait_until(i64::from(SHOWN_S) * 1000 - 1_000, 20, || {
            looks(&screen, |picture| card(picture) != Some(trouble))
        });
        report.check(format!("{word}: stays"), gone.is_none(), "");
        let status = pair.b.status();
        let coming = status.number("/total/received_frames") > 0 && status.number("/video/shown") == shown;
        report.check(format!("{word}: no picture is shown meanwhile"), coming, "");
        let within_ms = 1_000 + SOON_MS;
        let back_ms = wait_until(5_000, 20, || looks(&screen, |picture| picture.brightness() > LIT));
        report.check_in_time(format!("{word}: then the picture is back"), back_ms, within_ms);
        pair.b.wait("showing a picture", 2_000, Status::shows_picture)?;
    }
    let printed = pair.b.command(&["status"])?.1;
    report.check("the status command tells of the last", printed.contains("notice   A trouble | Line 1"), "");
    report.check("no process ended", pair.ended().is_none(), "");
    Ok(report)
}

fn looks(screen: &Screen, like: impl Fn(&Picture) -> bool) -> bool {
    screen.picture().ok().flatten().is_some_and(|picture| like(&picture))
}

/// Whether a notice is of trouble, by its colour; `None` when what is shown is none.
fn card(picture: &Picture) -> Option<bool> {
    let (width, height) = picture.size();
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| picture.at(x, y)));
    let (mut red, mut green) = (0u64, 0u64);
    for [r, g, _] in pixels {
        red += u64::from(r.saturating_sub(g));
        green += u64::from(g.saturating_sub(r));
    }
    let lit = picture.brightness() > 0.2 && picture.brightness() < CARD;
    (lit && red.abs_diff(green) > 10_000).then_some(red > green)
}
