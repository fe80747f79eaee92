//! An HEVC encoder that gives one access unit for one picture, at once.

use bytes::Bytes;
use ffmpeg_next::{
    self as ffmpeg, Dictionary, Packet, Rational, codec, color, encoder, ffi, format::Pixel, picture,
};

use super::error::{Error, failed};
use super::hardware::{self, Frames};
use super::rate::{self, Rate};
use super::regions::Regions;
use crate::media::clock::now_us;
use crate::media::picture::{AccessUnit, Picture};

/// What it costs to change the rate of an open encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Nothing: it holds from the next picture on.
    Seamless,
    /// A keyframe, which the encoder makes unasked.
    Keyframe,
    /// It cannot be changed: the encoder has to be reopened.
    Reopening,
}

/// An encoder that may be there, with what it needs to give one for one without delay.
struct Candidate {
    /// FFmpeg's name.
    name: &'static str,
    /// The pixel format that it is opened for.
    format: Pixel,
    steering: Steering,
    options: &'static [(&'static str, &'static str)],
}

/// Hardware first.
///
/// Steering, from FFmpeg's libavcodec (5.1 to 7.1):
/// - nvenc.c, `reconfig_encoder`: a changed `bit_rate` is taken between two pictures, with `forceIDR`.
/// - qsvenc.c, `update_parameters`, from 6.0 on: a changed `bit_rate` is taken by `MFXVideoENCODE_Reset`. For
///   HEVC it leaves HRD conformance to the driver, and then a keyframe follows (Intel VPL, appendix C,
///   "Dynamic Bitrate Change").
/// - vaapi_encode.c, v4l2_m2m_enc.c, libkvazaar.c: the rate is set once, at opening.
/// - libx265.c: likewise, but regions of interest come with every picture (`libx265_encode_set_roi`): the
///   encoder runs at one quantiser and [`Rate`] moves every picture from there.
const CANDIDATES: [Candidate; 6] = [
    Candidate {
        name: "hevc_vaapi",
        format: Pixel::VAAPI,
        steering: Steering::Reopening,
        options: &[("async_depth", "1"), ("rc_mode", "CBR")],
    },
    Candidate {
        name: "hevc_qsv",
        format: Pixel::NV12,
        steering: Steering::Keyframe,
        options: &[("async_depth", "1"), ("forced_idr", "1"), ("preset", "veryfast")],
    },
    Candidate {
        name: "hevc_nvenc",
        format: Pixel::NV12,
        steering: Steering::Keyframe,
        options: &[
            ("preset", "p2"),
            ("tune", "ull"),
            ("rc", "cbr"),
            ("zerolatency", "1"),
            ("delay", "0"),
            ("forced-idr", "1"),
        ],
    },
    Candidate { name: "hevc_v4l2m2m", format: Pixel::NV12, steering: Steering::Reopening, options: &[] },
    Candidate {
        name: "libx265",
        format: Pixel::YUV420P,
        steering: Steering::Seamless,
        options: &[("preset", "ultrafast"), ("tune", "zerolatency"), ("forced-idr", "1")],
    },
    Candidate { name: "libkvazaar", format: Pixel::YUV420P, steering: Steering::Reopening, options: &[] },
];

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
    /// Y'CbCr matrix, signalled to the decoder in the VUI.
    pub space: color::Space,
    /// Limited or full range, signalled to the decoder in the VUI.
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

#[cfg(test)]
impl Spec {
    /// What codecs are tested with: 30 pictures of `size` a second, on one thread.
    pub(super) fn for_tests(size: (u32, u32), bitrate_kbps: u32) -> Self {
        let (width, height) = size;
        let (space, range) = (color::Space::BT709, color::Range::MPEG);
        Self { width, height, fps: 30.0, bitrate_kbps, threads: 1, space, range }
    }
}

/// The quantiser that libx265 runs at, from which [`Rate`]'s is given as a distance: in the middle, for
/// FFmpeg allows 51 steps either way and HEVC codes 26.
const BASE_QP: f64 = 28.0;

/// What moves the quantiser of every picture.
struct Quantiser {
    rate: Rate,
    regions: Regions,
}

/// An open encoder.
pub struct Encoder {
    name: &'static str,
    steering: Steering,
    /// What it was opened for.
    spec: Spec,
    inner: encoder::video::Encoder,
    /// Where the encoder's own rate control is not used.
    quantiser: Option<Quantiser>,
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
        let &Candidate { name, format, steering, options } =
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
        video.set_colorspace(spec.space);
        video.set_color_range(spec.range);
        let quantiser = (steering == Steering::Seamless)
            .then(|| Quantiser { rate: Rate::new(spec.bitrate_kbps, spec.fps), regions: Regions::new() });
        // SAFETY: the context is ours and not yet open.
        unsafe {
            (*video.as_mut_ptr()).refs = 1;
            if quantiser.is_none() {
                tell_rate(&mut *video.as_mut_ptr(), spec.bitrate_kbps, spec.fps, spec.fps);
            }
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
            dictionary.set("crf", &BASE_QP.to_string());
            // `rskip=2` stops splitting blocks that have no edges: at the same picture quality a frame takes
            // little more than half the time. `qcomp=1:ipratio=1` makes `crf` one quantiser for all pictures.
            // Regions are heard only with adaptive quantisation on, and at strength 0 it is off; at a
            // thousandth it changes no block. `info=0` saves 2 KiB a keyframe. Without `open-gop=0` keyframes
            // are CRA pictures, which do not reset the picture order count.
            dictionary.set(
                "x265-params",
                &format!(
                    "{threads}:frame-threads=1:bframes=0:ref=1:rc-lookahead=0:scenecut=0:keyint=-1:\
                     open-gop=0:repeat-headers=1:rskip=2:qcomp=1:ipratio=1:aq-mode=1:aq-strength=0.001:\
                     info=0:log-level=none"
                ),
            );
        } else if name == "libkvazaar" {
            dictionary.set("kvazaar-params", "preset=ultrafast,owf=0,gop=lp-g1d1t1,period=0,ref=1");
        }
        let inner = video.open_with(dictionary).map_err(failed("open"))?;
        let steering = Self::steering_of(name);
        Ok(Self {
            name,
            steering,
            spec: *spec,
            inner,
            quantiser,
            packet: Packet::empty(),
            upload,
            next_pts: 0,
        })
    }

    /// What a change of rate costs with the candidate called `name`.
    pub fn steering_of(name: &str) -> Steering {
        let steering = CANDIDATES.iter().find(|c| c.name == name).map(|c| c.steering);
        // FFmpeg 6.0 is libavcodec 60.
        let old_qsv = name == "hevc_qsv" && codec::version() >> 16 < 60;
        steering.filter(|_| !old_qsv).unwrap_or(Steering::Reopening)
    }

    /// From the next picture on, `kbps` kbit/s at `fps` pictures a second, at the price of
    /// [`Encoder::steering_of`]; false when the encoder has to be reopened for it.
    pub fn set_rate(&mut self, kbps: u32, fps: f64) -> bool {
        match (&mut self.quantiser, self.steering) {
            (Some(quantiser), _) => quantiser.rate.set(kbps, fps),
            (None, Steering::Reopening) => return false,
            // SAFETY: the context is ours; these are the fields that FFmpeg's encoders look at between
            // pictures.
            (None, _) => unsafe { tell_rate(&mut *self.inner.as_mut_ptr(), kbps, fps, self.spec.fps) },
        }
        true
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

    /// Codes `picture`, which has the format [`Encoder::input_of`] this encoder; with `keyframe`, so that
    /// decoding can begin at it.
    ///
    /// # Errors
    /// [`Error::Delays`] when no access unit comes for it, [`Error::Ffmpeg`] otherwise.
    pub fn encode(&mut self, picture: &mut Picture, keyframe: bool) -> Result<AccessUnit, Error> {
        let kind = if keyframe { picture::Type::I } else { picture::Type::None };
        let pts = Some(self.next_pts);
        self.next_pts += 1;
        if let Some(Quantiser { rate, regions }) = &mut self.quantiser {
            let f = &picture.frame;
            let qp = if keyframe {
                let pixels = f64::from(f.width()) * f64::from(f.height());
                rate.keyframe(pixels, rate::detail(f.data(0), f.stride(0), f.width() as usize))
            } else {
                rate.inter()
            };
            regions.put(&mut picture.frame, qp - BASE_QP)?;
        }
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
        if let Some(quantiser) = &mut self.quantiser {
            Regions::remove(&mut picture.frame);
            quantiser.rate.coded(self.packet.size() as f64 * 8.0);
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

/// Tells an encoder that keeps the rate itself: constant, with room for a keyframe of
/// [`rate::KEYFRAME_WORTH`] pictures. It counts `nominal_fps` pictures a second however many come, so it is
/// given the rate that makes each the right size.
fn tell_rate(context: &mut ffi::AVCodecContext, kbps: u32, fps: f64, nominal_fps: f64) {
    let bits = f64::from(kbps) * 1000.0 / fps.max(1.0);
    context.bit_rate = (bits * nominal_fps) as i64;
    context.rc_max_rate = context.bit_rate;
    context.rc_buffer_size = (bits * rate::KEYFRAME_WORTH) as i32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::film::Film;

    const SIZE: (u32, u32) = (480, 360);

    fn x265(kbps: u32) -> Encoder {
        crate::codec::error::init().unwrap();
        Encoder::open("libx265", &Spec::for_tests(SIZE, kbps)).unwrap()
    }

    /// Codes `count` pictures from `film`, and gives their sizes in budgets of `kbps` at 30 a second. No
    /// keyframe but at `key`.
    fn code(encoder: &mut Encoder, film: &mut Film, count: u32, kbps: u32, key: Option<u32>) -> Vec<f64> {
        assert!(encoder.set_rate(kbps, 30.0));
        let sizes = (0..count).map(|i| {
            let mut picture = film.picture(encoder.next_pts as u32, SIZE.0, SIZE.1);
            let unit = encoder.encode(&mut picture, key == Some(i)).unwrap();
            assert_eq!(unit.keyframe, key == Some(i));
            unit.data.len() as f64 * 8.0 * 30.0 / 1000.0 / f64::from(kbps)
        });
        sizes.collect()
    }

    fn mean_and_most(sizes: &[f64]) -> (f64, f64) {
        (sizes.iter().sum::<f64>() / sizes.len() as f64, sizes.iter().copied().fold(0.0, f64::max))
    }

    #[test]
    fn the_rate_changes_within_half_a_second_and_without_a_keyframe() {
        let mut encoder = x265(8_000);
        let mut film = Film::new(1.0, 20);
        for (kbps, key) in [(8_000, Some(0)), (1_500, None), (6_000, None), (100, None), (3_000, None)] {
            let sizes = code(&mut encoder, &mut film, 45, kbps, key);
            let (mean, most) = mean_and_most(&sizes[15..]);
            assert!((0.8..1.2).contains(&mean), "{kbps}: {mean:.2} {sizes:.2?}");
            assert!(most < 4.0, "{kbps}: {most:.2} {sizes:.2?}");
        }
    }

    #[test]
    fn a_keyframe_at_a_low_rate_costs_few_pictures() {
        let mut encoder = x265(8_000);
        let mut film = Film::new(1.0, 4);
        code(&mut encoder, &mut film, 30, 8_000, Some(0));
        for kbps in [500, 250, 2_000] {
            let sizes = code(&mut encoder, &mut film, 30, kbps, Some(10));
            assert!(sizes[10] < 5.0, "{kbps}: {sizes:.2?}");
            let (mean, _) = mean_and_most(&sizes[10..20]);
            assert!(mean < 1.15, "{kbps}: paid back: {mean:.2} {sizes:.2?}");
        }
    }

    #[test]
    fn grain_that_stands_still_does_not_come_in_bursts() {
        let mut encoder = x265(8_000);
        let mut film = Film::new(0.0, 20);
        code(&mut encoder, &mut film, 10, 8_000, Some(0));
        for kbps in [2_000, 500] {
            let sizes = code(&mut encoder, &mut film, 60, kbps, None);
            let (mean, most) = mean_and_most(&sizes[15..]);
            assert!(mean < 1.1 && most < 4.0, "{kbps}: {mean:.2} {most:.2} {sizes:.2?}");
        }
    }

    #[test]
    fn every_name_that_may_be_configured_has_its_candidate() {
        assert_eq!(CANDIDATES.map(|candidate| candidate.name), crate::units::ENCODERS);
    }

    #[test]
    fn an_encoder_that_cannot_be_steered_says_so() {
        assert_eq!(Encoder::steering_of("libx265"), Steering::Seamless);
        assert_eq!(Encoder::steering_of("hevc_vaapi"), Steering::Reopening);
        assert_eq!(Encoder::steering_of("nothing"), Steering::Reopening);
    }
}
