//! A card's mixer: what must not be muted is turned on, and volumes are set to what neither amplifies nor
//! weakens. Cards differ; whatever one does not have is left out.
//!
//! Source: alsa-lib's simple mixer interface; the kernel's Documentation/sound/designs/control-names.rst.

use alsa::Round;
use alsa::mixer::{MilliBel, Mixer, Selem};

use super::candidates::Direction;
use super::error::Error;

/// Elements on the way to a loudspeaker. `IEC958` is the switch of HDMI and S/PDIF.
const PLAYBACK: [&str; 11] = [
    "Master",
    "PCM",
    "Speaker",
    "Headphone",
    "Headset",
    "Front",
    "Line Out",
    "Bass Speaker",
    "Surround",
    "Center",
    "IEC958",
];
/// Elements on the way from a microphone.
const CAPTURE: [&str; 6] = ["Capture", "Mic", "Internal Mic", "Headset Mic", "Front Mic", "Headset"];
/// Words of elements that play what a card hears or makes itself: an echo that nobody could cancel.
const MONITORS: [&str; 6] = ["Mic", "Capture", "Line", "Beep", "Loopback", "Sidetone"];
/// What neither amplifies nor weakens.
const UNITY: MilliBel = MilliBel(0);

/// What is done with an element when sound is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// On, at its volume.
    On,
    /// Off.
    Off,
    /// Left alone.
    None,
}

fn part_in_playback(name: &str) -> Part {
    if PLAYBACK.contains(&name) {
        Part::On
    } else if MONITORS.iter().any(|word| name.contains(word)) {
        Part::Off
    } else {
        Part::None
    }
}

/// The volume in steps that a percentage asks for.
fn steps(range: (i64, i64), percent: u8) -> i64 {
    let (low, high) = range;
    low + (high - low).max(0) * i64::from(percent.min(100)) / 100
}

/// Sets the mixer of card number `card` for sound in one direction: to `percent` of each volume's range, or,
/// without it, loudspeakers to 0 dB and microphones to 0 dB when they can be below that (a USB microphone's
/// range may begin there, and its own setting is better). Gives the names of the elements that were set.
///
/// # Errors
/// [`Error::Call`] when the card has no mixer. Sound may come all the same.
pub fn set_mixer(card: u32, direction: Direction, percent: Option<u8>) -> Result<Vec<String>, Error> {
    let device = format!("hw:{card}");
    let mixer = Mixer::new(&device, true).map_err(|e| Error::from_alsa(&device, e))?;
    let elements = || mixer.iter().filter_map(Selem::new);
    let mut set = Vec::new();
    for element in elements() {
        let id = element.get_id();
        let Ok(name) = id.get_name() else { continue };
        let done = match direction {
            Direction::Capture => CAPTURE.contains(&name) && capture(&element, percent),
            Direction::Playback => match part_in_playback(name) {
                Part::On => playback(&element, percent),
                Part::Off => element.has_playback_switch() && element.set_playback_switch_all(0).is_ok(),
                Part::None => false,
            },
        };
        if done {
            set.push(name.to_owned());
        }
    }
    // Simple USB devices name their one element as they like.
    let is_free = |element: &Selem<'_>| {
        element.get_id().get_name().is_ok_and(|name| part_in_playback(name) == Part::None)
    };
    let none_on = !set.iter().any(|name| part_in_playback(name) == Part::On);
    if direction == Direction::Playback && none_on {
        for element in elements().filter(|element| element.has_playback_volume() && is_free(element)) {
            if playback(&element, percent) {
                set.extend(element.get_id().get_name().map(str::to_owned));
            }
        }
    }
    Ok(set)
}

/// Whether anything of it could be set.
fn playback(element: &Selem<'_>, percent: Option<u8>) -> bool {
    let on = element.has_playback_switch() && element.set_playback_switch_all(1).is_ok();
    let volume = element.has_playback_volume()
        && match percent {
            Some(percent) => {
                let volume = steps(element.get_playback_volume_range(), percent);
                element.set_playback_volume_all(volume).is_ok()
            }
            None => {
                let (low, high) = element.get_playback_db_range();
                let unity = MilliBel(UNITY.0.min(high.0).max(low.0));
                match low.0 < high.0 {
                    true => element.set_playback_db_all(unity, Round::Floor).is_ok(),
                    // Without a scale in dB the highest is the likeliest to be unity.
                    false => element.set_playback_volume_all(element.get_playback_volume_range().1).is_ok(),
                }
            }
        };
    on || volume
}

fn capture(element: &Selem<'_>, percent: Option<u8>) -> bool {
    let on = element.has_capture_switch() && element.set_capture_switch_all(1).is_ok();
    let volume = element.has_capture_volume()
        && match percent {
            Some(percent) => {
                let volume = steps(element.get_capture_volume_range(), percent);
                element.set_capture_volume_all(volume).is_ok()
            }
            None => {
                let (low, high) = element.get_capture_db_range();
                low.0 < UNITY.0
                    && element.set_capture_db_all(MilliBel(high.0.min(UNITY.0)), Round::Floor).is_ok()
            }
        };
    on || volume
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_spans_the_range() {
        assert_eq!([0, 50, 100, 255].map(|percent| steps((0, 87), percent)), [0, 43, 87, 87]);
        assert_eq!(steps((-10, 10), 50), 0);
        assert_eq!(steps((5, 5), 50), 5);
    }

    #[test]
    fn nobody_hears_himself_through_the_card() {
        for name in ["Mic", "Front Mic", "Beep", "Loopback Mixing", "Line"] {
            assert_eq!(part_in_playback(name), Part::Off, "{name}");
        }
        for name in ["Master", "PCM", "Line Out", "IEC958"] {
            assert_eq!(part_in_playback(name), Part::On, "{name}");
        }
        for name in ["Auto-Mute Mode", "Jabra SPEAK 510"] {
            assert_eq!(part_in_playback(name), Part::None, "{name}");
        }
    }
}
