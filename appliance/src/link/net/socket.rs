//! The one UDP socket, and dialling from it. Booth and relay differ only in where they are and whom they must
//! prove to be.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::link::net::congestion::{CongestionFactory, MinWindow};
use crate::link::net::tls::{self, Pin};
use crate::link::{Config, Error, Relay};

/// A silent peer is gone after this.
const IDLE: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// First guess of the round trip: a lost first packet is repeated after about three times this.
const INITIAL_RTT: Duration = Duration::from_millis(50);
/// Handshakes that callers may begin before we have answered one.
const INCOMING: usize = 64;
/// Kernel buffers of the socket, in bytes: a keyframe must fit while the link's thread is elsewhere.
const SOCKET_BUFFER: usize = 4 << 20;
/// What waits for a line slower than the encoder, in bytes: a keyframe, and no more. A queue is latency.
const SEND_BUFFER: usize = 512 << 10;
/// How long a path is taken to be narrower once QUIC thinks so: losses of a few large packets can look like
/// it.
const NARROW: Duration = Duration::from_secs(5);
/// How long a dial may take. One that starts while the way is broken repeats its first packet ever more
/// seldom, so a new one is sooner through when the way is back; every so many, one is patient, for ways with
/// a long round trip.
const IMPATIENT: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(3);
const PATIENT_EVERY: u32 = 4;
/// Of several addresses of one booth, each is dialled so much after the one before it.
const HEAD_START: Duration = Duration::from_millis(200);

/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error("the relay's name is not known here: {0}")]
    Name(#[from] std::io::Error),
    #[error("the relay has no {0} address, and `link.listen` is one")]
    Family(&'static str),
    #[error("no answer in time")]
    Late,
    #[error("it holds another room key than we do, or none")]
    Unproven,
    #[error("it is not the one to be talked to now")]
    Unwelcome,
}

/// The socket, and what is shown and wanted when dialling from it.
pub(crate) struct Socket {
    pub(crate) endpoint: Endpoint,
    listen: SocketAddr,
    accepting: Arc<QuicServerConfig>,
    to_peer: Arc<QuicClientConfig>,
    to_relay: Option<Arc<QuicClientConfig>>,
    to_open: Arc<QuicClientConfig>,
}

/// A connection, and what gives it its least congestion window.
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    pub(crate) min_window: MinWindow,
}

impl Socket {
    /// Binds, and lets in whom `pin` lets in.
    ///
    /// # Errors
    /// [`Error::Bind`], [`Error::Tls`], [`Error::NoRoots`].
    pub(crate) fn bind(config: &Config, pin: &Arc<Pin>) -> Result<Self, Error> {
        let client = tls::client(&config.identity, pin)?;
        let server = tls::server(&config.identity, pin, config.is_open())?;
        let accepting = Arc::new(QuicServerConfig::try_from(server).map_err(|_| no_cipher())?);
        let mut server = quinn::ServerConfig::with_crypto(accepting.clone());
        server.max_incoming(INCOMING);
        let to_relay = match &config.relay {
            Some(relay) => Some(quic(tls::relay_config(relay.fingerprint)?)?),
            None => None,
        };

        let bind = |source| Error::Bind { address: config.listen, source };
        let socket = UdpSocket::bind(config.listen).map_err(bind)?;
        // A system that allows less gives what it allows.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER);
        let _ = setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER);
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime).map_err(bind)?;
        let to_peer = quic(client)?;
        let to_open = quic(tls::pair_client(&config.identity)?)?;
        Ok(Self { endpoint, listen: config.listen, accepting, to_peer, to_relay, to_open })
    }

    /// Goes on with a caller's handshake; none when it is over already.
    pub(crate) fn accept(&self, incoming: quinn::Incoming) -> Option<(quinn::Connecting, MinWindow)> {
        let (transport, min_window) = transport();
        let mut server = quinn::ServerConfig::with_crypto(self.accepting.clone());
        server.transport_config(transport);
        Some((incoming.accept_with(Arc::new(server)).ok()?, min_window))
    }

    /// Dials the other booth at the addresses where it may be, the likeliest first.
    pub(crate) fn dial_peer(
        &self,
        addresses: Vec<SocketAddr>,
        attempt: u32,
    ) -> impl Future<Output = Result<Dialled, Failed>> + Send + 'static {
        dial_any(&self.endpoint, &self.to_peer, addresses, attempt)
    }

    /// Dials a booth that shows a code, at the addresses where it may be.
    pub(crate) fn dial_open(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> impl Future<Output = Result<Dialled, Failed>> + Send + 'static {
        dial_any(&self.endpoint, &self.to_open, addresses, 0)
    }

    /// Dials the relay.
    pub(crate) fn dial_relay(
        &self,
        relay: &Relay,
        attempt: u32,
    ) -> impl Future<Output = Result<Dialled, Failed>> + Send + 'static {
        let (endpoint, client, v4) = (self.endpoint.clone(), self.to_relay.clone(), self.listen.is_ipv4());
        let (host, port) = (relay.host.clone(), relay.port);
        in_time(attempt, async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await?;
            let usable: Vec<_> = found.filter(|address| address.is_ipv4() == v4).collect();
            // Each of several in turn.
            let turn = attempt as usize % usable.len().max(1);
            let family = if v4 { "IPv4" } else { "IPv6" };
            let address = *usable.get(turn).ok_or(Failed::Family(family))?;
            // There is a configuration where there is a relay.
            let (client, min_window) = with_transport(client.ok_or(Failed::Late)?);
            Ok(Dialled { connection: endpoint.connect_with(client, address, &host)?.await?, min_window })
        })
    }
}

/// Dials one booth at several addresses, each a little after the one before it.
fn dial_any(
    endpoint: &Endpoint,
    client: &Arc<QuicClientConfig>,
    addresses: Vec<SocketAddr>,
    attempt: u32,
) -> impl Future<Output = Result<Dialled, Failed>> + Send + 'static {
    let (endpoint, client) = (endpoint.clone(), client.clone());
    in_time(attempt, async move {
        let mut dials = JoinSet::new();
        for (n, address) in (0..).zip(addresses) {
            let (endpoint, client) = (endpoint.clone(), client.clone());
            dials.spawn(async move {
                sleep(n * HEAD_START).await;
                let (client, min_window) = with_transport(client);
                Ok(Dialled {
                    connection: endpoint.connect_with(client, address, tls::NAME)?.await?,
                    min_window,
                })
            });
        }
        let mut last = Err(Failed::Late);
        while let Some(Ok(result)) = dials.join_next().await {
            last = result;
            if last.is_ok() {
                break;
            }
        }
        last
    })
}

async fn in_time(
    attempt: u32,
    dial: impl Future<Output = Result<Dialled, Failed>>,
) -> Result<Dialled, Failed> {
    let limit = if attempt % PATIENT_EVERY == PATIENT_EVERY - 1 { PATIENT } else { IMPATIENT };
    timeout(limit, dial).await.unwrap_or(Err(Failed::Late))
}

/// How a connection is set, and what gives it its least congestion window.
fn transport() -> (Arc<TransportConfig>, MinWindow) {
    let min_window = MinWindow::default();
    let mut search = MtuDiscoveryConfig::default();
    search.black_hole_cooldown(NARROW);
    let mut transport = TransportConfig::default();
    transport
        .congestion_controller_factory(Arc::new(CongestionFactory(min_window.clone())))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(search))
        .datagram_receive_buffer_size(Some(SOCKET_BUFFER))
        .datagram_send_buffer_size(SEND_BUFFER)
        // Streams carry only MoQ's control messages here.
        .max_concurrent_bidi_streams(VarInt::from_u32(16))
        .max_concurrent_uni_streams(VarInt::from_u32(16))
        .stream_receive_window(VarInt::from_u32(256 << 10))
        .receive_window(VarInt::from_u32(4 << 20));
    (Arc::new(transport), min_window)
}

fn with_transport(client: Arc<QuicClientConfig>) -> (quinn::ClientConfig, MinWindow) {
    let (transport, min_window) = transport();
    let mut config = quinn::ClientConfig::new(client);
    config.transport_config(transport);
    (config, min_window)
}

fn no_cipher() -> rustls::Error {
    rustls::Error::General("no cipher suite for QUIC's first packet".into())
}

fn quic(client: rustls::ClientConfig) -> Result<Arc<QuicClientConfig>, rustls::Error> {
    Ok(Arc::new(QuicClientConfig::try_from(client).map_err(|_| no_cipher())?))
}
