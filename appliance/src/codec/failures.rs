//! Failures of a codec in a row.

use super::error::Error;

/// Counts failures in a row, and logs the first.
#[derive(Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// `codec` failed; how many times in a row by now.
    pub(super) fn count(&mut self, codec: &str, error: &Error) -> u32 {
        self.0 = self.0.saturating_add(1);
        if self.0 == 1 {
            log::error!("codec: {codec}: {error}");
        }
        self.0
    }

    /// It worked.
    pub(super) fn over(&mut self) {
        self.0 = 0;
    }
}
