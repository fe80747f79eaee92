//! What travels between the video rooms: pictures, access units, and the stamps of every stage they pass.

use bytes::Bytes;
use ffmpeg_next::frame;

/// When a frame passed each stage, in µs on its own booth's clock ([`crate::media::clock::now_us`]).
///
/// The stages tile: each begins where the one before ends, so their durations add up to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The driver's timestamp of the exposure or, with vivid, of the drawing.
    pub capture_us: u64,
    /// Dequeued from the driver.
    pub dequeued_us: u64,
    /// Ready for the encoder: taken from the mailbox, converted.
    pub staged_us: u64,
    /// The encoder gave its access unit.
    pub encoded_us: u64,
    /// The first shard went to the transport.
    pub sent_us: u64,
    /// The last shard needed came out of the transport.
    pub received_us: u64,
    /// The decoder gave its picture.
    pub decoded_us: u64,
    /// It went to the screen: at once, or when the sound captured with it is due.
    pub released_us: u64,
    /// The vblank from which the picture is on the screen.
    pub flipped_us: u64,
}

impl Stamps {
    /// The names of the stages between the stamps, in the order of [`Stamps::durations_us`].
    pub const STAGES: [&'static str; 8] =
        ["dequeue", "stage", "encode", "send", "receive", "decode", "wait", "flip"];

    /// How long each stage took, in µs; together they are `flipped_us - capture_us`.
    pub fn durations_us(&self) -> [i64; 8] {
        let t = [
            self.capture_us,
            self.dequeued_us,
            self.staged_us,
            self.encoded_us,
            self.sent_us,
            self.received_us,
            self.decoded_us,
            self.released_us,
            self.flipped_us,
        ];
        std::array::from_fn(|i| t[i + 1] as i64 - t[i] as i64)
    }

    /// The stamps of the sending half, moved by `offset_us` onto the clock of the booth that received them.
    pub fn shifted_us(mut self, offset_us: i64) -> Self {
        for t in [
            &mut self.capture_us,
            &mut self.dequeued_us,
            &mut self.staged_us,
            &mut self.encoded_us,
            &mut self.sent_us,
        ] {
            *t = t.saturating_add_signed(offset_us);
        }
        self
    }
}

/// A video picture on its way: in host memory (planar YUV, NV12, …) or in a DMA-BUF (DRM_PRIME).
pub struct Picture {
    /// The pixels. With the format `Pixel::DRM_PRIME`, `data[0]` is an `AVDRMFrameDescriptor`.
    pub frame: frame::Video,
    /// Counts the frames of one camera without a gap, as the camera's driver numbers them.
    pub number: u32,
    /// The session that a received picture came by; 0 for our own camera's.
    pub session: u64,
    /// When it passed each stage.
    pub stamps: Stamps,
}

/// What a camera gives: a picture, or a JPEG of one.
pub struct Sample {
    /// The picture.
    pub picture: Picture,
    /// Whether its plane 0 is a JPEG (ITU-T T.81) of `picture.frame.width()` bytes, and not pixels.
    pub jpeg: bool,
    /// Pictures per second of the camera's mode.
    pub fps: f64,
}

/// A coded picture: one HEVC access unit in Annex B form (ITU-T H.265, section 7.4.2.4.4).
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// The bytes, with parameter sets before every keyframe.
    pub data: Bytes,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// As [`Picture::number`]; on the receiving side as numbered by the sender's link.
    pub number: u32,
    /// When it passed each stage.
    pub stamps: Stamps,
}

/// What comes from another booth: a coded picture, its stamps on our clock.
#[derive(Debug)]
pub struct Incoming {
    /// Which session it came by; with a new one, numbers and references begin again.
    pub session: u64,
    /// The access unit. A number that does not follow the one before means that something is missing.
    pub unit: AccessUnit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_tile() {
        let s = Stamps {
            capture_us: 10,
            dequeued_us: 12,
            staged_us: 15,
            encoded_us: 22,
            sent_us: 23,
            received_us: 40,
            decoded_us: 44,
            released_us: 51,
            flipped_us: 60,
        };
        assert_eq!(s.durations_us().iter().sum::<i64>(), 50);
    }
}
