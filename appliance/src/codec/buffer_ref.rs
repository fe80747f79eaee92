//! A reference to one of FFmpeg's reference-counted buffers, which ffmpeg-next does not wrap.
//!
//! Source: libavutil/buffer.h.

use ffmpeg_next::ffi;

use super::error::Error;

/// A reference of our own; the buffer is freed with the last one.
pub(super) struct BufferRef(*mut ffi::AVBufferRef);

// SAFETY: the reference counter is atomic. What the buffer holds is accessed through `as_ptr` alone: by
// FFmpeg, which locks its contexts, or in unsafe code that sees to it.
unsafe impl Send for BufferRef {}

impl BufferRef {
    /// Takes ownership of `reference`; `call`, which returned it, is named when it is null.
    ///
    /// # Safety
    /// `reference` is null, or a valid reference that nobody else drops.
    ///
    /// # Errors
    /// When it is null: FFmpeg had no memory.
    pub(super) unsafe fn from_raw(
        reference: *mut ffi::AVBufferRef,
        call: &'static str,
    ) -> Result<Self, Error> {
        if reference.is_null() {
            return Err(Error::Ffmpeg { call, source: ffi::AVERROR(ffi::ENOMEM).into() });
        }
        Ok(Self(reference))
    }

    /// The reference, still owned by this one.
    pub(super) fn as_ptr(&self) -> *mut ffi::AVBufferRef {
        self.0
    }

    /// A new reference for FFmpeg to own; null when there is no memory.
    pub(super) fn new_reference(&self) -> *mut ffi::AVBufferRef {
        // SAFETY: our reference is valid.
        unsafe { ffi::av_buffer_ref(self.0) }
    }
}

impl Drop for BufferRef {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and dropped once.
        unsafe { ffi::av_buffer_unref(&mut self.0) }
    }
}
