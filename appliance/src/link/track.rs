//! The tracks of a booth.

/// The tracks of a booth, each a stream of datagrams that may be lost, doubled and reordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// Frames.
    Hologram,
    /// What goes back.
    Feedback,
}

impl Track {
    /// All of them, each at its number's place.
    pub(crate) const ALL: [Self; 2] = [Self::Hologram, Self::Feedback];

    /// What it is called in a broadcast.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hologram => "hologram",
            Self::Feedback => "feedback",
        }
    }
}
