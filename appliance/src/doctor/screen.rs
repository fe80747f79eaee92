//! The screen: which connector, in which mode, and whether it is ours to light.

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::health::{ScreenState, ScreenStatus};
use crate::screen;

/// What was seen of it.
#[derive(Debug)]
enum Seen {
    Off,
    /// Device, connector and mode; the booth that runs shows something on it.
    Lit(String),
    /// Nobody shows anything, but it could be done.
    Dark(String),
    /// There is none, and why.
    Failed(String),
}

pub(super) fn check(subject: &Subject) -> Evaluation {
    let request = subject.config.screen.request();
    evaluate(&match subject.running() {
        _ if request.device == "none" => Seen::Off,
        Some(status) => seen(&status.screen),
        None => match screen::probe(&request) {
            Ok((device, mode)) => Seen::Dark(format!("{device} {mode}")),
            Err(e) => Seen::Failed(e.to_string()),
        },
    })
}

fn seen(screen: &ScreenStatus) -> Seen {
    match screen.state {
        ScreenState::Off => Seen::Off,
        ScreenState::Searching => Seen::Failed(screen.trouble.clone()),
        ScreenState::On => Seen::Lit(format!("{} {}", screen.device, screen.mode)),
    }
}

fn evaluate(seen: &Seen) -> Evaluation {
    let advice = "check its cable and that it is switched on";
    match seen {
        Seen::Off => Evaluation::ok("none is configured"),
        Seen::Lit(what) => Evaluation::ok(format!("{what}, lit by the booth")),
        Seen::Dark(what) => Evaluation::ok(format!("{what}, free")),
        Seen::Failed(trouble) if trouble.is_empty() => Evaluation::wrong("none found", advice),
        Seen::Failed(trouble) => Evaluation::failed("screen", trouble, advice),
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Wrong};
    use super::*;

    #[test]
    fn none_where_one_is_wanted_is_wrong() {
        let status = |state, trouble: &str| ScreenStatus {
            state,
            device: "card/HDMI-A-1".into(),
            mode: "640x480@60".into(),
            trouble: trouble.into(),
            ..ScreenStatus::default()
        };
        let on = evaluate(&seen(&status(ScreenState::On, "")));
        assert!(on.verdict == Fine && on.found.contains("HDMI-A-1 640x480@60"), "{on:?}");
        let gone = evaluate(&seen(&status(ScreenState::Searching, "screen: HDMI-A-1: unplugged")));
        assert!(gone.verdict == Wrong && !gone.advice.is_empty(), "{gone:?}");
        assert_eq!(evaluate(&seen(&status(ScreenState::Searching, ""))).verdict, Wrong);
        assert_eq!(evaluate(&Seen::Off).verdict, Fine);
        assert_eq!(evaluate(&Seen::Dark("x".into())).verdict, Fine);
        let held =
            evaluate(&Seen::Failed("screen: x: become master: EACCES; another program holds it".into()));
        assert_eq!(held.advice, "another program holds it");
    }
}
