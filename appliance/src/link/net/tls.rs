//! TLS 1.3 on both sides, where who you are is your certificate's fingerprint and nothing else counts.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::pairing::{Fingerprint, Identity};

/// ALPN (RFC 7301) of the one MoQ version that we speak.
const MOQ: &[u8] = b"moq-lite-06";
/// ALPN of pairing by code.
const PAIR: &[u8] = b"holobooth-pair-1";
/// What a dialler calls the other side; certificates carry it, nobody relies on it.
pub(crate) const NAME: &str = "holobooth";

/// Lets in the one certificate with the pinned fingerprint, and remembers the last that it turned away. Where
/// none is pinned, lets in all: who they are is to be proved afterwards.
#[derive(Debug)]
pub(crate) struct Pin {
    expected: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
    turned_away: Mutex<Option<Fingerprint>>,
}

impl Pin {
    pub(crate) fn new(expected: Option<Fingerprint>) -> Arc<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Arc::new(Self { expected, provider, turned_away: Mutex::new(None) })
    }

    fn evaluate(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let shown = Fingerprint::of(certificate);
        if self.expected.is_none_or(|expected| shown == expected) {
            return Ok(());
        }
        *self.turned_away.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    /// The fingerprint last turned away, told once.
    pub(crate) fn turned_away(&self) -> Option<Fingerprint> {
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Who has shown a certificate on this connection, and its key.
pub(crate) fn shown(connection: &quinn::Connection) -> Option<Fingerprint> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.first().map(Fingerprint::of)
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(rustls::PeerIncompatible::Tls13RequiredForQuic)
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.evaluate(certificate).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.evaluate(certificate).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// Towards other booths, for one that is `identity` and lets in whom `pin` lets in.
///
/// # Errors
/// When the key does not fit its certificate.
pub(crate) fn client(identity: &Identity, pin: &Arc<Pin>) -> Result<rustls::ClientConfig, Error> {
    let mut client = rustls::ClientConfig::builder_with_provider(pin.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pin.clone())
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    client.alpn_protocols = vec![MOQ.to_vec()];
    Ok(client)
}

/// The same towards booths that show a code, whoever they are.
///
/// # Errors
/// As [`client`].
pub(crate) fn pair_client(identity: &Identity) -> Result<rustls::ClientConfig, Error> {
    let mut client = client(identity, &Pin::new(None))?;
    client.alpn_protocols = vec![PAIR.to_vec()];
    Ok(client)
}

/// For callers; of a booth that is `open`, all that may be spoken is of its code.
///
/// # Errors
/// As [`client`].
pub(crate) fn server(identity: &Identity, pin: &Arc<Pin>, open: bool) -> Result<rustls::ServerConfig, Error> {
    let mut server = rustls::ServerConfig::builder_with_provider(pin.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(pin.clone())
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    server.alpn_protocols = vec![if open { PAIR } else { MOQ }.to_vec()];
    Ok(server)
}

/// TLS towards a relay: it is evaluated, by its certificate's fingerprint or by this system's roots; we show
/// nothing.
///
/// # Errors
/// [`NoRoots`](crate::link::Error::NoRoots) without a fingerprint on a system that trusts nobody.
pub(crate) fn relay_config(
    fingerprint: Option<Fingerprint>,
) -> Result<rustls::ClientConfig, crate::link::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match fingerprint {
        Some(fingerprint) => {
            builder.dangerous().with_custom_certificate_verifier(Pin::new(Some(fingerprint)))
        }
        None => {
            let mut roots = rustls::RootCertStore::empty();
            // One that makes no sense makes the others no worse.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(crate::link::Error::NoRoots);
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![MOQ.to_vec()];
    Ok(config)
}
