//! The DRM device, opened as an onlooker.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use drm::control::{Device as _, crtc, plane, property};
use drm::{ClientCapability, Device as _, VblankWaitFlags, VblankWaitReply, VblankWaitTarget};

use super::error::Error;

/// What a plane is for, in the order in which the planes lie on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PlaneKind {
    Primary,
    Overlay,
    Cursor,
}

/// Where a plane shows which part of its framebuffer, and how its colours are meant.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Placement {
    /// Left edge, top edge, width and height in the framebuffer, in 1/65536 pixel.
    pub(super) source: [u64; 4],
    /// Left and top edge on the screen in pixels; negative when it hangs out.
    pub(super) at: [i64; 2],
    /// Width and height on the screen in pixels.
    pub(super) size: [u64; 2],
    pub(super) matrix: Matrix,
    pub(super) full_range: bool,
}

/// How Y'CbCr becomes R'G'B'.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Matrix {
    #[default]
    Bt601,
    Bt709,
    Bt2020,
}

pub(super) struct Card {
    file: File,
    path: PathBuf,
}

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

impl Card {
    pub(super) fn open(name: &str) -> Result<Self, Error> {
        let path = find(name).ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let failed = |operation, source| Error::Device { operation, path: path.clone(), source };
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| failed("open", error))?;
        let card = Self { file, path };
        // Whoever opens a device that nobody drives becomes its master; an onlooker must not. The call
        // fails when somebody else is, which is as well.
        let _ = card.release_master_lock();
        for capability in [ClientCapability::UniversalPlanes, ClientCapability::Atomic] {
            let set = card.set_client_capability(capability, true);
            set.map_err(|error| card.refused("SET_CLIENT_CAP", error))?;
        }
        Ok(card)
    }

    pub(super) fn refused(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Device { operation, path: self.path.clone(), source }
    }

    pub(super) fn first_crtc(&self) -> Result<crtc::Handle, Error> {
        let resources = self.resource_handles().map_err(|error| self.refused("GETRESOURCES", error))?;
        let first = resources.crtcs().first().copied();
        first.ok_or_else(|| Error::Unsupported(format!("{}: it has no CRTC", self.path.display())))
    }

    pub(super) fn planes(&self) -> Result<Vec<(plane::Handle, PlaneKind)>, Error> {
        let handles = self.plane_handles().map_err(|error| self.refused("GETPLANERESOURCES", error))?;
        let mut planes = Vec::with_capacity(handles.len());
        for handle in handles {
            let mut kind = PlaneKind::Overlay;
            self.each_property(handle, |name, value, _| {
                if name == "type" {
                    kind = match value {
                        1 => PlaneKind::Primary,
                        2 => PlaneKind::Cursor,
                        _ => PlaneKind::Overlay,
                    };
                }
            })?;
            planes.push((handle, kind));
        }
        planes.sort_by_key(|&(handle, kind)| (kind, u32::from(handle)));
        Ok(planes)
    }

    pub(super) fn placement(&self, handle: plane::Handle) -> Result<Placement, Error> {
        let mut placed = Placement::default();
        let mut unsupported = None;
        self.each_property(handle, |name, value, info| match name {
            "SRC_X" => placed.source[0] = value,
            "SRC_Y" => placed.source[1] = value,
            "SRC_W" => placed.source[2] = value,
            "SRC_H" => placed.source[3] = value,
            "CRTC_X" => placed.at[0] = i64::from(value.cast_signed() as i32),
            "CRTC_Y" => placed.at[1] = i64::from(value.cast_signed() as i32),
            "CRTC_W" => placed.size[0] = value,
            "CRTC_H" => placed.size[1] = value,
            "rotation" if value != 1 => unsupported = Some(format!("a plane with rotation {value:#x}")),
            "COLOR_ENCODING" => {
                placed.matrix = match chosen(info, value).as_deref() {
                    Some(name) if name.contains("709") => Matrix::Bt709,
                    Some(name) if name.contains("2020") => Matrix::Bt2020,
                    _ => Matrix::Bt601,
                }
            }
            "COLOR_RANGE" => {
                placed.full_range = chosen(info, value).is_some_and(|name| name.contains("full"));
            }
            _ => {}
        })?;
        unsupported.map_or(Ok(placed), |what| Err(Error::Unsupported(what)))
    }

    pub(super) fn wait_for(
        &self,
        target: VblankWaitTarget,
        flags: VblankWaitFlags,
    ) -> Result<VblankWaitReply, Error> {
        self.wait_vblank(target, flags, 0, 0).map_err(|error| self.refused("WAIT_VBLANK", error))
    }

    fn each_property(
        &self,
        handle: plane::Handle,
        mut see: impl FnMut(&str, u64, &property::Info),
    ) -> Result<(), Error> {
        let properties =
            self.get_properties(handle).map_err(|error| self.refused("OBJ_GETPROPERTIES", error))?;
        for (&id, &value) in &properties {
            let info = self.get_property(id).map_err(|error| self.refused("GETPROPERTY", error))?;
            see(&info.name().to_string_lossy(), value, &info);
        }
        Ok(())
    }
}

fn chosen(info: &property::Info, value: u64) -> Option<String> {
    let property::ValueType::Enum(values) = info.value_type() else { return None };
    let entry = values.get_value_from_raw_value(value)?;
    Some(entry.name().to_string_lossy().into_owned())
}

fn find(name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir("/sys/class/drm").ok()?.flatten() {
        let node = entry.file_name();
        let node = node.to_str()?;
        let is_card = node.strip_prefix("card").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
        if !is_card {
            continue;
        }
        let device = fs::canonicalize(entry.path().join("device")).ok()?;
        if device.file_name().is_some_and(|last| last == name) {
            return Some(PathBuf::from("/dev/dri").join(node));
        }
    }
    None
}
