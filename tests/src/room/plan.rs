//! What a room is made of, and what it leaves.

use std::path::Path;

use super::air::Acoustics;
use super::cable::Cable;
use super::error::Error;
use super::track::Track;
use super::voice;
use crate::child::Side;

/// A room, its cables and their clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What it listens to.
    pub loudspeaker: Cable,
    /// What it speaks into; of the same card.
    pub microphone: Cable,
    /// Clock error of the loudspeaker's cable, in ppm.
    pub loudspeaker_ppm: i32,
    /// Clock error of the microphone's cable, in ppm.
    pub microphone_ppm: i32,
    /// What is between them.
    pub acoustics: Acoustics,
    /// Noise at the microphone, in dB of full scale (RMS); none for digital silence.
    pub noise_db: Option<f32>,
    /// Seconds that are kept at most.
    pub seconds: u32,
}

impl Plan {
    /// The room of a booth, with its clock errors of loudspeaker and microphone.
    pub fn of(side: Side, ppm: (i32, i32), acoustics: Acoustics, seconds: u32) -> Self {
        Self {
            loudspeaker: Cable::loudspeaker(side),
            microphone: Cable::microphone(side),
            loudspeaker_ppm: ppm.0,
            microphone_ppm: ppm.1,
            acoustics,
            noise_db: Some(voice::LEVEL_DB - voice::OVER_NOISE_DB),
            seconds,
        }
    }

    /// Where the booth of this room is, as one who stands at the booth's ends of both cables: hears what the
    /// microphone hears, and plays to the loudspeaker.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self {
            loudspeaker: self.microphone,
            microphone: self.loudspeaker,
            loudspeaker_ppm: self.microphone_ppm,
            microphone_ppm: self.loudspeaker_ppm,
            ..self
        }
    }

    /// Only the microphone's cable, which is listened to at its other end.
    #[must_use]
    pub fn one_cable(self) -> Self {
        Self { loudspeaker: self.microphone, loudspeaker_ppm: self.microphone_ppm, ..self }
    }
}

/// What went through a room.
#[derive(Debug, Clone)]
pub struct Recording {
    /// What the loudspeaker played.
    pub played: Track,
    /// What was said, without echo and noise.
    pub said: Track,
    /// What the microphone was given: all of it.
    pub given: Track,
    /// Times that the room was kept from a cable so long that it lost its place.
    pub held_up: u64,
    /// Samples of echo that came too late.
    pub missing: u64,
}

impl Recording {
    /// Writes WAVs: `NAME-played.wav`, `NAME-said.wav` and `NAME-given.wav`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn save(&self, dir: &Path, name: &str) -> Result<(), Error> {
        for (track, what) in [(&self.played, "played"), (&self.said, "said"), (&self.given, "given")] {
            track.save(&dir.join(format!("{name}-{what}.wav")))?;
        }
        Ok(())
    }

    /// Whether the room kept up: otherwise what was heard says nothing.
    pub fn kept_up(&self) -> bool {
        self.held_up == 0 && self.missing == 0
    }
}
