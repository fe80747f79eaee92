//! The kernel's events when a cable is plugged in or pulled: kobject uevents over netlink, without udev.
//!
//! Source: lib/kobject_uevent.c; netlink(7), NETLINK_KOBJECT_UEVENT.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockProtocol, recv};

use super::netlink::netlink_socket;

/// The group of the kernel's own events; others are udev's.
const KERNEL: u32 = 1;

/// A listener to device events.
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn new() -> nix::Result<Self> {
        netlink_socket(SockProtocol::NetlinkKObjectUEvent, KERNEL).map(Self)
    }

    /// Reads what came, without waiting; whether any of it was about one of these subsystems, such as `drm`.
    pub fn drain(&self, subsystems: &[&str]) -> bool {
        let mut message = [0u8; 4096];
        let mut about = false;
        loop {
            match recv(self.0.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(length) => {
                    let mut fields = message.get(..length).unwrap_or_default().split(|&b| b == 0);
                    about |= fields.any(|field| {
                        let of = field.strip_prefix(b"SUBSYSTEM=");
                        of.is_some_and(|of| subsystems.iter().any(|subsystem| subsystem.as_bytes() == of))
                    });
                }
                Err(Errno::EAGAIN) => return about,
                // Some were lost (ENOBUFS), and who knows what they said.
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
