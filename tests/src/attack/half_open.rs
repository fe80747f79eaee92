//! First packets of QUIC connections that nobody goes on with, each real and each another.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::tls::runtime;

/// Bytes of a client's first datagram (RFC 9000, section 14.1).
const FIRST: usize = 1200;
const AT_ONCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);
const BURST: usize = 5;
const SOCKETS: usize = 50;

/// Writes the first packets of `count` connections to a file: making them takes a processor that an attacker
/// would have of its own.
///
/// # Errors
/// When the system gives no sockets, or the file cannot be written.
pub fn prepare(count: usize, file: &Path) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"moq-lite-06".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let packets = runtime()?.block_on(async {
        let ear = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let (mut packets, mut buffer) = (Vec::with_capacity(count * FIRST), vec![0; 2048]);
        let mut made = 0;
        while made < count {
            let connecting: Result<Vec<_>, _> = (0..AT_ONCE)
                .map(|_| endpoint.connect(ear.local_addr()?, "holobooth").map_err(io::Error::other))
                .collect();
            let connecting = connecting?;
            for _ in 0..AT_ONCE {
                let heard = tokio::time::timeout(Duration::from_secs(5), ear.recv(&mut buffer)).await;
                // A long header of type Initial (RFC 9000, section 17.2.2).
                if heard.map_err(io::Error::other)?? == FIRST && buffer[0] & 0xf0 == 0xc0 && made < count {
                    packets.extend_from_slice(&buffer[..FIRST]);
                    made += 1;
                }
            }
            drop(connecting);
            // What they say in parting is not wanted.
            tokio::time::sleep(Duration::from_millis(2)).await;
            while ear.try_recv(&mut buffer).is_ok() {}
        }
        io::Result::Ok(packets)
    })?;
    std::fs::write(file, packets)
}

pub(super) fn send(to: SocketAddr, packets: &Path) -> io::Result<String> {
    let packets = std::fs::read(packets)?;
    let sockets: io::Result<Vec<_>> = (0..SOCKETS).map(|_| UdpSocket::bind("0.0.0.0:0")).collect();
    let (sockets, mut sent) = (sockets?, 0);
    for (n, packet) in packets.chunks_exact(FIRST).enumerate() {
        sent += u32::from(sockets[n % SOCKETS].send_to(packet, to).is_ok());
        if n % BURST == BURST - 1 {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(format!("{sent} connections begun"))
}
