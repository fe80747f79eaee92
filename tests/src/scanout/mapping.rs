//! A framebuffer's memory, mapped to be read.

use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use drm::buffer::DrmFourcc;
use drm::control::{Device as _, GetPlanarFramebufferError, framebuffer};
use nix::libc::c_void;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{Whence, lseek};

use super::card::{Card, Matrix};
use super::error::Error;
use super::pixels;

/// `DMA_BUF_IOCTL_SYNC`'s flags: about to read, and done reading.
const SYNC_START_READ: u64 = 1;
const SYNC_END_READ: u64 = 1 | 4;

nix::ioctl_write_ptr!(dma_buf_sync, b'b', 0, u64);

/// A mapped framebuffer. Its owner goes on drawing in others meanwhile, never, it is hoped, in this one.
pub(super) struct Mapped {
    format: DrmFourcc,
    pub(super) size: (u32, u32),
    planes: Vec<Plane>,
}

struct Plane {
    memory: Memory,
    offset: usize,
    pitch: usize,
}

impl Mapped {
    /// Maps what has this id now; `None` when it has gone in the meantime.
    pub(super) fn new(card: &Card, id: framebuffer::Handle) -> Result<Option<Self>, Error> {
        let info = match card.get_planar_framebuffer(id) {
            Ok(info) => info,
            Err(GetPlanarFramebufferError::UnrecognizedFourcc(code)) => {
                return Err(Error::Unsupported(format!("framebuffer format {code:?}")));
            }
            Err(_) => return Ok(None),
        };
        let mut planes = Vec::new();
        let mut failure = None;
        let buffers = info.buffers();
        for (index, buffer) in buffers.iter().enumerate() {
            let Some(buffer) = *buffer else { continue };
            let (offset, pitch) = (info.offsets()[index] as usize, info.pitches()[index] as usize);
            match card.buffer_to_prime_fd(buffer, 0).and_then(Memory::map) {
                Ok(memory) => planes.push(Plane { memory, offset, pitch }),
                Err(error) => failure = Some(card.refused("PRIME export", error)),
            }
        }
        for (index, buffer) in buffers.iter().enumerate() {
            let Some(buffer) = *buffer else { continue };
            // Planes in one buffer share one handle, which closes once.
            if !buffers[..index].contains(&Some(buffer)) {
                let _ = card.close_buffer(buffer);
            }
        }
        match failure {
            Some(error) => Err(error),
            None => {
                pixels::check(info.pixel_format(), planes.len())?;
                Ok(Some(Self { format: info.pixel_format(), size: info.size(), planes }))
            }
        }
    }

    /// The byte at column `x` (in bytes) of row `y` of a plane; 0 outside.
    fn byte(&self, plane: usize, x: usize, y: usize) -> u8 {
        self.planes.get(plane).map_or(0, |plane| plane.memory.byte(plane.offset + y * plane.pitch + x))
    }

    /// Y' of a pixel, or what stands for it in an R'G'B' format.
    fn luma(&self, x: u32, y: u32) -> u8 {
        pixels::luma(self.format, |plane, x, y| self.byte(plane, x, y), x, y)
    }

    /// R'G'B' of a pixel and how far it covers what lies below, 0 to 255.
    pub(super) fn rgb(&self, x: u32, y: u32, matrix: Matrix, full_range: bool) -> ([u8; 3], u8) {
        pixels::rgb(self.format, |plane, x, y| self.byte(plane, x, y), x, y, matrix, full_range)
    }

    /// Mean luma of five points around the middle.
    pub(super) fn middle_luma(&self) -> u8 {
        let (width, height) = self.size;
        let eighths = [(4, 4), (3, 3), (5, 3), (3, 5), (5, 5)];
        let sum: u32 = eighths.iter().map(|(x, y)| u32::from(self.luma(width * x / 8, height * y / 8))).sum();
        u8::try_from(sum / 5).unwrap_or(u8::MAX)
    }
}

struct Memory {
    address: NonNull<c_void>,
    length: usize,
    fd: OwnedFd,
}

// SAFETY: a mapping belongs to the process, and only its owner reads or unmaps it.
unsafe impl Send for Memory {}

impl Memory {
    fn map(fd: OwnedFd) -> std::io::Result<Self> {
        let length = usize::try_from(lseek(&fd, 0, Whence::SeekEnd)?).unwrap_or(0);
        let size = NonZeroUsize::new(length).ok_or(nix::errno::Errno::ENODATA)?;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else refers to it.
        let address = unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &fd, 0) }?;
        let memory = Self { address, length, fd };
        memory.sync(SYNC_START_READ);
        Ok(memory)
    }

    fn byte(&self, at: usize) -> u8 {
        if at >= self.length {
            return 0;
        }
        // SAFETY: within the mapping, which lives as long as self. Volatile, because another process may
        // write.
        unsafe { self.address.cast::<u8>().add(at).read_volatile() }
    }

    fn sync(&self, flags: u64) {
        // SAFETY: the kernel reads one u64. Exporters without caches to look after may refuse, which is no
        // loss.
        let _ = unsafe { dma_buf_sync(self.fd.as_raw_fd(), &flags) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.sync(SYNC_END_READ);
        // SAFETY: mapped by `map` with this length, and unmapped only here.
        let _ = unsafe { munmap(self.address, self.length) };
    }
}
