//! A running camera: memory-mapped buffers, lent to the pipeline without a copy and given back when their
//! frame is dropped.
//!
//! Source: V4L2 API, "Streaming I/O (Memory Mapping)".

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::{color, ffi, format::Pixel, frame};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::device::{CAPTURE, Device, zeroed};
use super::error::Error;
use super::mode::Mode;
use crate::media::clock::now_us;
use crate::media::picture::{Picture, Sample, Stamps};
use crate::units::{CameraRequest, Format};

/// Buffers asked of the driver: one being filled, one waiting to be, one in the mailbox, one in the encoder.
const BUFFERS: u32 = 4;

/// The driver's buffers, mapped. Lives until the last frame that was lent is dropped.
struct Buffers {
    device: Device,
    maps: Vec<(NonNull<c_void>, usize)>,
}

// SAFETY: the mappings are shared memory owned by this value; a buffer is written by the driver only between
// QBUF and DQBUF, and read by us only between DQBUF and QBUF; ioctls on one descriptor may come from any
// thread.
unsafe impl Send for Buffers {}
// SAFETY: as above.
unsafe impl Sync for Buffers {}

impl Buffers {
    fn queue(&self, index: u32) -> io::Result<()> {
        // SAFETY: v4l2_buffer is a plain C structure.
        let mut buffer: v4l2_buffer = unsafe { zeroed() };
        (buffer.index, buffer.type_, buffer.memory) = (index, CAPTURE, v4l2_memory_V4L2_MEMORY_MMAP);
        self.device.try_ioctl(vidioc::VIDIOC_QBUF, &mut buffer)
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for &(address, length) in &self.maps {
            // SAFETY: mapped by `Stream::start` with this length, and nothing that was lent is left.
            let _ = unsafe { munmap(address, length) };
        }
    }
}

/// A buffer out on loan; the driver gets it back when the last reference to the frame's memory goes.
struct Loan {
    buffers: Arc<Buffers>,
    index: u32,
}

unsafe extern "C" fn give_back(loan: *mut c_void, _data: *mut u8) {
    // SAFETY: `loan` is the box that `Stream::lend` leaked into this AVBuffer; FFmpeg calls this once.
    let loan = unsafe { Box::from_raw(loan.cast::<Loan>()) };
    // Refused when the camera is gone or was stopped: then there is nobody to give it to.
    let _ = loan.buffers.queue(loan.index);
}

/// A camera that streams.
pub struct Stream {
    buffers: Arc<Buffers>,
    mode: Mode,
    pix: v4l2_pix_format,
    last_sequence: Option<u32>,
    number: u32,
    lost: u64,
    last_frame: Instant,
    last_capture_us: u64,
}

impl Stream {
    /// Sets the mode closest to `request`, in the format `cheapest` where that makes no difference, and
    /// starts streaming; frames are numbered on from `number`.
    ///
    /// # Errors
    /// [`Error::NoMode`] or [`Error::Driver`].
    pub fn start(
        device: Device,
        request: &CameraRequest,
        cheapest: Format,
        number: u32,
    ) -> Result<Self, Error> {
        let (mode, pix) = device.negotiate(request, cheapest)?;
        // SAFETY: v4l2_requestbuffers is a plain C structure.
        let mut request: v4l2_requestbuffers = unsafe { zeroed() };
        (request.count, request.type_, request.memory) = (BUFFERS, CAPTURE, v4l2_memory_V4L2_MEMORY_MMAP);
        device.ioctl("VIDIOC_REQBUFS", vidioc::VIDIOC_REQBUFS, &mut request)?;
        let mut buffers = Buffers { device, maps: Vec::new() };
        for index in 0..request.count {
            // SAFETY: v4l2_buffer is a plain C structure.
            let mut buffer: v4l2_buffer = unsafe { zeroed() };
            (buffer.index, buffer.type_, buffer.memory) = (index, CAPTURE, v4l2_memory_V4L2_MEMORY_MMAP);
            buffers.device.ioctl("VIDIOC_QUERYBUF", vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
            let fail = |source| Error::Driver { path: buffers.device.path.clone(), call: "mmap", source };
            let length = NonZeroUsize::new(buffer.length as usize)
                .ok_or_else(|| fail(io::Error::other("the driver's buffer is empty")))?;
            // SAFETY: for an MMAP buffer `offset` is the member in use; the driver checks offset and length.
            let address = unsafe {
                let offset = buffer.m.offset.into();
                mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &buffers.device.fd, offset)
            }
            .map_err(|e| fail(e.into()))?;
            buffers.maps.push((address, length.get()));
        }
        for index in 0..request.count {
            buffers.queue(index).map_err(|source| Error::Driver {
                path: buffers.device.path.clone(),
                call: "VIDIOC_QBUF",
                source,
            })?;
        }
        let mut kind = CAPTURE;
        buffers.device.ioctl("VIDIOC_STREAMON", vidioc::VIDIOC_STREAMON, &mut kind)?;
        let last_frame = Instant::now();
        Ok(Self {
            buffers: Arc::new(buffers),
            mode,
            pix,
            last_sequence: None,
            number,
            lost: 0,
            last_frame,
            last_capture_us: 0,
        })
    }

    /// The mode in use.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The device that streams.
    pub fn device(&self) -> &Device {
        &self.buffers.device
    }

    /// The number of the newest frame.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Frames that the driver counted but that never reached us, or reached us broken.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Waits up to `timeout_ms` for the next frame; `None` when none came yet.
    ///
    /// # Errors
    /// [`Error::Driver`] when the device is gone or broken, [`Error::Silent`] when it gives nothing for
    /// ten frame periods, at least a second: then drop this stream and start another.
    pub fn next(&mut self, timeout_ms: u16) -> Result<Option<Sample>, Error> {
        let mut fds = [PollFd::new(self.buffers.device.fd.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(timeout_ms));
        // SAFETY: v4l2_buffer is a plain C structure.
        let mut buffer: v4l2_buffer = unsafe { zeroed() };
        (buffer.type_, buffer.memory) = (CAPTURE, v4l2_memory_V4L2_MEMORY_MMAP);
        let buffers = self.buffers.clone();
        let path = || buffers.device.path.clone();
        match self.buffers.device.try_ioctl(vidioc::VIDIOC_DQBUF, &mut buffer) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let silence = self.last_frame.elapsed();
                let timeout = Duration::from_secs_f64((10.0 / self.mode.fps.max(0.1)).max(1.0));
                return if silence < timeout { Ok(None) } else { Err(Error::Silent { path: path() }) };
            }
            Err(source) => return Err(Error::Driver { path: path(), call: "VIDIOC_DQBUF", source }),
        }
        let dequeued_us = now_us();
        self.last_frame = Instant::now();
        let step = self.last_sequence.map_or(1, |last| buffer.sequence.wrapping_sub(last).clamp(1, 1_000));
        self.last_sequence = Some(buffer.sequence);
        self.number = self.number.wrapping_add(step);
        self.lost += u64::from(step - 1);

        // Cameras do send short and empty pictures, above all while they wake up.
        let short = (buffer.bytesused as usize) < self.least_bytes();
        if short || buffer.flags & V4L2_BUF_FLAG_ERROR != 0 {
            self.lost += 1;
            return match self.buffers.queue(buffer.index) {
                Ok(()) => Ok(None),
                Err(source) => Err(Error::Driver { path: path(), call: "VIDIOC_QBUF", source }),
            };
        }
        let capture_us = self.capture_us(&buffer, dequeued_us);
        let stamps = Stamps { capture_us, dequeued_us, ..Stamps::default() };
        let fail = || Error::Driver {
            path: path(),
            call: "VIDIOC_DQBUF",
            source: io::Error::other("a buffer too small for its picture"),
        };
        let frame = self.lend(buffer.index, buffer.bytesused as usize).ok_or_else(fail)?;
        let picture = Picture { frame, number: self.number, session: 0, stamps };
        Ok(Some(Sample { picture, jpeg: self.mode.format == Format::Mjpg, fps: self.mode.fps }))
    }

    /// When the picture was taken, by the driver's word if that can be: on our clock, after the picture
    /// before, not in the future and not long ago. Some drivers stamp late, or with the time at which the
    /// picture's last line would leave a sensor.
    fn capture_us(&mut self, buffer: &v4l2_buffer, dequeued_us: u64) -> u64 {
        let monotonic = buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        let driver_us = (buffer.timestamp.tv_sec as u64)
            .saturating_mul(1_000_000)
            .saturating_add(buffer.timestamp.tv_usec as u64);
        let long_ago_us =
            dequeued_us.saturating_sub((1e6 * f64::from(BUFFERS) / self.mode.fps.max(0.1)) as u64);
        let plausible = self.last_capture_us.max(long_ago_us)..=dequeued_us;
        if monotonic && plausible.contains(&driver_us) && driver_us != self.last_capture_us {
            self.last_capture_us = driver_us;
            driver_us
        } else {
            dequeued_us
        }
    }

    /// Bytes that a whole picture has at the least.
    fn least_bytes(&self) -> usize {
        match self.mode.format {
            Format::Mjpg => 1,
            _ => self.planes(0).iter().map(|(stride, rows)| stride * rows).sum(),
        }
    }

    /// Stride and rows of each plane, as the V4L2 formats document them: no gap between planes, chroma
    /// strides from luma's.
    fn planes(&self, jpeg_bytes: usize) -> [(usize, usize); 3] {
        let (stride, height) = (self.pix.bytesperline as usize, self.mode.height as usize);
        let half = height.div_ceil(2);
        match self.mode.format {
            Format::Nv12 => [(stride, height), (stride, half), (0, 0)],
            Format::Yu12 => [(stride, height), (stride / 2, half), (stride / 2, half)],
            Format::Yuyv => [(stride, height), (0, 0), (0, 0)],
            Format::Mjpg | Format::Auto => [(jpeg_bytes, 1), (0, 0), (0, 0)],
        }
    }

    /// Whether the driver's rows are long enough for its picture.
    fn narrow(&self) -> bool {
        let (stride, width) = (self.pix.bytesperline as usize, self.mode.width as usize);
        match self.mode.format {
            Format::Nv12 => stride < width.next_multiple_of(2),
            Format::Yu12 => stride < width || stride / 2 < width.div_ceil(2),
            Format::Yuyv => stride < 2 * width.next_multiple_of(2),
            Format::Mjpg | Format::Auto => false,
        }
    }

    /// Wraps buffer `index` as a frame that gives it back when dropped. `None` when the driver's numbers do
    /// not fit its buffer.
    fn lend(&self, index: u32, used: usize) -> Option<frame::Video> {
        let &(address, length) = self.buffers.maps.get(index as usize)?;
        let planes = self.planes(used);
        let format = match self.mode.format {
            Format::Nv12 => Pixel::NV12,
            Format::Yu12 => Pixel::YUV420P,
            Format::Yuyv => Pixel::YUYV422,
            Format::Mjpg | Format::Auto => Pixel::GRAY8,
        };
        let size: usize = planes.iter().map(|(stride, rows)| stride * rows).sum();
        let loan = Box::new(Loan { buffers: self.buffers.clone(), index });
        if size > length || size == 0 || self.narrow() {
            return None;
        }
        let mut frame = frame::Video::empty();
        // SAFETY: the buffer is ours until `give_back`, which the AVBuffer calls when its last reference
        // goes; the planes lie within the mapping (checked above); the mapping lives as long as the loan.
        unsafe {
            let raw = frame.as_mut_ptr();
            let mut data = address.as_ptr().cast::<u8>();
            for (i, (stride, rows)) in planes.iter().enumerate().filter(|(_, p)| p.0 > 0) {
                (*raw).data[i] = data;
                (*raw).linesize[i] = *stride as i32;
                data = data.add(stride * rows);
            }
            let loan = Box::into_raw(loan);
            let readonly = ffi::AV_BUFFER_FLAG_READONLY;
            (*raw).buf[0] = ffi::av_buffer_create(
                address.as_ptr().cast(),
                length,
                Some(give_back),
                loan.cast(),
                readonly,
            );
            if (*raw).buf[0].is_null() {
                drop(Box::from_raw(loan));
                return None;
            }
        }
        let jpeg = self.mode.format == Format::Mjpg;
        frame.set_format(format);
        frame.set_width(if jpeg { used as u32 } else { self.mode.width });
        frame.set_height(if jpeg { 1 } else { self.mode.height });
        frame.set_color_space(space(&self.pix));
        frame.set_color_range(range(&self.pix));
        Some(frame)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut kind = CAPTURE;
        let _ = self.buffers.device.try_ioctl(vidioc::VIDIOC_STREAMOFF, &mut kind);
    }
}

/// V4L2's Y'CbCr encoding, with its rule for "default" (V4L2_MAP_YCBCR_ENC_DEFAULT).
fn space(pix: &v4l2_pix_format) -> color::Space {
    // SAFETY: both members of the union are the same number.
    let encoding = unsafe { pix.__bindgen_anon_1.ycbcr_enc };
    if encoding == v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_709 {
        color::Space::BT709
    } else if encoding == v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_BT2020 {
        color::Space::BT2020NCL
    } else if encoding == v4l2_ycbcr_encoding_V4L2_YCBCR_ENC_DEFAULT {
        let is = |colorspace| pix.colorspace == colorspace;
        if is(v4l2_colorspace_V4L2_COLORSPACE_REC709) || is(v4l2_colorspace_V4L2_COLORSPACE_DCI_P3) {
            color::Space::BT709
        } else if is(v4l2_colorspace_V4L2_COLORSPACE_BT2020) {
            color::Space::BT2020NCL
        } else {
            color::Space::SMPTE170M
        }
    } else {
        color::Space::SMPTE170M
    }
}

/// V4L2's quantization, with its rule for "default" (V4L2_MAP_QUANTIZATION_DEFAULT).
fn range(pix: &v4l2_pix_format) -> color::Range {
    let full = pix.quantization == v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE
        || (pix.quantization == v4l2_quantization_V4L2_QUANTIZATION_DEFAULT
            && pix.colorspace == v4l2_colorspace_V4L2_COLORSPACE_JPEG);
    if full { color::Range::JPEG } else { color::Range::MPEG }
}
