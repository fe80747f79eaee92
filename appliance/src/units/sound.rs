//! What the configuration asks of a microphone and a loudspeaker.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// More bytes than this name no card.
const MAX_LENGTH: usize = 128;

/// Which ALSA device is asked for; one request is for a microphone, another for a loudspeaker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SoundDeviceRequest {
    /// The one that fits a booth best.
    #[default]
    Auto,
    /// None at all.
    None,
    /// A card's id (`Speakerphone`) or the port that it is plugged into (`usb-0000:00:14.0-2`).
    Card(String),
    /// One device of a card: `hw:CARD,DEVICE` or `hw:CARD,DEVICE,SUBDEVICE`.
    Hw {
        /// The card's id or number; only an id is the same after the next start.
        card: String,
        /// The number of the PCM device.
        device: u32,
        /// The subdevice, or any that is free.
        subdevice: Option<u32>,
    },
}

/// A text that is no [`SoundDeviceRequest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sound device is `{0}`; allowed is \"auto\", \"none\", a card's id such as \"Speakerphone\", its port \
     such as \"usb-0000:00:14.0-2\", or \"hw:CARD,DEVICE\""
)]
pub struct SoundDeviceError(String);

impl FromStr for SoundDeviceRequest {
    type Err = SoundDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || SoundDeviceError(text.to_owned());
        let name = |text: &str| {
            let fits = (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            (fits && !text.contains(',')).then(|| text.to_owned())
        };
        match text {
            "auto" => return Ok(Self::Auto),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let Some(hw) = text.strip_prefix("hw:") else {
            return name(text).map(Self::Card).ok_or_else(error);
        };
        let mut parts = hw.split(',');
        let card = parts.next().and_then(name).ok_or_else(error)?;
        let device = parts.next().and_then(|part| part.parse().ok()).ok_or_else(error)?;
        let subdevice = parts.next().map(str::parse).transpose().map_err(|_| error())?;
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self::Hw { card, device, subdevice })
    }
}

impl fmt::Display for SoundDeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Card(name) => f.write_str(name),
            Self::Hw { card, device, subdevice: None } => write!(f, "hw:{card},{device}"),
            Self::Hw { card, device, subdevice: Some(subdevice) } => {
                write!(f, "hw:{card},{device},{subdevice}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for SoundDeviceRequest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for text in ["auto", "none", "PCH", "usb-0000:00:14.0-2.1", "0000:00:1f.3", "hw:PCH,3", "hw:0,0,7"] {
            assert_eq!(text.parse().map(|r: SoundDeviceRequest| r.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", "two words", "hw:", "hw:PCH", "hw:,0", "hw:PCH,", "hw:PCH,x", "hw:PCH,0,", "hw:PCH,0,0,0"]
        {
            assert!(text.parse::<SoundDeviceRequest>().is_err(), "{text}");
        }
        assert!("x".repeat(MAX_LENGTH + 1).parse::<SoundDeviceRequest>().is_err());
        assert_eq!(
            "hw:bootha,1,2".parse(),
            Ok(SoundDeviceRequest::Hw { card: "bootha".into(), device: 1, subdevice: Some(2) })
        );
    }

    #[test]
    fn the_file_says_what_is_allowed() {
        #[derive(Debug, Deserialize)]
        struct File {
            device: SoundDeviceRequest,
        }
        let file: File = toml::from_str("device = \"PCH\"").unwrap();
        assert_eq!(file.device, SoundDeviceRequest::Card("PCH".into()));
        let error = toml::from_str::<File>("device = \"hw:PCH\"").unwrap_err().to_string();
        assert!(error.contains("hw:CARD,DEVICE"), "{error}");
    }
}
