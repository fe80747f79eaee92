//! "Send me a keyframe": what RTP's receivers say with a PLI (RFC 4585, section 6.3.1) and any program of
//! one's own would too.
//!
//! The clip stands where an encoder would, outside the carrier's program, and no PLI gets there. So it is
//! said in a datagram beside it, on the same bad line.

use std::io;
use std::net::UdpSocket;

use crate::child::Side;
use crate::clock::now_us;

const PORT: u16 = 5020;
const WORD: &[u8] = b"keyframe";
/// While nothing comes of it, it is said again after so long, in µs.
const AGAIN_US: i64 = 50_000;
/// Keyframes are given so far apart at least, in µs; as our link does.
const MIN_SPACING_US: i64 = 250_000;

/// The receiver's end.
pub(super) struct RequestSender {
    socket: UdpSocket,
    said_us: i64,
}

impl RequestSender {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind((Side::B.address(), 0))?;
        socket.connect((Side::A.address(), PORT))?;
        Ok(Self { socket, said_us: 0 })
    }

    /// Asks, unless that was done a moment ago.
    pub(super) fn ask(&mut self) {
        let now = now_us();
        if now - self.said_us >= AGAIN_US {
            self.said_us = now;
            // What is not sent is lost, as on the line.
            let _ = self.socket.send(WORD);
        }
    }
}

/// The sender's end.
pub(super) struct RequestReceiver {
    socket: UdpSocket,
    given_us: i64,
}

impl RequestReceiver {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UdpSocket::bind((Side::A.address(), PORT))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, given_us: 0 })
    }

    /// Whether the next frame should be a keyframe.
    pub(super) fn asked(&mut self) -> bool {
        let mut word = [0; WORD.len()];
        let mut heard = false;
        while self.socket.recv(&mut word).is_ok() {
            heard = true;
        }
        let now = now_us();
        let give = heard && now - self.given_us >= MIN_SPACING_US;
        if give {
            self.given_us = now;
        }
        give
    }
}
