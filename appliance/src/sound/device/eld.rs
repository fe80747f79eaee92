//! What a monitor or receiver behind HDMI or DisplayPort says of its loudspeakers: the ELD.
//!
//! Source: High Definition Audio Specification 1.0a, 7.3.3.34 (EDID-Like Data); the kernel's
//! sound/hda/codecs/hdmi/eld.c, which writes the text.

/// A valid ELD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eld {
    /// The monitor's name, as its EDID has it.
    pub monitor: String,
    /// Whether the cable is called DisplayPort rather than HDMI.
    pub displayport: bool,
}

/// Bytes before the baseline block.
const HEADER: usize = 4;
/// Where the monitor's name begins.
const NAME: usize = 20;

impl Eld {
    /// Reads `/proc/asound/cardN/eld#C.P`; nothing when no monitor is there, or it has no loudspeakers.
    pub fn from_text(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(char::is_whitespace)?;
                (name == key).then(|| value.trim())
            })
        };
        let there = value("monitor_present") == Some("1") && value("eld_valid") == Some("1");
        there.then(|| Self {
            monitor: value("monitor_name").unwrap_or_default().to_owned(),
            displayport: value("connection_type") == Some("DisplayPort"),
        })
    }

    /// Reads the bytes of the control `ELD` of a PCM device; nothing when they are not valid.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // ELD_Ver 2 is CEA-861-D or below; 31 says that the video driver has not set it.
        let version = bytes.first()? >> 3;
        let baseline = usize::from(*bytes.get(2)?) * 4;
        if !(1..31).contains(&version) || baseline == 0 {
            return None;
        }
        let name = usize::from(bytes.get(HEADER)? & 0x1F);
        let displayport = (bytes.get(HEADER + 1)? >> 2) & 3 == 1;
        let name = bytes.get(NAME..NAME + name)?;
        Some(Self {
            monitor: String::from_utf8_lossy(name).trim_end_matches(['\0', ' ']).to_owned(),
            displayport,
        })
    }

    /// Whether it is of the monitor that calls itself `name` in its EDID.
    pub fn is_of(&self, name: &str) -> bool {
        let name = name.trim();
        !name.is_empty() && self.monitor.trim().eq_ignore_ascii_case(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "monitor_present\t\t1\neld_valid\t\t1\ncodec_pin_nid\t\t0x5\nmonitor_name\t\tDELL U2711\n\
        connection_type\t\tHDMI\neld_version\t\t[0x2] CEA-861D or below\nsad_count\t\t1\n";

    #[test]
    fn text_says_whose_loudspeakers_they_are() {
        let eld = Eld::from_text(TEXT).unwrap();
        assert_eq!(eld, Eld { monitor: "DELL U2711".into(), displayport: false });
        assert!(eld.is_of("dell u2711 ") && !eld.is_of("DELL") && !eld.is_of(""));
        assert_eq!(Eld::from_text(&TEXT.replace("eld_valid\t\t1", "eld_valid\t\t0")), None);
        assert_eq!(Eld::from_text("monitor_present\t\t0\neld_valid\t\t0\n"), None);
        assert_eq!(Eld::from_text(""), None);
        let port = TEXT.replace("HDMI", "DisplayPort").replace("DELL U2711", "");
        assert_eq!(Eld::from_text(&port), Some(Eld { monitor: String::new(), displayport: true }));
    }

    #[test]
    fn bytes_say_the_same_and_damaged_ones_nothing() {
        let mut bytes = vec![0; 36];
        (bytes[0], bytes[2], bytes[4], bytes[5]) = (2 << 3, 8, 3 << 5 | 10, 1 << 4 | 1 << 2);
        bytes[20..30].copy_from_slice(b"DELL U2711");
        assert_eq!(Eld::from_bytes(&bytes), Some(Eld { monitor: "DELL U2711".into(), displayport: true }));
        for length in 0..30 {
            assert_eq!(Eld::from_bytes(&bytes[..length]), None, "{length}");
        }
        bytes[0] = 31 << 3;
        assert_eq!(Eld::from_bytes(&bytes), None);
        assert_eq!(Eld::from_bytes(&[0; 128]), None);
    }
}
