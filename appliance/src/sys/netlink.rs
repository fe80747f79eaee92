//! Netlink sockets, by which the kernel reports events.
//!
//! Source: netlink(7).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};

/// A non-blocking socket that receives the messages which `protocol` sends to these multicast groups, a bit
/// each.
///
/// # Errors
/// When the kernel does not support it.
pub(crate) fn netlink_socket(protocol: SockProtocol, groups: u32) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}
