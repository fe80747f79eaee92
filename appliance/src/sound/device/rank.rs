//! Which of a machine's sound devices a booth takes.

use std::borrow::Cow;
use std::fmt;

use super::candidates::{Candidate, Direction};
use super::error::Error;
use crate::units::SoundDeviceRequest;

/// What else the choice depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The name that the screen in use has in its EDID, as far as is known.
    pub monitor: Option<&'a str>,
}

/// A device that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// It.
    pub candidate: Candidate,
    /// The subdevice that was asked for.
    pub subdevice: Option<u32>,
    /// Why it stands where it does.
    pub reason: &'static str,
}

impl Choice {
    /// ALSA's name for it: good until cards change.
    pub fn hw(&self) -> String {
        self.candidate.hw(self.subdevice)
    }
}

/// A device that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// It.
    pub candidate: Candidate,
    /// Why not.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.candidate, self.reason)
    }
}

/// Devices in the order in which they are to be tried, and those that are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranking {
    /// The best first.
    pub choices: Vec<Choice>,
    /// The rest.
    pub refused: Vec<Refusal>,
}

/// A device that was opened, and those that were not.
#[derive(Debug)]
pub struct Opened<T> {
    /// What opening gave.
    pub stream: T,
    /// The device.
    pub choice: Choice,
    /// Those that did not fit, or failed when it was their turn.
    pub refused: Vec<Refusal>,
}

impl Ranking {
    /// Opens the first device that can be, by its name in ALSA.
    ///
    /// # Errors
    /// [`Error::NotFound`], with every device and why not.
    pub fn open<T>(
        self,
        direction: Direction,
        request: &SoundDeviceRequest,
        mut open: impl FnMut(&str) -> Result<T, Error>,
    ) -> Result<Opened<T>, Error> {
        let mut refused = self.refused;
        for choice in self.choices {
            match open(&choice.hw()) {
                Ok(stream) => return Ok(Opened { stream, choice, refused }),
                Err(e) => refused.push(Refusal { candidate: choice.candidate, reason: e.to_string().into() }),
            }
        }
        let refused: Vec<String> = refused.iter().map(Refusal::to_string).collect();
        let refused = if refused.is_empty() { "there is none".to_owned() } else { refused.join("; ") };
        Err(Error::NotFound { direction: direction.name(), wanted: request.to_string(), refused })
    }
}

/// Ranks a machine's devices of one direction for a request.
pub fn rank(
    direction: Direction,
    request: &SoundDeviceRequest,
    candidates: Vec<Candidate>,
    facts: Facts<'_>,
) -> Ranking {
    let mut ranking = Ranking::default();
    let mut ranked = Vec::new();
    for candidate in candidates {
        match judge(direction, request, &candidate, facts) {
            Ok((order, reason)) => ranked.push((order, candidate, reason)),
            Err(reason) => ranking.refused.push(Refusal { candidate, reason: reason.into() }),
        }
    }
    // Stable: among equals the lowest numbers come first.
    ranked.sort_by_key(|(order, _, _)| *order);
    let subdevice = match request {
        SoundDeviceRequest::Hw { subdevice, .. } => *subdevice,
        _ => None,
    };
    let choices = ranked.into_iter().map(|(_, candidate, reason)| Choice { candidate, subdevice, reason });
    ranking.choices = choices.collect();
    ranking
}

/// Where a device stands, and why; or why nowhere.
fn judge(
    direction: Direction,
    request: &SoundDeviceRequest,
    candidate: &Candidate,
    facts: Facts<'_>,
) -> Result<(u8, &'static str), &'static str> {
    match request {
        SoundDeviceRequest::None => Err("none is wanted"),
        SoundDeviceRequest::Auto if candidate.software => {
            Err("it has no hardware; name it if it is to be used all the same")
        }
        SoundDeviceRequest::Auto => usual(direction, candidate, facts),
        SoundDeviceRequest::Card(name) if candidate.id != *name && candidate.bus != *name => {
            Err("another is asked for")
        }
        // Of a card that was named even a device that seems useless may be meant, but comes last.
        SoundDeviceRequest::Card(_) => Ok(usual(direction, candidate, facts)
            .map_or((u8::MAX, "of the card asked for"), |(order, _)| (order, "of the card asked for"))),
        SoundDeviceRequest::Hw { card, device, subdevice } => {
            let card_fits = candidate.id == *card || card.parse() == Ok(candidate.card);
            if !card_fits || candidate.device != *device {
                Err("another is asked for")
            } else if subdevice.is_some_and(|subdevice| subdevice >= candidate.subdevices) {
                Err("it has no such subdevice")
            } else {
                Ok((0, "asked for"))
            }
        }
    }
}

fn usual(
    direction: Direction,
    candidate: &Candidate,
    facts: Facts<'_>,
) -> Result<(u8, &'static str), &'static str> {
    let speakerphone = candidate.usb && candidate.duplex && !candidate.webcam;
    match direction {
        Direction::Playback if candidate.hdmi => match &candidate.eld {
            None => Err("no monitor with loudspeakers is connected to it"),
            Some(eld) if facts.monitor.is_some_and(|name| eld.is_of(name)) => {
                Ok((0, "the loudspeakers of the screen in use"))
            }
            Some(_) => Ok((3, "another monitor's loudspeakers")),
        },
        _ if speakerphone => Ok((1, "a speakerphone on USB")),
        Direction::Capture if candidate.webcam => Ok((3, "a webcam's microphone")),
        Direction::Playback if candidate.usb => Ok((2, "a loudspeaker on USB")),
        Direction::Capture if candidate.usb => Ok((2, "a microphone on USB")),
        // Beside it the sockets for microphones look the same whether there is one or not.
        Direction::Capture if candidate.pcm.starts_with("DMIC ") => Ok((4, "built-in digital microphones")),
        _ if candidate.spdif => Ok((6, "a digital connector, at which there may be nothing")),
        _ => Ok((5, "built in")),
    }
}
