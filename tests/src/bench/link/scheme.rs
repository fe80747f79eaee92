//! What a scheme is, and what its two ends are given.

use std::fmt;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::clip::Request;

/// What a receiving end prints when it can be sent to; GStreamer's own word for it.
pub const READY: &str = "PLAYING";

/// Who carries the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Our link, booth to booth.
    Us,
    /// The same of an earlier build, whose programs are run.
    UsBefore,
    /// Our link, through a stock relay half way.
    UsRelay,
    /// GStreamer: RTP with retransmission (RFC 4588) and ULPFEC (RFC 5109).
    Rtp,
    /// GStreamer: RTP in SRT's messages, with SRT's usual latency of 120 ms.
    Srt120,
    /// The same with four round trips, as SRT's guides recommend.
    Srt4Rtt,
    /// The same with as much as the deadline allows.
    SrtFit,
    /// QUIC with a stream for each frame.
    Streams,
}

impl Scheme {
    /// All but an earlier build, ours first.
    pub const ALL: [Self; 7] =
        [Self::Us, Self::UsRelay, Self::Rtp, Self::Srt120, Self::Srt4Rtt, Self::SrtFit, Self::Streams];

    /// Whether it is ours, and so follows the line's rate.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Us | Self::UsBefore | Self::UsRelay)
    }

    /// Whether its receiver can ask for a keyframe.
    pub fn asks(self) -> bool {
        !matches!(self, Self::Srt120 | Self::Srt4Rtt | Self::SrtFit)
    }

    /// What it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Us => "holobooth",
            Self::UsBefore => "holobooth before",
            Self::UsRelay => "holobooth by relay",
            Self::Rtp => "RTP + RTX + ULPFEC",
            Self::Srt120 => "SRT, 120 ms",
            Self::Srt4Rtt => "SRT, 4 round trips",
            Self::SrtFit => "SRT, to the deadline",
            Self::Streams => "QUIC, stream a frame",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Us => "us",
            Self::UsBefore => "us-before",
            Self::UsRelay => "us-relay",
            Self::Rtp => "rtp",
            Self::Srt120 => "srt-120",
            Self::Srt4Rtt => "srt-4rtt",
            Self::SrtFit => "srt-fit",
            Self::Streams => "streams",
        })
    }
}

/// What an end must know of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where keys lie, and a relay's fingerprint.
    pub dir: &'a Path,
    /// The line's round trip in ms, for whoever has to be told.
    pub rtt_ms: u32,
}

/// A frame to be sent.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its access unit.
    pub data: Bytes,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// Its number.
    pub number: u32,
    /// When it is handed over, in µs on CLOCK_MONOTONIC.
    pub capture_us: i64,
}

/// A sending end. Dropping it ends it.
pub trait Carrier {
    /// What the next frame should be.
    fn request(&mut self) -> Request {
        Request::default()
    }

    /// Takes a frame; returns at once, or the frame's clock runs on.
    ///
    /// # Errors
    /// When the scheme has ended. A frame that finds no room is none.
    fn send(&mut self, frame: Frame) -> io::Result<()>;
}
