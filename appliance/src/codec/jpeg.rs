//! JPEG pictures from cameras that have too little cable for raw ones.

use ffmpeg_next::{Packet, codec, decoder, frame};

use super::error::{Error, failed};
use crate::media::picture::Picture;

/// A decoder for the JPEGs of a camera.
pub(super) struct JpegDecoder(decoder::Video);

impl JpegDecoder {
    /// # Errors
    /// When FFmpeg was built without one.
    pub(super) fn new() -> Result<Self, Error> {
        let missing = || Error::Missing("mjpeg".to_owned());
        let codec = decoder::find(codec::Id::MJPEG).ok_or_else(missing)?;
        let mut context = codec::context::Context::new_with_codec(codec);
        context.set_flags(codec::Flags::LOW_DELAY);
        context.decoder().open_as(codec).and_then(|d| d.video()).map(Self).map_err(failed("open mjpeg"))
    }

    /// The pixels of the JPEG in plane 0 of `sample`, with its number and stamps.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: cameras do send broken pictures, above all the first.
    pub(super) fn decode(&mut self, sample: &Picture) -> Result<Picture, Error> {
        let corrupt = |_| Error::Corrupt(sample.number);
        self.0.send_packet(&Packet::copy(bytes(sample))).map_err(corrupt)?;
        let mut frame = frame::Video::empty();
        self.0.receive_frame(&mut frame).map_err(corrupt)?;
        Ok(Picture { frame, number: sample.number, session: 0, stamps: sample.stamps })
    }
}

/// A camera's JPEG: plane 0 as far as the picture is wide.
fn bytes(sample: &Picture) -> &[u8] {
    let frame = &sample.frame;
    if frame.planes() == 0 { &[] } else { frame.data(0).get(..frame.width() as usize).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::Stamps;
    use ffmpeg_next::{Rational, encoder, format::Pixel};

    /// A grey picture as a JPEG, as a camera would send it.
    fn jpeg(luma: u8) -> Vec<u8> {
        let codec = encoder::find(codec::Id::MJPEG).unwrap();
        let mut video = codec::context::Context::new_with_codec(codec).encoder().video().unwrap();
        video.set_width(64);
        video.set_height(48);
        video.set_format(Pixel::YUVJ420P);
        video.set_time_base(Rational::new(1, 30));
        let mut encoder = video.open().unwrap();
        let mut frame = frame::Video::new(Pixel::YUVJ420P, 64, 48);
        for (plane, value) in [luma, 128, 128].into_iter().enumerate() {
            frame.data_mut(plane).fill(value);
        }
        frame.set_pts(Some(0));
        encoder.send_frame(&frame).unwrap();
        let mut packet = Packet::empty();
        encoder.receive_packet(&mut packet).unwrap();
        packet.data().unwrap().to_vec()
    }

    fn sample(jpeg: &[u8]) -> Picture {
        let mut frame = frame::Video::empty();
        if !jpeg.is_empty() {
            frame = frame::Video::new(Pixel::GRAY8, jpeg.len() as u32, 1);
            frame.data_mut(0)[..jpeg.len()].copy_from_slice(jpeg);
        }
        Picture { frame, number: 9, session: 0, stamps: Stamps { capture_us: 4, ..Stamps::default() } }
    }

    #[test]
    fn pixels_come_with_number_and_stamps() {
        super::super::error::init().unwrap();
        let picture = JpegDecoder::new().unwrap().decode(&sample(&jpeg(90))).unwrap();
        assert_eq!((picture.number, picture.stamps.capture_us), (9, 4));
        assert_eq!((picture.frame.width(), picture.frame.height()), (64, 48));
        assert!(picture.frame.data(0)[0].abs_diff(90) <= 2);
    }

    #[test]
    fn a_broken_picture_is_an_error_and_the_next_one_comes() {
        super::super::error::init().unwrap();
        let mut decoder = JpegDecoder::new().unwrap();
        assert!(decoder.decode(&sample(b"\xff\xd8 not a picture")).is_err());
        assert!(decoder.decode(&sample(&[])).is_err());
        assert!(decoder.decode(&sample(&jpeg(90))).is_ok());
    }
}
