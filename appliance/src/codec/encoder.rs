//! An HEVC encoder that gives one access unit for one picture, at once.

use bytes::Bytes;
use ffmpeg_next::{
    self as ffmpeg, Dictionary, Packet, Rational, codec, color, encoder, ffi, format::Pixel, picture,
};

use super::hardware::{self, Frames};
use super::{Error, failed};
use crate::clock::now_us;
use crate::picture::{AccessUnit, Picture};

/// An encoder that may be there, with what it needs to give one for one without delay.
struct Candidate {
    /// FFmpeg's name.
    name: &'static str,
    /// The pixel format that it is opened for.
    format: Pixel,
    options: &'static [(&'static str, &'static str)],
}

/// Hardware first.
const CANDIDATES: [Candidate; 6] = [
    Candidate {
        name: "hevc_vaapi",
        format: Pixel::VAAPI,
        options: &[("async_depth", "1"), ("rc_mode", "CBR")],
    },
    Candidate {
        name: "hevc_qsv",
        format: Pixel::NV12,
        options: &[("async_depth", "1"), ("forced_idr", "1"), ("preset", "veryfast")],
    },
    Candidate {
        name: "hevc_nvenc",
        format: Pixel::NV12,
        options: &[
            ("preset", "p2"),
            ("tune", "ull"),
            ("rc", "cbr"),
            ("zerolatency", "1"),
            ("delay", "0"),
            ("forced-idr", "1"),
        ],
    },
    Candidate { name: "hevc_v4l2m2m", format: Pixel::NV12, options: &[] },
    Candidate {
        name: "libx265",
        format: Pixel::YUV420P,
        options: &[("preset", "ultrafast"), ("tune", "zerolatency"), ("forced-idr", "1")],
    },
    Candidate { name: "libkvazaar", format: Pixel::YUV420P, options: &[] },
];

/// Names of the candidates, in the order of trial.
pub fn names() -> impl Iterator<Item = &'static str> {
    CANDIDATES.iter().map(|c| c.name)
}

/// What an encoder is opened for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures per second.
    pub fps: f64,
    /// Bit rate in kbit/s.
    pub bitrate_kbps: u32,
    /// Threads of a software encoder.
    pub threads: u32,
    /// Y'CbCr matrix, told to the decoder in the VUI.
    pub space: color::Space,
    /// Limited or full range, told to the decoder in the VUI.
    pub range: color::Range,
}

impl Spec {
    /// This specification for pictures like `picture`, `fps` a second.
    pub fn fitted(self, picture: &Picture, fps: f64) -> Self {
        let f = &picture.frame;
        Self {
            width: f.width(),
            height: f.height(),
            fps,
            space: f.color_space(),
            range: f.color_range(),
            ..self
        }
    }
}

/// An open encoder.
pub struct Encoder {
    name: &'static str,
    inner: encoder::video::Encoder,
    packet: Packet,
    upload: Option<Frames>,
    next_pts: i64,
}

impl Encoder {
    /// Opens the candidate called `name`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Ffmpeg`].
    pub fn open(name: &str, spec: &Spec) -> Result<Self, Error> {
        let missing = || Error::Missing(name.to_owned());
        let &Candidate { name, format, options } =
            CANDIDATES.iter().find(|c| c.name == name).ok_or_else(missing)?;
        let codec = encoder::find_by_name(name).ok_or_else(missing)?;
        let mut context = codec::context::Context::new_with_codec(codec);
        context.set_flags(codec::Flags::LOW_DELAY);
        context.set_threading(codec::threading::Config::count(spec.threads as usize));
        let mut video = context.encoder().video().map_err(failed("prepare"))?;
        let rate = Rational::new((spec.fps * 1000.0).round() as i32, 1000);
        video.set_width(spec.width);
        video.set_height(spec.height);
        video.set_format(format);
        video.set_time_base(rate.invert());
        video.set_frame_rate(Some(rate));
        video.set_max_b_frames(0);
        video.set_gop(i32::MAX as u32);
        video.set_bit_rate(spec.bitrate_kbps as usize * 1000);
        video.set_max_bit_rate(spec.bitrate_kbps as usize * 1000);
        video.set_colorspace(spec.space);
        video.set_color_range(spec.range);
        // SAFETY: the context is ours and not yet open. A quarter of a second of rate buffer bounds how long a keyframe
        // takes on the line.
        unsafe {
            (*video.as_mut_ptr()).rc_buffer_size = (spec.bitrate_kbps * 250) as i32;
            (*video.as_mut_ptr()).refs = 1;
        }
        let upload = if format == Pixel::VAAPI {
            let frames =
                Frames::new(&hardware::vaapi()?, Pixel::VAAPI, Pixel::NV12, spec.width, spec.height)?;
            // SAFETY: as above; the context takes a reference of its own.
            unsafe { (*video.as_mut_ptr()).hw_frames_ctx = frames.reference() };
            Some(frames)
        } else {
            None
        };

        let mut dictionary = Dictionary::new();
        for (key, value) in options {
            dictionary.set(key, value);
        }
        if name == "libx265" {
            let threads = if spec.threads > 1 {
                format!("pools={}:wpp=1", spec.threads)
            } else {
                "pools=none:wpp=0".to_owned()
            };
            // `rskip=2` stops splitting blocks that have no edges: at the same picture quality a frame takes little more than half
            // the time.
            dictionary.set(
                "x265-params",
                &format!(
                    "{threads}:frame-threads=1:bframes=0:ref=1:rc-lookahead=0:scenecut=0:keyint=-1:repeat-headers=1:rskip=2:\
                     log-level=none"
                ),
            );
        } else if name == "libkvazaar" {
            dictionary.set("kvazaar-params", "preset=ultrafast,owf=0,gop=lp-g1d1t1,period=0,ref=1");
        }
        let inner = video.open_with(dictionary).map_err(failed("open"))?;
        Ok(Self { name, inner, packet: Packet::empty(), upload, next_pts: 0 })
    }

    /// The pixel format that the candidate called `name` takes.
    pub fn input_of(name: &str) -> Pixel {
        match CANDIDATES.iter().find(|c| c.name == name).map(|c| c.format) {
            Some(Pixel::VAAPI) => Pixel::NV12,
            Some(format) => format,
            None => Pixel::YUV420P,
        }
    }

    /// FFmpeg's name of the encoder.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Codes `picture`, which has the format [`Encoder::input_of`] this encoder; with `keyframe`, so that decoding can begin at it.
    ///
    /// # Errors
    /// [`Error::Delays`] when no access unit comes for it, [`Error::Ffmpeg`] otherwise.
    pub fn encode(&mut self, picture: &mut Picture, keyframe: bool) -> Result<AccessUnit, Error> {
        let kind = if keyframe { picture::Type::I } else { picture::Type::None };
        let pts = Some(self.next_pts);
        self.next_pts += 1;
        if let Some(frames) = &self.upload {
            let mut on_device = frames.upload(&picture.frame)?;
            on_device.set_kind(kind);
            on_device.set_pts(pts);
            self.inner.send_frame(&on_device).map_err(failed("encode"))?;
        } else {
            picture.frame.set_kind(kind);
            picture.frame.set_pts(pts);
            self.inner.send_frame(&picture.frame).map_err(failed("encode"))?;
        }
        match self.inner.receive_packet(&mut self.packet) {
            Ok(()) => {}
            Err(ffmpeg::Error::Other { errno }) if errno == ffi::EAGAIN => return Err(Error::Delays),
            Err(source) => return Err(Error::Ffmpeg { call: "encode", source }),
        }
        let mut stamps = picture.stamps;
        stamps.encoded_us = now_us();
        Ok(AccessUnit {
            // The one copy of the coded bytes before they are cut into shards: FFmpeg reuses its packet.
            data: Bytes::copy_from_slice(self.packet.data().unwrap_or_default()),
            keyframe: self.packet.is_key(),
            number: picture.number,
            stamps,
        })
    }
}
