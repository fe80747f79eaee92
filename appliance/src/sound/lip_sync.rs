//! How long sound waits for the picture. No I/O.

use crate::units::LipSync;

/// The longest that sound waits, in µs: more would be felt in the conversation more than it is seen on the
/// lips (ITU-R BT.1359 puts the threshold of notice at 45 ms of early and 125 ms of late sound).
const MOST_US: f64 = 60_000.0;

/// From mouth to ear as it should be, in µs, for a picture that takes `picture_us` from light to light and sound
/// that takes at least `least_us`; none when the sound need not wait.
pub(crate) fn wanted_us(mode: LipSync, picture_us: i64, least_us: f64) -> Option<f64> {
    let wait_us = picture_us as f64 - least_us;
    (mode == LipSync::Sync && picture_us > 0 && wait_us > 0.0).then(|| least_us + wait_us.min(MOST_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_waits_for_the_picture_but_not_for_ever() {
        let wanted = |mode, picture_us| wanted_us(mode, picture_us, 40_000.0);
        assert_eq!(wanted(LipSync::Sync, 75_000), Some(75_000.0));
        assert_eq!(wanted(LipSync::Sync, 400_000), Some(100_000.0));
        assert_eq!(wanted(LipSync::Sync, 30_000), None, "the picture is earlier");
        assert_eq!(wanted(LipSync::Sync, 0), None, "no picture");
        assert_eq!(wanted(LipSync::VoiceFirst, 75_000), None);
    }
}
