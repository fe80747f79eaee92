//! Somebody between two booths that pair by code.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;

use holobooth::media::heartbeat::Heartbeat;
use holobooth::pairing::{Announcement, discover};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::tls::{identity, runtime, server};

const PAIR: &[u8] = b"holobooth-pair-1";

pub(super) fn run(listen: SocketAddr, to: SocketAddr, name: String) -> io::Result<String> {
    let (config, fingerprint) = server(PAIR)?;
    let (announce, announcements) = channel();
    let announcement = Announcement { fingerprint, name, listen, room: None };
    let _ = announce.send(announcement);
    std::thread::spawn(move || {
        let (found, _nobody) = tokio::sync::mpsc::channel(64);
        let (refused, heartbeat) = (AtomicU64::new(0), Heartbeat::new("discovery"));
        discover(&announcements, &found, &refused, &heartbeat, &AtomicBool::new(false));
    });
    runtime()?.block_on(async {
        let mut endpoint = quinn::Endpoint::server(config, listen)?;
        endpoint.set_default_client_config(client()?);
        while let Some(incoming) = endpoint.accept().await {
            let passed_on = pass_on(&endpoint, incoming, to).await;
            println!("passed on: {passed_on:?}");
        }
        io::Result::Ok(())
    })?;
    drop(announce);
    Ok("over".to_owned())
}

/// What the caller says goes to the booth, and what that says goes back, byte for byte. How many bytes went
/// each way.
async fn pass_on(
    endpoint: &quinn::Endpoint,
    incoming: quinn::Incoming,
    to: SocketAddr,
) -> io::Result<[u64; 2]> {
    let caller = incoming.await.map_err(io::Error::other)?;
    let callee =
        endpoint.connect(to, "holobooth").map_err(io::Error::other)?.await.map_err(io::Error::other)?;
    let (caller_out, caller_in) = caller.accept_bi().await.map_err(io::Error::other)?;
    let (callee_out, callee_in) = callee.open_bi().await.map_err(io::Error::other)?;
    let ways = tokio::join!(copy(caller_in, callee_out), copy(callee_in, caller_out));
    Ok([ways.0, ways.1])
}

async fn copy(mut from: quinn::RecvStream, mut to: quinn::SendStream) -> u64 {
    let (mut bytes, mut passed) = ([0; 256], 0);
    while let Ok(Some(n)) = from.read(&mut bytes).await {
        passed += n as u64;
        if to.write_all(&bytes[..n]).await.is_err() {
            break;
        }
    }
    passed
}

fn client() -> io::Result<quinn::ClientConfig> {
    let (certificate, key) = identity()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    tls.alpn_protocols = vec![PAIR.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    Ok(quinn::ClientConfig::new(Arc::new(crypto)))
}

/// An attacker is not particular about whom it talks to.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
