//! The kernel's events when a cable is plugged in or pulled: kobject uevents over netlink, without udev.
//!
//! Source: lib/kobject_uevent.c; netlink(7), NETLINK_KOBJECT_UEVENT.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockProtocol, recv};

use crate::sys::netlink_socket;

/// The group of the kernel's own events; others are udev's.
const KERNEL: u32 = 1;

/// A listener to device events.
pub(super) struct Hotplug(OwnedFd);

impl Hotplug {
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub(super) fn new() -> nix::Result<Self> {
        netlink_socket(SockProtocol::NetlinkKObjectUEvent, KERNEL).map(Self)
    }

    /// Reads what came; whether any of it was about screens.
    pub(super) fn drain(&self) -> bool {
        let mut message = [0u8; 4096];
        let mut about_screens = false;
        loop {
            match recv(self.0.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(length) => {
                    let mut fields = message.get(..length).unwrap_or_default().split(|&b| b == 0);
                    about_screens |= fields.any(|f| f == b"SUBSYSTEM=drm");
                }
                Err(Errno::EAGAIN) => return about_screens,
                // Some were lost (ENOBUFS), and who knows what they said.
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Hotplug {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
