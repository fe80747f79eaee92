//! `holobooth doctor`: every layer under a booth, looked at once, with what is wrong and what to do about it.
//!
//! What a running booth holds is asked of that booth and not fought for. Each layer has a file: it reads, and
//! a function without I/O evaluates what was read. Nothing is waited for without a limit.

mod camera;
mod clock;
mod codecs;
mod disk;
mod evaluation;
mod kernel;
mod network;
mod peer;
mod relay;
mod screen;
mod sound;
mod sound_check;
mod subject;
mod temperature;
mod update;

use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use self::evaluation::{Evaluation, Verdict};
pub use self::sound_check::{SoundReport, check_sound};
pub use self::subject::Probe;
use self::subject::Subject;
use crate::config::Config;
use crate::health::ask;

/// All of it takes no longer; a layer that does not answer until then is taken for stuck.
const LIMIT: Duration = Duration::from_secs(9);
/// From one question to a running booth to the next: what is counted must have grown meanwhile.
const BETWEEN: Duration = Duration::from_millis(700);

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The layer.
    pub layer: &'static str,
    /// Its evaluation.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// What the doctor says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Layers that are wrong.
    pub wrong: usize,
    /// Layers that could be better.
    pub warnings: usize,
    /// All layers, from the machine to the other booth.
    pub layers: Vec<Line>,
}

impl Report {
    fn of(layers: Vec<Line>) -> Self {
        let count = |verdict| layers.iter().filter(|line| line.evaluation.verdict == verdict).count();
        Self { wrong: count(Verdict::Wrong), warnings: count(Verdict::Warning), layers }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { layer, evaluation: Evaluation { verdict, found, advice } } in &self.layers {
            let word = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Wrong => "wrong",
            };
            let between = if advice.is_empty() { "" } else { "; " };
            // What devices and peers call themselves is not ours.
            let text = format!("{found}{between}{advice}").replace(char::is_control, " ");
            writeln!(f, "{layer:<14}{word:<9}{text}")?;
        }
        Ok(())
    }
}

type Check = fn(&Subject) -> Evaluation;

/// From the machine outwards.
const LAYERS: [(&str, Check); 13] = [
    ("kernel", kernel::check),
    ("camera", camera::check),
    ("encoder", codecs::encoder),
    ("decoder", codecs::decoder),
    ("screen", screen::check),
    ("sound", sound::check),
    ("network", network::check),
    ("clock", clock::check),
    ("relay", relay::check),
    ("peer", peer::check),
    ("disk", disk::check),
    ("temperature", temperature::check),
    ("update", update::check),
];

/// Looks at everything under the booth with this configuration, which was read from `place`; takes less than
/// ten seconds. Without one that can be read, a booth with defaults is evaluated. `probe` is used where no
/// booth runs that has done it already.
pub fn examine(place: &str, config: Result<Config, String>, probe: Probe) -> Report {
    let until = Instant::now() + LIMIT;
    let configuration = configuration(place, config.as_ref().err());
    let config = config.unwrap_or_default();
    let booth = ask(&config.health.socket).and_then(|before| {
        std::thread::sleep(BETWEEN);
        Ok([before, ask(&config.health.socket)?])
    });
    let subject = Arc::new(Subject { config, booth, probe, choice: OnceLock::new() });
    let first = Line { layer: "configuration", evaluation: configuration };
    Report::of([first].into_iter().chain(all(&LAYERS, &subject, until)).collect())
}

/// What each of `layers` says until then. One that is stuck, in a driver perhaps, is left behind with its
/// thread.
fn all(layers: &[(&'static str, Check)], subject: &Arc<Subject>, until: Instant) -> Vec<Line> {
    let begun: Vec<_> = layers
        .iter()
        .map(|&(layer, check)| {
            let (say, said) = sync_channel(1);
            let subject = Arc::clone(subject);
            let started = std::thread::Builder::new().name(layer.to_owned()).spawn(move || {
                // Nobody listens any more when it comes too late.
                let _ = say.send(check(&subject));
            });
            (layer, started.map(|_| said))
        })
        .collect();
    let evaluated = |layer, said: io::Result<std::sync::mpsc::Receiver<Evaluation>>| match said {
        Err(e) => Evaluation::wrong(format!("no thread to look at it: {e}"), "restart the machine"),
        Ok(said) => match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(evaluation) => evaluation,
            Err(RecvTimeoutError::Timeout) => unanswered(layer),
            Err(RecvTimeoutError::Disconnected) => {
                Evaluation::wrong("the look at it failed", "this is a bug in holobooth: report it")
            }
        },
    };
    begun.into_iter().map(|(layer, said)| Line { layer, evaluation: evaluated(layer, said) }).collect()
}

/// What it means that a layer took too long.
fn unanswered(layer: &str) -> Evaluation {
    match layer {
        // A large picture on a slow processor; a booth that starts gives it a minute.
        "encoder" | "decoder" => {
            Evaluation::warning("still being tried", "start the booth, and ask again when it shows a card")
        }
        "relay" => Evaluation::wrong(
            "no name server answers",
            "check the network's cable and network.dns, or give relay.address as numbers",
        ),
        _ => Evaluation::wrong("no answer", "its driver may hang: replug the device, restart the machine"),
    }
}

fn configuration(place: &str, error: Option<&String>) -> Evaluation {
    match error {
        None => Evaluation::ok(format!("{place} is fine")),
        Some(e) => {
            let advice = "correct it; what follows is about a booth with defaults";
            Evaluation::wrong(e.trim_start_matches("config: "), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Arc<Subject> {
        let booth = Err(io::ErrorKind::NotFound.into());
        let probe: Probe = |_| Err(crate::codec::Error::Delays);
        Arc::new(Subject { config: Config::default(), booth, probe, choice: OnceLock::new() })
    }

    #[test]
    fn what_is_stuck_or_fails_is_wrong_and_keeps_nobody_waiting() {
        let checks: [(&str, Check); 3] = [
            ("stuck", |_| {
                loop {
                    std::thread::park();
                }
            }),
            ("fails", |_| std::panic::resume_unwind(Box::new(()))),
            ("good", |_| Evaluation::ok("fine")),
        ];
        let until = Instant::now() + Duration::from_millis(200);
        let lines = all(&checks, &subject(), until);
        let verdicts: Vec<_> = lines.iter().map(|line| line.evaluation.verdict).collect();
        assert_eq!(verdicts, [Verdict::Wrong, Verdict::Wrong, Verdict::Ok]);
        assert!(
            lines[0].evaluation.found.contains("no answer") && lines[1].evaluation.advice.contains("bug")
        );
        assert!(until.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_line_a_layer_in_words_and_in_numbers() {
        let line = |layer, evaluation| Line { layer, evaluation };
        let report = Report::of(vec![
            line(
                "camera",
                Evaluation::failed("camera", "camera: none\n(there are: none); plug it in; now", ""),
            ),
            line("screen", Evaluation::ok("lit")),
            line("sound", Evaluation::warning("none", "plug it in")),
        ]);
        assert_eq!((report.wrong, report.warnings), (1, 1));
        let text = report.to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.starts_with("camera        wrong    none (there are: none); plug it in; now\n"),
            "{text}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["layers"][0]["verdict"], "wrong");
        assert_eq!(json["layers"][0]["advice"], "plug it in; now");
        assert_eq!(json["layers"][1]["layer"], "screen");
    }

    #[test]
    fn a_bad_configuration_is_wrong() {
        let place = "/nonexistent/b.toml";
        let error = Config::load(std::path::Path::new(place)).unwrap_err().to_string();
        let evaluation = configuration(place, Some(&error));
        assert!(evaluation.verdict == Verdict::Wrong && evaluation.found.contains(place));
        assert_eq!(configuration(place, None).verdict, Verdict::Ok);
    }
}
