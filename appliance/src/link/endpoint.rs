//! The connections, and which of them is the session: the input and output around [`Route`], which decides.
//!
//! Both booths dial and both listen, so that either can be restarted and neither waits for the other's time-out. What is dialled
//! and what carries is [`Route`]'s choice; here are the sockets, the tasks and the log.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use quinn::{Connection, VarInt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::guard::Floor;
use super::moq::{Meeting, Names, Role, Tracks};
use super::network::Network;
use super::route::{Id, Route, WAYS, Way};
use super::run::Place;
use super::sender::Plan;
use super::session::{self, Ended};
use super::socket::{Failed, Socket};
use super::tls::Pin;
use super::{Config, Counters, Doors, Error};
use crate::clock::now_us;
use crate::pairing::{Fingerprint, RoomKey};

/// Handshakes at once; more are refused.
const HANDSHAKES: usize = 16;
/// Above so many, a caller must first prove that it receives at its address.
const UNPROVEN: usize = 4;
/// A caller's handshake that takes longer is none.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// The last refusal is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// How often the route is asked.
const TICK: Duration = Duration::from_millis(25);
/// How often a socket that broke is made anew.
const REBIND: Duration = Duration::from_secs(1);

/// Where booths without a room key meet.
const UNSEALED: &str = "direct";

/// Runs the link until `doors.stop`; outlives every connection.
///
/// # Errors
/// Only at start: [`Error::Bind`], [`Error::Tls`], [`Error::NoRoots`], [`Error::Unsealed`], [`Error::System`].
pub fn run(config: Config, doors: Doors<'_>) -> Result<(), Error> {
    if config.relay.is_some() && config.room.is_none() {
        return Err(Error::Unsealed);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let done = runtime.block_on(async {
        let pin = Pin::new(config.peer.fingerprint);
        let floor = Floor::default();
        let socket = Socket::bind(&config, &pin, &floor)?;
        Switchboard::new(config, socket, pin, floor, doors).run().await;
        Ok(())
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    done
}

/// A connection whose handshake is done.
struct Line {
    connection: Connection,
    /// What follows the other booth's runs on it.
    attending: AbortHandle,
}

/// How a handshake ended: on which way, when it was ours.
type Shaken = (Option<Way>, Result<Connection, Failed>);
type Session<'a> = Pinned<Box<dyn Future<Output = Ended> + 'a>>;

/// Connects, lets in, and runs the session.
struct Switchboard<'a> {
    config: Config,
    names: Names,
    /// Whether a connection that we dial is the one that stays when the other booth's crosses it.
    ours_stays: bool,
    /// None between one that broke and the next.
    socket: Option<Socket>,
    rebound: Option<Instant>,
    pin: Arc<Pin>,
    floor: Floor,
    doors: Doors<'a>,
    route: Route,
    lines: BTreeMap<Id, Line>,
    session: Option<(Id, Session<'a>)>,
    handshakes: JoinSet<Shaken>,
    /// The dial under way and how many there were, for each [`Way`].
    dials: [(Option<AbortHandle>, u32); 2],
    attending: JoinSet<(Id, Ended)>,
    meet: mpsc::Sender<(Id, Tracks)>,
    met: mpsc::Receiver<(Id, Tracks)>,
    last_id: Id,
    /// Connections that became the session so far.
    sessions: u64,
    /// Where the other booth last spoke to us directly.
    seen_at: Option<SocketAddr>,
    last_refused: Option<Instant>,
    last_relay_trouble: Option<Instant>,
    last_way: Option<Way>,
}

impl<'a> Switchboard<'a> {
    fn new(config: Config, socket: Socket, pin: Arc<Pin>, floor: Floor, doors: Doors<'a>) -> Self {
        let own = config.identity.fingerprint();
        let (meet, met) = mpsc::channel(4);
        let room = config.room.as_ref().map_or(UNSEALED.to_owned(), RoomKey::id);
        let place = |of: Fingerprint| Place::new(format!("{room}/{}", of.short()), config.room.as_ref());
        let (ours, theirs) = (place(own), place(config.peer.fingerprint));
        Self {
            names: Names { ours, theirs, key: config.room.clone() },
            ours_stays: own < config.peer.fingerprint,
            route: Route::new(config.peer.address.is_some(), config.relay.is_some(), now_us()),
            config,
            floor,
            socket: Some(socket),
            rebound: None,
            pin,
            doors,
            lines: BTreeMap::new(),
            session: None,
            handshakes: JoinSet::new(),
            dials: Default::default(),
            attending: JoinSet::new(),
            meet,
            met,
            last_id: 0,
            sessions: 0,
            seen_at: None,
            last_refused: None,
            last_relay_trouble: None,
            last_way: None,
        }
    }

    async fn run(mut self) {
        let network = Network::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.doors.stop.load(Relaxed) {
            let session = async {
                match &mut self.session {
                    Some((id, session)) => (*id, session.await),
                    None => pending().await,
                }
            };
            let incoming = async {
                match &self.socket {
                    Some(socket) => socket.endpoint.accept().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                (id, ended) = session => self.session_over(id, &ended),
                incoming = incoming => match incoming {
                    Some(incoming) => self.let_in(incoming),
                    None => {
                        log::warn!("link: the socket broke; it is made anew");
                        self.socket = None;
                    }
                },
                Some(Ok((way, result))) = self.handshakes.join_next() => self.shaken(way, result),
                Some((id, tracks)) = self.met.recv() => self.met(id, tracks),
                Some(Ok((id, ended))) = self.attending.join_next() => self.gone(id, &ended),
                () = network.changed() => {
                    log::debug!("link: this machine's network changed");
                    self.route.network_changed(now_us());
                }
                _ = tick.tick() => self.look(),
            }
        }
        self.no_session();
        self.lines.values().for_each(|line| line.connection.close(VarInt::from_u32(0), b"booth stops"));
        if let Some(Socket { endpoint, .. }) = self.socket {
            endpoint.close(VarInt::from_u32(0), b"booth stops");
            // The other side is told, if it listens.
            let _ = timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
        }
    }

    /// What time brings.
    fn look(&mut self) {
        let now = now_us();
        if self.socket.is_none() && self.rebound.is_none_or(|at| at.elapsed() >= REBIND) {
            self.rebound = Some(Instant::now());
            self.socket =
                Socket::bind(&self.config, &self.pin, &self.floor).map_err(|e| log::warn!("{e}")).ok();
            self.route.network_changed(now);
        }
        let signals = self.doors.signals;
        self.route.look(now);
        if self.route.heard(signals.heard_us.load(Relaxed)) {
            self.arrived();
        }
        if !self.route.has_peer(now) && signals.connected.swap(false, Relaxed) {
            signals.peer_has_camera.store(false, Relaxed);
            signals.route.store(0, Relaxed);
            self.last_way = None;
            log::info!("link: the other booth is gone");
        }
        if self.route.way() == Some(Way::Direct)
            && let Some((id, _)) = &self.session
        {
            self.seen_at = self.lines.get(id).map(|line| line.connection.remote_address());
        }
        for way in WAYS {
            let under_way =
                self.dials[way as usize].0.take_if(|dial| dial.is_finished() || !self.route.wants(way, now));
            if let Some(dial) = under_way
                && !dial.is_finished()
            {
                dial.abort();
                self.route.dial_failed(way, now);
            }
            if self.socket.is_some() && self.route.dial(way, now) {
                self.dial(way);
            }
        }
        self.tidy();
    }

    fn dial(&mut self, way: Way) {
        let Some(socket) = &self.socket else { return };
        let (under_way, attempts) = &mut self.dials[way as usize];
        let attempt = *attempts;
        *attempts = attempt.wrapping_add(1);
        let new = match way {
            Way::Direct => {
                // It may have moved since the configuration was written.
                let mut addresses: Vec<_> =
                    self.seen_at.into_iter().chain(self.config.peer.address).collect();
                addresses.dedup();
                let dial = socket.dial_peer(addresses, attempt);
                self.handshakes.spawn(async move { (Some(way), dial.await) })
            }
            Way::Relay => {
                let Some(relay) = &self.config.relay else { return };
                let dial = socket.dial_relay(relay, attempt);
                self.handshakes.spawn(async move { (Some(way), dial.await) })
            }
        };
        if let Some(old) = under_way.replace(new) {
            old.abort();
        }
    }

    /// The other booth was heard in a new session.
    fn arrived(&mut self) {
        let (Some(way), Some((id, _))) = (self.route.way(), &self.session) else { return };
        let code = if way == Way::Direct { 1 } else { 2 };
        self.doors.signals.route.store(code, Relaxed);
        let Some(line) = self.lines.get(id) else { return };
        let (by, at) = (
            if way == Way::Direct { "directly" } else { "through the relay" },
            line.connection.remote_address(),
        );
        if self.last_way.replace(way) == Some(way) {
            log::info!("link: a new session {by}, {at}");
        } else {
            log::info!("link: the meeting goes {by}, {at}");
        }
    }

    fn let_in(&mut self, incoming: quinn::Incoming) {
        if self.handshakes.len() >= HANDSHAKES {
            incoming.refuse();
        } else if self.handshakes.len() >= UNPROVEN && incoming.may_retry() {
            let _ = incoming.retry();
        } else if let Ok(connecting) = incoming.accept() {
            self.handshakes.spawn(async move {
                let shaken = timeout(HANDSHAKE_LIMIT, connecting).await;
                (None, shaken.map_or(Err(Failed::Late), |shaken| shaken.map_err(Failed::from)))
            });
        }
    }

    fn shaken(&mut self, dialled: Option<Way>, result: Result<Connection, Failed>) {
        let now = now_us();
        let way = dialled.unwrap_or(Way::Direct);
        let connection = match result {
            Ok(connection) => connection,
            Err(error) => {
                if dialled.is_some() {
                    self.route.dial_failed(way, now);
                }
                self.failed(dialled, &error);
                return;
            }
        };
        self.last_id += 1;
        let (id, role) = match dialled {
            None => (self.last_id, Role::Accepted),
            Some(Way::Direct) => (self.last_id, Role::Dialled),
            Some(Way::Relay) => (self.last_id, Role::Relay),
        };
        let stays = dialled.is_some() == self.ours_stays;
        if !self.route.up(id, way, dialled.is_some(), stays, now) {
            connection.close(VarInt::from_u32(1), b"one session is enough");
            return;
        }
        log::debug!("link: {id} is up: {role:?}, {}", connection.remote_address());
        let attending = attend(id, connection.clone(), role, self.names.clone(), self.meet.clone());
        let attending = self.attending.spawn(attending);
        self.lines.insert(id, Line { connection, attending });
        self.tidy();
    }

    /// What held for the session's line says nothing of the next.
    fn no_session(&mut self) {
        self.session = None;
        self.floor.set(0);
        self.doors.signals.target_kbps.store(0, Relaxed);
        self.doors.signals.congested.store(false, Relaxed);
    }

    /// The other booth's tracks flow through connection `id`.
    fn met(&mut self, id: Id, tracks: Tracks) {
        let Some(line) = self.lines.get(&id) else { return };
        if self.route.met(id, now_us()) {
            log::debug!("link: {id} is the session");
            self.sessions += 1;
            let (connection, number, doors) = (line.connection.clone(), self.sessions, self.doors);
            let floor = self.floor.clone();
            let plan = Plan {
                max_kbps: self.config.max_kbps,
                deadline_us: u64::try_from(self.config.deadline.as_micros()).unwrap_or(u64::MAX),
            };
            let session =
                Box::pin(async move { session::run(&connection, tracks, number, plan, floor, doors).await });
            self.session = Some((id, session));
        }
        self.tidy();
    }

    fn session_over(&mut self, id: Id, ended: &Ended) {
        log::debug!("link: session over, {id}: {ended}");
        self.no_session();
        match self.lines.get(&id) {
            // Whoever dropped its tracks directly is done with the connection; at a relay its next run may be met.
            Some(line)
                if self.route.is_relay(id)
                    && line.connection.close_reason().is_none()
                    && !matches!(ended, Ended::Unheard) =>
            {
                self.route.session_over(id, now_us());
            }
            _ => self.gone(id, ended),
        }
    }

    fn gone(&mut self, id: Id, ended: &Ended) {
        if self.session.as_ref().is_some_and(|(current, _)| *current == id) {
            self.no_session();
        }
        self.route.gone(id, now_us());
        if let Some(line) = self.lines.remove(&id) {
            log::debug!("link: {id} is gone: {ended}");
            line.close(b"over");
        }
        self.tidy();
    }

    /// Closes what is of no more use.
    fn tidy(&mut self) {
        let now = now_us();
        let route = &self.route;
        self.lines.extract_if(.., |&id, _| !route.keeps(id, now)).for_each(|(id, line)| {
            log::debug!("link: {id} is not needed");
            line.close(b"replaced");
        });
    }

    /// A handshake failed: for an operator it matters when somebody else than the peer stood at the door.
    fn failed(&mut self, dialled: Option<Way>, error: &Failed) {
        if dialled == Some(Way::Relay) && !matches!(error, Failed::Late) {
            let told = self.last_relay_trouble.is_some_and(|told| told.elapsed() < TELL_AGAIN);
            if !told {
                self.last_relay_trouble = Some(Instant::now());
                log::warn!("link: no way to the relay: {error}; see relay.address and relay.fingerprint");
            }
            return;
        }
        let Some(shown) = self.pin.turned_away() else {
            log::debug!("link: handshake, {dialled:?}: {error}");
            return;
        };
        Counters::add(&self.doors.counters.refused, 1);
        let who = if dialled.is_some() { "the booth at the peer's address" } else { "a caller" };
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

impl Line {
    fn close(self, why: &[u8]) {
        self.attending.abort();
        self.connection.close(VarInt::from_u32(2), why);
    }
}

/// Meets the other booth on `connection`, and each of its next runs, until the connection is over.
async fn attend(
    id: Id,
    connection: Connection,
    role: Role,
    names: Names,
    met: mpsc::Sender<(Id, Tracks)>,
) -> (Id, Ended) {
    let attend = async {
        let mut meeting = Meeting::enter(&connection, role, &names).await?;
        loop {
            let tracks = meeting.next().await?;
            if met.send((id, tracks)).await.is_err() {
                return Err(Ended::Closed);
            }
        }
    };
    let ended: Result<(), Ended> = attend.await;
    (id, ended.err().unwrap_or(Ended::Closed))
}

#[cfg(test)]
mod tests;
