//! Handshakes, the connections that come of them, and the session on each.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use quinn::{Connection, ConnectionError};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{ConnectionManager, Line, Origin, Remote};
use crate::link::carrier::Slot;
use crate::link::carrier::moq::MoqCarrier;
use crate::link::carrier::sealed::Sealed;
use crate::link::counters;
use crate::link::error::Ended;
use crate::link::handles::Way;
use crate::link::media::sender::Plan;
use crate::link::net::congestion::MinWindow;
use crate::link::net::membership::{Up, code};
use crate::link::net::socket::{Dialled, Failed};
use crate::link::peers::presence::{Happened, Met, Names, Presence, Role, Targets};
use crate::link::peers::route::Id;
use crate::link::session::{self, Control, Feed, Notice};
use crate::media::clock::now_us;
use crate::pairing::{Fingerprint, Part};

/// Handshakes at once; more are refused.
const HANDSHAKES: usize = 16;
/// Above so many, a caller must first prove that it receives at its address.
const UNPROVEN: usize = 4;
/// A caller's handshake that takes longer is none.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);

impl<'a> ConnectionManager<'a> {
    pub(super) fn let_in(&mut self, incoming: quinn::Incoming) {
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

    pub(super) fn handshake_over(&mut self, origin: Origin, result: Result<Up, Failed>) {
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
    pub(super) fn met(&mut self, id: Id, who: Fingerprint, met: Met) {
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
    pub(super) fn noticed(&mut self, id: Id, slot: Slot, notice: Notice) {
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
    pub(super) fn session_over(&mut self, id: Id, ended: &Ended) {
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

    pub(super) fn gone(&mut self, id: Id, ended: &Ended) {
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
    pub(super) fn close_unneeded(&mut self) {
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
