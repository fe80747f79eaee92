//! A device, a connector, a CRTC, its primary plane and a mode: everything that a commit names.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use drm::ClientCapability;
use drm::control::{
    self, AtomicCommitFlags, Device as _, Mode, ModeTypeFlags, PlaneType, ResourceHandle,
    atomic::AtomicModeReq, connector, crtc, framebuffer, plane, property,
};

use super::error::Error;
use crate::units::{ModeRequest, ScreenRequest};

/// The mode of `modes` that fits, the fastest of several.
fn pick(request: ModeRequest, modes: &[Mode]) -> Option<Mode> {
    match request {
        ModeRequest::Auto => modes
            .iter()
            .find(|m| m.mode_type().contains(ModeTypeFlags::PREFERRED))
            .or_else(|| modes.first())
            .copied(),
        ModeRequest::Size(width, height, hertz) => modes
            .iter()
            .filter(|m| m.size() == (width, height) && hertz.is_none_or(|hz| m.vrefresh() == hz))
            .max_by_key(|m| m.vrefresh())
            .copied(),
    }
}

/// An open DRM device.
pub(super) struct Device {
    file: File,
    /// The name that survives another order of probing: the device's own in sysfs.
    pub(super) name: String,
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl drm::Device for Device {}
impl control::Device for Device {}

impl Device {
    fn open(path: &Path, name: String) -> io::Result<Self> {
        // Without O_NONBLOCK, reading events waits for one, however long that takes.
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let device = Self { file, name };
        use drm::Device as _;
        device.set_client_capability(ClientCapability::UniversalPlanes, true)?;
        device.set_client_capability(ClientCapability::Atomic, true)?;
        Ok(device)
    }

    /// For `map_err`: the failure of `call` on this device.
    pub(super) fn fail(&self, call: &'static str) -> impl FnOnce(io::Error) -> Error {
        let device = self.name.clone();
        move |source| Error::Driver { device, call, source }
    }

    fn lacks(&self, what: impl Into<String>) -> Error {
        Error::Unfit { device: self.name.clone(), what: what.into() }
    }

    fn properties<T: ResourceHandle>(&self, handle: T) -> Result<HashMap<String, property::Info>, Error> {
        self.get_properties(handle).and_then(|set| set.as_hashmap(self)).map_err(self.fail("read properties"))
    }
}

/// The device nodes with their names: what `/sys/class/drm/cardN/device` resolves to.
fn nodes() -> Vec<(PathBuf, String)> {
    let mut nodes: Vec<(u32, PathBuf, String)> = fs::read_dir("/sys/class/drm")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let node = entry.file_name().into_string().ok()?;
            let number = node.strip_prefix("card")?.parse().ok()?;
            let device = fs::canonicalize(entry.path().join("device")).ok()?;
            Some((number, Path::new("/dev/dri").join(node), device.file_name()?.to_str()?.to_owned()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path, name)| (path, name)).collect()
}

/// The product name in an EDID (VESA E-EDID 1.4, section 3.10.3.4: display descriptor 0xfc).
fn monitor_name(edid: &[u8]) -> Option<String> {
    let descriptors = edid.get(54..126)?.chunks_exact(18);
    let name = descriptors.into_iter().find(|d| d.starts_with(&[0, 0, 0, 0xfc, 0]))?.get(5..)?;
    let text = name.split(|&b| b == b'\n').next()?;
    let text = String::from_utf8_lossy(text).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn modes_text(modes: &[Mode]) -> String {
    let mut names: Vec<String> =
        modes.iter().map(|m| format!("{}x{}@{}", m.size().0, m.size().1, m.vrefresh())).collect();
    names.dedup();
    names.join(", ")
}

/// Where a picture goes on the screen, and how its numbers are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    /// The framebuffer.
    pub(super) fb: framebuffer::Handle,
    /// Its size in pixels.
    pub(super) source: (u32, u32),
    /// x, y, width, height on the screen.
    pub(super) target: (u32, u32, u32, u32),
    /// KMS names of the Y'CbCr encoding and range; none for RGB.
    pub(super) colour: Option<(&'static str, &'static str)>,
}

/// What a booth with this `request` would light, and whether it could: device and connector, and mode. Lights
/// nothing.
///
/// # Errors
/// As when the screen is lit, [`Error::Driver`] when somebody else holds it.
pub fn probe(request: &ScreenRequest) -> Result<(String, String), Error> {
    use drm::Device as _;
    let output = Output::find(request)?;
    // Whoever opens a device that nobody has is its master already.
    output.device.acquire_master_lock().map_err(|source| {
        // The kernel says EBUSY where a commit would say EACCES (drm_auth.c).
        let held = source.raw_os_error() == Some(nix::libc::EBUSY);
        let source = if held { io::Error::from_raw_os_error(nix::libc::EACCES) } else { source };
        output.device.fail("become its master")(source)
    })?;
    Ok((format!("{}/{}", output.device.name, output.connector_name), output.mode_name()))
}

/// A screen that is lit.
pub(super) struct Output {
    pub(super) device: Device,
    connector: connector::Handle,
    pub(super) connector_name: String,
    crtc: crtc::Handle,
    plane: plane::Handle,
    pub(super) mode: Mode,
    mode_blob: property::Value<'static>,
    connector_props: HashMap<String, property::Info>,
    crtc_props: HashMap<String, property::Info>,
    plane_props: HashMap<String, property::Info>,
}

impl Output {
    /// Finds the screen that `request` names.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoMode`], or what the driver says.
    pub(super) fn find(request: &ScreenRequest) -> Result<Self, Error> {
        let mut present = Vec::new();
        let mut last = None;
        for (path, name) in nodes() {
            if request.device != "auto" && request.device != name && Path::new(&request.device) != path {
                present.push(name);
                continue;
            }
            let device = match Device::open(&path, name.clone()) {
                Ok(device) => device,
                Err(source) => {
                    last = Some(Error::Driver { device: name, call: "open as an atomic KMS device", source });
                    continue;
                }
            };
            match Self::on(device, request, &mut present) {
                Ok(Some(output)) => return Ok(output),
                Ok(None) => {}
                Err(e) => last = Some(e),
            }
        }
        let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
        let wanted = format!("{}/{}", request.device, request.connector);
        Err(last.unwrap_or(Error::NotFound { wanted, present }))
    }

    fn on(device: Device, request: &ScreenRequest, present: &mut Vec<String>) -> Result<Option<Self>, Error> {
        let resources = device.resource_handles().map_err(device.fail("list resources"))?;
        for &handle in resources.connectors() {
            let info = device.get_connector(handle, true).map_err(device.fail("probe a connector"))?;
            let connector_name = info.to_string();
            let connected = info.state() == connector::State::Connected;
            let state = if connected { "" } else { ", unplugged" };
            present.push(format!("{}/{connector_name}{state}", device.name));
            if !connected || (request.connector != "auto" && request.connector != connector_name) {
                continue;
            }
            let mode = pick(request.mode, info.modes()).ok_or_else(|| Error::NoMode {
                connector: connector_name.clone(),
                wanted: request.mode,
                offered: modes_text(info.modes()),
            })?;
            let crtc = info
                .encoders()
                .iter()
                .filter_map(|&e| device.get_encoder(e).ok())
                .flat_map(|e| resources.filter_crtcs(e.possible_crtcs()))
                .next()
                .ok_or_else(|| device.lacks(format!("no CRTC can drive {connector_name}")))?;
            let plane = Self::primary_plane(&device, &resources, crtc)?;
            let mode_blob = device.create_property_blob(&mode).map_err(device.fail("describe the mode"))?;
            let connector_props = device.properties(handle)?;
            let crtc_props = device.properties(crtc)?;
            let plane_props = device.properties(plane)?;
            return Ok(Some(Self {
                device,
                connector: handle,
                connector_name,
                crtc,
                plane,
                mode,
                mode_blob,
                connector_props,
                crtc_props,
                plane_props,
            }));
        }
        Ok(None)
    }

    fn primary_plane(
        device: &Device,
        resources: &control::ResourceHandles,
        crtc: crtc::Handle,
    ) -> Result<plane::Handle, Error> {
        for plane in device.plane_handles().map_err(device.fail("list planes"))? {
            let info = device.get_plane(plane).map_err(device.fail("read a plane"))?;
            if !resources.filter_crtcs(info.possible_crtcs()).contains(&crtc) {
                continue;
            }
            let values = device.get_properties(plane).map_err(device.fail("read a plane"))?;
            let primary = values.iter().any(|(&id, &value)| {
                value == PlaneType::Primary as u64
                    && device.get_property(id).is_ok_and(|p| p.name().to_bytes() == b"type")
            });
            if primary {
                return Ok(plane);
            }
        }
        Err(device.lacks("its CRTC has no primary plane"))
    }

    /// Width and height of the mode in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.mode.size().0.into(), self.mode.size().1.into())
    }

    /// How long a picture stays, in µs.
    pub(super) fn refresh_us(&self) -> u64 {
        1_000_000 / u64::from(self.mode.vrefresh().max(1))
    }

    /// `640x480@60`
    pub(super) fn mode_name(&self) -> String {
        modes_text(&[self.mode])
    }

    /// What the screen calls itself in its EDID.
    pub(super) fn monitor(&self) -> Option<String> {
        let values = self.device.get_properties(self.connector).ok()?;
        let edid = self.connector_props.get("EDID")?.handle();
        let (_, blob) = values.iter().find(|(handle, _)| **handle == edid)?;
        monitor_name(&self.device.get_property_blob(*blob).ok()?)
    }

    /// Whether the cable is still in.
    pub(super) fn connected(&self) -> bool {
        self.device
            .get_connector(self.connector, true)
            .is_ok_and(|c| c.state() == connector::State::Connected)
    }

    /// Whether the hardware would take this commit.
    pub(super) fn accepts(&self, placement: &Placement) -> bool {
        let flags = AtomicCommitFlags::TEST_ONLY | AtomicCommitFlags::ALLOW_MODESET;
        self.request(placement, true).is_ok_and(|r| self.device.atomic_commit(flags, r).is_ok())
    }

    /// Lights the screen with a first picture; returns when it is lit.
    pub(super) fn light(&self, placement: &Placement) -> Result<(), Error> {
        let request = self.request(placement, true)?;
        self.device
            .atomic_commit(AtomicCommitFlags::ALLOW_MODESET, request)
            .map_err(self.device.fail("set the mode"))
    }

    /// Asks for a picture from the next vblank on; the device then gets readable with the flip event.
    pub(super) fn flip(&self, placement: &Placement) -> Result<(), Error> {
        let request = self.request(placement, false)?;
        let flags = AtomicCommitFlags::NONBLOCK | AtomicCommitFlags::PAGE_FLIP_EVENT;
        self.device.atomic_commit(flags, request).map_err(self.device.fail("flip"))
    }

    fn request(&self, placement: &Placement, modeset: bool) -> Result<AtomicModeReq, Error> {
        let mut request = AtomicModeReq::new();
        let mut set = |handle: u32, props: &HashMap<String, property::Info>, name: &str, value: u64| {
            let info = props.get(name).ok_or_else(|| self.device.lacks(format!("no property {name}")))?;
            let object =
                control::from_u32(handle).ok_or_else(|| self.device.lacks("an object without a number"))?;
            request.add_raw_property(object, info.handle(), value);
            Ok::<(), Error>(())
        };
        if modeset {
            let crtc: u32 = self.crtc.into();
            set(self.connector.into(), &self.connector_props, "CRTC_ID", crtc.into())?;
            set(crtc, &self.crtc_props, "MODE_ID", self.mode_blob.into())?;
            set(crtc, &self.crtc_props, "ACTIVE", 1)?;
        }
        let plane: u32 = self.plane.into();
        let crtc: u32 = self.crtc.into();
        let fb: u32 = placement.fb.into();
        let (x, y, width, height) = placement.target;
        for (name, value) in [
            ("FB_ID", fb.into()),
            ("CRTC_ID", crtc.into()),
            ("SRC_X", 0),
            ("SRC_Y", 0),
            ("SRC_W", u64::from(placement.source.0) << 16),
            ("SRC_H", u64::from(placement.source.1) << 16),
            ("CRTC_X", x.into()),
            ("CRTC_Y", y.into()),
            ("CRTC_W", width.into()),
            ("CRTC_H", height.into()),
        ] {
            set(plane, &self.plane_props, name, value)?;
        }
        if let Some((encoding, range)) = placement.colour {
            for (name, wanted) in [("COLOR_ENCODING", encoding), ("COLOR_RANGE", range)] {
                // A plane without the property shows Y'CbCr its own way; there is nothing to set.
                if let Some(value) = self.plane_props.get(name).and_then(|p| enum_value(p, wanted)) {
                    set(plane, &self.plane_props, name, value)?;
                }
            }
        }
        Ok(request)
    }
}

fn enum_value(info: &property::Info, name: &str) -> Option<u64> {
    match info.value_type() {
        property::ValueType::Enum(values) => {
            let (raw, names) = values.values();
            names
                .iter()
                .position(|v| v.name().to_bytes() == name.as_bytes())
                .and_then(|i| raw.get(i).copied())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_has_the_name_of_its_edid() {
        let mut edid = [0u8; 128];
        assert_eq!(monitor_name(&edid), None);
        edid[72..90].copy_from_slice(b"\x00\x00\x00\xfc\x00HoloPanel 86\n");
        assert_eq!(monitor_name(&edid).as_deref(), Some("HoloPanel 86"));
        assert_eq!(monitor_name(&edid[..100]), None);
    }
}
