//! Finding a camera by a name that survives replugging, and listing its modes.

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use v4l::v4l_sys::*;
use v4l::v4l2::{ioctl as v4l2_ioctl, vidioc};

use super::error::Error;
use super::mode::{self, Mode};
use crate::units::{CameraRequest, Format};

/// More entries than this in any of a driver's lists are ignored: a broken driver must not keep us for ever.
const LIST_LIMIT: u32 = 256;

/// An open capture device.
pub struct Device {
    pub(super) fd: OwnedFd,
    /// The device node.
    pub path: PathBuf,
    /// The port that it is plugged into, as the driver reports it (`usb-0000:00:14.0-1`,
    /// `platform:vivid-000`).
    pub bus: String,
    /// The model, as the driver reports it.
    pub card: String,
}

/// A C string field of a driver's answer.
fn text(raw: &[u8]) -> String {
    let end = raw.iter().position(|&b| b == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(&raw[..end]).into_owned()
}

/// The kind of queue that we stream from: single-planar video capture.
pub(super) const CAPTURE: u32 = v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;

/// A V4L2 structure filled with zeros, as the API asks for unused fields.
///
/// # Safety
/// `T` must be a plain C structure of integers, arrays and unions of them.
pub(super) unsafe fn zeroed<T>() -> T {
    // SAFETY: all-zero is a valid value of such a structure (caller's promise).
    unsafe { mem::zeroed() }
}

impl Device {
    /// Opens the capture device called `name`: `auto` (the first), bus info, card name, or a path.
    ///
    /// # Errors
    /// [`Error::NotFound`] with what is there instead.
    pub fn find(name: &str) -> Result<Self, Error> {
        if name.starts_with('/') {
            return Self::open(Path::new(name));
        }
        let mut nodes: Vec<(u32, PathBuf)> = fs::read_dir("/sys/class/video4linux")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some((name.strip_prefix("video")?.parse().ok()?, Path::new("/dev").join(name)))
            })
            .collect();
        nodes.sort();
        let mut present = Vec::new();
        for (_, path) in nodes {
            let Ok(device) = Self::open(&path) else { continue };
            if name == "auto" || device.bus == name || device.card == name {
                return Ok(device);
            }
            present.push(format!("{} ({})", device.bus, device.card));
        }
        let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
        Err(Error::NotFound { wanted: name.to_owned(), present })
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path)
            .map_err(|source| Error::Driver { path: path.into(), call: "open", source })?;
        let mut device = Self { fd: file.into(), path: path.into(), bus: String::new(), card: String::new() };
        // SAFETY: v4l2_capability is a plain C structure.
        let mut caps: v4l2_capability = unsafe { zeroed() };
        device.ioctl("VIDIOC_QUERYCAP", vidioc::VIDIOC_QUERYCAP, &mut caps)?;
        let needed = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        if caps.device_caps & needed != needed {
            let source = io::Error::new(io::ErrorKind::Unsupported, "not a streaming capture device");
            return Err(Error::Driver { path: path.into(), call: "VIDIOC_QUERYCAP", source });
        }
        device.bus = text(&caps.bus_info);
        device.card = text(&caps.card);
        Ok(device)
    }

    /// One call to the driver; `argument` must be the structure that belongs to `request`.
    pub(super) fn ioctl<T>(
        &self,
        call: &'static str,
        request: vidioc::_IOC_TYPE,
        argument: &mut T,
    ) -> Result<(), Error> {
        self.try_ioctl(request, argument).map_err(|source| Error::Driver {
            path: self.path.clone(),
            call,
            source,
        })
    }

    pub(super) fn try_ioctl<T>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        // SAFETY: every caller pairs `request` with its own structure, which lives through the call; the
        // descriptor is open.
        unsafe { v4l2_ioctl(self.fd.as_raw_fd(), request, std::ptr::from_mut(argument).cast()) }
    }

    /// The device's pixel formats by fourcc.
    fn fourccs(&self) -> Vec<u32> {
        (0..LIST_LIMIT)
            .map_while(|index| {
                // SAFETY: v4l2_fmtdesc is a plain C structure.
                let mut desc: v4l2_fmtdesc = unsafe { zeroed() };
                desc.index = index;
                desc.type_ = CAPTURE;
                self.try_ioctl(vidioc::VIDIOC_ENUM_FMT, &mut desc).ok().map(|()| desc.pixelformat)
            })
            .collect()
    }

    /// The sizes of a format; of a continuous range, the one nearest to `request`.
    fn sizes(&self, fourcc: u32, request: &CameraRequest) -> Vec<(u32, u32)> {
        let mut sizes = Vec::new();
        for index in 0..LIST_LIMIT {
            // SAFETY: v4l2_frmsizeenum is a plain C structure.
            let mut desc: v4l2_frmsizeenum = unsafe { zeroed() };
            desc.index = index;
            desc.pixel_format = fourcc;
            if self.try_ioctl(vidioc::VIDIOC_ENUM_FRAMESIZES, &mut desc).is_err() {
                break;
            }
            if desc.type_ == v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
                // SAFETY: the driver says that the discrete member is the one it filled.
                let size = unsafe { desc.__bindgen_anon_1.discrete };
                sizes.push((size.width, size.height));
            } else {
                // SAFETY: the driver says that the stepwise member is the one it filled.
                let range = unsafe { desc.__bindgen_anon_1.stepwise };
                let fit = |want: u32, low: u32, high: u32, step: u32| {
                    let want = want.max(low).min(high.max(low));
                    want - (want - low) % step.max(1)
                };
                sizes.push((
                    fit(request.width, range.min_width, range.max_width, range.step_width),
                    fit(request.height, range.min_height, range.max_height, range.step_height),
                ));
                break;
            }
        }
        sizes
    }

    /// The picture rates of a size; of a continuous range, the one nearest to `request`.
    fn rates(&self, fourcc: u32, (width, height): (u32, u32), request: &CameraRequest) -> Vec<f64> {
        let rate = |f: v4l2_fract| f64::from(f.denominator) / f64::from(f.numerator.max(1));
        let mut rates = Vec::new();
        for index in 0..LIST_LIMIT {
            // SAFETY: v4l2_frmivalenum is a plain C structure.
            let mut desc: v4l2_frmivalenum = unsafe { zeroed() };
            (desc.index, desc.pixel_format, desc.width, desc.height) = (index, fourcc, width, height);
            if self.try_ioctl(vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut desc).is_err() {
                break;
            }
            if desc.type_ == v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
                // SAFETY: the driver says that the discrete member is the one it filled.
                rates.push(rate(unsafe { desc.__bindgen_anon_1.discrete }));
            } else {
                // SAFETY: the driver says that the stepwise member is the one it filled.
                let range = unsafe { desc.__bindgen_anon_1.stepwise };
                let (slowest, fastest) = (rate(range.max), rate(range.min));
                rates.push(f64::from(request.fps).max(slowest).min(fastest.max(slowest)));
                break;
            }
        }
        if rates.is_empty() {
            // A device that does not list its rates (an HDMI grabber) runs at its source's.
            rates.push(request.fps.into());
        }
        rates
    }

    /// Sets the mode closest to `request`, in the format `cheapest` where that makes no difference, and
    /// returns what the driver made of it, with the driver's own description of the pixels.
    ///
    /// # Errors
    /// [`Error::NoMode`], or [`Error::Driver`] when the driver refuses its own mode.
    pub(super) fn negotiate(
        &self,
        request: &CameraRequest,
        cheapest: Format,
    ) -> Result<(Mode, v4l2_pix_format), Error> {
        let offered = self.fourccs();
        let modes: Vec<Mode> = Format::ALL
            .into_iter()
            .filter(|format| offered.contains(&format.fourcc()))
            .flat_map(|format| {
                self.sizes(format.fourcc(), request).into_iter().map(move |size| (format, size))
            })
            .flat_map(|(format, size)| {
                let rates = self.rates(format.fourcc(), size, request);
                rates.into_iter().map(move |fps| Mode { format, width: size.0, height: size.1, fps })
            })
            .collect();
        let offered: Vec<String> = offered.iter().map(|f| text(&f.to_le_bytes())).collect();
        let no_mode = || Error::NoMode { device: self.bus.clone(), offered: offered.join(", ") };
        let mut mode = mode::closest(&modes, request, cheapest).ok_or_else(no_mode)?;

        // SAFETY: v4l2_format is a plain C structure with a union of such.
        let mut format: v4l2_format = unsafe { zeroed() };
        format.type_ = CAPTURE;
        let code = mode.format.fourcc();
        (format.fmt.pix.width, format.fmt.pix.height) = (mode.width, mode.height);
        format.fmt.pix.pixelformat = code;
        format.fmt.pix.field = v4l2_field_V4L2_FIELD_NONE;
        self.ioctl("VIDIOC_S_FMT", vidioc::VIDIOC_S_FMT, &mut format)?;
        // SAFETY: for a single-planar capture queue `pix` is the member in use.
        let pix = unsafe { format.fmt.pix };
        if pix.pixelformat != code {
            return Err(no_mode());
        }
        if pix.field != v4l2_field_V4L2_FIELD_NONE {
            return Err(Error::Interlaced { device: self.bus.clone() });
        }
        (mode.width, mode.height) = (pix.width, pix.height);

        // SAFETY: v4l2_streamparm is a plain C structure with a union of such.
        let mut parm: v4l2_streamparm = unsafe { zeroed() };
        parm.type_ = CAPTURE;
        parm.parm.capture.timeperframe =
            v4l2_fract { numerator: 1000, denominator: (mode.fps * 1000.0).round() as u32 };
        // A device without a settable rate says so with ENOTTY and keeps its own.
        if self.try_ioctl(vidioc::VIDIOC_S_PARM, &mut parm).is_ok() {
            // SAFETY: for a capture queue `capture` is the member in use.
            let interval = unsafe { parm.parm.capture.timeperframe };
            if interval.numerator > 0 {
                mode.fps = f64::from(interval.denominator) / f64::from(interval.numerator);
            }
        }
        Ok((mode, pix))
    }
}
