//! Whose canceller.

use std::io;

use super::case::{STEP_S, Scene};
use super::chain::{self, Outcome};
use super::peers;

/// A canceller, and what it is told of clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Ours: the reference on the microphone's clock, the adaptive filter, the guard.
    Us,
    /// `sonora`'s pipeline as it comes.
    Sonora,
    /// speexdsp.
    Speex,
}

impl Scheme {
    /// In the order in which they run.
    pub const ALL: [Self; 3] = [Self::Us, Self::Sonora, Self::Speex];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Us => "holobooth",
            Self::Sonora => "sonora 0.2",
            Self::Speex => "speex",
        }
    }

    /// On the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Sonora => "sonora",
            Self::Speex => "speex",
        }
    }

    /// Runs it over a scene.
    ///
    /// # Errors
    /// When it refuses a frame.
    pub fn run(self, scene: &Scene) -> io::Result<Outcome> {
        match self {
            Self::Us => chain::run(scene, STEP_S, 1).map_err(io::Error::other),
            Self::Sonora => peers::sonora(scene),
            Self::Speex => peers::speex(scene),
        }
    }
}
