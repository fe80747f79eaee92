//! Where a sound device's clock stands on ours.

/// A line through a device's clock: its sample `index` passes the converter at `at_us`, and `rate_hz` samples
/// follow in each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockLine {
    /// A sample's index, at the device's nominal 48 kHz.
    pub index: f64,
    /// When it passes the converter, in µs on CLOCK_MONOTONIC.
    pub at_us: f64,
    /// How many samples pass in a second of our clock.
    pub rate_hz: f64,
}
