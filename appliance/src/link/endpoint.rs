//! The socket, and which connection is the session.
//!
//! Both booths dial and both listen, so that either can be restarted and neither waits for the other's time-out. When both
//! connections come up at once, the one dialled by the booth with the smaller fingerprint stays. A connection that comes in
//! later means that the other booth has lost its session: it takes the place of ours at once.

use std::future::pending;
use std::net::UdpSocket;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use tokio::task::JoinSet;

use super::sender::Plan;
use super::session::{self, Ended};
use super::tls::{self, Pin};
use super::{Config, Counters, Doors, Error};

/// A silent peer is gone after this.
const IDLE: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// First guess of the round trip: a lost first packet is repeated after about three times this.
const INITIAL_RTT: Duration = Duration::from_millis(50);
/// Time from one dial to the next: from the shortest, doubling to the longest.
const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A session younger than this may have been crossed by the other booth's own dialling.
const CROSSING: Duration = Duration::from_secs(1);
/// Handshakes at once; more are refused.
const HANDSHAKES: usize = 16;
/// Above so many, a caller must first prove that it receives at its address.
const UNPROVEN: usize = 4;
/// Kernel buffers of the socket, in bytes: a keyframe must fit while the link's thread is elsewhere.
const SOCKET_BUFFER: usize = 4 << 20;
/// What waits for a line slower than the encoder, in bytes: a keyframe, and no more. A queue is latency.
pub(super) const SEND_BUFFER: usize = 512 << 10;
/// A handshake that takes longer is none.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// The last refusal is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(30);
const STOP_TICK: Duration = Duration::from_millis(100);

/// Runs the link until `doors.stop`; outlives every connection.
///
/// # Errors
/// Only at start: [`Error::Bind`], [`Error::Tls`], [`Error::System`].
pub fn run(config: Config, doors: Doors<'_>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let pin = Pin::new(config.peer.fingerprint);
        let endpoint = bind(&config, &pin)?;
        Switchboard::new(config, endpoint.clone(), pin, doors).run().await;
        endpoint.close(VarInt::from_u32(0), b"booth stops");
        // The other side is told, if it listens.
        let _ = tokio::time::timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
        Ok(())
    })
}

fn bind(config: &Config, pin: &Arc<Pin>) -> Result<Endpoint, Error> {
    let (client, server) = tls::configs(&config.identity, pin)?;
    let mut transport = TransportConfig::default();
    transport
        .congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .datagram_receive_buffer_size(Some(SOCKET_BUFFER))
        .datagram_send_buffer_size(SEND_BUFFER)
        // Streams carry only MoQ's control messages here.
        .max_concurrent_bidi_streams(VarInt::from_u32(16))
        .max_concurrent_uni_streams(VarInt::from_u32(16))
        .stream_receive_window(VarInt::from_u32(256 << 10))
        .receive_window(VarInt::from_u32(4 << 20));
    let transport = Arc::new(transport);

    let cipher = |_| rustls::Error::General("no cipher suite for QUIC's first packet".into());
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).map_err(cipher)?));
    client.transport_config(transport.clone());
    let mut server =
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).map_err(cipher)?));
    server.transport_config(transport).max_incoming(4 * HANDSHAKES);

    let bind = |source| Error::Bind { address: config.listen, source };
    let socket = UdpSocket::bind(config.listen).map_err(bind)?;
    // A system that allows less gives what it allows.
    let _ = setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BUFFER);
    let _ = setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER);
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut endpoint =
        Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime).map_err(bind)?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// A connection whose handshake is done.
struct Candidate {
    connection: Connection,
    dialled: bool,
}

type Session<'a> = Pinned<Box<dyn Future<Output = Ended> + 'a>>;

/// Decides which connection is the session.
struct Switchboard<'a> {
    config: Config,
    us: String,
    /// Whether the connection that we dial is the one that stays.
    ours_stays: bool,
    endpoint: Endpoint,
    pin: Arc<Pin>,
    doors: Doors<'a>,
    current: Option<(Connection, Session<'a>, Instant)>,
    redial: Duration,
    last_refused: Option<Instant>,
    /// Connections that became the session so far.
    sessions: u64,
    /// `connects` when the current one did.
    connects_before: u64,
}

impl<'a> Switchboard<'a> {
    fn new(config: Config, endpoint: Endpoint, pin: Arc<Pin>, doors: Doors<'a>) -> Self {
        let own = config.identity.fingerprint();
        Self {
            us: format!("{}/{}", config.room, own.short()),
            ours_stays: own < config.peer.fingerprint,
            config,
            endpoint,
            pin,
            doors,
            current: None,
            redial: REDIAL.0,
            last_refused: None,
            sessions: 0,
            connects_before: 0,
        }
    }

    async fn run(mut self) {
        let mut handshakes: JoinSet<(bool, Result<Connection, ConnectionError>)> = JoinSet::new();
        let shake = |dialled, connecting: quinn::Connecting| async move {
            let result = tokio::time::timeout(HANDSHAKE_LIMIT, connecting).await;
            (dialled, result.unwrap_or(Err(ConnectionError::TimedOut)))
        };
        let mut stop = tokio::time::interval(STOP_TICK);
        let mut next_dial = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut dialling = false;
        loop {
            let alone = self.current.is_none();
            let session = async {
                match &mut self.current {
                    Some((_, session, _)) => session.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                ended = session => {
                    self.current = None;
                    if self.doors.counters.connects.load(Relaxed) > self.connects_before {
                        log::info!("link: session over: {ended}");
                        self.redial = REDIAL.0;
                        next_dial.as_mut().reset(tokio::time::Instant::now());
                    } else {
                        // Nobody was heard: somebody listens there, but does not want us.
                        log::debug!("link: no session: {ended}");
                    }
                }
                Some(incoming) = self.endpoint.accept() => {
                    if handshakes.len() >= HANDSHAKES {
                        incoming.refuse();
                    } else if handshakes.len() >= UNPROVEN && incoming.may_retry() {
                        let _ = incoming.retry();
                    } else if let Ok(connecting) = incoming.accept() {
                        handshakes.spawn(shake(false, connecting));
                    }
                }
                Some(Ok((dialled, result))) = handshakes.join_next() => {
                    dialling &= !dialled;
                    match result {
                        Ok(connection) => self.consider(Candidate { connection, dialled }),
                        Err(e) => self.failed(dialled, &e),
                    }
                    if dialled {
                        next_dial.as_mut().reset(tokio::time::Instant::now() + self.redial);
                        self.redial = (self.redial * 2).min(REDIAL.1);
                    }
                }
                () = next_dial.as_mut(), if alone && !dialling => {
                    match self.endpoint.connect(self.config.peer.address, tls::NAME) {
                        Ok(connecting) => {
                            dialling = true;
                            handshakes.spawn(shake(true, connecting));
                        }
                        Err(e) => log::warn!("link: cannot dial {}: {e}", self.config.peer.address),
                    }
                    next_dial.as_mut().reset(tokio::time::Instant::now() + REDIAL.1);
                }
                _ = stop.tick() => if self.doors.stop.load(Relaxed) { return },
            }
        }
    }

    fn consider(&mut self, candidate: Candidate) {
        let stays = candidate.dialled == self.ours_stays;
        if let Some((_, _, since)) = &self.current
            && !stays
            && (candidate.dialled || since.elapsed() < CROSSING)
        {
            candidate.connection.close(VarInt::from_u32(1), b"one session is enough");
            return;
        }
        if let Some((old, _, _)) = self.current.take() {
            log::info!("link: a newer connection takes the session's place");
            old.close(VarInt::from_u32(2), b"replaced");
        }
        let remote = candidate.connection.remote_address();
        log::debug!("link: connected {} {remote}", if candidate.dialled { "to" } else { "from" });
        self.sessions += 1;
        self.connects_before = self.doors.counters.connects.load(Relaxed);
        let number = self.sessions;
        let (connection, us, doors) = (candidate.connection.clone(), self.us.clone(), self.doors);
        let plan = Plan {
            max_kbps: self.config.max_kbps,
            deadline_us: u64::try_from(self.config.deadline.as_micros()).unwrap_or(u64::MAX),
        };
        let session =
            Box::pin(
                async move { session::run(&connection, candidate.dialled, &us, number, plan, doors).await },
            );
        self.current = Some((candidate.connection, session, Instant::now()));
    }

    /// A handshake failed: for an operator it matters when somebody else than the peer stood at the door.
    fn failed(&mut self, dialled: bool, error: &ConnectionError) {
        let Some(shown) = self.pin.turned_away() else {
            log::debug!("link: handshake: {error}");
            return;
        };
        Counters::add(&self.doors.counters.refused, 1);
        let who = if dialled { "the booth at the peer's address" } else { "a caller" };
        // Somebody who keeps knocking fills the counter, not the log.
        if self.last_refused.is_some_and(|told| told.elapsed() < TELL_AGAIN) {
            return;
        }
        self.last_refused = Some(Instant::now());
        log::warn!(
            "link: refused {who}: its fingerprint is {shown}, not {}; if it is the right booth, put its fingerprint into \
             peer.fingerprint",
            self.config.peer.fingerprint
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Peer, tests::End};
    use crate::pairing::{Fingerprint, Identity};
    use crate::picture::{AccessUnit, Stamps};
    use std::net::SocketAddr;

    impl End {
        fn start(
            self: &Arc<Self>,
            identity: &Identity,
            listen: SocketAddr,
            peer: Peer,
        ) -> std::thread::JoinHandle<()> {
            let end = self.clone();
            let identity =
                Identity { certificate: identity.certificate.clone(), key: identity.key.clone_key() };
            std::thread::spawn(move || {
                let config = Config {
                    listen,
                    room: "test".into(),
                    identity,
                    peer,
                    max_kbps: 8_000,
                    deadline: Duration::from_millis(100),
                };
                run(config, end.doors()).unwrap();
            })
        }

        fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
            let start = Instant::now();
            while !done(self) {
                assert!(start.elapsed() < Duration::from_secs(10), "{what} never came");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn identity(name: &str) -> Identity {
        let folder = std::env::temp_dir().join(format!("holobooth-link-{}-{name}", std::process::id()));
        let identity = Identity::load_or_make(&folder).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        identity
    }

    /// A port that nobody uses.
    fn free() -> SocketAddr {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn unit(number: u32, size: usize) -> AccessUnit {
        AccessUnit {
            data: vec![number as u8; size].into(),
            keyframe: true,
            number,
            stamps: Stamps::default(),
        }
    }

    #[test]
    fn two_booths_meet_and_exchange_frames_of_any_size() {
        let (a, b) = (End::new(), End::new());
        let (ia, ib) = (identity("meet-a"), identity("meet-b"));
        let (fa, fb) = (ia.fingerprint(), ib.fingerprint());
        let (pa, pb) = (free(), free());
        let threads = [
            a.start(&ia, pa, Peer { address: pb, fingerprint: fb }),
            b.start(&ib, pb, Peer { address: pa, fingerprint: fa }),
        ];
        // Until both have settled on one of their two connections, frames may be lost with the other.
        for end in [&a, &b] {
            end.wait("the session", |e| e.signals.connected.load(Relaxed));
        }
        std::thread::sleep(CROSSING);
        let mut number = 0;
        for size in [40_000, 300_000, 1, 0, 900] {
            for (from, to) in [(&a, &b), (&b, &a)] {
                // Nothing is repaired yet: on a busy machine the socket may overflow, and a large frame is lost.
                let mut send = || {
                    // Numbers on the wire count anew what is sent; the content tells which frame it is.
                    number += 1;
                    assert!(from.outgoing.put(unit(number, size)).is_none());
                    to.incoming.wait(1_000).map(|incoming| incoming.unit)
                };
                let got = (0..10).find_map(|_| send()).expect("a frame");
                assert_eq!(got.data, unit(number, size).data);
            }
        }
        a.wait("a round trip", |e| e.counters.rtt_us.load(Relaxed) > 0);
        for end in [&a, &b] {
            end.stop.store(true, Relaxed);
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
    }

    #[test]
    fn a_stranger_is_refused_and_counted() {
        let (a, b) = (End::new(), End::new());
        let (ia, ib) = (identity("stranger-a"), identity("stranger-b"));
        let fa = ia.fingerprint();
        let (pa, pb) = (free(), free());
        let threads = [
            a.start(&ia, pa, Peer { address: pb, fingerprint: Fingerprint([7; 32]) }),
            b.start(&ib, pb, Peer { address: pa, fingerprint: fa }),
        ];
        a.wait("a refusal", |e| e.counters.refused.load(Relaxed) > 0);
        // Both go on trying, ever more slowly.
        std::thread::sleep(Duration::from_secs(3));
        let refused = a.counters.refused.load(Relaxed);
        assert!((2..40).contains(&refused), "{refused} refusals in three seconds");
        assert!(!a.signals.connected.load(Relaxed) && !b.signals.connected.load(Relaxed));
        for end in [&a, &b] {
            end.stop.store(true, Relaxed);
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
    }
}
