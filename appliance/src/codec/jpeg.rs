//! JPEG pictures from cameras that have too little cable for raw ones.

use ffmpeg_next::{Packet, codec, decoder, frame};

use super::{Error, failed};
use crate::picture::Picture;

/// A decoder for the JPEGs of a camera.
pub struct JpegDecoder(decoder::Video);

impl JpegDecoder {
    /// # Errors
    /// When FFmpeg was built without one.
    pub fn new() -> Result<Self, Error> {
        let missing = || Error::Missing("mjpeg".to_owned());
        let codec = decoder::find(codec::Id::MJPEG).ok_or_else(missing)?;
        let mut context = codec::context::Context::new_with_codec(codec);
        context.set_flags(codec::Flags::LOW_DELAY);
        context.decoder().open_as(codec).and_then(|d| d.video()).map(Self).map_err(failed("open mjpeg"))
    }

    /// The pixels of `jpeg`, with the number and stamps of `sample`.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: cameras do send broken pictures, above all the first.
    pub fn decode(&mut self, sample: &Picture, jpeg: &[u8]) -> Result<Picture, Error> {
        let corrupt = |_| Error::Corrupt(sample.number);
        self.0.send_packet(&Packet::copy(jpeg)).map_err(corrupt)?;
        let mut frame = frame::Video::empty();
        self.0.receive_frame(&mut frame).map_err(corrupt)?;
        Ok(Picture { frame, number: sample.number, stamps: sample.stamps })
    }
}
