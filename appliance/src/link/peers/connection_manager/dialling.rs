//! Which booths and relays are dialled now, and the tasks that do it.

use std::collections::BTreeSet;

use super::{ConnectionManager, Origin};
use crate::link::handles::Way;
use crate::link::net::membership::{Membership, Up};
use crate::link::net::socket::Dialled;
use crate::pairing::Part;

impl ConnectionManager<'_> {
    /// The relay is dialled when there is no connection to it, or all that it carries has fallen silent.
    pub(super) fn dial_relay(&mut self, now: u64) {
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
    pub(super) fn take_at_relay(&mut self, now: u64) {
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

    pub(super) fn dial_peers(&mut self, now: u64) {
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
    pub(super) fn dial_address(&mut self, now: u64) {
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
}
