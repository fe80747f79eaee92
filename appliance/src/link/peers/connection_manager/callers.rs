//! Which booths are there, which of them are peers, who is turned away and what the staff is told of it.

use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};

use super::{ConnectionManager, Origin};
use crate::link::config::Order;
use crate::link::counters;
use crate::link::handles::{PeerEntry, PeerList};
use crate::link::net::membership::code;
use crate::link::net::socket::Failed;
use crate::link::peers::peer::Peer;
use crate::link::session::Control;
use crate::media::clock::now_us;
use crate::pairing::{Fingerprint, Sighting, Taken};

/// Where there are more booths than places, each that does not answer gives way to the next after so long, at
/// least and at most: were it the same everywhere, booths could chase each other for ever.
const TURN_US: (u64, u64) = (1_500_000, 3_000_000);
/// A peer that is seen nowhere and does not answer is forgotten after this.
const FORGET_US: u64 = 30_000_000;
/// TLS's word for a certificate that is not let in (RFC 8446, section 6.2).
const ACCESS_DENIED: u8 = 49;
/// The last refusal is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(30);

impl ConnectionManager<'_> {
    /// All booths of the room that are here become peers while there is a place; where there is none, those
    /// that do not answer give way to the others in turn.
    pub(super) fn choose_peers(&mut self, now: u64) {
        let wanted = self.config.peer.fingerprint;
        let forgotten: Vec<_> = self
            .peers
            .iter()
            .filter(|(who, peer)| {
                let here = wanted == Some(**who) || self.roster.is_here(**who);
                !here && !peer.connected && peer.session.is_none() && now > peer.since_us + FORGET_US
            })
            .map(|(who, _)| *who)
            .collect();
        for who in &forgotten {
            self.remove_peer(*who);
        }
        if wanted.is_some() || self.config.room.is_none() {
            return;
        }
        let mut changed = !forgotten.is_empty();
        while let Some(next) = self.roster.next(self.last_tried, |who| !self.peers.contains_key(&who)) {
            if self.peers.len() >= self.config.most() {
                let turn_us = now.saturating_sub(fastrand::u64(TURN_US.0..=TURN_US.1));
                let idle = |(_, peer): &(&Fingerprint, &Peer)| !peer.connected && peer.since_us < turn_us;
                let Some(who) = self.peers.iter().find(idle).map(|(who, _)| *who) else { break };
                self.remove_peer(who);
            }
            self.last_tried = Some(next);
            self.add_peer(next, now);
            changed = true;
        }
        if changed {
            self.show();
        }
    }

    /// `who` is to be met from now on. Whether there was a place.
    pub(super) fn add_peer(&mut self, who: Fingerprint, now: u64) -> bool {
        let taken = |slot: usize| self.peers.values().any(|peer| peer.slot == slot);
        let Some(slot) = (0..self.config.most()).find(|&slot| !taken(slot)) else { return false };
        let configured = self.config.peer.fingerprint == Some(who) && self.config.peer.address.is_some();
        let direct = configured || !self.roster.addresses(who).is_empty();
        log::debug!("link: {} is to be met, at place {slot}", self.roster.name(who));
        self.context.control.borrow_mut().forget(slot);
        let before = self.context.handles.peers[slot].counters.snapshot();
        self.peers.insert(who, Peer::new(slot, direct, before, now));
        true
    }

    fn remove_peer(&mut self, who: Fingerprint) {
        let Some(peer) = self.peers.remove(&who) else { return };
        log::debug!("link: {} gives its place away", self.roster.name(who));
        if let Some(session) =
            peer.session.and_then(|id| self.lines.get(&id)).and_then(|line| line.session.as_ref())
        {
            let _ = session.send(Control::Leave(peer.slot));
        }
    }

    /// The local network tells of a booth.
    pub(super) fn sighted(&mut self, sighting: &Sighting) {
        self.agent.sighted(sighting);
        if sighting.open || self.config.room.is_none() {
            return;
        }
        let who = sighting.fingerprint;
        let before = self.roster.addresses(who).to_vec();
        self.roster.sighted(sighting);
        let now = self.roster.addresses(who);
        log::debug!("link: {} is at {now:?}", sighting.name);
        let new = now.iter().any(|address| !before.contains(address));
        if let Some(peer) = self.peers.get_mut(&who).filter(|_| new) {
            peer.route.found(now_us());
        }
        self.choose_peers(now_us());
        self.show();
    }

    /// Somebody on site wants something.
    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Pair { code, name, answer } => self.agent.enter(code, name, answer, now_us()),
            Order::Forget { name, answer } => {
                let done = match self.config.pins.forget(&name) {
                    Some(write) => {
                        tokio::task::spawn_blocking(move || write.write());
                        self.tell(String::new());
                        Ok(format!("`{name}` is forgotten; whoever comes under that name next, has it"))
                    }
                    None => Err(format!("no booth is known as `{name}`")),
                };
                // Who asked may have gone.
                let _ = answer.send(done);
            }
        }
    }

    /// The relay tells of a booth.
    pub(super) fn at_relay(&mut self, who: Fingerprint, there: bool) {
        self.roster.at_relay(who, there);
        self.choose_peers(now_us());
        self.show();
    }

    /// Tells status and cards who is there.
    pub(super) fn show(&mut self) {
        self.shown = self.agent.shown(now_us());
        let mut peers: Vec<_> = self
            .peers
            .iter()
            .map(|(who, peer)| {
                let entry = PeerEntry {
                    slot: peer.slot,
                    fingerprint: *who,
                    name: self.roster.name(*who),
                    connected: peer.connected,
                    way: peer.route.way().filter(|_| peer.connected),
                    before: peer.before,
                };
                (peer.since_us, entry)
            })
            .collect();
        peers.sort_by_key(|(since_us, _)| *since_us);
        let list = PeerList {
            at_relay: self.relay.connection().is_some(),
            peers: peers.into_iter().map(|(_, entry)| entry).collect(),
            members: self.roster.members(|who| self.peers.get(&who).is_some_and(|peer| peer.connected)),
            trouble: self.trouble.clone(),
            sealed: self.config.room.is_some(),
            open: self.agent.is_open(),
            code: self.shown.clone(),
        };
        *self.context.handles.list() = list;
    }

    /// Whether a booth that has proved to be `who` is to be talked to. If not, the connection is closed.
    pub(super) fn welcome(&mut self, connection: &Connection, who: Fingerprint, name: &str) -> bool {
        if name == self.config.name {
            connection.close(code::NAME_TAKEN, b"this booth has this name");
            self.refused(&format!(
                "a booth that calls itself `{name}`, as this one does: its fingerprint is {}; change booth.name \
                 at one of the two",
                who.short()
            ));
            return false;
        }
        if let Err(Taken(other)) = self.config.pins.evaluate(name, who) {
            connection.close(code::NAME_TAKEN, b"another booth has this name");
            self.refused(&format!(
                "a booth that calls itself `{name}`: its fingerprint is {}, and this name belongs to {}; if it is the right booth, \
                 run `holobooth forget {name}` here",
                who.short(),
                other.short()
            ));
            return false;
        }
        if let Some(write) = self.config.room.as_ref().and_then(|_| self.config.pins.remember(name, who)) {
            tokio::task::spawn_blocking(move || write.write());
        }
        self.roster.proved(who, name);
        if self.peers.contains_key(&who) {
            return true;
        }
        let now = now_us();
        if !self.add_peer(who, now) {
            // Who has come this far is there; a peer that does not answer may not be.
            let idle = self.peers.iter().find(|(_, peer)| !peer.connected).map(|(who, _)| *who);
            let Some(idle) = idle else {
                log::debug!("link: {name} called, and every place is taken");
                connection.close(code::ENGAGED, b"in a meeting");
                return false;
            };
            self.remove_peer(idle);
            self.add_peer(who, now);
        }
        self.show();
        true
    }

    /// The other side closed a connection, or a dial, with `reason`.
    pub(super) fn turned_away(&mut self, origin: Origin, reason: VarInt) {
        let name = match origin {
            Origin::Booth(who) if self.peers.get(&who).is_some_and(|peer| peer.connected) => return,
            Origin::Booth(who) => self.roster.name(who),
            Origin::Caller | Origin::Address | Origin::Relay => "the other booth".to_owned(),
        };
        if reason == code::ENGAGED {
            self.tell(format!("{name} is in a meeting with as many others as it can be"));
        } else if reason == code::NAME_TAKEN {
            let own = &self.config.name;
            let trouble = format!(
                "{name} knows another booth as `{own}`: run `holobooth forget {own}` there, or change booth.name here"
            );
            log::warn!("link: {trouble}");
            self.tell(trouble);
        }
    }

    /// A handshake failed: for an operator it matters when somebody else than a peer called.
    pub(super) fn failed(&mut self, origin: Origin, error: &Failed) {
        if origin == Origin::Relay && !matches!(error, Failed::Late) {
            if !self.peers.values().any(|peer| peer.connected) {
                self.tell(format!("no way to the relay: {error}; see relay.address and relay.fingerprint"));
            }
            let told = self.last_relay_trouble.is_some_and(|told| told.elapsed() < TELL_AGAIN);
            if !told {
                self.last_relay_trouble = Some(Instant::now());
                log::warn!("link: no way to the relay: {error}; see relay.address and relay.fingerprint");
            }
            return;
        }
        let called = origin == Origin::Caller;
        if let Failed::Connection(ConnectionError::ConnectionClosed(close)) = error
            && !called
            && close.error_code == TransportErrorCode::crypto(ACCESS_DENIED)
        {
            let own = self.names.own;
            self.tell(format!(
                "the booth that we called expects another one; peer.fingerprint must be {own} there"
            ));
        }
        let who = if called { "a caller" } else { "the booth that we called" };
        match (self.pin.turned_away(), self.config.peer.fingerprint, error) {
            (Some(shown), Some(wanted), _) => self.refused(&format!(
                "{who}: its fingerprint is {shown}, not {wanted}; if it is the right booth, put its fingerprint into peer.fingerprint"
            )),
            (_, _, Failed::Unproven) => {
                self.refused(&format!("{who}: {error}; room.key must be the same at both booths"));
            }
            _ => {
                let late = matches!(error, Failed::Connection(ConnectionError::TimedOut));
                counters::add(&self.counters().rejected_busy, u64::from(late && called));
                log::debug!("link: handshake, {origin:?}: {error}");
            }
        }
    }

    /// Somebody was turned away. Who keeps calling fills the counter, not the log.
    pub(super) fn refused(&mut self, whom: &str) {
        counters::add(&self.counters().refused, 1);
        if self.last_refused.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            self.last_refused = Some(Instant::now());
            log::warn!("link: refused {whom}");
            self.tell(format!("refused {whom}"));
        }
    }

    /// What keeps a booth away, for the staff to see.
    pub(super) fn tell(&mut self, trouble: String) {
        self.trouble = trouble;
        self.show();
    }
}
