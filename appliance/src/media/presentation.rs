//! When a decoded picture may go to the screen: lips and voice are to be seen and heard together, and whichever
//! is earlier waits.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The longest that a picture waits, in µs.
pub const MOST_WAIT_US: u64 = 60_000;

/// The earliest time of one peer's pictures. Written by the booth, read by the decoder.
#[derive(Debug, Default)]
pub struct Presentation {
    after_capture_us: AtomicI64,
}

impl Presentation {
    /// From a picture's capture until it may go to the screen, in µs; 0 or less when it need not wait.
    pub fn set(&self, after_capture_us: i64) {
        self.after_capture_us.store(after_capture_us, Relaxed);
    }

    /// When the picture that was captured at `capture_us` and decoded at `decoded_us` may go to the screen.
    pub fn due_us(&self, capture_us: u64, decoded_us: u64) -> u64 {
        let due_us = capture_us.saturating_add_signed(self.after_capture_us.load(Relaxed));
        due_us.clamp(decoded_us, decoded_us.saturating_add(MOST_WAIT_US))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_waits_but_not_for_long() {
        let presentation = Presentation::default();
        assert_eq!(presentation.due_us(1_000, 20_000), 20_000);
        presentation.set(45_000);
        assert_eq!(presentation.due_us(1_000, 20_000), 46_000);
        assert_eq!(presentation.due_us(1_000, 50_000), 50_000, "it is late already");
        presentation.set(1_000_000);
        assert_eq!(presentation.due_us(1_000, 20_000), 80_000);
        presentation.set(-5);
        assert_eq!(presentation.due_us(1_000, 20_000), 20_000);
    }
}
