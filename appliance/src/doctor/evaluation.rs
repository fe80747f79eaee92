//! The evaluation of a layer.

use serde::Serialize;

/// How a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing is to be done.
    Ok,
    /// A booth works, but not as well as it could.
    Warning,
    /// A booth cannot work like this.
    Wrong,
}

/// The evaluation of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// In a word.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty when there is nothing.
    pub advice: String,
}

impl Evaluation {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, found: found.into(), advice: String::new() }
    }

    pub(super) fn warning(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
    }

    pub(super) fn wrong(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, found: found.into(), advice: advice.into() }
    }

    /// Wrong, from a room's own error message: `room: what is wrong; what to do`.
    pub(super) fn failed(room: &str, error: &str, advice: &str) -> Self {
        let error = error.strip_prefix(room).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(error);
        let (found, advice) = error.split_once("; ").unwrap_or((error, advice));
        Self::wrong(found, advice)
    }
}
