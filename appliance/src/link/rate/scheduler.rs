//! Who may send now on a connection. No I/O.
//!
//! Voice goes first, then feedback, then video (repairs before new shards), then bulk: padding. The transport
//! below sends in the order in which it is given datagrams, so what is urgent must never find much waiting
//! there: video is given to it only while next to nothing waits, and bulk only while nothing does.

/// Classes of datagrams, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Sound.
    Voice,
    /// Reports and requests.
    Feedback,
    /// Shards of frames.
    Video,
    /// Padding.
    Bulk,
}

/// What may wait in the transport when video is given to it, in µs of the pace.
const VIDEO_WAIT_US: u64 = 3_000;
/// And in bytes, within these bounds: two datagrams at least, so that a slow path never runs dry between two
/// looks.
const VIDEO_WAIT_BYTES: (usize, usize) = (3_000, 32 << 10);

/// Whether a datagram of `class` may be given to a transport in which `waiting_bytes` wait, at a pace of
/// `pace_kbps`.
pub(crate) fn admits(class: Class, waiting_bytes: usize, pace_kbps: u32, beside_voice: bool) -> bool {
    match class {
        Class::Voice | Class::Feedback => true,
        // Without sound there is nothing that it could hold up, and a busy core costs less.
        Class::Video if !beside_voice => waiting_bytes < VIDEO_WAIT_BYTES.1,
        Class::Video => {
            let limit = (u64::from(pace_kbps) * VIDEO_WAIT_US / 8_000) as usize;
            waiting_bytes < limit.clamp(VIDEO_WAIT_BYTES.0, VIDEO_WAIT_BYTES.1)
        }
        Class::Bulk => waiting_bytes == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_always_goes_and_what_is_not_never_stands_before_it() {
        for waiting in [0, 10_000, 1 << 20] {
            assert!(admits(Class::Voice, waiting, 300, true) && admits(Class::Feedback, waiting, 300, true));
        }
        assert!(admits(Class::Video, 2_999, 300, true) && !admits(Class::Video, 3_000, 300, true));
        // 3 ms at 40 Mbit/s.
        assert!(admits(Class::Video, 14_999, 40_000, true) && !admits(Class::Video, 15_000, 40_000, true));
        assert!(!admits(Class::Video, 32 << 10, 1_000_000, true) && admits(Class::Video, 30_000, 300, false));
        assert!(admits(Class::Bulk, 0, 300, true) && !admits(Class::Bulk, 1, 40_000, true));
    }
}
