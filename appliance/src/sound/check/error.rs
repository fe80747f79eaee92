//! Why a sound check says nothing.

/// Why a sound check says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One is under way.
    #[error("sound: a check is under way; wait for its result")]
    Busy,
    /// A card is switched off in the configuration.
    #[error("sound: this booth has no {what} (sound.{what} is \"none\"); name one there, or \"auto\"")]
    Off {
        /// `microphone` or `loudspeaker`.
        what: &'static str,
    },
    /// A card does nothing.
    #[error("sound: the {what} does not run; plug it in, and see what `holobooth status` says of it")]
    NotRunning {
        /// `microphone` or `loudspeaker`.
        what: &'static str,
    },
    /// A card cannot be had, and why.
    #[error("{0}")]
    Card(String),
    /// A card was late or came and went, each time.
    #[error("sound: a card was interrupted in each try; see that its plug is firm, and try once more")]
    Interrupted,
    /// The booth ends.
    #[error("sound: the booth is ending; try once more when it runs")]
    Stopped,
}
