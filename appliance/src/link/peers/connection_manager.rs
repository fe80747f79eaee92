//! The connections, and which booths are met over them: the input and output around each peer's
//! [`Route`](super::route::Route), which decides.
//!
//! Booths dial and listen both, so that either can be restarted and neither waits for the other's timeout.
//! What is dialled and what carries is each route's choice; here is the loop. [`dialling`] dials, [`lines`]
//! has handshakes, connections and sessions, and [`callers`] who is there, who is let in and who is turned
//! away.
//!
//! ```text
//!   encoder ─► hand-over ─► feed of each connection's session ─► … ─► session ─► the peer's own mailboxes
//!                            direct: one peer    relay: all peers that are met there
//! ```

mod callers;
mod dialling;
mod lines;

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
use quinn::Connection;
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
use crate::link::net::addresses::Network;
use crate::link::net::congestion::MinWindow;
use crate::link::net::membership::{Membership, Up, code};
use crate::link::net::socket::{Failed, Socket};
use crate::link::net::tls::Pin;
use crate::link::peers::announcement::Place;
use crate::link::peers::pairing_agent::{Pairing, PairingAgent, Stepped};
use crate::link::peers::peer::Peer;
use crate::link::peers::presence::{Happened, Names};
use crate::link::peers::relay_dial::RelayDial;
use crate::link::peers::route::Id;
use crate::link::rate::encoder_control::EncoderControl;
use crate::link::session::{Context, Control, Feed, Notice};
use crate::media::clock::now_us;
use crate::pairing::{Fingerprint, Part, Roster};

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

    fn membership(&self, part: Part) -> Membership {
        Membership {
            part,
            own: self.names.own,
            name: self.config.name.clone(),
            room: self.config.room.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
