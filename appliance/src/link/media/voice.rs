//! The `voice` track: each datagram carries a voice frame and the two before it, so that losses of up to two
//! in a row cost nothing. No I/O.
//!
//! ```text
//! voice:  kind:8=4  packet:32  number:32  capture_us:64  {length:8  bytes…}…
//! ```
//! All numbers are big endian; the newest frame comes first. `packet` numbers the datagrams of all media
//! tracks (see [`super::packet`]); `number` and `capture_us` are the newest frame's, each further one is
//! [`VOICE_FRAME_US`] older.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::link::media::packet::MAX_TIME_US;
use crate::link::sizes::SAFE_DATAGRAM;
use crate::media::voice::{VOICE_FRAME_US, VoiceFrame};

const VOICE: u8 = 4;
const HEADER: usize = 17;
/// Frames in one datagram.
const COPIES: usize = 3;
/// A number so far ahead of the newest belongs to a sender that has started again.
const RESTART: u32 = 500;
/// Voice frames of which it is remembered that they came.
const REMEMBERED: u32 = 64;

/// Makes datagrams of voice frames.
#[derive(Debug, Default)]
pub(crate) struct VoicePacketizer {
    earlier: VecDeque<VoiceFrame>,
}

impl VoicePacketizer {
    /// The datagram with `frame`, numbered `packet`; none when the frame is too long for one.
    pub(crate) fn packetize(&mut self, frame: VoiceFrame, packet: u32) -> Option<Bytes> {
        u8::try_from(frame.data.len()).ok()?;
        self.earlier.truncate(COPIES - 1);
        let mut out = BytesMut::with_capacity(SAFE_DATAGRAM);
        out.put_u8(VOICE);
        out.put_u32(packet);
        out.put_u32(frame.number);
        out.put_u64(frame.capture_us);
        let follows = |(n, earlier): &(u32, &VoiceFrame)| earlier.number == frame.number.wrapping_sub(1 + n);
        let earlier = (0..).zip(&self.earlier).take_while(follows).map(|(_, earlier)| earlier);
        for each in std::iter::once(&frame).chain(earlier) {
            out.put_u8(each.data.len() as u8);
            out.extend_from_slice(&each.data);
        }
        self.earlier.push_front(frame);
        Some(out.freeze())
    }
}

/// A datagram of the track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoiceDatagram {
    /// Its number.
    pub(crate) packet: u32,
    /// Its frames, the newest first.
    pub(crate) frames: Vec<VoiceFrame>,
}

impl VoiceDatagram {
    /// Reads a datagram; `None` when it makes no sense.
    pub(crate) fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() <= HEADER || bytes.get_u8() != VOICE {
            return None;
        }
        let (packet, number, capture_us) = (bytes.get_u32(), bytes.get_u32(), bytes.get_u64());
        if capture_us > MAX_TIME_US {
            return None;
        }
        let mut frames = Vec::with_capacity(COPIES);
        while !bytes.is_empty() {
            let length = usize::from(bytes.get_u8());
            if frames.len() == COPIES || bytes.len() < length {
                return None;
            }
            let behind = frames.len() as u32;
            frames.push(VoiceFrame {
                number: number.wrapping_sub(behind),
                capture_us: capture_us.saturating_sub(u64::from(behind) * VOICE_FRAME_US),
                data: bytes.split_to(length),
            });
        }
        Some(Self { packet, frames })
    }
}

/// What came of the track: each frame is given out once, in whatever order it came; the jitter buffer sorts.
#[derive(Debug, Default)]
pub(crate) struct VoiceReceiver {
    newest: Option<u32>,
    /// Bit n: the frame n before the newest came.
    came: u64,
    /// Frames that can no longer come, and did not.
    pub(crate) lost: u64,
}

impl VoiceReceiver {
    /// Whether frame `number` is new.
    pub(crate) fn is_new(&mut self, number: u32) -> bool {
        let Some(newest) = self.newest else {
            // What was before the first datagram is not missed.
            (self.newest, self.came) = (Some(number), u64::MAX);
            return true;
        };
        let ahead = number.wrapping_sub(newest);
        if ahead == 0 {
            return false;
        }
        if ahead < RESTART {
            for _ in 0..ahead {
                let oldest_came = self.came >> (COPIES - 1) & 1 == 1;
                self.lost += u64::from(!oldest_came);
                self.came <<= 1;
            }
            self.came |= 1;
            self.newest = Some(number);
            return true;
        }
        let behind = newest.wrapping_sub(number);
        if behind < REMEMBERED {
            let bit = 1 << behind;
            let new = self.came & bit == 0;
            self.came |= bit;
            // It was counted as lost when no datagram in order could bring it any more.
            self.lost = self.lost.saturating_sub(u64::from(new && behind >= COPIES as u32));
            return new;
        }
        if behind < RESTART {
            return false;
        }
        (self.newest, self.came) = (Some(number), u64::MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u32) -> VoiceFrame {
        let data = vec![number as u8; 80].into();
        VoiceFrame { number, capture_us: 1_000_000 + u64::from(number) * VOICE_FRAME_US, data }
    }

    #[test]
    fn each_datagram_carries_the_two_frames_before() {
        let mut packetizer = VoicePacketizer::default();
        for number in 0..10 {
            let datagram = packetizer.packetize(frame(number), 100 + number).unwrap();
            let read = VoiceDatagram::parse(datagram).unwrap();
            assert_eq!(read.packet, 100 + number);
            let expected: Vec<_> = (0..=number.min(2)).map(|behind| frame(number - behind)).collect();
            assert_eq!(read.frames, expected);
        }
        // After a gap in the numbers what was before it is not the frame before.
        let read = VoiceDatagram::parse(packetizer.packetize(frame(20), 7).unwrap()).unwrap();
        assert_eq!(read.frames, [frame(20)]);
    }

    #[test]
    fn two_losses_in_a_row_cost_nothing_and_three_cost_one_frame() {
        for (gone, lost) in [(1, 0), (2, 0), (3, 1), (5, 3)] {
            let (mut packetizer, mut receiver) = (VoicePacketizer::default(), VoiceReceiver::default());
            let mut got = Vec::new();
            for number in 0..40 {
                let datagram = packetizer.packetize(frame(number), number).unwrap();
                if (10..10 + gone).contains(&number) {
                    continue;
                }
                // Doubled on the way as well.
                for _ in 0..2 {
                    for frame in VoiceDatagram::parse(datagram.clone()).unwrap().frames {
                        if receiver.is_new(frame.number) {
                            got.push(frame.number);
                        }
                    }
                }
            }
            assert_eq!((got.len(), receiver.lost), (40 - lost, lost as u64), "{gone} in a row");
            got.sort_unstable();
            got.dedup();
            assert_eq!(got.len(), 40 - lost, "each once");
        }
    }

    #[test]
    fn a_sender_that_starts_again_is_believed() {
        let mut receiver = VoiceReceiver::default();
        assert!(receiver.is_new(100_000) && receiver.is_new(0) && !receiver.is_new(0) && receiver.is_new(1));
    }

    #[test]
    fn nonsense_is_refused() {
        let good = VoicePacketizer::default().packetize(frame(5), 1).unwrap();
        for length in 0..good.len() {
            assert!(VoiceDatagram::parse(good.slice(..length)).is_none(), "{length}");
        }
        let mut bytes = good.to_vec();
        bytes.push(9);
        assert!(VoiceDatagram::parse(bytes.into()).is_none(), "a frame longer than the datagram");
        let long = VoiceFrame { data: vec![0; 256].into(), ..frame(1) };
        assert!(VoicePacketizer::default().packetize(long, 1).is_none());
    }
}
