//! Outcomes for people.

use super::cell::{Outcome, Rate};
use super::measure::Figures;

/// The head of every table.
pub const HEAD: &str = "                        late %   never  freezes  longest ms   p50 ms   p99 ms  Mbit/s  overhead %  back %  recovery s  busy %";

/// One line: the figures of an outcome.
pub fn row(outcome: &Outcome) -> String {
    let title = outcome.cell.scheme.title();
    match &outcome.figures {
        Err(why) => format!("{title:<22}  {}", why.replace('\n', " | ")),
        Ok(figures) => {
            let ms = |us: Option<i64>| us.map_or("-".to_owned(), |us| format!("{:.1}", us as f64 / 1000.0));
            format!(
                "{title:<22} {:>7.2} {:>7} {:>8} {:>11} {:>8} {:>8} {:>7.1} {:>11.1} {:>7.1}  {:>10} {:>7.0}",
                figures.late_percent(),
                figures.never,
                figures.freezes,
                ms(Some(figures.longest_gap_us)),
                ms(figures.p50_us),
                ms(figures.p99_us),
                figures.video_kbps / 1000.0,
                100.0 * figures.overhead,
                100.0 * figures.back,
                recovery(figures, outcome.cell.network.rate),
                100.0 * outcome.busy,
            )
        }
    }
}

fn recovery(figures: &Figures, rate: Rate) -> String {
    match (rate, figures.recovery) {
        (Rate::Steady(_), _) | (_, None) => String::new(),
        (Rate::Step, Some(recovery)) => {
            recovery.both_us().map_or("not".to_owned(), |us| format!("{:.1}", us as f64 / 1e6))
        }
    }
}

/// A table for each line, in the order of the outcomes, which are grouped by line.
pub fn tables(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for of_line in outcomes.chunk_by(|a, b| a.cell.network == b.cell.network && a.cell.part == b.cell.part) {
        let [part, rtt, loss, rate, _] = of_line[0].cell.words();
        text.push_str(&format!("\n{rtt} {loss} {rate} ({part})\n{HEAD}\n"));
        for outcome in of_line {
            text.push_str(&row(outcome));
            text.push('\n');
        }
    }
    text
}
