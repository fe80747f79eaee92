//! The tracks of a booth, as a table: a new one is a row.

/// What a track's datagrams are sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyContext {
    /// The sender's own key, which every peer of its instance is given: one datagram for all of them, so that
    /// a relay can fan it out.
    Sender,
    /// The key between two instances: a datagram for one peer.
    Pair,
}

/// A track: datagrams that may be lost, doubled and reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// Sound.
    Voice,
    /// Arrivals, losses, repair and keyframe requests, the clock.
    Feedback,
    /// Frames.
    Hologram,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrackInfo {
    /// The track itself.
    pub(crate) track: Track,
    /// What it is called in a broadcast. A track for one peer has that peer's fingerprint behind it.
    pub(crate) name: &'static str,
    /// Higher goes first, here and at a relay (moq-lite-06, subscriber priority).
    pub(crate) priority: u8,
    /// From capture to use, in µs: later is of no use. None where the configuration or nobody says so.
    pub(crate) deadline_us: Option<u64>,
    /// What its datagrams are sealed with.
    pub(crate) key: KeyContext,
    /// The number by which feedback names it.
    pub(crate) feedback_id: u8,
}

/// All tracks, the most urgent first.
pub(crate) const TRACKS: [TrackInfo; 3] = [
    TrackInfo {
        track: Track::Voice,
        name: "voice",
        priority: 250,
        deadline_us: Some(60_000),
        key: KeyContext::Sender,
        feedback_id: 1,
    },
    TrackInfo {
        track: Track::Feedback,
        name: "feedback",
        priority: 200,
        deadline_us: None,
        key: KeyContext::Pair,
        feedback_id: 2,
    },
    TrackInfo {
        track: Track::Hologram,
        name: "hologram",
        priority: 100,
        deadline_us: None,
        key: KeyContext::Sender,
        feedback_id: 0,
    },
];

impl Track {
    /// Its row.
    pub(crate) const fn info(self) -> &'static TrackInfo {
        &TRACKS[self as usize]
    }

    /// The track that feedback names by `id`.
    pub(crate) fn from_feedback_id(id: u8) -> Option<Self> {
        TRACKS.iter().find(|info| info.feedback_id == id).map(|info| info.track)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_track_stands_in_its_own_row_and_the_most_urgent_first() {
        for (n, info) in TRACKS.iter().enumerate() {
            assert_eq!(info.track as usize, n);
            assert_eq!(Track::from_feedback_id(info.feedback_id), Some(info.track));
        }
        assert!(TRACKS.is_sorted_by(|a, b| a.priority > b.priority));
        assert_eq!(Track::from_feedback_id(9), None);
    }
}
