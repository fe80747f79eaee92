//! Datagrams that mean nothing, thrown at a booth's port.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const BURST: u32 = 5;
const BURST_EVERY: Duration = Duration::from_millis(5);
const MOST_BYTES: usize = 1400;

/// Sends so many datagrams of random length and content, at about 1000 a second: in the rig the sender shares
/// its core with those that it disturbs. Some look at first like the start of a QUIC connection, some like a
/// part of one. Returns how many the system took.
///
/// # Errors
/// When no socket can be opened.
pub fn send(to: SocketAddr, packets: u32, seed: u64) -> io::Result<u32> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent = 0;
    for packet in 0..packets {
        let mut bytes = vec![0; random.usize(1..=MOST_BYTES)];
        random.fill(&mut bytes);
        match packet % 4 {
            0 => disguise(&mut bytes, &[0xc3, 0, 0, 0, 1, 8]),
            1 => disguise(&mut bytes, &[0x40]),
            _ => {}
        }
        // The far end may answer that nobody listens there; that is no reason to stop.
        sent += u32::from(socket.send_to(&bytes, to).is_ok());
        if packet % BURST == BURST - 1 {
            std::thread::sleep(BURST_EVERY);
        }
    }
    Ok(sent)
}

fn disguise(bytes: &mut [u8], start: &[u8]) {
    bytes.iter_mut().zip(start).for_each(|(byte, want)| *byte = *want);
}
