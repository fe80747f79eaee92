//! What a scenario or bench found out.

use std::fmt::Display;

use serde_json::{Map, Value};

/// Checks that held or did not, figures, and lines for people.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
    figures: Map<String, Value>,
}

#[derive(Debug)]
struct Check {
    what: String,
    held: bool,
    found: String,
}

impl Report {
    /// Notes whether something held, and what was found.
    pub fn check(&mut self, what: impl Into<String>, held: bool, found: impl Display) {
        self.checks.push(Check { what: what.into(), held, found: found.to_string() });
    }

    /// Notes whether something came, and after how many milliseconds.
    pub fn check_came(&mut self, what: impl Into<String>, took_ms: Option<i64>) {
        self.check_in_time(what, took_ms, i64::MAX);
    }

    /// Notes whether something came within `within_ms`, and after how many milliseconds.
    pub fn check_in_time(&mut self, what: impl Into<String>, took_ms: Option<i64>, within_ms: i64) {
        let found = took_ms.map_or("never".to_owned(), |ms| format!("{ms} ms"));
        self.check(what, took_ms.is_some_and(|ms| ms <= within_ms), found);
    }

    /// Notes a figure.
    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Whether everything held; a report without checks did not.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.held)
    }

    /// One object: name, pass, what failed, and the figures.
    pub fn to_json(&self, name: &str) -> Value {
        let failed = self.checks.iter().filter(|check| !check.held);
        let failed: Vec<String> = failed.map(|check| format!("{}: {}", check.what, check.found)).collect();
        let mut object = Map::new();
        object.insert("name".to_owned(), name.into());
        object.insert("pass".to_owned(), self.passed().into());
        object.insert("checks".to_owned(), self.checks.len().into());
        object.insert("failed".to_owned(), failed.into());
        object.extend(self.figures.clone());
        Value::Object(object)
    }

    /// A table for people.
    pub fn to_table(&self) -> String {
        let width = self.checks.iter().map(|check| check.what.chars().count()).max().unwrap_or(0);
        let row = |check: &Check| {
            let mark = if check.held { "ok    " } else { "FAILED" };
            let pad = width - check.what.chars().count();
            format!("  {mark}  {}{:pad$}  {}\n", check.what, "", check.found)
        };
        self.checks.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_late_or_never_fails() {
        for (took_ms, within_ms, passes) in [(Some(5), 5, true), (Some(6), 5, false), (None, 5, false)] {
            let mut report = Report::default();
            report.check_in_time("it", took_ms, within_ms);
            assert_eq!(report.passed(), passes, "{took_ms:?} of {within_ms}");
        }
        let mut report = Report::default();
        report.check_came("it", Some(i64::MAX));
        assert!(report.passed());
        report.check_came("it", None);
        assert_eq!(report.to_json("x")["failed"][0], "it: never");
    }

    #[test]
    fn one_failed_check_fails_the_report() {
        let mut report = Report::default();
        assert!(!report.passed());
        report.check("first", true, 1);
        assert!(report.passed());
        report.check("second", false, "2 lost");
        report.figure("lost", 2);
        assert!(!report.passed());
        let json = report.to_json("x");
        assert_eq!(json["failed"][0], "second: 2 lost");
        assert_eq!(json["lost"], 2);
        assert_eq!(json["pass"], false);
    }
}
