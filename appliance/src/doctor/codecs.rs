//! Encoder and decoder: what a probe, or the booth that runs, found to work.

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::codec::{self, Choice};
use crate::health::CodecStatus;

/// What is known of one of the two.
#[derive(Debug)]
enum Seen<'a> {
    /// The one that works, and why not those before it.
    Works { name: &'a str, tried: &'a [String] },
    /// The booth that runs has not found one yet.
    Trying,
    /// None works.
    None(String),
    /// Without an encoder there is nothing to decode.
    Untried,
}

pub(super) fn encoder(subject: &Subject) -> Evaluation {
    look(subject, "encoder")
}

pub(super) fn decoder(subject: &Subject) -> Evaluation {
    look(subject, "decoder")
}

fn look(subject: &Subject, what: &'static str) -> Evaluation {
    let encoder = what == "encoder";
    if let Some(status) = subject.running() {
        return evaluate(what, &seen(if encoder { &status.encoder } else { &status.decoder }));
    }
    let choice = subject.choice.get_or_init(|| (subject.probe)(&subject.config));
    evaluate(what, &tried(what, choice))
}

fn seen(status: &CodecStatus) -> Seen<'_> {
    if status.name.is_empty() {
        Seen::Trying
    } else {
        Seen::Works { name: &status.name, tried: &status.tried }
    }
}

fn tried<'a>(what: &str, choice: &'a Result<Choice, codec::Error>) -> Seen<'a> {
    match choice {
        Ok(choice) if what == "encoder" => {
            Seen::Works { name: choice.encoder, tried: &choice.encoders_tried }
        }
        Ok(choice) => Seen::Works { name: choice.decoder, tried: &choice.decoders_tried },
        Err(codec::Error::NoneUsable { what: other, .. }) if *other != what => Seen::Untried,
        Err(e) => Seen::None(e.to_string()),
    }
}

fn evaluate(what: &str, seen: &Seen<'_>) -> Evaluation {
    match seen {
        // FFmpeg's own decoder, and libraries: see `codec`.
        Seen::Works { name, tried } if *name == "hevc" || name.starts_with("lib") => Evaluation::warning(
            format!(
                "{name}, on the CPU (not {})",
                if tried.is_empty() { "asked for".into() } else { tried.join(", ") }
            ),
            format!("for large pictures, a GPU with an HEVC {what} and its driver"),
        ),
        Seen::Works { name, .. } => Evaluation::ok(format!("{name}, in hardware")),
        Seen::Trying => Evaluation::warning("the booth has not found one yet", "ask again in a minute"),
        Seen::None(error) => Evaluation::failed("codec", error, "install a driver"),
        Seen::Untried => Evaluation::warning("not tried", "first an encoder"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn hardware_is_fine_the_cpu_works_and_none_is_wrong() {
        let choice = Ok(Choice {
            encoder: "hevc_vaapi",
            encoders_tried: vec![],
            decoder: "hevc",
            decoders_tried: vec!["hevc_vaapi: no device".into()],
        });
        assert_eq!(evaluate("encoder", &tried("encoder", &choice)).verdict, Fine);
        let evaluation = evaluate("decoder", &tried("decoder", &choice));
        assert!(evaluation.verdict == Warning && evaluation.found.contains("no device"), "{evaluation:?}");
        let none = |what| Err(codec::Error::NoneUsable { what, tried: "x: y; z: w".into() });
        let evaluation = evaluate("encoder", &tried("encoder", &none("encoder")));
        assert_eq!(evaluation.verdict, Wrong);
        assert_eq!(evaluate("decoder", &tried("decoder", &none("encoder"))).verdict, Warning);
        assert_eq!(evaluate("decoder", &tried("decoder", &none("decoder"))).verdict, Wrong);
        let missing = Err(codec::Error::Missing("x".into()));
        assert_eq!(evaluate("decoder", &tried("decoder", &missing)).verdict, Wrong);
    }

    #[test]
    fn a_booth_that_runs_is_believed() {
        assert_eq!(evaluate("encoder", &seen(&CodecStatus::default())).verdict, Warning);
        let status = CodecStatus { name: "libx265".into(), tried: vec!["hevc_qsv: no device".into()] };
        assert!(evaluate("encoder", &seen(&status)).found.contains("hevc_qsv: no device"));
    }
}
