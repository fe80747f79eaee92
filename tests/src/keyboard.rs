//! A keyboard with one key, which a program plugs in and presses (uinput).
//!
//! Source: Documentation/input/uinput.rst.

use std::io;

use evdev::uinput::VirtualDevice;
use evdev::{AttributeSet, EventType, InputEvent, KeyCode};

/// What the value of an event says of its key (Documentation/input/input.rst).
const RELEASED: i32 = 0;
const PRESSED: i32 = 1;
const REPEATED: i32 = 2;

/// The keyboard; unplugged when dropped.
pub struct Keyboard {
    device: VirtualDevice,
    key: KeyCode,
}

impl Keyboard {
    /// Plugs one in that calls itself so.
    ///
    /// # Errors
    /// When the kernel has no uinput, or one may not use it.
    pub fn plug_in(name: &str, key: KeyCode) -> io::Result<Self> {
        let keys = AttributeSet::from_iter([key]);
        let device = VirtualDevice::builder()?.name(name).with_keys(&keys)?.build()?;
        Ok(Self { device, key })
    }

    /// Presses the key, holds it until it repeats itself, and lets go.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn press(&mut self) -> io::Result<()> {
        [PRESSED, REPEATED, RELEASED]
            .into_iter()
            .try_for_each(|value| self.device.emit(&[InputEvent::new(EventType::KEY.0, self.key.0, value)]))
    }
}
