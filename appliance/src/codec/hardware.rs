//! FFmpeg's hardware contexts, which ffmpeg-next has no safe face for. Only VAAPI needs them; the other hardware codecs
//! take and give host memory by themselves.
//!
//! Source: libavutil/hwcontext.h.

use std::ptr;

use ffmpeg_next::{ffi, format::Pixel, frame};

use super::error::Error;

/// A reference to one of FFmpeg's counted buffers.
struct Buffer(*mut ffi::AVBufferRef);

// SAFETY: AVBufferRef's counter is atomic, and the contexts behind it may be used from any thread.
unsafe impl Send for Buffer {}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: this reference is ours, dropped once.
        unsafe { ffi::av_buffer_unref(&mut self.0) }
    }
}

fn check(call: &'static str, code: i32) -> Result<(), Error> {
    if code < 0 { Err(Error::Ffmpeg { call, source: code.into() }) } else { Ok(()) }
}

/// A device that codes in hardware.
pub(super) struct Device(Buffer);

impl Device {
    /// A new reference for FFmpeg to own.
    pub(super) fn reference(&self) -> *mut ffi::AVBufferRef {
        // SAFETY: our reference is alive.
        unsafe { ffi::av_buffer_ref(self.0.0) }
    }
}

/// Opens the machine's VAAPI device.
pub(super) fn vaapi() -> Result<Device, Error> {
    let mut device = ptr::null_mut();
    // SAFETY: on success the out pointer is a reference that we own.
    let code = unsafe {
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        ffi::av_hwdevice_ctx_create(&mut device, kind, ptr::null(), ptr::null_mut(), 0)
    };
    check("open the VAAPI device", code)?;
    Ok(Device(Buffer(device)))
}

/// A pool of pictures in the memory of a device.
pub(super) struct Frames(Buffer);

impl Frames {
    /// A pool of `hardware` pictures that hold `software` pixels.
    pub(super) fn new(
        device: &Device,
        hardware: Pixel,
        software: Pixel,
        width: u32,
        height: u32,
    ) -> Result<Self, Error> {
        // SAFETY: the pool's context is ours until it is initialised; on failure the reference is dropped by `Buffer`.
        unsafe {
            let pool = Buffer(ffi::av_hwframe_ctx_alloc(device.0.0));
            if pool.0.is_null() {
                return Err(Error::Ffmpeg {
                    call: "make a picture pool",
                    source: ffi::AVERROR(ffi::ENOMEM).into(),
                });
            }
            let context = (*pool.0).data.cast::<ffi::AVHWFramesContext>();
            (*context).format = hardware.into();
            (*context).sw_format = software.into();
            (*context).width = width as i32;
            (*context).height = height as i32;
            (*context).initial_pool_size = 4;
            check("make a picture pool", ffi::av_hwframe_ctx_init(pool.0))?;
            Ok(Self(pool))
        }
    }

    /// A new reference for FFmpeg to own.
    pub(super) fn reference(&self) -> *mut ffi::AVBufferRef {
        // SAFETY: our reference is alive.
        unsafe { ffi::av_buffer_ref(self.0.0) }
    }

    /// Copies `picture` into the device's memory.
    pub(super) fn upload(&self, picture: &frame::Video) -> Result<frame::Video, Error> {
        let mut on_device = frame::Video::empty();
        // SAFETY: both frames are alive; FFmpeg checks formats and sizes.
        unsafe {
            check("take a device picture", ffi::av_hwframe_get_buffer(self.0.0, on_device.as_mut_ptr(), 0))?;
            check("upload", ffi::av_hwframe_transfer_data(on_device.as_mut_ptr(), picture.as_ptr(), 0))?;
        }
        Ok(on_device)
    }
}

/// Copies a device's picture into host memory.
pub(super) fn download(picture: &frame::Video) -> Result<frame::Video, Error> {
    let mut host = frame::Video::empty();
    // SAFETY: both frames are alive; FFmpeg allocates the host picture.
    unsafe {
        check("download", ffi::av_hwframe_transfer_data(host.as_mut_ptr(), picture.as_ptr(), 0))?;
        check("download", ffi::av_frame_copy_props(host.as_mut_ptr(), picture.as_ptr()))?;
    }
    Ok(host)
}
