//! The connections, and which of them is the session: the input and output around [`Route`], which decides.
//!
//! Both booths dial and both listen, so that either can be restarted and neither waits for the other's time-out. What is dialled
//! and what carries is [`Route`]'s choice; here are the sockets, the tasks and the log, and in [`peer_list`] who is there and who is turned away.

mod peer_list;

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin as Pinned;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::link::carrier::moq::{Happened, Meeting, Names, Role, Target, Tracks};
use crate::link::crypto::instance::Place;
use crate::link::error::Ended;
use crate::link::media::sender::Plan;
use crate::link::net::addresses::Network;
use crate::link::net::congestion::MinWindow;
use crate::link::net::membership::{Membership, Up, code};
use crate::link::net::socket::{Failed, Socket};
use crate::link::net::tls::Pin;
use crate::link::peers::pairing_agent::{Pairing, PairingAgent, Stepped};
use crate::link::peers::route::{Id, Route, WAYS, Way};
use crate::link::session;
use crate::link::{Config, Counters, Done, Error, Handles, Inbox, PeerList};
use crate::media::clock::now_us;
use crate::pairing::{Fingerprint, Part, Roster};

/// Handshakes at once; more are refused.
const HANDSHAKES: usize = 16;
/// Above so many, a caller must first prove that it receives at its address.
const UNPROVEN: usize = 4;
/// A caller's handshake that takes longer is none.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// How often the route is asked.
const TICK: Duration = Duration::from_millis(25);
/// How often a socket that broke is made anew.
const REBIND: Duration = Duration::from_secs(1);

/// Where booths without a room key meet.
const UNSEALED: &str = "direct";

/// Runs the link until `handles.stop`; outlives every connection.
///
/// # Errors
/// Only at start: [`Error::Bind`], [`Error::Tls`], [`Error::NoRoots`], [`Error::Unsealed`], [`Error::System`].
pub fn run(mut config: Config, inbox: &mut Inbox, handles: Handles<'_>) -> Result<Done, Error> {
    if config.is_open() {
        // It is for later, when there is a room.
        config.relay = None;
    }
    if config.relay.is_some() && config.room.is_none() {
        return Err(Error::Unsealed);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let done = runtime.block_on(async {
        let pin = Pin::new(config.peer.fingerprint);
        let min_window = MinWindow::default();
        let socket = Socket::bind(&config, &pin, &min_window)?;
        Ok(ConnectionManager::new(config, socket, pin, min_window, handles).run(inbox).await)
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
type Shaken = (Option<Way>, Result<Up, Failed>);
type Session<'a> = Pinned<Box<dyn Future<Output = Ended> + 'a>>;

/// Connects, lets in, and runs the session.
struct ConnectionManager<'a> {
    config: Config,
    names: Names,
    roster: Roster,
    agent: PairingAgent,
    /// The booth that we talk to, or try to.
    target: watch::Sender<Option<Fingerprint>>,
    /// When another is tried.
    turn_us: u64,
    /// None between one that broke and the next.
    socket: Option<Socket>,
    rebound: Option<Instant>,
    pin: Arc<Pin>,
    min_window: MinWindow,
    handles: Handles<'a>,
    route: Route,
    lines: BTreeMap<Id, Line>,
    session: Option<(Id, Session<'a>)>,
    handshakes: JoinSet<Shaken>,
    /// The dial under way and how many there were, for each [`Way`].
    dials: [(Option<AbortHandle>, u32); 2],
    attending: JoinSet<(Id, Ended)>,
    meet: mpsc::Sender<(Id, Happened)>,
    happened: mpsc::Receiver<(Id, Happened)>,
    last_id: Id,
    /// Connections that became the session so far.
    sessions: u64,
    /// Where the other booth last spoke to us directly.
    seen_at: Option<SocketAddr>,
    last_refused: Option<Instant>,
    /// What keeps a booth away, in a line for the staff.
    trouble: String,
    /// The code that is shown.
    shown: String,
    last_relay_trouble: Option<Instant>,
    last_way: Option<Way>,
}

impl<'a> ConnectionManager<'a> {
    fn new(
        config: Config,
        socket: Socket,
        pin: Arc<Pin>,
        min_window: MinWindow,
        handles: Handles<'a>,
    ) -> Self {
        let own = config.identity.fingerprint();
        let (meet, happened) = mpsc::channel(16);
        let wanted = config.peer.fingerprint;
        *handles.peer_list.lock().unwrap_or_else(PoisonError::into_inner) = PeerList::default();
        Self {
            names: Names { own, place: Place::new(UNSEALED, config.room.as_ref()), key: config.room.clone() },
            roster: Roster::new(own, wanted),
            agent: PairingAgent::new(
                Pairing { own, folder: config.folder.clone() },
                config.room.clone(),
                config.is_open(),
            ),
            target: watch::Sender::new(wanted),
            turn_us: 0,
            route: Route::new(config.peer.address.is_some(), config.relay.is_some(), now_us()),
            config,
            min_window,
            socket: Some(socket),
            rebound: None,
            pin,
            handles,
            lines: BTreeMap::new(),
            session: None,
            handshakes: JoinSet::new(),
            dials: Default::default(),
            attending: JoinSet::new(),
            meet,
            happened,
            last_id: 0,
            sessions: 0,
            seen_at: None,
            last_refused: None,
            trouble: String::new(),
            shown: String::new(),
            last_relay_trouble: None,
            last_way: None,
        }
    }

    async fn run(mut self, inbox: &mut Inbox) -> Done {
        self.show();
        let mut done = Done::Stopped;
        let network = Network::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.handles.stop.load(Relaxed) && done == Done::Stopped {
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
                Some((id, happened)) = self.happened.recv() => match happened {
                    Happened::Met(who, tracks) => self.met(id, who, *tracks),
                    Happened::Seen(who, there) => self.at_relay(who, there),
                },
                Some(sighting) = inbox.sightings.recv() => self.sighted(&sighting),
                Some(order) = inbox.orders.recv() => self.order(order),
                Some(Ok(step)) = self.agent.steps.join_next() => {
                    match self.agent.stepped(step, now_us()) {
                        Stepped::Nothing => {}
                        Stepped::GuessedWrong => Counters::add(&self.handles.counters.guesses_refused, 1),
                        Stepped::Paired(room) => {
                            log::info!("link: this booth belongs to room {} now", room.id());
                            done = Done::Paired(room);
                        }
                    }
                    self.show();
                }
                Some(Ok((id, ended))) = self.attending.join_next() => self.gone(id, &ended),
                () = network.changed() => {
                    log::debug!("link: this machine's network changed");
                    self.route.network_changed(now_us());
                }
                _ = tick.tick() => self.look(),
            }
        }
        self.no_session();
        self.lines.values().for_each(|line| line.connection.close(code::STOPS, b"booth stops"));
        if let Some(Socket { endpoint, .. }) = self.socket {
            endpoint.close(code::STOPS, b"booth stops");
            // The other side is told, if it listens.
            let _ = timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
        }
        done
    }

    /// What time brings.
    fn look(&mut self) {
        let now = now_us();
        self.handles.heartbeat.beat_at(now);
        if self.socket.is_none() && self.rebound.is_none_or(|at| at.elapsed() >= REBIND) {
            self.rebound = Some(Instant::now());
            self.socket =
                Socket::bind(&self.config, &self.pin, &self.min_window).map_err(|e| log::warn!("{e}")).ok();
            self.route.network_changed(now);
        }
        let signals = self.handles.signals;
        self.route.look(now);
        if self.route.heard(signals.heard_us.load(Relaxed)) {
            self.arrived();
        }
        if !self.route.has_peer(now) && signals.connected.swap(false, Relaxed) {
            signals.peer_has_camera.store(false, Relaxed);
            signals.route.store(0, Relaxed);
            self.last_way = None;
            log::info!("link: the other booth is gone");
            self.show();
        }
        self.take_turns(now);
        self.agent.look(self.socket.as_ref(), now);
        if self.agent.shown(now) != self.shown {
            self.show();
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
        let attempt = self.dials[way as usize].1;
        let new = match way {
            Way::Direct => {
                // It may have moved since the configuration was written.
                let found = self.target().map_or(&[][..], |who| self.roster.addresses(who));
                let known = self.seen_at.into_iter().chain(self.config.peer.address);
                let mut addresses = Vec::new();
                for address in known.chain(found.iter().copied()) {
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
                let dial = socket.dial_peer(addresses, attempt);
                let membership = self.membership(Part::Dialler);
                self.handshakes.spawn(async move {
                    let up = async { membership.prove(dial.await?).await };
                    (Some(way), up.await)
                })
            }
            Way::Relay => {
                let Some(relay) = &self.config.relay else { return };
                let dial = socket.dial_relay(relay, attempt);
                let up = async { Ok(Up { connection: dial.await?, booth: None }) };
                self.handshakes.spawn(async move { (Some(way), up.await) })
            }
        };
        let (under_way, attempts) = &mut self.dials[way as usize];
        *attempts = attempt.wrapping_add(1);
        if let Some(old) = under_way.replace(new) {
            old.abort();
        }
    }

    /// The other booth was heard in a new session.
    fn arrived(&mut self) {
        let (Some(way), Some(id)) = (self.route.way(), self.session.as_ref().map(|(id, _)| *id)) else {
            return;
        };
        let code = if way == Way::Direct { 1 } else { 2 };
        self.handles.signals.route.store(code, Relaxed);
        self.trouble.clear();
        self.show();
        let Some(line) = self.lines.get(&id) else { return };
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
            Counters::add(&self.handles.counters.rejected_busy, 1);
            incoming.refuse();
        } else if self.handshakes.len() >= UNPROVEN && incoming.may_retry() {
            Counters::add(&self.handles.counters.rejected_busy, 1);
            let _ = incoming.retry();
        } else if let Ok(connecting) = incoming.accept() {
            let membership = self.membership(Part::Listener);
            let open = self.agent.is_open();
            self.handshakes.spawn(async move {
                let up = async {
                    let connection = timeout(HANDSHAKE_LIMIT, connecting)
                        .await
                        .unwrap_or(Err(quinn::ConnectionError::TimedOut))?;
                    // Who calls an open booth has nothing to prove but that it knows the code.
                    if open { Ok(Up { connection, booth: None }) } else { membership.prove(connection).await }
                };
                (None, up.await)
            });
        }
    }

    fn membership(&self, part: Part) -> Membership {
        Membership {
            part,
            own: self.names.own,
            name: self.config.name.clone(),
            room: self.config.room.clone(),
        }
    }

    fn shaken(&mut self, dialled: Option<Way>, result: Result<Up, Failed>) {
        let now = now_us();
        let way = dialled.unwrap_or(Way::Direct);
        if dialled.is_none() && self.agent.is_open() {
            match result {
                Ok(up) => {
                    if !self.agent.admit(up.connection, now) {
                        Counters::add(&self.handles.counters.guesses_refused, 1);
                    }
                }
                Err(error) => log::debug!("link: handshake of a guess: {error}"),
            }
            return;
        }
        let up = result.and_then(|Up { connection, booth }| match booth {
            Some((who, name)) if !self.welcome(&connection, who, &name) => Err(Failed::Unwelcome),
            _ => Ok((connection, booth.map(|(who, _)| who))),
        });
        let (connection, who) = match up {
            Ok(up) => up,
            Err(error) => {
                if dialled.is_some() {
                    self.route.dial_failed(way, now);
                }
                // Whoever calls may say anything.
                if let Failed::Connection(ConnectionError::ApplicationClosed(close)) = &error
                    && dialled.is_some()
                {
                    self.turned_away(close.error_code);
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
        // Of two connections that cross each other, both booths keep the same.
        let ours_stays = who.is_some_and(|who| self.names.own < who);
        let stays = dialled.is_some() == ours_stays;
        if !self.route.up(id, way, dialled.is_some(), stays, now) {
            connection.close(code::ENOUGH, b"one session is enough");
            return;
        }
        log::debug!("link: {id} is up: {role:?}, {}", connection.remote_address());
        let target = match who {
            Some(who) => watch::channel(Some(who)).1,
            None => self.target.subscribe(),
        };
        let attending = attend(id, connection.clone(), role, self.names.clone(), target, self.meet.clone());
        let attending = self.attending.spawn(attending);
        self.lines.insert(id, Line { connection, attending });
        self.tidy();
    }

    /// What held for the session's line says nothing of the next.
    fn no_session(&mut self) {
        self.session = None;
        self.min_window.set(0);
        self.handles.signals.target_kbps.store(0, Relaxed);
        self.handles.signals.congested.store(false, Relaxed);
    }

    /// The tracks of booth `who` flow through connection `id`.
    fn met(&mut self, id: Id, who: Fingerprint, tracks: Tracks) {
        let Some(line) = self.lines.get(&id).filter(|_| self.target() == Some(who)) else { return };
        if self.route.met(id, now_us()) {
            log::debug!("link: {id} is the session");
            self.sessions += 1;
            let (connection, number, handles) = (line.connection.clone(), self.sessions, self.handles);
            let min_window = self.min_window.clone();
            let plan = Plan {
                max_kbps: self.config.max_kbps,
                deadline_us: u64::try_from(self.config.deadline.as_micros()).unwrap_or(u64::MAX),
            };
            let session = Box::pin(async move {
                session::run(&connection, tracks, number, plan, min_window, handles).await
            });
            self.session = Some((id, session));
        }
        self.tidy();
    }

    fn session_over(&mut self, id: Id, ended: &Ended) {
        log::debug!("link: session over, {id}: {ended}");
        self.no_session();
        match self.lines.get(&id) {
            // Whoever dropped its tracks directly is done with the connection; at a relay its next instance may be met.
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
        if self.route.is_relay(id) {
            self.roster.relay_gone();
            self.show();
        }
        if let Ended::Connection(ConnectionError::ApplicationClosed(close)) = ended {
            self.turned_away(close.error_code);
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
}

impl Line {
    fn close(self, why: &[u8]) {
        self.attending.abort();
        self.connection.close(code::OVER, why);
    }
}

/// Meets the other booth on `connection`, and each of its next runs, until the connection is over.
async fn attend(
    id: Id,
    connection: Connection,
    role: Role,
    names: Names,
    target: Target,
    told: mpsc::Sender<(Id, Happened)>,
) -> (Id, Ended) {
    let attend = async {
        let mut meeting = Meeting::enter(&connection, role, &names, target).await?;
        loop {
            let happened = meeting.next().await?;
            if told.send((id, happened)).await.is_err() {
                return Err(Ended::Closed);
            }
        }
    };
    let ended: Result<(), Ended> = tokio::select! {
        biased;
        // What the other side closed it with says more than what MoQ makes of that.
        reason = connection.closed() => Err(reason.into()),
        ended = attend => ended,
    };
    (id, ended.err().unwrap_or(Ended::Closed))
}

#[cfg(test)]
mod tests;
