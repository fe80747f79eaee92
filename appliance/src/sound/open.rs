//! Opening the card that is asked for: what the machine has, ranked, and tried in order.

use super::device::{
    CapturePcm, Choice, Direction, Error, Facts, Opened, PlaybackPcm, candidates, rank, set_mixer,
};
use crate::units::SoundRequest;

/// Opens the microphone.
///
/// # Errors
/// When no device fits or can be opened.
pub(super) fn microphone(request: &SoundRequest) -> Result<Opened<CapturePcm>, Error> {
    let (direction, wanted) = (Direction::Capture, &request.microphone);
    let ranking = rank(direction, wanted, candidates(direction), Facts::default());
    let opened = ranking.open(direction, wanted, CapturePcm::open)?;
    mixer(&opened.choice, direction, None);
    Ok(opened)
}

/// Opens the loudspeaker; `monitor` is what the screen in use is called in its EDID.
///
/// # Errors
/// As [`microphone`].
pub(super) fn loudspeaker(
    request: &SoundRequest,
    monitor: Option<&str>,
) -> Result<Opened<PlaybackPcm>, Error> {
    let (direction, wanted) = (Direction::Playback, &request.loudspeaker);
    let ranking = rank(direction, wanted, candidates(direction), Facts { monitor });
    let opened = ranking.open(direction, wanted, PlaybackPcm::open)?;
    mixer(&opened.choice, direction, request.volume_percent);
    Ok(opened)
}

fn mixer(choice: &Choice, direction: Direction, percent: Option<u8>) {
    // A card without a mixer is as loud as it is.
    if let Err(e) = set_mixer(choice.candidate.card, direction, percent) {
        log::debug!("sound: {}: no mixer: {e}", choice.hw());
    }
}

/// A card's name, where it is plugged in, and why it was taken.
pub(super) fn describe(choice: &Choice) -> String {
    format!("{} ({})", choice.candidate, choice.reason)
}
