//! A quantiser for one picture, as FFmpeg's "regions of interest": here the whole picture, in two parts,
//! because a quantiser is a whole number and the mean of two parts need not be.
//!
//! Source: libavutil/frame.h, `AVRegionOfInterest`.

use ffmpeg_next::{ffi, frame};

use super::buffer_ref::BufferRef;
use super::error::Error;

/// Offsets are fractions of the whole range of quantisers: 51, for 8 bits.
const RANGE: i32 = 51;

/// The side data, used again for every picture.
pub(super) struct Regions(Option<BufferRef>);

type Pair = [ffi::AVRegionOfInterest; 2];
const KIND: ffi::AVFrameSideDataType = ffi::AVFrameSideDataType::AV_FRAME_DATA_REGIONS_OF_INTEREST;

impl Regions {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Has `picture` quantised `offset` steps coarser than the encoder would on average, finer ones at the
    /// top, where faces are.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn put(&mut self, picture: &mut frame::Video, offset: f64) -> Result<(), Error> {
        let (width, height) = (picture.width() as i32, picture.height() as i32);
        let fine = offset.floor();
        let split = (f64::from(height) * (1.0 - (offset - fine))).round() as i32;
        let region = |bottom, offset: f64| ffi::AVRegionOfInterest {
            self_size: size_of::<ffi::AVRegionOfInterest>() as u32,
            top: 0,
            bottom,
            left: 0,
            right: width,
            qoffset: ffi::AVRational { num: (offset as i32).clamp(-RANGE, RANGE), den: RANGE },
        };
        // Where they overlap the first one counts.
        let pair: Pair = [region(split, fine), region(height, fine + 1.0)];
        let call = "regions";
        // SAFETY: the buffer is either ours alone or replaced by a new one; it holds exactly one `Pair`. The
        // picture takes a reference of its own, which is dropped here when it does not.
        unsafe {
            let free = self.0.take().filter(|buffer| ffi::av_buffer_is_writable(buffer.as_ptr()) != 0);
            let buffer = match free {
                Some(buffer) => buffer,
                None => BufferRef::from_raw(ffi::av_buffer_alloc(size_of::<Pair>()), call)?,
            };
            let buffer = self.0.insert(buffer);
            (*buffer.as_ptr()).data.cast::<Pair>().write_unaligned(pair);
            let mut reference = buffer.new_reference();
            if ffi::av_frame_new_side_data_from_buf(picture.as_mut_ptr(), KIND, reference).is_null() {
                ffi::av_buffer_unref(&mut reference);
                return Err(Error::Ffmpeg { call, source: ffi::AVERROR(ffi::ENOMEM).into() });
            }
        }
        Ok(())
    }

    /// Takes them off again, so that the next picture finds them free.
    pub(super) fn remove(picture: &mut frame::Video) {
        // SAFETY: the picture is alive.
        unsafe { ffi::av_frame_remove_side_data(picture.as_mut_ptr(), KIND) }
    }
}
