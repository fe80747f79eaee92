//! What the viewer would see, read from outside the program that shows it.
//!
//! A second opener of the DRM device asks which framebuffers the active planes scan out, exports
//! them and reads their pixels. It never becomes, or at once stops being, the device's master.

mod card;
mod error;
mod mapping;
mod picture;
mod pixels;

use drm::control::{Device as _, crtc, framebuffer, plane};
use drm::{VblankWaitFlags, VblankWaitTarget};

use crate::clock::now_us;
use card::{Card, PlaneKind};
pub use error::Error;
use mapping::Mapped;
pub use picture::Picture;

/// How long one mapping of a framebuffer may serve while its id stays on the plane. Ids get reused,
/// so a mapping is never kept by id alone.
const MAPPING_LIFE_US: i64 = 8_000;

/// One screen of the rig.
pub struct Screen {
    card: Card,
    crtc: crtc::Handle,
    planes: Vec<(plane::Handle, PlaneKind)>,
    held: Option<Held>,
}

struct Held {
    id: framebuffer::Handle,
    mapped: Mapped,
    until_us: i64,
}

impl Screen {
    /// Opens the DRM device with this name: the last part of where `/sys/class/drm/cardN/device` leads.
    ///
    /// # Errors
    /// When there is no such device or it lists no CRTC.
    pub fn open(name: &str) -> Result<Self, Error> {
        let card = Card::open(name)?;
        let crtc = card.first_crtc()?;
        let planes = card.planes()?;
        Ok(Self { card, crtc, planes, held: None })
    }

    /// Width and height of the mode that is set, in pixels; `None` while the screen is off.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn size(&self) -> Result<Option<(u32, u32)>, Error> {
        let info = self.card.get_crtc(self.crtc).map_err(|error| self.card.refused("GETCRTC", error))?;
        Ok(info.mode().map(|mode| (mode.size().0.into(), mode.size().1.into())))
    }

    /// The luma in the middle of what is being scanned out, 0 to 255, mean of five points;
    /// `None` while nothing is. Takes a few tens of microseconds.
    ///
    /// # Errors
    /// When the device refuses or the framebuffer's format is not known.
    pub fn luma(&mut self) -> Result<Option<u8>, Error> {
        let Some(id) = self.top_framebuffer()? else {
            self.held = None;
            return Ok(None);
        };
        let now_us = now_us();
        let fresh = self.held.as_ref().is_some_and(|held| held.id == id && now_us < held.until_us);
        if !fresh {
            self.held = None;
            let Some(mapped) = Mapped::new(&self.card, id)? else { return Ok(None) };
            self.held = Some(Held { id, mapped, until_us: now_us + MAPPING_LIFE_US });
        }
        Ok(self.held.as_ref().map(|held| held.mapped.middle_luma()))
    }

    /// Everything that is being scanned out, planes composed as the screen would; `None` while it is off.
    ///
    /// # Errors
    /// When the device refuses or a plane uses what this reader does not decode.
    pub fn picture(&self) -> Result<Option<Picture>, Error> {
        let Some((width, height)) = self.size()? else { return Ok(None) };
        let mut picture = Picture::black(width, height);
        for &(handle, kind) in &self.planes {
            if kind == PlaneKind::Cursor {
                continue;
            }
            let Some(id) = self.framebuffer_of(handle)? else { continue };
            let placed = self.card.placement(handle)?;
            if let Some(mapped) = Mapped::new(&self.card, id)? {
                picture.draw(&mapped, &placed);
            }
        }
        Ok(Some(picture))
    }

    /// Waits for the next vertical blank; when it was, in microseconds of CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// When the screen is off.
    pub fn next_vblank_us(&self) -> Result<i64, Error> {
        let reply = self.card.wait_for(VblankWaitTarget::Relative(1), VblankWaitFlags::empty())?;
        let time_us = reply.time().and_then(|time| i64::try_from(time.as_micros()).ok());
        Ok(time_us.unwrap_or_else(now_us))
    }

    fn top_framebuffer(&self) -> Result<Option<framebuffer::Handle>, Error> {
        for &(handle, kind) in self.planes.iter().rev() {
            if kind == PlaneKind::Cursor {
                continue;
            }
            if let Some(id) = self.framebuffer_of(handle)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn framebuffer_of(&self, handle: plane::Handle) -> Result<Option<framebuffer::Handle>, Error> {
        let info = self.card.get_plane(handle).map_err(|error| self.card.refused("GETPLANE", error))?;
        Ok(info.framebuffer().filter(|_| info.crtc() == Some(self.crtc)))
    }
}
