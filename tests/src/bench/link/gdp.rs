//! The GStreamer Data Protocol, version 1.0, as `gdppay` writes and `gdpdepay` reads it: access units whole,
//! through a pipe.
//!
//! Without it a stream of bytes would have to be parsed into access units, and the end of one is seen only
//! when the next begins. Every packet is a header of 62 bytes, big endian, and a payload:
//! ```text
//! version:16  flags:8  0:8  type:16  length:32  pts:64  duration:64  offset:64  end:64
//! buffer flags:16  dts:64  0:48  crc:16 crc:16
//! ```
//! Both checksums may be absent; the flags say so. Type 1 is a buffer, 2 caps, and 64 more than an event's
//! own number that event.

use bytes::{Buf, BufMut};

/// Bytes of a header.
pub const HEADER: usize = 62;
const VERSION: u16 = 0x0100;
const BUFFER: u16 = 1;
const CAPS: u16 = 2;
/// 64 + GST_EVENT_STREAM_START, GST_EVENT_SEGMENT.
const STREAM_START: u16 = 64 + 10_254;
const SEGMENT: u16 = 64 + 17_934;
/// GST_CLOCK_TIME_NONE, GST_BUFFER_OFFSET_NONE.
const NONE: u64 = u64::MAX;
/// More than any access unit here.
const LONGEST: u32 = 16 << 20;

/// What a stream begins with: its name, its caps, and that its times count from 0.
pub fn preamble(caps: &str) -> Vec<u8> {
    let start =
        "GstEventStreamStart, stream-id=(string)holobooth, flags=(GstStreamFlags)GST_STREAM_FLAG_NONE;";
    let segment = format!(
        "GstEventSegment, segment=(GstSegment)\"segment, flags=(GstSegmentFlags)GST_SEGMENT_FLAG_NONE, \
         rate=(double)1, applied-rate=(double)1, format=(GstFormat)time, base=(guint64)0, offset=(guint64)0, \
         start=(guint64)0, stop=(guint64){NONE}, time=(guint64)0, position=(guint64)0, duration=(guint64){NONE};\";"
    );
    let mut bytes = Vec::new();
    for (kind, text) in [(STREAM_START, start), (CAPS, caps), (SEGMENT, segment.as_str())] {
        bytes.extend(header(kind, text.len() as u32 + 1, if kind == CAPS { 0 } else { NONE }));
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The header of an access unit of `length` bytes that is shown at `pts_ns`.
pub fn unit(length: u32, pts_ns: u64) -> [u8; HEADER] {
    header(BUFFER, length, pts_ns)
}

fn header(kind: u16, length: u32, pts_ns: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut fields = &mut header[..];
    fields.put_u16(VERSION);
    fields.put_u16(0);
    fields.put_u16(kind);
    fields.put_u32(length);
    fields.put_u64(pts_ns);
    if kind == BUFFER {
        for _ in ["duration", "offset", "end"] {
            fields.put_u64(NONE);
        }
        fields.put_u16(0);
        fields.put_u64(pts_ns);
    }
    header
}

/// What a header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// How many bytes follow.
    pub length: usize,
    /// Whether they are an access unit.
    pub unit: bool,
}

/// Reads a header; `None` when it is none, or announces more than there can be.
pub fn parse(header: &[u8; HEADER]) -> Option<Announced> {
    let mut fields = &header[..];
    let version = fields.get_u16();
    fields.advance(2);
    let (kind, length) = (fields.get_u16(), fields.get_u32());
    (version == VERSION && length <= LONGEST)
        .then_some(Announced { length: length as usize, unit: kind == BUFFER })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_what_they_write() {
        assert_eq!(parse(&unit(700, 5)), Some(Announced { length: 700, unit: true }));
        assert_eq!(parse(&unit(LONGEST + 1, 5)), None);
        assert_eq!(parse(&[0; HEADER]), None);
        let mut rest = &preamble("video/x-h265")[..];
        for _ in 0..3 {
            let announced = parse(rest[..HEADER].try_into().unwrap()).unwrap();
            assert!(!announced.unit);
            assert_eq!(rest[HEADER + announced.length - 1], 0);
            rest = &rest[HEADER + announced.length..];
        }
        assert!(rest.is_empty());
    }
}
