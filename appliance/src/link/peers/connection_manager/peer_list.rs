//! The connection manager's peer list: which booths are there, which of them is tried, who is turned away and what the staff is told of it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};

use super::ConnectionManager;
use crate::link::net::membership::code;
use crate::link::net::socket::Failed;
use crate::link::peers::route::Way;
use crate::link::{Counters, Order, PeerList};
use crate::media::clock::now_us;
use crate::pairing::{Fingerprint, Sighting, Taken};

/// While nobody is met, each booth of the room is tried in turn for so long, at least and at most: were it the same everywhere, three
/// booths could chase each other for ever.
const TURN_US: (u64, u64) = (1_500_000, 3_000_000);
/// TLS's word for a certificate that is not let in (RFC 8446, section 6.2).
const ACCESS_DENIED: u8 = 49;
/// The last refusal is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(30);

impl ConnectionManager<'_> {
    /// While nobody is met, each booth of the room that is here is tried in turn.
    pub(crate) fn take_turns(&mut self, now: u64) {
        if self.route.has_peer(now) || now < self.turn_us {
            return;
        }
        self.turn_us = now + fastrand::u64(TURN_US.0..=TURN_US.1);
        let target = self.target();
        let next = self.roster.next(target);
        if next.is_some() && next != target {
            self.turn_to(next);
        }
    }

    pub(crate) fn target(&self) -> Option<Fingerprint> {
        *self.target.borrow()
    }

    /// From now on `who` is the booth to be met.
    pub(crate) fn turn_to(&mut self, who: Option<Fingerprint>) {
        log::debug!("link: trying {}", who.map_or("nobody".to_owned(), |who| self.roster.name(who)));
        self.turn_us = now_us() + fastrand::u64(TURN_US.0..=TURN_US.1);
        self.target.send_replace(who);
        self.no_session();
        self.seen_at = None;
        let nearby = who.is_some_and(|who| !self.roster.addresses(who).is_empty());
        self.route.turn(nearby || self.config.peer.address.is_some(), now_us());
        self.tidy();
        self.show();
    }

    /// Somebody new is there, or not there any more.
    pub(crate) fn met_somebody(&mut self) {
        if self.target().is_none() {
            self.turn_us = 0;
            self.take_turns(now_us());
        }
        self.show();
    }

    /// The local network tells of a booth.
    pub(crate) fn sighted(&mut self, sighting: &Sighting) {
        self.agent.sighted(sighting);
        if sighting.open || self.config.room.is_none() {
            return;
        }
        let who = sighting.fingerprint;
        let before = self.roster.addresses(who).to_vec();
        self.roster.sighted(sighting);
        let now = self.roster.addresses(who);
        log::debug!("link: {} is at {now:?}", sighting.name);
        if self.target() == Some(who) && now.iter().any(|address| !before.contains(address)) {
            self.route.found(now_us());
        }
        self.met_somebody();
    }

    /// Somebody on site wants something.
    pub(crate) fn order(&mut self, order: Order) {
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
    pub(crate) fn at_relay(&mut self, who: Fingerprint, there: bool) {
        self.roster.at_relay(who, there);
        self.met_somebody();
    }

    /// Tells status and cards who is there.
    pub(crate) fn show(&mut self) {
        let peer = self.target();
        self.shown = self.agent.shown(now_us());
        let peer_list = PeerList {
            peer,
            peer_name: peer.map_or_else(String::new, |who| self.roster.name(who)),
            members: self.roster.members(peer),
            trouble: self.trouble.clone(),
            sealed: self.config.room.is_some(),
            open: self.agent.is_open(),
            code: self.shown.clone(),
        };
        *self.handles.peer_list.lock().unwrap_or_else(PoisonError::into_inner) = peer_list;
    }

    /// Whether a booth that has proved to be `who` is to be talked to. If not, the connection is closed.
    pub(crate) fn welcome(&mut self, connection: &Connection, who: Fingerprint, name: &str) -> bool {
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
        if self.target() == Some(who) {
            return true;
        }
        if self.route.has_peer(now_us()) {
            log::debug!("link: {name} called in the middle of a meeting");
            connection.close(code::ENGAGED, b"in a meeting");
            return false;
        }
        self.turn_to(Some(who));
        true
    }

    /// The other booth closed a connection with `reason`.
    pub(crate) fn turned_away(&mut self, reason: VarInt) {
        if self.route.has_peer(now_us()) {
            return;
        }
        let name = self.target().map_or_else(String::new, |who| self.roster.name(who));
        if reason == code::ENGAGED {
            self.tell(format!("{name} is in a meeting with another booth"));
            self.turn_us = 0;
        } else if reason == code::NAME_TAKEN {
            let own = &self.config.name;
            let trouble = format!(
                "{name} knows another booth as `{own}`: run `holobooth forget {own}` there, or change booth.name here"
            );
            log::warn!("link: {trouble}");
            self.tell(trouble);
        }
    }

    /// A handshake failed: for an operator it matters when somebody else than the peer stood at the door.
    pub(crate) fn failed(&mut self, dialled: Option<Way>, error: &Failed) {
        if dialled == Some(Way::Relay) && !matches!(error, Failed::Late) {
            let told = self.last_relay_trouble.is_some_and(|told| told.elapsed() < TELL_AGAIN);
            if !told {
                self.last_relay_trouble = Some(Instant::now());
                log::warn!("link: no way to the relay: {error}; see relay.address and relay.fingerprint");
            }
            return;
        }
        if let (Some(_), Failed::Connection(ConnectionError::ConnectionClosed(close))) = (dialled, error)
            && close.error_code == TransportErrorCode::crypto(ACCESS_DENIED)
        {
            let own = self.names.own;
            self.tell(format!(
                "the booth that we called expects another one; peer.fingerprint must be {own} there"
            ));
        }
        let who = if dialled.is_some() { "the booth that we called" } else { "a caller" };
        match (self.pin.turned_away(), self.config.peer.fingerprint, error) {
            (Some(shown), Some(wanted), _) => self.refused(&format!(
                "{who}: its fingerprint is {shown}, not {wanted}; if it is the right booth, put its fingerprint into peer.fingerprint"
            )),
            (_, _, Failed::Unproven) => {
                self.refused(&format!("{who}: {error}; room.key must be the same at both booths"));
            }
            _ => {
                let late = matches!(error, Failed::Connection(ConnectionError::TimedOut));
                Counters::add(&self.handles.counters.rejected_busy, u64::from(late && dialled.is_none()));
                log::debug!("link: handshake, {dialled:?}: {error}");
            }
        }
    }

    /// Somebody was turned away. Who keeps knocking fills the counter, not the log.
    pub(crate) fn refused(&mut self, whom: &str) {
        Counters::add(&self.handles.counters.refused, 1);
        if self.last_refused.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            self.last_refused = Some(Instant::now());
            log::warn!("link: refused {whom}");
            self.tell(format!("refused {whom}"));
        }
    }

    /// What keeps a booth away, for the staff to see.
    pub(crate) fn tell(&mut self, trouble: String) {
        self.trouble = trouble;
        self.show();
    }
}
