//! Colours, geometry and the order of frames, from camera A to screen B.

use std::path::Path;

use super::meeting::SMALL;
use crate::booth::{Pair, Plan};
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us, wait_until};
use crate::report::Report;
use crate::scanout::{Picture, Screen};
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS};
use crate::vivid::{NEUTRAL_BRIGHTNESS, Pattern, Scene, Vivid};

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "colour-bars",
    summary: "colours within 6 of 255, geometry and frame order survive from camera A to screen B",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 120,
    run,
};

const TOLERANCE: u8 = 6;
const EDGE_PX: u32 = 4;
const BARS: [(&str, [u8; 3]); 8] = [
    ("white", [255, 255, 255]),
    ("yellow", [255, 255, 0]),
    ("cyan", [0, 255, 255]),
    ("green", [0, 255, 0]),
    ("magenta", [255, 0, 255]),
    ("red", [255, 0, 0]),
    ("blue", [0, 0, 255]),
    ("black", [0, 0, 0]),
];

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let cases = [
        (true, SMALL, "auto"),
        (false, SMALL, "auto"),
        (true, SMALL, "NV12"),
        (false, SMALL, "YUYV"),
        (true, (1280, 720), "auto"),
    ];
    for (rec709, size, format) in cases {
        let matrix = if rec709 { "Rec. 709" } else { "Rec. 601" };
        let title = format!("{matrix} {}x{} {format}", size.0, size.1);
        let camera = Vivid::open(Side::A.camera())?;
        camera.look_at(Scene::still(Pattern::Bars))?;
        camera.encode_as_rec709(rec709)?;
        let mut pair = Pair::new(context.dir())?;
        pair.start(Plan { format, ..Plan::sends(size) }, Plan::shows(size))?;
        let mut screen = Screen::open(Side::B.screen())?;
        let worst = bars(&mut report, &title, &screen, size, Upright::Yes, context.dir())?;
        report.figure(&format!("worst_{}_{}_{format}", if rec709 { "709" } else { "601" }, size.1), worst);
        camera.show(Pattern::Rows)?;
        bars(&mut report, &title, &screen, size, Upright::No, context.dir())?;
        if size == SMALL && rec709 && format == "auto" {
            order(&mut report, &camera, &mut screen)?;
            let status = pair.b.status();
            let out_of_order = status.number("/video/out_of_order");
            report.check(
                "no frame arrived out of order",
                status.answered() && out_of_order == 0,
                out_of_order,
            );
        }
        report.check(format!("{title}: both booths run on"), pair.ended().is_none(), "");
    }
    Ok(report)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upright {
    Yes,
    No,
}

/// Checks colour at the middle of each bar and the place of each edge; the worst difference of a channel.
fn bars(
    report: &mut Report,
    title: &str,
    screen: &Screen,
    size: (u32, u32),
    upright: Upright,
    dir: &Path,
) -> Result<u8, Error> {
    let title = format!("{title} {}", if upright == Upright::Yes { "upright" } else { "lying" });
    let mut picture = Picture::black(1, 1);
    // A pattern sharpens over some frames, as the encoder catches up with the change.
    wait_until(4_000, 250, || {
        picture = screen.picture().ok().flatten().unwrap_or(Picture::black(1, 1));
        picture.size() == size && worst(&picture, upright).1 <= TOLERANCE
    });
    let _ = picture.save(&dir.join(format!("{}.png", title.replace(' ', "-"))));
    report.check(
        format!("{title}: fills the screen"),
        picture.size() == size,
        format!("{:?}", picture.size()),
    );
    let (bar, difference, found) = worst(&picture, upright);
    report.check(
        format!("{title}: bars within {TOLERANCE}"),
        difference <= TOLERANCE,
        format!("at most {difference}, in {bar}: {found:?}"),
    );
    let off = misplaced(&picture, upright);
    report.check(
        format!("{title}: edges within {EDGE_PX} px"),
        off <= EDGE_PX,
        format!("at most {off} px off"),
    );
    Ok(difference)
}

/// The bar that is furthest off, by how much, and what it is instead.
fn worst(picture: &Picture, upright: Upright) -> (&'static str, u8, [u8; 3]) {
    let (width, height) = picture.size();
    let mut worst = ("", 0, [0; 3]);
    for (index, (name, want)) in (0..).zip(BARS) {
        // Near both ends and in the middle of the bar, so that a cropped or shifted picture shows.
        for eighth in [1, 4, 7] {
            let along = |length: u32| length * (2 * index + 1) / 16;
            let (x, y) = match upright {
                Upright::Yes => (along(width), height * eighth / 8),
                Upright::No => (width * eighth / 8, along(height)),
            };
            let found = patch(picture, x, y);
            let difference = found.iter().zip(want).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0);
            if difference >= worst.1 {
                worst = (name, difference, found);
            }
        }
    }
    worst
}

/// The mean colour of 8 by 8 pixels.
fn patch(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let mut sums = [0_u32; 3];
    for dy in 0..8 {
        for dx in 0..8 {
            let colour = picture.at((x + dx).saturating_sub(4), (y + dy).saturating_sub(4));
            sums.iter_mut().zip(colour).for_each(|(sum, channel)| *sum += u32::from(channel));
        }
    }
    sums.map(|sum| u8::try_from((sum + 32) / 64).unwrap_or(u8::MAX))
}

/// How far, in pixels, the edge between two bars is from its place, at worst.
fn misplaced(picture: &Picture, upright: Upright) -> u32 {
    let (width, height) = picture.size();
    let length = if upright == Upright::Yes { width } else { height };
    let at = |along: u32| match upright {
        Upright::Yes => picture.at(along, height / 2),
        Upright::No => picture.at(width / 2, along),
    };
    let mut worst = 0;
    for (index, pair) in (1..).zip(BARS.windows(2)) {
        let place = length * index / 8;
        let (before, after) = (pair[0].1, pair[1].1);
        let closer = |along: u32| distance(at(along), after) < distance(at(along), before);
        let (from, to) = (place.saturating_sub(length / 16), place + length / 16);
        let found = (from..to).find(|&along| closer(along)).unwrap_or(to);
        worst = worst.max(found.abs_diff(place));
    }
    worst
}

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b))).sum()
}

/// Makes the camera's picture brighter step by step: on the screen it may never get darker.
fn order(report: &mut Report, camera: &Vivid, screen: &mut Screen) -> Result<(), Error> {
    const STEP: i32 = 2;
    const STEP_US: i64 = 33_333;
    camera.show(Pattern::Black)?;
    wait_until(2_000, 20, || screen.luma().ok().flatten().is_some_and(|luma| luma < 24));
    let (mut lightest, mut fell, mut levels) = (0_u8, 0_u8, 0);
    let start_us = now_us();
    for (step, brightness) in (0..).zip((NEUTRAL_BRIGHTNESS..230).step_by(STEP as usize)) {
        camera.set("Brightness", brightness)?;
        while now_us() < start_us + step * STEP_US {
            if let Some(luma) = screen.luma()? {
                fell = fell.max(lightest.saturating_sub(luma));
                levels += i32::from(luma > lightest);
                lightest = lightest.max(luma);
            }
            sleep_until_us(now_us() + 4_000);
        }
    }
    camera.set("Brightness", NEUTRAL_BRIGHTNESS)?;
    // Quantisation may move a level by one; a frame from the past would by two or more.
    report.check(
        "brightness only rises on the screen",
        fell < 2 && levels > 30,
        format!("{levels} rises, fell by {fell}"),
    );
    report.figure("order_levels", levels);
    Ok(())
}
