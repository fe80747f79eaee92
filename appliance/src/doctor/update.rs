//! Which version this is, and the result of the last update.

use std::path::Path;

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::update::{self, Outcome, Record};

pub(super) fn check(_: &Subject) -> Evaluation {
    evaluate(update::running().as_deref(), Record::read(Path::new(update::FOLDER)).as_ref())
}

fn evaluate(image: Option<&str>, last: Option<&Record>) -> Evaluation {
    let program = concat!("holobooth ", env!("CARGO_PKG_VERSION"));
    let Some(image) = image else {
        return Evaluation::ok(format!("{program}, no image: it is not updated by itself"));
    };
    match last {
        Some(record) if record.outcome == Outcome::WentBack => {
            Evaluation::warning(format!("image {image}; {}", record.line()), "ask for a version after it")
        }
        Some(record) => Evaluation::ok(format!("{program}, image {image}; {}", record.line())),
        None => Evaluation::ok(format!("{program}, image {image}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::evaluation::Verdict;

    #[test]
    fn versions_are_told_and_one_that_went_back_is_a_warning() {
        let record = |outcome| Record { from: "12".into(), to: "13".into(), outcome };
        assert!(evaluate(Some("12"), None).found.contains("image 12"));
        assert!(evaluate(None, None).found.contains("no image"));
        let back = evaluate(Some("12"), Some(&record(Outcome::WentBack)));
        assert!(back.verdict == Verdict::Warning && back.found.contains("went back to 12"));
        assert_eq!(evaluate(Some("13"), Some(&record(Outcome::Runs))).verdict, Verdict::Ok);
    }
}
