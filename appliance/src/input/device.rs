//! Devices that have a key: opened when they appear, forgotten when they are gone.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use evdev::raw_stream::RawDevice;
use evdev::{EventType, InputEvent, KeyCode};
use nix::errno::Errno;
use nix::libc::O_NONBLOCK;

use super::error::Error;

/// The value of an event whose key went down; 0 is its release, 2 the keyboard's repetition (input.rst).
const PRESSED: i32 = 1;

/// How often one of `keys` went down.
fn presses(events: impl IntoIterator<Item = InputEvent>, keys: &[KeyCode]) -> usize {
    let pressed = |event: &InputEvent| {
        event.event_type() == EventType::KEY
            && event.value() == PRESSED
            && keys.contains(&KeyCode(event.code()))
    };
    events.into_iter().filter(pressed).count()
}

/// What became of a device node.
enum State {
    /// It has one of the keys.
    Open(Box<Device>),
    /// It has none of them.
    Without,
    /// It could not be opened so often; right after it appeared that is nothing, for udev first has to give it
    /// its group.
    Refused(u32),
    /// It failed while it was read.
    Failed,
}

/// A device that is read.
pub(super) struct Device {
    raw: RawDevice,
    path: PathBuf,
    name: String,
}

impl Device {
    /// Opens it if it has one of `keys`.
    fn open(path: &Path, keys: &[KeyCode]) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
        let raw = RawDevice::from_fd(OwnedFd::from(file))?;
        let has = raw.supported_keys().is_some_and(|has| keys.iter().any(|&key| has.contains(key)));
        let name = raw.name().unwrap_or("a device without a name").to_owned();
        Ok(has.then(|| Self { raw, path: path.to_owned(), name }))
    }

    /// What it calls itself.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How often one of `keys` went down since the last call; does not wait.
    fn presses(&mut self, keys: &[KeyCode]) -> Result<usize, Error> {
        let error = match self.raw.fetch_events() {
            Ok(events) => return Ok(presses(events, keys)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(0);
            }
            Err(e) => e,
        };
        Err(self.unreadable(error))
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Read { name: self.name.clone(), path: self.path.clone(), source }
    }
}

/// A device node as it was found.
struct Node {
    path: PathBuf,
    /// Another one under the same name is another device.
    inode: u64,
    state: State,
}

/// All device nodes of a folder.
pub(super) struct Devices {
    folder: PathBuf,
    nodes: Vec<Node>,
}

impl Devices {
    /// None yet.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), nodes: Vec::new() }
    }

    /// Looks for devices that came, and forgets those that are gone; gives what was opened, what could not be,
    /// and what was read and is gone, once each.
    pub(super) fn look(&mut self, keys: &[KeyCode]) -> Vec<Result<String, Error>> {
        let present = nodes(&self.folder);
        let mut results = Vec::new();
        self.nodes.retain(|node| {
            let there = present.iter().any(|(path, inode)| (path, *inode) == (&node.path, node.inode));
            // The node may be gone before the device is read in vain.
            if let (false, State::Open(device)) = (there, &node.state) {
                results.push(Err(device.unreadable(Errno::ENODEV.into())));
            }
            there
        });
        for (path, inode) in present {
            if !self.nodes.iter().any(|node| node.path == path) {
                self.nodes.push(Node { path, inode, state: State::Refused(0) });
            }
        }
        results.extend(self.nodes.iter_mut().filter_map(|node| node.look(keys)));
        results
    }

    /// Whether one of them is to be tried again.
    pub(super) fn unsettled(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.state, State::Refused(_)))
    }

    /// Those that are read.
    pub(super) fn open(&self) -> impl Iterator<Item = &RawDevice> {
        self.nodes.iter().filter_map(|node| match &node.state {
            State::Open(device) => Some(&device.raw),
            _ => None,
        })
    }

    /// Reads all of them; for each that has something to say, its name and how often a key went down, or why
    /// it is read no more.
    pub(super) fn read(&mut self, keys: &[KeyCode], mut on: impl FnMut(Result<(&str, usize), Error>)) {
        for node in &mut self.nodes {
            let State::Open(device) = &mut node.state else { continue };
            match device.presses(keys) {
                Ok(0) => {}
                Ok(count) => on(Ok((device.name(), count))),
                Err(e) => {
                    node.state = State::Failed;
                    on(Err(e));
                }
            }
        }
    }
}

impl Node {
    fn look(&mut self, keys: &[KeyCode]) -> Option<Result<String, Error>> {
        let State::Refused(times) = self.state else { return None };
        match Device::open(&self.path, keys) {
            Ok(Some(device)) => {
                let name = device.name.clone();
                self.state = State::Open(Box::new(device));
                Some(Ok(name))
            }
            Ok(None) => {
                self.state = State::Without;
                None
            }
            Err(source) => {
                self.state = State::Refused(times.saturating_add(1));
                (times == 1).then(|| Err(Error::Open { path: self.path.clone(), source }))
            }
        }
    }
}

/// The device nodes of a folder, each with its inode; none when there is no such folder.
fn nodes(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut nodes: Vec<_> = entries
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"event"))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.ino())))
        .collect();
    nodes.sort();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, value: i32) -> InputEvent {
        InputEvent::new(EventType::KEY.0, code.0, value)
    }

    #[test]
    fn only_a_key_that_goes_down_counts() {
        let (mute, f1) = (KeyCode::KEY_MICMUTE, KeyCode::KEY_F1);
        let end = InputEvent::new(EventType::SYNCHRONIZATION.0, 0, 0);
        let held = [key(mute, 1), end, key(mute, 2), end, key(mute, 2), end, key(mute, 0), end];
        assert_eq!(presses(held, &[mute]), 1);
        assert_eq!(presses(held, &[f1]), 0);
        assert_eq!(presses([key(mute, 1), key(mute, 0), key(f1, 1), key(mute, 1)], &[f1, mute]), 3);
        // A scan code (EV_MSC) or a lamp (EV_LED) of the same number is no key.
        let others = [EventType::MISC, EventType::LED].map(|kind| InputEvent::new(kind.0, mute.0, 1));
        assert_eq!(presses(others, &[mute]), 0);
        assert_eq!(presses(held, &[]), 0);
    }

    #[test]
    fn what_cannot_be_opened_is_said_once_and_tried_until_it_goes() {
        let folder = std::env::temp_dir().join(format!("holobooth-input-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // No device, and so no answer to what keys it has.
        fs::write(folder.join("event0"), "").unwrap();
        fs::write(folder.join("mouse0"), "").unwrap();
        let (mut devices, keys) = (Devices::new(&folder), [KeyCode::KEY_MICMUTE]);
        assert!(devices.look(&keys).is_empty(), "udev may not have come to it yet");
        let said = devices.look(&keys);
        let [Err(error)] = &said[..] else { panic!("{} results", said.len()) };
        assert!(error.to_string().contains("event0: "), "{error}");
        assert!(devices.look(&keys).is_empty() && devices.unsettled());
        devices.read(&keys, |_| panic!("nothing is open"));
        // Another device under the same number.
        fs::write(folder.join("event1"), "").unwrap();
        fs::rename(folder.join("event1"), folder.join("event0")).unwrap();
        assert!(devices.look(&keys).is_empty());
        assert_eq!(devices.look(&keys).len(), 1);
        fs::remove_file(folder.join("event0")).unwrap();
        assert!(devices.look(&keys).is_empty() && !devices.unsettled());
        fs::remove_dir_all(&folder).unwrap();
        assert!(devices.look(&keys).is_empty());
    }
}
