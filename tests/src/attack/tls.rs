//! What attackers speak QUIC with.

use std::io;
use std::sync::Arc;

use holobooth::pairing::Fingerprint;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::runtime::{Builder, Runtime};

/// A certificate of its own, and its key.
pub(super) fn identity() -> io::Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let made = rcgen::generate_simple_self_signed(vec!["holobooth".to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    Ok((made.cert.der().clone(), key))
}

/// TLS as a server with that certificate, for one protocol.
pub(super) fn server(protocol: &[u8]) -> io::Result<(quinn::ServerConfig, Fingerprint)> {
    let (certificate, key) = identity()?;
    let fingerprint = Fingerprint::of(&certificate);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    tls.alpn_protocols = vec![protocol.to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).map_err(io::Error::other)?;
    Ok((quinn::ServerConfig::with_crypto(Arc::new(crypto)), fingerprint))
}

/// A runtime on the calling thread.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
