//! Multicast DNS answers (RFC 6762) about booths of the room that there are not, each complete: pointer,
//! service, text, address.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
const BURST: u32 = 5;
const BURST_EVERY: Duration = Duration::from_millis(5);
const TTL_S: u32 = 4500;

pub(super) fn send(count: u32, from: Ipv4Addr) -> io::Result<String> {
    let socket = UdpSocket::bind((from, 0))?;
    for n in 0..count {
        socket.send_to(&answer(n), GROUP)?;
        if n % BURST == BURST - 1 {
            std::thread::sleep(BURST_EVERY);
        }
    }
    Ok(format!("{count} records sent"))
}

fn answer(n: u32) -> Vec<u8> {
    // A response of authority (RFC 1035, section 4.1.1) with four answers.
    let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let service = ["_holobooth", "_udp", "local"];
    let instance = format!("{n:016x}");
    let full = [&instance[..], "_holobooth", "_udp", "local"];
    let host = [&instance[..], "local"];
    let target = name(&host);
    record(&mut bytes, &service, 12, &name(&full));
    record(&mut bytes, &full, 33, &[&[0, 0, 0, 0, 0x11, 0x51][..], &target].concat());
    let strings = [format!("fp={n:064x}"), format!("name=nobody {n}"), format!("member={}", "A".repeat(52))];
    let text: Vec<u8> =
        strings.iter().flat_map(|text| [&[text.len() as u8][..], text.as_bytes()].concat()).collect();
    record(&mut bytes, &full, 16, &text);
    record(&mut bytes, &host, 1, &[10, 9, 0, (n % 250) as u8 + 3]);
    bytes
}

fn record(bytes: &mut Vec<u8>, of: &[&str], kind: u16, data: &[u8]) {
    bytes.extend(name(of));
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1u16.to_be_bytes());
    bytes.extend(TTL_S.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
}

fn name(labels: &[&str]) -> Vec<u8> {
    let label = |label: &&str| [&[label.len() as u8][..], label.as_bytes()].concat();
    labels.iter().flat_map(label).chain([0]).collect()
}
