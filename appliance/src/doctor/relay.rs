//! The relay: whether its name is known, and whether something that speaks QUIC answers there.
//!
//! A packet of a version that nobody speaks is answered with those that are spoken (RFC 9000, section 6),
//! before any certificate and without a trace at the relay.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::config::Relay;

/// How long an answer may take, and how often it is asked for meanwhile: datagrams get lost.
const TIMEOUT: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(500);
/// A version reserved to be refused (RFC 9000, section 15).
const NO_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];
/// A first packet must fill this (RFC 9000, section 14.1).
const DATAGRAM: usize = 1200;
const ID: usize = 8;

/// What was seen of it.
#[derive(Debug)]
enum Seen {
    Off,
    Nameless(String),
    Silent(SocketAddr),
    Answers(SocketAddr, Duration),
    /// This machine could not even ask.
    Unasked(String),
}

pub(super) fn check(subject: &Subject) -> Evaluation {
    let relay = subject.config.relay.as_ref();
    let v4 = subject.config.link.listen.is_ipv4();
    evaluate(&relay.map_or(Seen::Off, |relay| look(relay, v4)))
}

fn look(relay: &Relay, v4: bool) -> Seen {
    let place = relay.address.get_ref();
    let address = match (place.host.as_str(), place.port).to_socket_addrs() {
        Ok(mut addresses) => addresses.find(|address| address.is_ipv4() == v4),
        Err(e) => return Seen::Nameless(format!("{}: {e}", place.host)),
    };
    let Some(address) = address else {
        let kind = if v4 { "IPv4" } else { "IPv6" };
        return Seen::Nameless(format!("{} has no {kind} address", place.host));
    };
    match ask(address) {
        Ok(Some(took)) => Seen::Answers(address, took),
        Ok(None) => Seen::Silent(address),
        Err(e) => Seen::Unasked(e.to_string()),
    }
}

/// How long the answer took; nothing when there was none.
fn ask(address: SocketAddr) -> std::io::Result<Option<Duration>> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0; 4], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(AGAIN))?;
    let ours = std::array::from_fn(|_| fastrand::u8(..));
    let question = question(std::array::from_fn(|_| fastrand::u8(..)), ours);
    let until = Instant::now() + TIMEOUT;
    while Instant::now() < until {
        socket.send(&question)?;
        let asked = Instant::now();
        let mut answer = [0; 1500];
        // Refused by ICMP is no answer either; it may be another's word.
        if let Ok(length) = socket.recv(&mut answer)
            && is_answer(&answer[..length], ours)
        {
            return Ok(Some(asked.elapsed()));
        }
        std::thread::sleep(AGAIN.saturating_sub(asked.elapsed()));
    }
    Ok(None)
}

/// A long header (RFC 8999, section 5.1), padded.
fn question(theirs: [u8; ID], ours: [u8; ID]) -> Vec<u8> {
    let mut packet = vec![0xc0];
    packet.extend(NO_VERSION);
    for id in [theirs, ours] {
        packet.push(ID as u8);
        packet.extend(id);
    }
    packet.resize(DATAGRAM, 0);
    packet
}

/// Whether it is a Version Negotiation packet (RFC 8999, section 6) for us.
fn is_answer(packet: &[u8], ours: [u8; ID]) -> bool {
    let [first, version @ .., length] = packet.get(..6).unwrap_or_default() else { return false };
    first & 0x80 != 0
        && version == [0; 4]
        && usize::from(*length) == ID
        && packet.get(6..6 + ID) == Some(&ours)
}

fn evaluate(seen: &Seen) -> Evaluation {
    match seen {
        Seen::Off => Evaluation::ok("none is configured"),
        Seen::Nameless(why) => Evaluation::wrong(
            format!("its name is not known: {why}"),
            "check relay.address, and this network's DNS",
        ),
        Seen::Unasked(why) => Evaluation::wrong(format!("it cannot be asked: {why}"), "check the network"),
        Seen::Silent(address) => Evaluation::wrong(
            format!("nothing answers at {address}"),
            format!("have the venue's firewall let UDP port {} out; is the relay up?", address.port()),
        ),
        Seen::Answers(address, took) => {
            Evaluation::ok(format!("{address} answers within {:.1} ms", took.as_secs_f64() * 1e3))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Wrong};
    use super::*;

    #[test]
    fn only_what_answers_is_fine() {
        let at = SocketAddr::from(([192, 0, 2, 9], 443));
        for (seen, verdict) in [
            (Seen::Off, Fine),
            (Seen::Answers(at, Duration::from_millis(3)), Fine),
            (Seen::Silent(at), Wrong),
            (Seen::Nameless("x".into()), Wrong),
            (Seen::Unasked("x".into()), Wrong),
        ] {
            let evaluation = evaluate(&seen);
            assert_eq!(evaluation.verdict, verdict, "{seen:?}");
        }
        assert!(evaluate(&Seen::Silent(at)).advice.contains("UDP port 443"));
    }

    #[test]
    fn a_server_of_quic_answers_and_nobody_else_does() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let certified = rcgen::generate_simple_self_signed(["relay".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let config = quinn::ServerConfig::with_single_cert(vec![certified.cert.der().clone()], key.into());
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = {
            let _inside = runtime.enter();
            quinn::Endpoint::server(config.unwrap(), at).unwrap()
        };
        let address = endpoint.local_addr().unwrap();
        let asked = std::thread::spawn(move || ask(address));
        while !asked.is_finished() {
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
        }
        assert!(asked.join().unwrap().unwrap().is_some());
        let ours = [7; ID];
        let mut answer = question([1; ID], ours);
        assert!(!is_answer(&answer, ours), "our own question");
        answer[1..5].fill(0);
        answer[6..6 + ID].copy_from_slice(&ours);
        assert!(is_answer(&answer, ours));
        assert!(!is_answer(&answer, [8; ID]));
        (0..14).for_each(|end| assert!(!is_answer(&answer[..end], ours)));
    }
}
