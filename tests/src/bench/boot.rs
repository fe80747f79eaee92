//! From power on to the card, beside Debian from power on to its login prompt: in QEMU, one after the other, on one machine.

use std::time::Duration;

use crate::machine::picture::WELL;
use crate::machine::{self, Machine, Options, qemu};
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

/// `bench boot`
pub(crate) const BOOT: Scenario = Scenario {
    name: "boot",
    summary: "from power on to the card, as a ratio to an untuned Debian's way to its login prompt (asks for 0.5)",
    kind: Kind::Bench,
    place: Place::Machines(&["1", "debian"]),
    relay: false,
    time_limit_s: 3600,
    run,
};

const PATIENCE: Duration = Duration::from_secs(600);
/// How often each starts; the first start of a booth makes its partitions and counts for itself.
const STARTS: usize = 3;
/// What is asked for.
const MOST: f64 = 0.5;

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let folder = context.dir();
    let starts = if context.quick { 1 } else { STARTS };
    let (ours, theirs) = (folder.join("holobooth"), folder.join("debian"));
    for place in [&ours, &theirs] {
        std::fs::create_dir_all(place).map_err(failed(place.display().to_string()))?;
    }
    let booth = qemu::flashed(&machine::image("1")?, &ours, "disk.qcow2")?;
    let debian = qemu::flashed(&machine::image("debian")?, &theirs, "disk.qcow2")?;
    // The serial line is slow, and a booth has none; Debian's prompt is read from it.
    let silent = Options { console: false, screen: (1920, 1080), ..Options::default() };
    let (mut cards, mut prompts) = (Vec::new(), Vec::new());
    for start in 0..=starts {
        let mut machine = Machine::start(&booth, &ours, &silent)?;
        let card =
            machine.wait_for_picture("a card", PATIENCE, |shot| shot.is_card(WELL) || shot.qr().is_some())?;
        machine.power_button(PATIENCE)?;
        let mut machine = Machine::start(&debian, &theirs, &silent)?;
        let prompt = machine.wait_for("login:", PATIENCE)?;
        machine.cut_power();
        let (card, prompt) = (card.as_secs_f64(), prompt.as_secs_f64());
        if start == 0 {
            report.figure("first_start_card_s", card);
            report.figure("first_start_debian_s", prompt);
        } else {
            cards.push(card);
            prompts.push(prompt);
        }
    }
    let (card, prompt) = (median(&mut cards), median(&mut prompts));
    report.figure("card_s", card);
    report.figure("debian_login_s", prompt);
    report.figure("ratio", card / prompt);
    report.check(
        format!("the card is there in {MOST} of Debian's time"),
        card / prompt <= MOST,
        format!("{:.2}", card / prompt),
    );
    Ok(report)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
