//! Figures for people.

use super::case::Case;
use super::measure::Figures;
use super::scheme::Scheme;

/// One canceller in one case.
pub struct Row {
    /// The case.
    pub case: Case,
    /// The canceller.
    pub scheme: Scheme,
    /// What it did, or why it did not run.
    pub figures: Result<Figures, String>,
}

/// The head of every table.
pub const HEAD: &str = "                residue dB  ERLE dB  after DT  step least  from 3 s  alone dB  loss dB  cut %  STOI  us/10ms  ducked";

/// One line: the figures of one canceller in one case.
pub fn row(row: &Row) -> String {
    let title = row.scheme.title();
    match &row.figures {
        Err(why) => format!("{title:<14}  {}", why.replace('\n', " | ")),
        Ok(figures) => line(title, figures),
    }
}

fn line(title: &str, figures: &Figures) -> String {
    let ducked = match figures.ducked {
        [0, 0] => String::new(),
        [before, after] => format!("{before}+{after}"),
    };
    format!(
        "{title:<14} {:>11.1} {:>8.1} {:>9.1} {:>11.1} {:>9.1} {:>9.1} {:>8.1} {:>6.1} {:>5.2} {:>8.0}  {ducked:>6}",
        figures.residue_db,
        figures.erle_db,
        figures.erle_after_db,
        figures.step_least_db,
        figures.step_back_db,
        figures.alone_loss_db,
        figures.loss_db,
        figures.cut_percent,
        figures.stoi,
        figures.cpu_us[0],
    )
}

/// The median of each figure over all cases, for each canceller.
pub fn medians(rows: &[Row]) -> String {
    let mut text = format!("\nmedian of all cases\n{HEAD}\n");
    for scheme in Scheme::ALL {
        let of_scheme: Vec<&Figures> = rows
            .iter()
            .filter(|row| row.scheme == scheme)
            .filter_map(|row| row.figures.as_ref().ok())
            .collect();
        let Some(first) = of_scheme.first() else { continue };
        let median = |figure: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = of_scheme.iter().map(|figures| figure(figures)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let figures = Figures {
            residue_db: median(|f| f.residue_db),
            erle_db: median(|f| f.erle_db),
            erle_after_db: median(|f| f.erle_after_db),
            step_least_db: median(|f| f.step_least_db),
            step_back_db: median(|f| f.step_back_db),
            alone_loss_db: median(|f| f.alone_loss_db),
            loss_db: median(|f| f.loss_db),
            cut_percent: median(|f| f.cut_percent),
            stoi: median(|f| f.stoi),
            cpu_us: [median(|f| f.cpu_us[0]), 0.0],
            ducked: [0; 2],
            ..**first
        };
        text.push_str(&line(scheme.title(), &figures));
        text.push('\n');
    }
    text
}
