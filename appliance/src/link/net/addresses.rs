//! The kernel's own word that this machine's addresses or cables changed: route netlink.
//!
//! Source: rtnetlink(7), NETLINK_ROUTE.

use std::future::pending;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK};
use nix::sys::socket::{MsgFlags, SockProtocol, recv};
use tokio::io::unix::AsyncFd;

use crate::sys::netlink_socket;

/// The groups that tell of cables and addresses.
const GROUPS: i32 = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;

/// A listener to changes. Where the kernel gives none, nothing ever changes.
pub(crate) struct Network(Option<AsyncFd<OwnedFd>>);

impl Network {
    /// Within a tokio runtime.
    pub(crate) fn new() -> Self {
        let socket = netlink_socket(SockProtocol::NetlinkRoute, GROUPS as u32);
        let listener = socket.map_err(std::io::Error::from).and_then(|fd| {
            #[expect(
                deprecated,
                reason = "its successor is unsafe, for descriptors that may be closed; an owned one is not"
            )]
            AsyncFd::new(fd)
        });
        if let Err(e) = &listener {
            log::warn!("link: the kernel does not tell of changed addresses: {e}");
        }
        Self(listener.ok())
    }

    /// Waits for a change. May tell of one where there was none: addresses are also told of when only their
    /// lifetime changes.
    pub(crate) async fn changed(&self) {
        let Some(fd) = &self.0 else { return pending().await };
        let Ok(mut ready) = fd.readable().await else { return pending().await };
        let mut message = [0u8; 4096];
        let mut read = || recv(fd.as_fd().as_raw_fd(), &mut message, MsgFlags::empty());
        while matches!(read(), Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS)) {}
        ready.clear_ready();
    }
}
