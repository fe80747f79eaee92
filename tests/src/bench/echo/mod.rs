//! The echo canceller beside others: simulated rooms, two clocks, speech of espeak-ng, everything seeded.
//!
//! A scene ([`case`]) is what a microphone hears in a booth; each canceller ([`scheme`]) runs over it, ours
//! by the booth's own chain ([`chain`]), from stamps of both cards on. What it did to echo and near voice is
//! arithmetic ([`measure`]).

pub mod case;
pub mod cases;
pub mod chain;
pub mod cpu;
pub mod fft;
pub mod measure;
pub mod peers;
pub mod room;
pub mod scheme;
pub mod speech;
pub mod stoi;
pub mod table;

use std::io::{self, Write};

use serde_json::{Value, json};

use self::case::Case;
use self::measure::Figures;
use self::scheme::Scheme;
use self::table::Row;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Place, Scenario, failed};

/// The bench `echo`.
pub(super) const ECHO: Scenario = Scenario {
    name: "echo",
    summary: "the echo canceller in forty simulated rooms: ours, sonora as it comes, speex; some minutes",
    kind: Kind::Bench,
    place: Place::Rig { cores: 1, memory_mib: 1024 },
    relay: false,
    time_limit_s: 1_800,
    run,
};

/// What is promised.
const RESIDUE_DB: f64 = 1.0;
const ERLE_DB: f64 = 38.0;
const STEP_BACK_DB: f64 = 20.0;
const STEP_LEAST_DB: f64 = 12.0;
const LOSS_DB: f64 = 2.0;
const LOSS_BESIDE_LOUD_ECHO_DB: f64 = 3.5;
const CUT_PERCENT: f64 = 12.0;
const STOI: f64 = 0.85;
const CLOCKS_DB: f64 = 0.5;

fn run(context: &Context) -> Result<Report, Error> {
    let (schemes, words) = schemes(&context.only);
    let cases = if context.quick { cases::quick() } else { cases::all() };
    let cases =
        cases::chosen(cases, &words).map_err(|why| failed("the choice of cases")(io::Error::other(why)))?;
    let voices = speech::voices().map_err(failed("the voices"))?;
    println!("room, voice to noise, voice to echo, clocks, distortion, delay, change of the path");
    let mut rows = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        println!("{}/{} {case}\n{}", at + 1, cases.len(), table::HEAD);
        let scene = case.play(&voices, 1);
        for &scheme in &schemes {
            let outcome = scheme.run(&scene);
            let figures = outcome.map(|outcome| Figures::of(&scene, &outcome)).map_err(|e| e.to_string());
            rows.push(Row { case: *case, scheme, figures });
            println!("{}", rows.last().map_or_else(String::new, table::row));
            let _ = io::stdout().flush();
        }
    }
    print!("{}", table::medians(&rows));
    Ok(report(&rows))
}

/// The cancellers that `words` name, or all, and the words that name something else.
fn schemes(words: &[String]) -> (Vec<Scheme>, Vec<String>) {
    let named = |scheme: &Scheme| words.iter().any(|word| word == scheme.word());
    let mut schemes: Vec<Scheme> = Scheme::ALL.into_iter().filter(named).collect();
    if schemes.is_empty() {
        schemes = Scheme::ALL.to_vec();
    }
    let others = words.iter().filter(|word| !Scheme::ALL.iter().any(|scheme| scheme.word() == **word));
    (schemes, others.cloned().collect())
}

fn report(rows: &[Row]) -> Report {
    let mut report = Report::default();
    let ran = rows.iter().filter(|row| row.figures.is_ok()).count();
    report.check("every canceller ran in every case", ran == rows.len(), format!("{ran} of {}", rows.len()));
    let ours: Vec<(Case, Figures)> = rows
        .iter()
        .filter(|row| row.scheme == Scheme::Us)
        .filter_map(|row| Some((row.case, *row.figures.as_ref().ok()?)))
        .collect();
    promises(&mut report, &ours);
    let to_json = |row: &Row| match &row.figures {
        Ok(figures) => {
            json!({"case": row.case.title(), "canceller": row.scheme.word(), "figures": figures.to_json()})
        }
        Err(why) => json!({"case": row.case.title(), "canceller": row.scheme.word(), "error": why}),
    };
    report.figure("cases", rows.iter().map(to_json).collect::<Vec<Value>>());
    report
}

type Figure = fn(&Figures) -> f64;
type Which = fn(&Case) -> bool;

/// A figure's bound: at most, or at least.
enum Bound {
    Most(f64),
    Least(f64),
}

fn promises(report: &mut Report, ours: &[(Case, Figures)]) {
    use Bound::{Least, Most};
    let noisy: Which = |case| case.snr_db == 30.0;
    let still: Which = |case| case.snr_db == 60.0;
    let even: Which = |case| case.ser_db == 0.0;
    let loud: Which = |case| case.ser_db < 0.0;
    let any: Which = |_| true;
    let demands: [(&str, Which, Figure, Bound); 9] = [
        ("far voice alone, 30 dB SNR: left over the noise, dB", noisy, |f| f.residue_db, Most(RESIDUE_DB)),
        ("far voice alone, 60 dB SNR: ERLE after 10 s, dB", still, |f| f.erle_db, Least(ERLE_DB)),
        ("path changes: loss in any half second, dB", any, |f| f.step_least_db, Least(STEP_LEAST_DB)),
        ("path changes: loss from 3 s on, dB", any, |f| f.step_back_db, Least(STEP_BACK_DB)),
        ("double talk, SER 0 dB: near voice's loss, dB", even, |f| f.loss_db, Most(LOSS_DB)),
        ("double talk, SER -10 dB: loss, dB", loud, |f| f.loss_db, Most(LOSS_BESIDE_LOUD_ECHO_DB)),
        ("double talk: energy cut by over 6 dB, %", any, |f| f.cut_percent, Most(CUT_PERCENT)),
        ("double talk, SER 0 dB: STOI", even, |f| f.stoi, Least(STOI)),
        ("ducked in double talk, or before, times", any, |f| f.ducked[0] as f64, Most(0.0)),
    ];
    for (what, which, figure, bound) in demands {
        let of: Vec<(Case, f64)> =
            ours.iter().filter(|(case, _)| which(case)).map(|(case, f)| (*case, figure(f))).collect();
        let (limit, says, sign) = match bound {
            Most(limit) => (limit, "at most", 1.0),
            Least(limit) => (limit, "at least", -1.0),
        };
        let Some((case, worst)) = of.iter().max_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1))) else {
            continue;
        };
        let failing = of.iter().filter(|(_, value)| sign * value > sign * limit || value.is_nan()).count();
        let found = format!("worst {worst:.2} in {case}; {failing} of {} fail", of.len());
        report.check(format!("{what}: {says} {limit}"), failing == 0, found);
    }
    let figures: [(&str, Figure); 2] = [("ERLE", |f| f.erle_db), ("near voice's loss", |f| f.loss_db)];
    for (what, figure) in figures {
        let worse = ours.iter().filter(|(case, _)| case.ppm == 200.0).filter_map(|(case, fast)| {
            let (_, same) = ours.iter().find(|(other, _)| *other == Case { ppm: 0.0, ..*case })?;
            let sign = if what == "ERLE" { -1.0 } else { 1.0 };
            Some((sign * (figure(fast) - figure(same)), case))
        });
        if let Some((worst, case)) = worse.max_by(|a, b| a.0.total_cmp(&b.0)) {
            let found = format!("{worst:.2} dB worse in {case}");
            report.check(
                format!("{what} at 200 ppm as at 0 within {CLOCKS_DB} dB"),
                worst <= CLOCKS_DB,
                found,
            );
        }
    }
}
