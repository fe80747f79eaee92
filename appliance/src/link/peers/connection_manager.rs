//! The connections, and which booths are met over them: the input and output around each peer's
//! [`Route`](super::route::Route), which decides.
//!
//! Booths dial and listen both, so that either can be restarted and neither waits for the other's timeout.
//! What is dialled and what carries is each route's choice; here are the sockets, the tasks and the log, and
//! in [`callers`] who is there, who is let in and who is turned away.
//!
//! ```text
//!   encoder ─► hand-over ─► feed of each connection's session ─► … ─► session ─► the peer's own mailboxes
//!                            direct: one peer    relay: all peers that are met there
//! ```

mod callers;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin as Pinned;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::{Connection, ConnectionError};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::link::carrier::moq::MoqCarrier;
use crate::link::carrier::sealed::Sealed;
use crate::link::carrier::{Carrier, Slot};
use crate::link::config::{Config, Done, Inbox};
use crate::link::counters;
use crate::link::error::{Ended, Error};
use crate::link::handles::{Handles, PeerList, Way};
use crate::link::media::sender::Plan;
use crate::link::net::addresses::Network;
use crate::link::net::congestion::MinWindow;
use crate::link::net::membership::{Membership, Up, code};
use crate::link::net::socket::{Dialled, Failed, Socket};
use crate::link::net::tls::Pin;
use crate::link::peers::announcement::Place;
use crate::link::peers::pairing_agent::{Pairing, PairingAgent, Stepped};
use crate::link::peers::peer::Peer;
use crate::link::peers::presence::{Happened, Met, Names, Presence, Role, Targets};
use crate::link::peers::relay_dial::RelayDial;
use crate::link::peers::route::Id;
use crate::link::rate::encoder_control::EncoderControl;
use crate::link::session::{self, Context, Control, Feed, Notice};
use crate::media::clock::now_us;
use crate::pairing::{Fingerprint, Part, Roster};

/// Handshakes at once; more are refused.
const HANDSHAKES: usize = 16;
/// Above so many, a caller must first prove that it receives at its address.
const UNPROVEN: usize = 4;
/// A caller's handshake that takes longer is none.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// How often routes are asked.
const TICK: Duration = Duration::from_millis(25);
/// How often a socket that broke is recreated.
const REBIND: Duration = Duration::from_secs(1);

/// Where booths without a room key meet.
const UNSEALED: &str = "direct";

/// Runs the link until `stop`; outlives every connection.
///
/// # Errors
/// Only at start: [`Error::Bind`], [`Error::Tls`], [`Error::NoRoots`], [`Error::Unsealed`],
/// [`Error::System`].
pub fn run(
    mut config: Config,
    inbox: &mut Inbox,
    handles: &Handles,
    stop: &AtomicBool,
) -> Result<Done, Error> {
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
        let socket = Socket::bind(&config, &pin)?;
        let source = Source::new(handles)?;
        let control = RefCell::new(EncoderControl::default());
        let context = Context { handles, control: &control };
        let manager = ConnectionManager::new(config, socket, pin, context);
        Ok(manager.run(inbox, &source, stop).await)
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    done
}

/// What the encoder and the microphone have put into the hand-overs.
struct Source<'a> {
    units: AsyncFd<BorrowedFd<'a>>,
    voice: AsyncFd<BorrowedFd<'a>>,
}

impl<'a> Source<'a> {
    fn new(handles: &'a Handles) -> std::io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for descriptors that may be closed; a borrowed one is not"
        )]
        let wait = |fd: BorrowedFd<'a>| AsyncFd::new(fd);
        Ok(Self { units: wait(handles.outgoing.as_fd())?, voice: wait(handles.voice.as_fd())? })
    }

    /// Waits until either holds something.
    async fn readable(&self) {
        tokio::select! {
            biased;
            Ok(mut ready) = self.voice.readable() => ready.clear_ready(),
            Ok(mut ready) = self.units.readable() => ready.clear_ready(),
            else => pending().await,
        }
    }
}

/// Whom a connection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    Booth(Fingerprint),
    Relay,
}

type PeerControl<'a> = Control<<Sealed<MoqCarrier<'a>> as Carrier>::Peer>;

/// A connection whose handshake is done.
struct Line<'a> {
    connection: Connection,
    min_window: MinWindow,
    remote: Remote,
    /// What follows the other booths' instances on it.
    attending: AbortHandle,
    /// What its session is to send.
    feed: Rc<Feed>,
    /// Its session, once anybody was met.
    session: Option<mpsc::UnboundedSender<PeerControl<'a>>>,
}

impl Line<'_> {
    fn close(self, why: &[u8]) {
        self.attending.abort();
        self.connection.close(code::OVER, why);
    }
}

/// Whose handshake it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Somebody called.
    Caller,
    /// We dialled this booth.
    Booth(Fingerprint),
    /// We dialled the configured address, not knowing who is there.
    Address,
    /// We dialled the relay.
    Relay,
}

type Handshake = (Origin, Result<Up, Failed>);
type SessionFuture<'a> = Pinned<Box<dyn Future<Output = (Id, Ended)> + 'a>>;

/// The configured address, while nobody is known to be there.
#[derive(Default)]
struct AddressDial {
    next_us: u64,
    under_way: bool,
    attempts: u32,
}

/// Connects, lets in, and runs the sessions.
struct ConnectionManager<'a> {
    config: Config,
    names: Names,
    roster: Roster,
    agent: PairingAgent,
    peers: BTreeMap<Fingerprint, Peer>,
    relay: RelayDial,
    relay_attempts: u32,
    address: AddressDial,
    /// The booths whose tracks are wanted at the relay.
    targets: watch::Sender<BTreeSet<Fingerprint>>,
    /// None between one that broke and the next.
    socket: Option<Socket>,
    rebound: Option<Instant>,
    pin: Arc<Pin>,
    context: Context<'a>,
    lines: BTreeMap<Id, Line<'a>>,
    sessions: FuturesUnordered<SessionFuture<'a>>,
    notice: mpsc::UnboundedSender<(Id, Slot, Notice)>,
    notices: mpsc::UnboundedReceiver<(Id, Slot, Notice)>,
    handshakes: JoinSet<Handshake>,
    attending: JoinSet<(Id, Ended)>,
    meet: mpsc::Sender<(Id, Happened)>,
    happened: mpsc::Receiver<(Id, Happened)>,
    last_id: Id,
    /// Sessions with peers so far.
    met_count: u64,
    /// The booth that was tried last when there is no place for all.
    last_tried: Option<Fingerprint>,
    last_refused: Option<Instant>,
    /// What keeps a booth away, in a line for the staff.
    trouble: String,
    /// The code that is shown.
    shown: String,
    last_relay_trouble: Option<Instant>,
}

impl<'a> ConnectionManager<'a> {
    fn new(config: Config, socket: Socket, pin: Arc<Pin>, context: Context<'a>) -> Self {
        let own = config.identity.fingerprint();
        let (meet, happened) = mpsc::channel(16);
        let (notice, notices) = mpsc::unbounded_channel();
        let wanted = config.peer.fingerprint;
        *context.handles.list() = PeerList::default();
        let mut manager = Self {
            names: Names { own, place: Place::new(UNSEALED, config.room.as_ref()), key: config.room.clone() },
            roster: Roster::new(own, wanted),
            agent: PairingAgent::new(
                Pairing { own, folder: config.folder.clone() },
                config.room.clone(),
                config.is_open(),
            ),
            peers: BTreeMap::new(),
            relay: RelayDial::default(),
            relay_attempts: 0,
            address: AddressDial::default(),
            targets: watch::Sender::default(),
            config,
            socket: Some(socket),
            rebound: None,
            pin,
            context,
            lines: BTreeMap::new(),
            sessions: FuturesUnordered::new(),
            notice,
            notices,
            handshakes: JoinSet::new(),
            attending: JoinSet::new(),
            meet,
            happened,
            last_id: 0,
            met_count: 0,
            last_tried: None,
            last_refused: None,
            trouble: String::new(),
            shown: String::new(),
            last_relay_trouble: None,
        };
        if let Some(wanted) = wanted {
            manager.add_peer(wanted, now_us());
        }
        manager
    }

    async fn run(mut self, inbox: &mut Inbox, source: &Source<'_>, stop: &AtomicBool) -> Done {
        self.show();
        let mut done = Done::Stopped;
        let network = Network::new();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !stop.load(Relaxed) && done == Done::Stopped {
            let incoming = async {
                match &self.socket {
                    Some(socket) => socket.endpoint.accept().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = source.readable() => self.distribute(),
                Some((id, ended)) = self.sessions.next() => self.session_over(id, &ended),
                incoming = incoming => match incoming {
                    Some(incoming) => self.let_in(incoming),
                    None => {
                        log::warn!("link: the socket broke; it is recreated");
                        self.socket = None;
                    }
                },
                Some((id, slot, notice)) = self.notices.recv() => self.noticed(id, slot, notice),
                Some(Ok((origin, result))) = self.handshakes.join_next() => self.handshake_over(origin, result),
                Some((id, happened)) = self.happened.recv() => match happened {
                    Happened::Met(who, met) => self.met(id, who, *met),
                    Happened::Seen(who, there) => self.at_relay(who, there),
                },
                Some(sighting) = inbox.sightings.recv() => self.sighted(&sighting),
                Some(order) = inbox.orders.recv() => self.order(order),
                Some(Ok(step)) = self.agent.steps.join_next() => {
                    match self.agent.stepped(step, now_us()) {
                        Stepped::Nothing => {}
                        Stepped::GuessedWrong => counters::add(&self.counters().guesses_refused, 1),
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
                    self.network_changed(now_us());
                }
                _ = tick.tick() => self.tick(),
            }
        }
        self.sessions.clear();
        self.lines.values().for_each(|line| line.connection.close(code::STOPS, b"booth stops"));
        self.peers.clear();
        *self.context.handles.list() = PeerList::default();
        if let Some(Socket { endpoint, .. }) = self.socket {
            endpoint.close(code::STOPS, b"booth stops");
            // The other side is told, if it listens.
            let _ = timeout(Duration::from_millis(200), endpoint.wait_idle()).await;
        }
        done
    }

    fn counters(&self) -> &counters::Counters {
        &self.context.handles.counters
    }

    /// What the encoder and the microphone gave goes to the session of every connection.
    fn distribute(&mut self) {
        let handles = self.context.handles;
        while let Some(frame) = handles.voice.take() {
            self.lines.values().for_each(|line| line.feed.put_voice(&frame));
        }
        while let Some(unit) = handles.outgoing.take() {
            self.lines.values().for_each(|line| line.feed.put(&unit));
        }
    }

    fn network_changed(&mut self, now: u64) {
        self.relay.network_changed(now);
        self.address.next_us = now;
        self.peers.values_mut().for_each(|peer| peer.route.network_changed(now));
    }

    /// What time brings.
    fn tick(&mut self) {
        let now = now_us();
        self.context.handles.heartbeat.beat_at(now);
        if self.socket.is_none() && self.rebound.is_none_or(|at| at.elapsed() >= REBIND) {
            self.rebound = Some(Instant::now());
            self.socket = Socket::bind(&self.config, &self.pin).map_err(|e| log::warn!("{e}")).ok();
            self.network_changed(now);
        }
        let mut gone = false;
        for (who, peer) in &mut self.peers {
            peer.route.look(now);
            if peer.connected && !peer.route.has_peer(now) {
                (peer.connected, peer.last_way) = (false, None);
                self.context.handles.peers[peer.slot].has_camera.store(false, Relaxed);
                log::info!("link: {} is gone", self.roster.name(*who));
                gone = true;
            }
            if peer.route.way() == Some(Way::Direct)
                && let Some(line) = peer.session.and_then(|id| self.lines.get(&id))
            {
                peer.seen_at = Some(line.connection.remote_address());
            }
        }
        self.choose_peers(now);
        self.agent.look(self.socket.as_ref(), now);
        if gone || self.agent.shown(now) != self.shown {
            self.show();
        }
        self.dial_relay(now);
        self.take_at_relay(now);
        self.dial_peers(now);
        self.dial_address(now);
        self.close_unneeded();
    }

    /// The relay is dialled when there is no connection to it, or all that it carries has fallen silent.
    fn dial_relay(&mut self, now: u64) {
        let Some(relay) = &self.config.relay else { return };
        let Some(socket) = &self.socket else { return };
        let connection = self.relay.connection();
        let mut carried =
            self.peers.values().filter(|peer| peer.session == connection && connection.is_some());
        let silent = carried.clone().next().is_some() && carried.all(|peer| peer.route.is_quiet(now));
        if !self.relay.dial(silent, now) {
            return;
        }
        let dial = socket.dial_relay(relay, self.relay_attempts);
        self.relay_attempts = self.relay_attempts.wrapping_add(1);
        self.handshakes.spawn(async move {
            let up = async {
                let Dialled { connection, min_window } = dial.await?;
                Ok(Up { connection, min_window, booth: None })
            };
            (Origin::Relay, up.await)
        });
    }

    /// The tracks of those peers are taken at the relay whose route wants it.
    fn take_at_relay(&mut self, now: u64) {
        let connection = self.relay.connection();
        for (who, peer) in &mut self.peers {
            peer.route.at_relay(connection.is_some() && self.roster.is_at_relay(*who));
            if let Some(id) = connection
                && peer.route.dial(Way::Relay, now)
            {
                peer.route.up(id, Way::Relay, true, false, now);
            }
        }
        let wanted: BTreeSet<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| connection.is_some_and(|id| peer.route.keeps(id, now)))
            .map(|(who, _)| *who)
            .collect();
        self.targets.send_if_modified(|targets| {
            let changed = *targets != wanted;
            *targets = wanted;
            changed
        });
    }

    fn dial_peers(&mut self, now: u64) {
        let Some(socket) = &self.socket else { return };
        let wanted = self.config.peer.fingerprint;
        for (who, peer) in &mut self.peers {
            let who = *who;
            let over = peer.dial.take_if(|dial| dial.is_finished() || !peer.route.wants(Way::Direct, now));
            if let Some(dial) = over
                && !dial.is_finished()
            {
                dial.abort();
                peer.route.dial_failed(Way::Direct, now);
            }
            if !peer.route.dial(Way::Direct, now) {
                continue;
            }
            // It may have moved since the configuration was written.
            let configured = self.config.peer.address.filter(|_| wanted == Some(who));
            let known = peer.seen_at.into_iter().chain(configured);
            let mut addresses = Vec::new();
            for address in known.chain(self.roster.addresses(who).iter().copied()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            let dial = socket.dial_peer(addresses, peer.attempts);
            peer.attempts = peer.attempts.wrapping_add(1);
            let membership = Membership {
                part: Part::Dialler,
                own: self.names.own,
                name: self.config.name.clone(),
                room: self.config.room.clone(),
            };
            let handle = self.handshakes.spawn(async move {
                let up = async { membership.prove(dial.await?).await };
                (Origin::Booth(who), up.await)
            });
            if let Some(old) = peer.dial.replace(handle) {
                old.abort();
            }
        }
    }

    /// The configured address is dialled while it is not known who is there, and nobody has come from there.
    fn dial_address(&mut self, now: u64) {
        let (Some(address), None) = (self.config.peer.address, self.config.peer.fingerprint) else { return };
        let Some(socket) = &self.socket else { return };
        let found = self.peers.values().any(|peer| peer.connected || peer.seen_at == Some(address));
        if found || self.address.under_way || now < self.address.next_us || self.config.is_open() {
            return;
        }
        self.address.under_way = true;
        let dial = socket.dial_peer(vec![address], self.address.attempts);
        self.address.attempts = self.address.attempts.wrapping_add(1);
        let membership = self.membership(Part::Dialler);
        self.handshakes.spawn(async move {
            let up = async { membership.prove(dial.await?).await };
            (Origin::Address, up.await)
        });
    }

    fn let_in(&mut self, incoming: quinn::Incoming) {
        let Some(socket) = &self.socket else { return };
        if self.handshakes.len() >= HANDSHAKES {
            counters::add(&self.counters().rejected_busy, 1);
            incoming.refuse();
        } else if self.handshakes.len() >= UNPROVEN && incoming.may_retry() {
            counters::add(&self.counters().rejected_busy, 1);
            let _ = incoming.retry();
        } else if let Some((connecting, min_window)) = socket.accept(incoming) {
            let membership = self.membership(Part::Listener);
            let open = self.agent.is_open();
            self.handshakes.spawn(async move {
                let up = async {
                    let connection = timeout(HANDSHAKE_LIMIT, connecting)
                        .await
                        .unwrap_or(Err(quinn::ConnectionError::TimedOut))?;
                    // Who calls an open booth has nothing to prove but that it knows the code.
                    if open {
                        return Ok(Up { connection, min_window, booth: None });
                    }
                    membership.prove(Dialled { connection, min_window }).await
                };
                (Origin::Caller, up.await)
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

    fn handshake_over(&mut self, origin: Origin, result: Result<Up, Failed>) {
        let now = now_us();
        if origin == Origin::Address {
            self.address.under_way = false;
            self.address.next_us = now + fastrand::u64(200_000..=1_000_000);
        }
        if origin == Origin::Caller && self.agent.is_open() {
            match result {
                Ok(up) => {
                    if !self.agent.admit(up.connection, now) {
                        counters::add(&self.counters().guesses_refused, 1);
                    }
                }
                Err(error) => log::debug!("link: handshake of a guess: {error}"),
            }
            return;
        }
        let up = result.and_then(|up| match &up.booth {
            Some((who, name)) if !self.welcome(&up.connection, *who, name) => Err(Failed::Unwelcome),
            _ => Ok(up),
        });
        let Up { connection, min_window, booth } = match up {
            Ok(up) => up,
            Err(error) => {
                match origin {
                    Origin::Booth(who) => {
                        if let Some(peer) = self.peers.get_mut(&who) {
                            peer.route.dial_failed(Way::Direct, now);
                        }
                    }
                    Origin::Relay => self.relay.failed(now),
                    Origin::Caller | Origin::Address => {}
                }
                // Whoever calls may say anything.
                if let Failed::Connection(ConnectionError::ApplicationClosed(close)) = &error
                    && origin != Origin::Caller
                {
                    self.turned_away(origin, close.error_code);
                }
                self.failed(origin, &error);
                return;
            }
        };
        self.last_id += 1;
        let id = self.last_id;
        let Some((who, _)) = booth else {
            self.relay.up(id, now);
            if self.trouble.starts_with("no way to the relay") {
                self.trouble.clear();
            }
            self.show();
            log::debug!("link: {id} is up: the relay, {}", connection.remote_address());
            let targets = self.targets.subscribe();
            self.add_line(id, connection, min_window, Remote::Relay, Role::Relay, targets);
            return;
        };
        if let Origin::Booth(dialled) = origin
            && dialled != who
            && let Some(peer) = self.peers.get_mut(&dialled)
        {
            peer.route.dial_failed(Way::Direct, now);
        }
        let Some(peer) = self.peers.get_mut(&who) else { return };
        let dialled = origin != Origin::Caller;
        // Of two connections that cross each other, both booths keep the same.
        let stays = dialled == (self.names.own < who);
        if !peer.route.up(id, Way::Direct, dialled, stays, now) {
            connection.close(code::ENOUGH, b"one session is enough");
            return;
        }
        let role = if dialled { Role::Dialled } else { Role::Accepted };
        log::debug!("link: {id} is up: {role:?}, {}", connection.remote_address());
        let targets = watch::channel(BTreeSet::from([who])).1;
        self.add_line(id, connection, min_window, Remote::Booth(who), role, targets);
        self.close_unneeded();
    }

    fn add_line(
        &mut self,
        id: Id,
        connection: Connection,
        min_window: MinWindow,
        remote: Remote,
        role: Role,
        targets: Targets,
    ) {
        let attending = attend(id, connection.clone(), role, self.names.clone(), targets, self.meet.clone());
        let attending = self.attending.spawn(attending);
        let feed = Rc::new(Feed::default());
        self.lines.insert(id, Line { connection, min_window, remote, attending, feed, session: None });
    }

    /// The tracks of booth `who` flow through connection `id`.
    fn met(&mut self, id: Id, who: Fingerprint, met: Met) {
        let now = now_us();
        let Some(peer) = self.peers.get_mut(&who) else { return };
        if !self.lines.contains_key(&id) || !peer.route.met(id, now) {
            return self.close_unneeded();
        }
        log::debug!("link: {id} is the session with {}", self.roster.name(who));
        self.met_count += 1;
        let (slot, number) = (peer.slot, self.met_count);
        if let Some(old) = peer.session.replace(id).filter(|old| *old != id)
            && let Some(line) = self.lines.get(&old)
            && let Some(session) = &line.session
        {
            let _ = session.send(Control::Leave(slot));
        }
        let plan = Plan {
            max_kbps: self.config.max_kbps,
            deadline_us: u64::try_from(self.config.deadline.as_micros()).unwrap_or(u64::MAX),
        };
        let Met { tracks, pair, ours, sender } = met;
        let Some(line) = self.lines.get_mut(&id) else { return };
        let join = Control::Join(slot, number, Box::new((tracks, pair)));
        let unsent = match &line.session {
            Some(session) => session.send(join).err().map(|error| error.0),
            None => Some(join),
        };
        if let Some(join) = unsent {
            let (control, controls) = mpsc::unbounded_channel();
            let _ = control.send(join);
            line.session = Some(control);
            let (connection, direct) = (line.connection.clone(), line.remote != Remote::Relay);
            let (min_window, feed) = (line.min_window.clone(), line.feed.clone());
            let (context, notice) = (self.context, self.notice.clone());
            self.sessions.push(Box::pin(async move {
                let mut controls = controls;
                let carrier = MoqCarrier::new(&connection, direct, ours, min_window);
                let mut carrier = Sealed::new(carrier, sender);
                let tell = |slot, about| {
                    let _ = notice.send((id, slot, about));
                };
                let drive = session::drive(&mut carrier, plan, &feed, &mut controls, context, tell);
                let ended = tokio::select! {
                    Err(ended) = drive => ended,
                    error = connection.closed() => error.into(),
                };
                (id, ended)
            }));
        }
        self.close_unneeded();
    }

    /// A session tells of the peer at `slot`.
    fn noticed(&mut self, id: Id, slot: Slot, notice: Notice) {
        let now = now_us();
        let found = self.peers.iter_mut().find(|(_, peer)| peer.slot == slot && peer.session == Some(id));
        let Some((&who, peer)) = found else { return };
        match notice {
            Notice::Answered(at_us) => {
                if peer.route.heard(at_us) {
                    self.arrived(who);
                }
            }
            Notice::Over(ended) => {
                log::debug!("link: {id}: over with {}: {ended}", self.roster.name(who));
                peer.session = None;
                let relay = self.lines.get(&id).is_some_and(|line| line.remote == Remote::Relay);
                if !relay {
                    // Whoever dropped its tracks is done with the connection.
                    self.gone(id, &ended);
                } else if matches!(ended, Ended::Unheard) {
                    peer.route.gone(id, now);
                } else {
                    // Its next instance may be met.
                    peer.route.session_over(id, now);
                }
            }
        }
    }

    /// A peer answered in a new session.
    fn arrived(&mut self, who: Fingerprint) {
        let name = self.roster.name(who);
        let Some(peer) = self.peers.get_mut(&who) else { return };
        peer.connected = true;
        let (Some(way), Some(id)) = (peer.route.way(), peer.session) else { return };
        let before = peer.last_way.replace(way);
        if way == Way::Relay {
            self.relay.works();
        }
        if let Some(line) = self.lines.get(&id) {
            let by = if way == Way::Direct { "directly" } else { "through the relay" };
            let at = line.connection.remote_address();
            let what = if before == Some(way) { "a new session" } else { "the meeting goes" };
            log::info!("link: {name}: {what} {by}, {at}");
        }
        self.trouble.clear();
        self.show();
    }

    /// The session of connection `id` is over, for all that were met there.
    fn session_over(&mut self, id: Id, ended: &Ended) {
        log::debug!("link: session over, {id}: {ended}");
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.session = None;
        if line.remote != Remote::Relay || line.connection.close_reason().is_some() {
            return self.gone(id, ended);
        }
        let now = now_us();
        for peer in self.peers.values_mut().filter(|peer| peer.session == Some(id)) {
            peer.session = None;
            peer.route.session_over(id, now);
        }
    }

    fn gone(&mut self, id: Id, ended: &Ended) {
        let now = now_us();
        if self.relay.connection() == Some(id) {
            self.relay.gone(id);
            self.roster.relay_gone();
            self.show();
        }
        let line = self.lines.remove(&id);
        if let (Some(line), Ended::Connection(ConnectionError::ApplicationClosed(close))) = (&line, ended) {
            let origin = match line.remote {
                Remote::Booth(who) => Origin::Booth(who),
                Remote::Relay => Origin::Relay,
            };
            self.turned_away(origin, close.error_code);
        }
        for peer in self.peers.values_mut() {
            peer.session = peer.session.filter(|session| *session != id);
            peer.route.gone(id, now);
        }
        if let Some(line) = line {
            log::debug!("link: {id} is gone: {ended}");
            line.close(b"over");
        }
        self.close_unneeded();
    }

    /// Closes what is of no more use.
    fn close_unneeded(&mut self) {
        let now = now_us();
        let (peers, relay) = (&self.peers, self.relay.connection());
        let unneeded = |id: Id, line: &Line<'_>| match line.remote {
            Remote::Booth(who) => !peers.get(&who).is_some_and(|peer| peer.route.keeps(id, now)),
            Remote::Relay => relay != Some(id) && !peers.values().any(|peer| peer.session == Some(id)),
        };
        self.lines.extract_if(.., |&id, line| unneeded(id, line)).for_each(|(id, line)| {
            log::debug!("link: {id} is not needed");
            line.close(b"replaced");
        });
    }
}

/// Meets other booths on `connection`, and each of their next instances, until the connection is over.
async fn attend(
    id: Id,
    connection: Connection,
    role: Role,
    names: Names,
    targets: Targets,
    told: mpsc::Sender<(Id, Happened)>,
) -> (Id, Ended) {
    let attend = async {
        let mut presence = Presence::enter(&connection, role, &names, targets).await?;
        loop {
            let happened = presence.next().await?;
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
