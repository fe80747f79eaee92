//! The kernel's virtual camera: its picture, and its switches for going wrong.
//!
//! A second file handle may turn the controls while another program streams.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

const CAPTURE: u32 = 1;
const NEXT_CONTROL: u32 = 0x8000_0000;
const MENU: u32 = 3;
/// The control `Brightness` where it changes nothing.
pub const NEUTRAL_BRIGHTNESS: i32 = 128;

/// Why a virtual camera could not be driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No capture node has the bus address.
    #[error("vivid: no capture device at {0}: is the rig booted with enough cameras?")]
    NotFound(String),
    /// The driver lacks a control, or an item of its menu.
    #[error("vivid: {path} has no control '{control}'{item}")]
    NoControl {
        /// The device node.
        path: PathBuf,
        /// The control's name.
        control: String,
        /// " with the item …", or empty.
        item: String,
    },
    /// The kernel refused.
    #[error("vivid: {operation} on {path}: {errno}")]
    Refused {
        /// What was asked.
        operation: String,
        /// The device node.
        path: PathBuf,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The device list could not be read.
    #[error("vivid: cannot list /dev: {0}")]
    List(#[from] io::Error),
}

/// What the camera looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Y' = 16 everywhere.
    Black,
    /// Y' = 235 everywhere.
    White,
    /// Eight upright bars: white, yellow, cyan, green, magenta, red, blue, black.
    Bars,
    /// Those bars lying, white on top.
    Rows,
    /// Those colours in squares.
    Squares,
    /// A new random picture each frame.
    Noise,
}

/// A pattern, and what goes on in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// What the camera looks at.
    pub pattern: Pattern,
    /// Frame counter and time are written into the picture.
    pub text: bool,
    /// The picture drifts to the left.
    pub drifts: bool,
}

impl Scene {
    /// A pattern that stands still, without text.
    pub fn still(pattern: Pattern) -> Self {
        Self { pattern, text: false, drifts: false }
    }

    /// A pattern that drifts, with text.
    pub fn moving(pattern: Pattern) -> Self {
        Self { pattern, text: true, drifts: true }
    }
}

impl Pattern {
    fn item(self) -> &'static str {
        match self {
            Self::Black => "100% Black",
            Self::White => "100% White",
            Self::Bars => "100% Colorbar",
            Self::Rows => "Horizontal 100% Colorbar",
            Self::Squares => "100% Color Squares",
            Self::Noise => "Noise",
        }
    }
}

/// A fault that happens once when it is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next buffer comes back marked as damaged.
    DamagedBuffer,
    /// Streaming fails for good: every further dequeue is an error until the stream is started anew.
    StreamingError,
    /// The next start of the stream fails.
    StartError,
}

impl Fault {
    fn control(self) -> &'static str {
        match self {
            Self::DamagedBuffer => "Inject V4L2_BUF_FLAG_ERROR",
            Self::StreamingError => "Inject Fatal Streaming Error",
            Self::StartError => "Inject VIDIOC_STREAMON Error",
        }
    }
}

struct Control {
    id: u32,
    items: BTreeMap<String, i32>,
}

/// One virtual camera, opened beside the program that streams from it.
pub struct Vivid {
    file: File,
    path: PathBuf,
    controls: BTreeMap<String, Control>,
}

impl Vivid {
    /// Opens the camera with this bus address, such as `platform:vivid-000`.
    ///
    /// # Errors
    /// When there is none, or it does not list its controls.
    pub fn open(bus_info: &str) -> Result<Self, Error> {
        for entry in fs::read_dir("/dev")? {
            let path = entry?.path();
            let is_video = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"video"));
            if !is_video {
                continue;
            }
            let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
            let mut capability = sys::Capability::default();
            // SAFETY: the kernel fills the structure, which is laid out as VIDIOC_QUERYCAP has it.
            if unsafe { sys::querycap(file.as_raw_fd(), &mut capability) }.is_err() {
                continue;
            }
            if text(&capability.bus_info) == bus_info && capability.device_caps & CAPTURE != 0 {
                let controls = list_controls(&file, &path)?;
                return Ok(Self { file, path, controls });
            }
        }
        Err(Error::NotFound(bus_info.to_owned()))
    }

    /// The device node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a control by its name to a number.
    ///
    /// # Errors
    /// When there is no such control or the driver refuses the value.
    pub fn set(&self, control: &str, value: i32) -> Result<(), Error> {
        let id = self.control(control)?.id;
        let mut request = sys::SimpleControl { id, value };
        // SAFETY: the kernel reads and writes one structure laid out as VIDIOC_S_CTRL has it.
        unsafe { sys::s_ctrl(self.file.as_raw_fd(), &mut request) }.map(drop).map_err(|errno| {
            Error::Refused { operation: format!("{control} = {value}"), path: self.path.clone(), errno }
        })
    }

    /// Sets a menu control by its name to one of its items by name.
    ///
    /// # Errors
    /// When there is no such control or item, or the driver refuses.
    pub fn choose(&self, control: &str, item: &str) -> Result<(), Error> {
        let index = self.control(control)?.items.get(item).copied();
        let index = index.ok_or_else(|| self.missing(control, format!(" with the item '{item}'")))?;
        self.set(control, index)
    }

    /// Shows a pattern from the next frame on.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn show(&self, pattern: Pattern) -> Result<(), Error> {
        self.choose("Test Pattern", pattern.item())
    }

    /// Sets up everything that decides what a frame looks like, and stamps frames when their exposure
    /// starts: the driver's other way, and its default, is most of a period ahead of the clock.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn look_at(&self, scene: Scene) -> Result<(), Error> {
        self.choose("Timestamp Source", "Start of Exposure")?;
        self.choose("OSD Text Mode", if scene.text { "All" } else { "None" })?;
        self.choose("Horizontal Movement", if scene.drifts { "Move Left" } else { "No Movement" })?;
        self.set("Brightness", NEUTRAL_BRIGHTNESS)?;
        self.encode_as_rec709(false)?;
        self.show(scene.pattern)
    }

    /// Encodes as Rec. 709 or as SMPTE 170M (Rec. 601), both in the limited range.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn encode_as_rec709(&self, on: bool) -> Result<(), Error> {
        self.choose("Colorspace", if on { "Rec. 709" } else { "SMPTE 170M" })
    }

    /// Injects a fault.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn inject(&self, fault: Fault) -> Result<(), Error> {
        self.set(fault.control(), 1)
    }

    /// Pulls the cable. It stays out until what is returned is plugged in or dropped.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn unplug(self) -> Result<Unplugged, Error> {
        self.set("Disconnect", 1)?;
        Ok(Unplugged { _last_user: self.file })
    }

    fn control(&self, name: &str) -> Result<&Control, Error> {
        self.controls.get(name).ok_or_else(|| self.missing(name, String::new()))
    }

    fn missing(&self, control: &str, item: String) -> Error {
        Error::NoControl { path: self.path.clone(), control: control.to_owned(), item }
    }
}

/// A camera with its cable out. The driver plugs it in again when its last user closes it, so
/// keeping it open keeps it out, and so does a streaming program that holds on to it.
pub struct Unplugged {
    _last_user: File,
}

impl Unplugged {
    /// Puts the cable back.
    pub fn plug(self) {}
}

fn list_controls(file: &File, path: &Path) -> Result<BTreeMap<String, Control>, Error> {
    let mut controls = BTreeMap::new();
    let mut query = sys::QueryExtCtrl::new(NEXT_CONTROL);
    loop {
        // SAFETY: the kernel fills the structure, which is laid out as VIDIOC_QUERY_EXT_CTRL has it.
        match unsafe { sys::query_ext_ctrl(file.as_raw_fd(), &mut query) } {
            Ok(_) => {
                let items = if query.kind == MENU { list_items(file, &query) } else { BTreeMap::new() };
                controls.insert(text(&query.name), Control { id: query.id, items });
                query = sys::QueryExtCtrl::new(query.id | NEXT_CONTROL);
            }
            Err(Errno::EINVAL) => return Ok(controls),
            Err(errno) => {
                let operation = "listing controls".to_owned();
                return Err(Error::Refused { operation, path: path.to_owned(), errno });
            }
        }
    }
}

fn list_items(file: &File, control: &sys::QueryExtCtrl) -> BTreeMap<String, i32> {
    let indices = control.minimum.max(0)..=control.maximum.min(1000);
    let item = |index: i64| {
        let index = i32::try_from(index).ok()?;
        let mut menu =
            sys::QueryMenu { id: control.id, index: index.unsigned_abs(), name: [0; 32], reserved: 0 };
        // SAFETY: the kernel fills the structure, which is laid out as VIDIOC_QUERYMENU has it.
        unsafe { sys::querymenu(file.as_raw_fd(), &mut menu) }.ok()?;
        Some((text(&{ menu.name }), index))
    };
    indices.filter_map(item).collect()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Structures and calls as `linux/videodev2.h` lays them out.
mod sys {
    #[repr(C)]
    #[derive(Default)]
    pub(super) struct Capability {
        driver: [u8; 16],
        card: [u8; 32],
        pub(super) bus_info: [u8; 32],
        version: u32,
        capabilities: u32,
        pub(super) device_caps: u32,
        reserved: [u32; 3],
    }

    #[repr(C)]
    #[derive(Default)]
    pub(super) struct QueryExtCtrl {
        pub(super) id: u32,
        pub(super) kind: u32,
        pub(super) name: [u8; 32],
        pub(super) minimum: i64,
        pub(super) maximum: i64,
        step: u64,
        default_value: i64,
        flags: u32,
        elem_size: u32,
        elems: u32,
        nr_of_dims: u32,
        dims: [u32; 4],
        reserved: [u32; 32],
    }

    impl QueryExtCtrl {
        pub(super) fn new(id: u32) -> Self {
            Self { id, ..Self::default() }
        }
    }

    #[repr(C, packed)]
    pub(super) struct QueryMenu {
        pub(super) id: u32,
        pub(super) index: u32,
        pub(super) name: [u8; 32],
        pub(super) reserved: u32,
    }

    #[repr(C)]
    pub(super) struct SimpleControl {
        pub(super) id: u32,
        pub(super) value: i32,
    }

    nix::ioctl_read!(querycap, b'V', 0, Capability);
    nix::ioctl_readwrite!(s_ctrl, b'V', 28, SimpleControl);
    nix::ioctl_readwrite!(querymenu, b'V', 37, QueryMenu);
    nix::ioctl_readwrite!(query_ext_ctrl, b'V', 103, QueryExtCtrl);
}
