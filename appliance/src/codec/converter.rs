//! The camera's pictures in the encoder's pixel format, and in the size that the line allows. What is unsafe
//! here are calls into FFmpeg that ffmpeg-next has no safe face for.

use ffmpeg_next::{Error, ffi, format::Pixel, frame, software::scaling};

use crate::media::picture::Picture;
use crate::media::scaler::ScalerCache;

/// A picture's pixel format, width and height.
type Shape = (Pixel, u32, u32);

/// Brings pictures into one pixel format.
pub(super) struct Converter {
    to: Pixel,
    /// For two shapes: from, to.
    scaler: ScalerCache<(Shape, Shape)>,
    /// Reused from picture to picture, unless the encoder still holds it.
    out: frame::Video,
}

impl Converter {
    /// A converter to `format`.
    pub(super) fn to(format: Pixel) -> Self {
        Self { to: format, scaler: ScalerCache::default(), out: frame::Video::empty() }
    }

    /// `picture` in the format of this converter: itself when it is in it already, otherwise a converted
    /// copy.
    ///
    /// # Errors
    /// When FFmpeg knows no way from one format to the other.
    pub(super) fn convert(&mut self, picture: Picture) -> Result<Picture, Error> {
        let size = (picture.frame.width(), picture.frame.height());
        self.scale(picture, size)
    }

    /// As [`Converter::convert`], and `size` pixels wide and high.
    ///
    /// # Errors
    /// When FFmpeg knows no way from one format to the other, or the size is none.
    pub(super) fn scale(&mut self, picture: Picture, size: (u32, u32)) -> Result<Picture, Error> {
        let from = &picture.frame;
        let shapes = ((from.format(), from.width(), from.height()), (self.to, size.0, size.1));
        if shapes.0 == shapes.1 {
            return Ok(picture);
        }
        let scaler = self.scaler.get(shapes, |(from, to)| {
            let same_size = (from.1, from.2) == (to.1, to.2);
            let flags = if same_size { scaling::Flags::POINT } else { scaling::Flags::BILINEAR };
            scaling::Context::get(from.0, from.1, from.2, to.0, to.1, to.2, flags)
        })?;
        if (self.out.format(), self.out.width(), self.out.height()) != shapes.1 {
            self.out = frame::Video::new(shapes.1.0, size.0, size.1);
        }
        // SAFETY: the frame is ours; FFmpeg gives it new memory when somebody else still holds the old.
        let code = unsafe { ffi::av_frame_make_writable(self.out.as_mut_ptr()) };
        if code < 0 {
            return Err(code.into());
        }
        scaler.run(from, &mut self.out)?;
        self.out.set_color_space(from.color_space());
        // Of the formats that we take only JPEG's are full range by name; the scaler makes limited range of
        // them.
        let jpeg = matches!(from.format(), Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P);
        self.out.set_color_range(if jpeg { ffmpeg_next::color::Range::MPEG } else { from.color_range() });
        let frame = self.out.clone_ref()?;
        Ok(Picture { frame, ..picture })
    }
}

/// A second reference to the same pixels.
trait CloneRef: Sized {
    fn clone_ref(&self) -> Result<Self, Error>;
}

impl CloneRef for frame::Video {
    fn clone_ref(&self) -> Result<Self, Error> {
        let mut copy = frame::Video::empty();
        // SAFETY: both frames are alive; only the reference is copied.
        let code = unsafe { ffi::av_frame_ref(copy.as_mut_ptr(), self.as_ptr()) };
        if code < 0 { Err(code.into()) } else { Ok(copy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::Stamps;

    fn picture(format: Pixel) -> Picture {
        let mut frame = frame::Video::new(format, 64, 32);
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(if plane == 0 { 77 } else { 130 });
        }
        Picture { frame, number: 5, session: 0, stamps: Stamps::default() }
    }

    #[test]
    fn same_format_passes_untouched() {
        let p = picture(Pixel::YUV420P);
        let address = p.frame.data(0).as_ptr();
        let out = Converter::to(Pixel::YUV420P).convert(p).unwrap();
        assert_eq!(out.frame.data(0).as_ptr(), address);
    }

    #[test]
    fn nv12_becomes_planar_with_the_same_values() {
        let out = Converter::to(Pixel::YUV420P).convert(picture(Pixel::NV12)).unwrap();
        assert_eq!(out.number, 5);
        assert!((0..32).all(|y| out.frame.data(0)[y * out.frame.stride(0)..][..64].iter().all(|&p| p == 77)));
        assert_eq!((out.frame.data(1)[0], out.frame.data(2)[0]), (130, 130));
    }

    #[test]
    fn a_smaller_picture_keeps_its_values_and_its_edge() {
        let mut c = Converter::to(Pixel::YUV420P);
        for format in [Pixel::YUV420P, Pixel::NV12] {
            let mut p = picture(format);
            let stride = p.frame.stride(0);
            p.frame.data_mut(0).chunks_mut(stride).for_each(|row| row[32..64].fill(177));
            let out = c.scale(p, (32, 16)).unwrap();
            assert_eq!((out.frame.width(), out.frame.height(), out.number), (32, 16, 5));
            let row = &out.frame.data(0)[5 * out.frame.stride(0)..][..32];
            assert!(row[..14].iter().all(|&v| v == 77) && row[18..].iter().all(|&v| v == 177), "{row:?}");
        }
        // And back at its own size.
        assert_eq!(c.convert(picture(Pixel::YUV420P)).unwrap().frame.width(), 64);
    }

    #[test]
    fn a_picture_still_held_is_not_overwritten() {
        let mut c = Converter::to(Pixel::YUV420P);
        let first = c.convert(picture(Pixel::NV12)).unwrap();
        let mut second = picture(Pixel::NV12);
        second.frame.data_mut(0).fill(200);
        let second = c.convert(second).unwrap();
        assert_eq!((first.frame.data(0)[0], second.frame.data(0)[0]), (77, 200));
    }
}
