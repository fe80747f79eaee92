//! Framebuffers in memory that the screen can read and we can write.
//!
//! Dumb buffers: every KMS driver has them, and they need no GPU driver in this process.

use std::ptr::NonNull;
use std::rc::Rc;
use std::{ffi::c_void, mem, slice};

use drm::buffer::{Buffer as _, DrmFourcc, DrmModifier, Handle, PlanarBuffer};
use drm::control::{Device as _, FbCmd2Flags, dumbbuffer::DumbBuffer, framebuffer};
use nix::sys::mman::munmap;

use super::error::Error;
use super::output::Output;

/// Hardware wants rows that begin on round addresses; 128 keeps halved chroma rows round too.
const ROW_ALIGN: u32 = 128;

/// One plane of pixels inside a [`Buffer`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub(super) offset: usize,
    pub(super) stride: usize,
    pub(super) rows: usize,
}

/// A framebuffer: written by us, then read by the screen.
pub(super) struct Buffer {
    output: Rc<Output>,
    dumb: Option<DumbBuffer>,
    map: (NonNull<c_void>, usize),
    pub(super) fb: framebuffer::Handle,
    pub(super) size: (u32, u32),
    pub(super) fourcc: DrmFourcc,
    pub(super) planes: Vec<Plane>,
}

/// Planes of `fourcc` as the kernel's drm_fourcc.h lays them out, for luma rows of `stride` bytes. `None` for
/// a format that we do not write.
fn planes(fourcc: DrmFourcc, stride: usize, height: usize) -> Option<Vec<Plane>> {
    let half = height.div_ceil(2);
    let luma = Plane { offset: 0, stride, rows: height };
    match fourcc {
        DrmFourcc::Xrgb8888 => Some(vec![luma]),
        DrmFourcc::Nv12 => Some(vec![luma, Plane { offset: stride * height, stride, rows: half }]),
        DrmFourcc::Yuv420 => {
            let chroma = |offset| Plane { offset, stride: stride / 2, rows: half };
            Some(vec![luma, chroma(stride * height), chroma(stride * height + stride / 2 * half)])
        }
        _ => None,
    }
}

/// How KMS is given a dumb buffer with planes in it.
struct Description<'a> {
    size: (u32, u32),
    fourcc: DrmFourcc,
    handle: Handle,
    planes: &'a [Plane],
}

impl PlanarBuffer for Description<'_> {
    fn size(&self) -> (u32, u32) {
        self.size
    }
    fn format(&self) -> DrmFourcc {
        self.fourcc
    }
    fn modifier(&self) -> Option<DrmModifier> {
        None
    }
    fn pitches(&self) -> [u32; 4] {
        std::array::from_fn(|i| self.planes.get(i).map_or(0, |p| p.stride as u32))
    }
    fn handles(&self) -> [Option<Handle>; 4] {
        std::array::from_fn(|i| self.planes.get(i).map(|_| self.handle))
    }
    fn offsets(&self) -> [u32; 4] {
        std::array::from_fn(|i| self.planes.get(i).map_or(0, |p| p.offset as u32))
    }
}

impl Buffer {
    /// A black framebuffer of `size` pixels.
    pub(super) fn new(output: &Rc<Output>, fourcc: DrmFourcc, size: (u32, u32)) -> Result<Self, Error> {
        let device = &output.device;
        let unfit = |what: &str| Error::Unfit { device: device.name.clone(), what: what.to_owned() };
        let rgb = fourcc == DrmFourcc::Xrgb8888;
        let rows = if rgb { size.1 } else { size.1 + 2 * size.1.div_ceil(2) };
        let shape = (size.0.next_multiple_of(ROW_ALIGN), rows);
        let (kind, bits) = if rgb { (fourcc, 32) } else { (DrmFourcc::R8, 8) };
        let mut dumb =
            device.create_dumb_buffer(shape, kind, bits).map_err(device.fail("allocate a framebuffer"))?;
        let planes = planes(fourcc, dumb.pitch() as usize, size.1 as usize)
            .ok_or_else(|| unfit("a pixel format that nobody writes"))?;
        let mut mapping = device.map_dumb_buffer(&mut dumb).map_err(device.fail("map a framebuffer"))?;
        let bytes = mapping.as_mut();
        let map = (NonNull::from(&mut *bytes).cast::<c_void>(), bytes.len());
        // Kept mapped: mapping it for every picture would fault in every page of it. `Drop` unmaps.
        mem::forget(mapping);
        let description = Description { size, fourcc, handle: dumb.handle(), planes: &planes };
        let fb = device.add_planar_framebuffer(&description, FbCmd2Flags::empty());
        let fb = match fb {
            Ok(fb) => fb,
            Err(e) => {
                // SAFETY: mapped above, used by nobody.
                let _ = unsafe { munmap(map.0, map.1) };
                let _ = device.destroy_dumb_buffer(dumb);
                return Err(device.fail("make a framebuffer")(e));
            }
        };
        let mut buffer = Self { output: output.clone(), dumb: Some(dumb), map, fb, size, fourcc, planes };
        buffer.blacken();
        Ok(buffer)
    }

    /// The bytes of all planes.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped in `new` with this length, unmapped in `drop`; nobody else in this process has the
        // address.
        unsafe { slice::from_raw_parts_mut(self.map.0.as_ptr().cast(), self.map.1) }
    }

    /// The rows of plane `index`, stride bytes each.
    pub(super) fn plane(&mut self, index: usize) -> (&mut [u8], Plane) {
        let plane = self.planes.get(index).copied().unwrap_or(Plane { offset: 0, stride: 1, rows: 0 });
        let length = plane.stride * plane.rows;
        let bytes = self.bytes();
        let end = (plane.offset + length).min(bytes.len());
        (&mut bytes[plane.offset.min(end)..end], plane)
    }

    /// Black, in the buffer's own numbers (limited-range Y'CbCr, or RGB).
    pub(super) fn blacken(&mut self) {
        let rgb = self.fourcc == DrmFourcc::Xrgb8888;
        for index in 0..self.planes.len() {
            let value = match (rgb, index) {
                (true, _) => 0,
                (false, 0) => 16,
                (false, _) => 128,
            };
            self.plane(index).0.fill(value);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let device = &self.output.device;
        // SAFETY: mapped in `new`; no reference to the bytes outlives `self`.
        let _ = unsafe { munmap(self.map.0, self.map.1) };
        let _ = device.destroy_framebuffer(self.fb);
        if let Some(dumb) = self.dumb.take() {
            let _ = device.destroy_dumb_buffer(dumb);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_follow_each_other_and_fit() {
        let p = planes(DrmFourcc::Yuv420, 640, 481).unwrap();
        assert_eq!(
            p.iter().map(|p| (p.offset, p.stride, p.rows)).collect::<Vec<_>>(),
            [(0, 640, 481), (640 * 481, 320, 241), (640 * 481 + 320 * 241, 320, 241)]
        );
        let last = p[2];
        // `Buffer::new` allocates height + 2 * ceil(height / 2) rows.
        assert!(last.offset + last.stride * last.rows <= 640 * (481 + 2 * 241));
        assert!(planes(DrmFourcc::Argb2101010, 640, 480).is_none());
    }
}
