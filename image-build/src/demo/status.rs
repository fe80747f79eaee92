//! What a booth says of itself, as far as the demo shows it.

use serde::Deserialize;
use serde_json::Value;

/// A booth's status; whatever it does not say is empty or zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// What it is doing: starting, looking, live, …
    pub(crate) state: String,
    /// Since its start, in milliseconds.
    pub(crate) uptime_ms: u64,
    /// Its camera.
    pub(crate) camera: Camera,
    /// What compresses.
    pub(crate) encoder: Codec,
    /// The other booths.
    pub(crate) peers: Vec<Peer>,
    /// What was counted for all of them together.
    pub(crate) total: Total,
    /// What the video threads count.
    pub(crate) video: Video,
    /// What it sends.
    pub(crate) sent: Sent,
    /// What it receives.
    pub(crate) received: Received,
    /// Its screen.
    pub(crate) screen: Screen,
    /// Where the time goes, in the order of the way; the last is `total`.
    pub(crate) stages: Vec<Stage>,
}

/// The camera.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Camera {
    /// off, searching, streaming.
    pub(crate) state: String,
    /// Size, format, rate.
    pub(crate) mode: String,
}

/// A codec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Codec {
    /// FFmpeg's name for it.
    pub(crate) name: String,
}

/// The way to the other booth.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Peer {
    /// Whether there is one.
    pub(crate) connected: bool,
    /// direct or relay.
    pub(crate) route: String,
    /// There and back, in microseconds.
    pub(crate) rtt_us: i64,
}

/// What left.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sent {
    /// In kbit/s.
    pub(crate) bitrate_kbps: u64,
}

/// What was counted for all peers together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Total {
    /// Frames dropped before sending.
    pub(crate) dropped_frames: u64,
    /// Frames that came.
    pub(crate) received_frames: u64,
    /// Frames that never came.
    pub(crate) lost_frames: u64,
}

/// What the video threads count.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Video {
    /// Pictures of the other booth shown so far.
    pub(crate) shown: u64,
}

/// What came.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Received {
    /// In kbit/s.
    pub(crate) bitrate_kbps: u64,
}

/// The screen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Screen {
    /// off, searching, on.
    pub(crate) state: String,
    /// Size and rate.
    pub(crate) mode: String,
    /// The card shown for want of a picture; empty when there is one.
    pub(crate) card: String,
}

/// One leg of a frame's way.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stage {
    /// Its name.
    pub(crate) stage: String,
    /// Half of the frames took no longer, in microseconds.
    pub(crate) p50_us: i64,
    /// 95 of 100 took no longer, in microseconds.
    pub(crate) p95_us: i64,
}

impl Status {
    /// The first of the other booths that is connected.
    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.connected)
    }

    /// From JSON; nothing when it is none.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let mut value = serde_json::from_slice(json).ok()?;
        drop_nulls(&mut value);
        serde_json::from_value(value).ok()
    }

    /// Pictures shown per second since an earlier status.
    pub(crate) fn shown_per_second_since(&self, earlier: &Self) -> Option<f64> {
        let ms = self.uptime_ms.checked_sub(earlier.uptime_ms).filter(|&ms| ms > 0)?;
        Some(self.video.shown.checked_sub(earlier.video.shown)? as f64 * 1000.0 / ms as f64)
    }
}

/// `null` says the same as nothing said.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(drop_nulls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_missing_parts_do_no_harm() {
        let status =
            Status::parse(br#"{"state":"live","new":{"x":1},"video":{"shown":3},"screen":{"card":null}}"#)
                .unwrap();
        assert_eq!((status.state.as_str(), status.video.shown), ("live", 3));
        assert!(Status::parse(b"{").is_none());
    }

    #[test]
    fn rate_needs_time_to_pass() {
        let at = |uptime_ms, shown| Status { uptime_ms, video: Video { shown }, ..Status::default() };
        assert_eq!(at(3000, 90).shown_per_second_since(&at(1000, 30)), Some(30.0));
        assert_eq!(at(1000, 30).shown_per_second_since(&at(1000, 30)), None);
        // A booth that started again.
        assert_eq!(at(100, 3).shown_per_second_since(&at(1000, 30)), None);
    }
}
