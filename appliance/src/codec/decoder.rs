//! An HEVC decoder that gives a picture for every access unit, at once.

use ffmpeg_next::{self as ffmpeg, Packet, codec, decoder, ffi, format::Pixel, frame};

use super::error::{Error, failed};
use super::hardware;
use crate::media::clock::now_us;
use crate::media::picture::{AccessUnit, Picture};

/// The candidates, hardware first: our name, FFmpeg's decoder, whether it decodes on a VAAPI device.
const CANDIDATES: [(&str, &str, bool); 5] = [
    ("hevc_vaapi", "hevc", true),
    ("hevc_qsv", "hevc_qsv", false),
    ("hevc_cuvid", "hevc_cuvid", false),
    ("hevc_v4l2m2m", "hevc_v4l2m2m", false),
    ("hevc", "hevc", false),
];

/// The most pixels of a picture: 8K. More would be a peer that wants our memory.
const MAX_PIXELS: i64 = 8192 * 4352;

/// An open decoder.
pub struct Decoder {
    name: &'static str,
    on_vaapi: bool,
    inner: decoder::Video,
}

impl Decoder {
    /// Opens the candidate called `name` with up to `threads` threads for a software decoder.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Ffmpeg`].
    pub fn open(name: &str, threads: u32) -> Result<Self, Error> {
        let missing = || Error::Missing(name.to_owned());
        let &(name, ffmpeg_name, on_vaapi) = CANDIDATES.iter().find(|c| c.0 == name).ok_or_else(missing)?;
        let codec = decoder::find_by_name(ffmpeg_name).ok_or_else(missing)?;
        let mut context = codec::context::Context::new_with_codec(codec);
        context.set_flags(codec::Flags::LOW_DELAY);
        // Slices of one picture in parallel; pictures in parallel would cost a frame of delay a thread.
        let slices = codec::threading::Config::kind(codec::threading::Type::Slice);
        context.set_threading(codec::threading::Config { count: threads as usize, ..slices });
        // SAFETY: the context is ours and not yet open.
        unsafe { (*context.as_mut_ptr()).max_pixels = MAX_PIXELS };
        if on_vaapi {
            let device = hardware::vaapi()?;
            // SAFETY: the context is ours and not yet open; it takes a reference of its own.
            unsafe { (*context.as_mut_ptr()).hw_device_ctx = device.reference() };
        }
        let inner = context.decoder().open_as(codec).and_then(|d| d.video()).map_err(failed("open"))?;
        Ok(Self { name, on_vaapi, inner })
    }

    /// Our name of the decoder.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Drops all reference pictures: the next unit must be a keyframe.
    pub fn reset(&mut self) {
        self.inner.flush();
    }

    /// Decodes `unit`. `None` when it carries no picture.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be decoded: decoding can begin again at the next keyframe.
    pub fn decode(&mut self, unit: &AccessUnit) -> Result<Option<Picture>, Error> {
        let corrupt = |_| Error::Corrupt(unit.number);
        // FFmpeg wants zeros behind the bytes, hence this copy of the coded picture.
        self.inner.send_packet(&Packet::copy(&unit.data)).map_err(corrupt)?;
        let mut newest = None;
        loop {
            let mut frame = frame::Video::empty();
            match self.inner.receive_frame(&mut frame) {
                Ok(()) => newest = Some(frame),
                Err(ffmpeg::Error::Other { errno }) if errno == ffi::EAGAIN => break,
                Err(e) => return Err(corrupt(e)),
            }
        }
        let Some(frame) = newest else { return Ok(None) };
        if frame.is_corrupt() || frame.has_decode_errors() {
            return Err(Error::Corrupt(unit.number));
        }
        let frame = match (self.on_vaapi, frame.format()) {
            (true, Pixel::VAAPI) => hardware::download(&frame)?,
            (true, _) => return Err(Error::FellBack),
            (false, _) => frame,
        };
        let mut stamps = unit.stamps;
        stamps.decoded_us = now_us();
        stamps.released_us = stamps.decoded_us;
        Ok(Some(Picture { frame, number: unit.number, session: 0, stamps }))
    }
}

#[cfg(test)]
mod tests {
    use super::CANDIDATES;

    #[test]
    fn every_name_that_may_be_configured_has_its_candidate() {
        assert_eq!(CANDIDATES.map(|candidate| candidate.0), crate::units::DECODERS);
    }
}
