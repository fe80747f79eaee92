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
mod report;
mod screen;
mod sound;
mod sound_check;
mod subject;
mod temperature;
mod update;

use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use self::evaluation::{Evaluation, Verdict};
use self::report::configuration;
pub use self::report::{Line, Report};
pub use self::sound_check::{SoundReport, check_sound};
pub use self::subject::Probe;
use self::subject::Subject;
use crate::config::Config;
use crate::health::ask;

/// All of it takes no longer; a layer that does not answer until then is taken for stuck.
const LIMIT: Duration = Duration::from_secs(9);
/// From one question to a running booth to the next: what is counted must have grown meanwhile.
const BETWEEN: Duration = Duration::from_millis(700);

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
}
