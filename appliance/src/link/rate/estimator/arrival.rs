//! What goes into the estimator and comes out of it.

/// One datagram's fate, told by the other booth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When it was sent, on our clock, in µs.
    pub(crate) sent_us: u64,
    /// When it came in, on the other booth's clock, in µs: any distance from ours, and drifting.
    pub(crate) received_us: u64,
    /// Its size on the wire.
    pub(crate) bytes: u32,
    /// Whether it was padding that [`Estimator::probe`](super::Estimator::probe) asked for.
    pub(crate) probe: bool,
}

/// Bounds of the rate, in kbit/s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A session begins here.
    pub(crate) start_kbps: u32,
    /// It never asks for less.
    pub(crate) floor_kbps: u32,
    /// Nor for more; at the ceiling there are no probes.
    pub(crate) ceiling_kbps: u32,
}

/// Padding worth sending now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// At this rate, beside the video, in kbit/s.
    pub(crate) kbps: u32,
    /// So many bytes on the wire.
    pub(crate) bytes: u32,
}
