//! Which codecs this machine really has: each candidate codes a few pictures, and what comes back is
//! compared.

use ffmpeg_next::{color, format::Pixel};

use super::converter::Converter;
use super::decoder::Decoder;
use super::encoder::{Encoder, Spec};
use super::error::Error;
use crate::media::picture::{AccessUnit, Picture, Stamps};
use crate::units::{CodecRequest, DECODERS, ENCODERS};

/// Pictures a candidate must get through, and those of them that are asked to be keyframes.
const PICTURES: u32 = 4;
const KEYFRAMES: [u32; 2] = [0, 2];
/// How far the decoded picture may be from the original, as a mean over its pixels, of 255.
const TOLERANCE: u32 = 12;

/// Pictures up to this many pixels are coded on one thread: handing rows of blocks from thread to thread
/// costs more time than it saves.
const ONE_THREAD_PIXELS: u32 = 1280 * 720;

impl Spec {
    /// What codecs are tried with, before the camera has said what it gives.
    pub fn requested(request: &CodecRequest) -> Self {
        let &CodecRequest { width, height, fps, bitrate_kbps, threads, .. } = request;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let threads = match threads {
            0 if width * height <= ONE_THREAD_PIXELS => 1,
            0 => cores,
            n => n,
        };
        Self {
            width,
            height,
            fps: f64::from(fps),
            bitrate_kbps,
            threads,
            space: color::Space::SMPTE170M,
            range: color::Range::MPEG,
        }
    }
}

/// The codecs found, and why not those before them in the list.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Name for [`Encoder::open`].
    pub encoder: &'static str,
    /// Encoders tried before it, each with its reason.
    pub encoders_tried: Vec<String>,
    /// Name for [`Decoder::open`].
    pub decoder: &'static str,
    /// Decoders tried before it, each with its reason.
    pub decoders_tried: Vec<String>,
}

/// Tries encoders and decoders in order, hardware first, on pictures as `spec` has them. `encoder` and
/// `decoder` are `auto` or the name of the only candidate.
///
/// # Errors
/// [`Error::NoneUsable`] with the reason of every candidate.
pub fn choose(encoder: &str, decoder: &str, spec: &Spec) -> Result<Choice, Error> {
    let (units, encoder, encoders_tried) = first("encoder", encoder, &ENCODERS, |name| encode(name, spec))?;
    let ((), decoder, decoders_tried) =
        first("decoder", decoder, &DECODERS, |name| decode(name, &units, spec))?;
    Ok(Choice { encoder, encoders_tried, decoder, decoders_tried })
}

/// The first of `names` (or the one named `wanted`) that passes `probe`.
fn first<T>(
    what: &'static str,
    wanted: &str,
    names: &[&'static str],
    mut probe: impl FnMut(&'static str) -> Result<T, Error>,
) -> Result<(T, &'static str, Vec<String>), Error> {
    let mut tried = Vec::new();
    for &name in names {
        if wanted != "auto" && wanted != name {
            continue;
        }
        match probe(name) {
            Ok(result) => return Ok((result, name, tried)),
            Err(e) => tried.push(format!("{name}: {e}")),
        }
    }
    if tried.is_empty() {
        tried.push(format!("`{wanted}`: not one of {}", names.join(", ")));
    }
    Err(Error::NoneUsable { what, tried: tried.join("; ") })
}

/// A picture whose every part is different, so that a decoder that returns nothing, or grey, is found out.
fn test_picture(spec: &Spec, number: u32) -> Picture {
    let mut frame = ffmpeg_next::frame::Video::new(Pixel::YUV420P, spec.width, spec.height);
    frame.set_color_space(spec.space);
    frame.set_color_range(spec.range);
    for plane in 0..3 {
        let (stride, rows) = (frame.stride(plane), frame.plane_height(plane) as usize);
        let (down, across) = if plane == 0 { (200, 30) } else { (60, 90) };
        for (y, row) in frame.data_mut(plane).chunks_mut(stride).enumerate() {
            let len = row.len();
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = (16 + y * down / rows.max(1) + x * across / len.max(1)).min(235) as u8;
            }
        }
    }
    Picture { frame, number, session: 0, stamps: Stamps::default() }
}

fn encode(name: &str, spec: &Spec) -> Result<Vec<AccessUnit>, Error> {
    let mut encoder = Encoder::open(name, spec)?;
    let mut converter = Converter::to(Encoder::input_of(name));
    (0..PICTURES)
        .map(|number| {
            let mut picture = converter
                .convert(test_picture(spec, number))
                .map_err(|source| Error::Ffmpeg { call: "convert", source })?;
            let asked = KEYFRAMES.contains(&number);
            let unit = encoder.encode(&mut picture, asked)?;
            if unit.keyframe == asked { Ok(unit) } else { Err(Error::Keyframes) }
        })
        .collect()
}

fn decode(name: &str, units: &[AccessUnit], spec: &Spec) -> Result<(), Error> {
    let mut decoder = Decoder::open(name, spec.threads)?;
    let original = test_picture(spec, 0).frame;
    for unit in units {
        let picture = decoder.decode(unit)?.ok_or(Error::Delays)?.frame;
        let luma_first = matches!(picture.format(), Pixel::YUV420P | Pixel::YUVJ420P | Pixel::NV12);
        if !luma_first || (picture.width(), picture.height()) != (spec.width, spec.height) {
            return Err(Error::WrongShape);
        }
        let (width, height) = (spec.width as usize, spec.height as usize);
        let (a, b) = (original.stride(0), picture.stride(0));
        let sum: u64 = (0..height)
            .map(|y| {
                let (original, picture) =
                    (&original.data(0)[y * a..][..width], &picture.data(0)[y * b..][..width]);
                original.iter().zip(picture).map(|(&o, &p)| u64::from(o.abs_diff(p))).sum::<u64>()
            })
            .sum();
        let mean = (sum / (width * height) as u64) as u32;
        if mean > TOLERANCE {
            return Err(Error::WrongPicture(mean));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::for_tests((320, 240), 2_000)
    }

    #[test]
    fn software_gives_one_for_one_and_the_right_picture() {
        super::super::error::init().unwrap();
        let choice = choose("libx265", "hevc", &spec()).unwrap();
        assert_eq!((choice.encoder, choice.decoder), ("libx265", "hevc"));
    }

    #[test]
    fn a_keyframe_comes_when_asked_for_and_only_then() {
        super::super::error::init().unwrap();
        let spec = spec();
        let mut encoder = Encoder::open("libx265", &spec).unwrap();
        let keys: Vec<bool> = (0..40)
            .map(|n| encoder.encode(&mut test_picture(&spec, n), n == 0 || n == 20).unwrap().keyframe)
            .collect();
        assert_eq!(keys.iter().enumerate().filter(|(_, k)| **k).map(|(n, _)| n).collect::<Vec<_>>(), [0, 20]);
    }

    #[test]
    fn a_wrong_picture_is_found_out() {
        super::super::error::init().unwrap();
        let spec = spec();
        let mut encoder = Encoder::open("libx265", &spec).unwrap();
        let mut grey = test_picture(&spec, 0);
        grey.frame.data_mut(0).fill(20);
        let units = [encoder.encode(&mut grey, true).unwrap()];
        assert!(matches!(decode("hevc", &units, &spec), Err(Error::WrongPicture(_))));
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        super::super::error::init().unwrap();
        let e = choose("x264", "auto", &spec()).unwrap_err().to_string();
        assert!(e.contains("`x264`: not one of") && e.contains("libx265"), "{e}");
    }

    #[test]
    fn garbage_is_an_error_and_decoding_goes_on_after_it() {
        super::super::error::init().unwrap();
        let spec = spec();
        let units = encode("libx265", &spec).unwrap();
        let mut decoder = Decoder::open("hevc", 1).unwrap();
        let garbage =
            AccessUnit { data: vec![0, 0, 0, 1, 0x26, 1, 0xff, 0x55, 0x13].into(), ..units[0].clone() };
        assert!(!matches!(decoder.decode(&garbage), Ok(Some(_))));
        assert!(decoder.decode(&units[0]).unwrap().is_some());
    }
}
