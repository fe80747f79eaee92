//! FFmpeg's hardware contexts, which ffmpeg-next has no safe face for. Only VAAPI needs them; the other
//! hardware codecs take and give host memory by themselves.
//!
//! Source: libavutil/hwcontext.h.

use std::ptr;

use ffmpeg_next::{ffi, format::Pixel, frame};

use super::buffer_ref::BufferRef;
use super::error::Error;

fn check(call: &'static str, code: i32) -> Result<(), Error> {
    if code < 0 { Err(Error::Ffmpeg { call, source: code.into() }) } else { Ok(()) }
}

/// A device that codes in hardware.
pub(super) struct Device(BufferRef);

impl Device {
    /// A new reference for FFmpeg to own.
    pub(super) fn reference(&self) -> *mut ffi::AVBufferRef {
        self.0.new_reference()
    }
}

/// Opens the machine's VAAPI device.
pub(super) fn vaapi() -> Result<Device, Error> {
    let mut device = ptr::null_mut();
    let call = "open the VAAPI device";
    // SAFETY: on success the out pointer is a reference that we own.
    unsafe {
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        check(call, ffi::av_hwdevice_ctx_create(&mut device, kind, ptr::null(), ptr::null_mut(), 0))?;
        BufferRef::from_raw(device, call).map(Device)
    }
}

/// A pool of pictures in the memory of a device.
pub(super) struct Frames(BufferRef);

impl Frames {
    /// A pool of `hardware` pictures that hold `software` pixels.
    pub(super) fn new(
        device: &Device,
        hardware: Pixel,
        software: Pixel,
        width: u32,
        height: u32,
    ) -> Result<Self, Error> {
        // SAFETY: the pool's context is ours until it is initialised; on failure the reference is dropped by
        // `BufferRef`.
        unsafe {
            let call = "make a picture pool";
            let pool = BufferRef::from_raw(ffi::av_hwframe_ctx_alloc(device.0.as_ptr()), call)?;
            let context = (*pool.as_ptr()).data.cast::<ffi::AVHWFramesContext>();
            (*context).format = hardware.into();
            (*context).sw_format = software.into();
            (*context).width = width as i32;
            (*context).height = height as i32;
            (*context).initial_pool_size = 4;
            check(call, ffi::av_hwframe_ctx_init(pool.as_ptr()))?;
            Ok(Self(pool))
        }
    }

    /// A new reference for FFmpeg to own.
    pub(super) fn reference(&self) -> *mut ffi::AVBufferRef {
        self.0.new_reference()
    }

    /// Copies `picture` into the device's memory.
    pub(super) fn upload(&self, picture: &frame::Video) -> Result<frame::Video, Error> {
        let mut on_device = frame::Video::empty();
        // SAFETY: both frames are alive; FFmpeg checks formats and sizes.
        unsafe {
            check(
                "take a device picture",
                ffi::av_hwframe_get_buffer(self.0.as_ptr(), on_device.as_mut_ptr(), 0),
            )?;
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
