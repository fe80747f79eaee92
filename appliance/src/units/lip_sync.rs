//! What waits for what, of picture and sound.

use serde::Deserialize;

/// What waits when picture and sound of one moment come at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LipSync {
    /// Whichever is earlier.
    #[default]
    Sync,
    /// Never the sound.
    VoiceFirst,
}
