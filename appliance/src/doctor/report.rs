//! What the doctor says: a line a layer.

use std::fmt;

use serde::Serialize;

use super::evaluation::{Evaluation, Verdict};

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
    pub(super) fn of(layers: Vec<Line>) -> Self {
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

/// What is to be said of the configuration that was read from `place`.
pub(super) fn configuration(place: &str, error: Option<&String>) -> Evaluation {
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
    use crate::config::Config;

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
