//! The booths of a room that have been seen, where, and whom to try next. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Fingerprint;

/// Booths that are remembered. Only members of the room get in here, so that more would be nonsense.
const BOOTHS: usize = 64;
/// Addresses that are kept of one booth.
const ADDRESSES: usize = 8;

/// What the local network says of a booth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Who it is.
    pub fingerprint: Fingerprint,
    /// What it calls itself.
    pub name: String,
    /// Where it is; nowhere any more, when there are none.
    pub addresses: Vec<SocketAddr>,
    /// It belongs to no room, and waits for somebody who enters its code. It proves nothing then.
    pub open: bool,
}

/// A booth of the room, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub fingerprint: Fingerprint,
    /// What it calls itself, or what follows from its key.
    pub name: String,
    /// It is on one of our networks.
    pub nearby: bool,
    /// It is at the relay.
    pub at_relay: bool,
}

#[derive(Debug, Default)]
struct Seen {
    name: Option<String>,
    addresses: Vec<SocketAddr>,
    at_relay: bool,
    /// When it first came, counted.
    order: u64,
}

impl Seen {
    fn is_here(&self) -> bool {
        self.at_relay || !self.addresses.is_empty()
    }
}

/// Who has been seen.
#[derive(Debug)]
pub(crate) struct Roster {
    own: Fingerprint,
    /// The only one to be tried, where the configuration names one.
    wanted: Option<Fingerprint>,
    booths: BTreeMap<Fingerprint, Seen>,
    arrivals: u64,
}

impl Roster {
    pub(crate) fn new(own: Fingerprint, wanted: Option<Fingerprint>) -> Self {
        Self { own, wanted, booths: BTreeMap::new(), arrivals: 0 }
    }

    /// A member was seen on a local network, or is there no longer.
    pub(crate) fn sighted(&mut self, sighting: &Sighting) {
        let addresses = sighting.addresses.iter().copied().take(ADDRESSES).collect();
        if let Some(seen) = self.seen(sighting.fingerprint) {
            seen.addresses = addresses;
            seen.name = Some(sighting.name.clone());
        }
    }

    /// A member is at the relay, or is there no longer.
    pub(crate) fn at_relay(&mut self, who: Fingerprint, there: bool) {
        if let Some(seen) = self.seen(who) {
            seen.at_relay = there;
        }
    }

    /// Nobody is at the relay any more, as far as we know.
    pub(crate) fn relay_gone(&mut self) {
        self.booths.values_mut().for_each(|seen| seen.at_relay = false);
    }

    /// A member has proved itself, under this name.
    pub(crate) fn proved(&mut self, who: Fingerprint, name: &str) {
        if let Some(seen) = self.seen(who) {
            seen.name = Some(name.to_owned());
        }
    }

    /// Where it is on our networks.
    pub(crate) fn addresses(&self, who: Fingerprint) -> &[SocketAddr] {
        self.booths.get(&who).map_or(&[], |seen| &seen.addresses)
    }

    /// What it calls itself, or what follows from its key.
    pub(crate) fn name(&self, who: Fingerprint) -> String {
        self.booths.get(&who).and_then(|seen| seen.name.clone()).unwrap_or_else(|| who.name())
    }

    /// Whether it is seen anywhere.
    pub(crate) fn is_here(&self, who: Fingerprint) -> bool {
        self.booths.get(&who).is_some_and(Seen::is_here)
    }

    /// Whether it is seen at the relay.
    pub(crate) fn is_at_relay(&self, who: Fingerprint) -> bool {
        self.booths.get(&who).is_some_and(|seen| seen.at_relay)
    }

    /// Whom to try after `last` of those that are here and `free`: each in turn, in the order in which they came.
    pub(crate) fn next(
        &self,
        last: Option<Fingerprint>,
        free: impl Fn(Fingerprint) -> bool,
    ) -> Option<Fingerprint> {
        if let Some(wanted) = self.wanted {
            return Some(wanted).filter(|who| free(*who));
        }
        let here = || {
            let here = self.booths.iter().filter(|(who, seen)| seen.is_here() && free(**who));
            here.map(|(who, seen)| (seen.order, *who))
        };
        let passed = last.and_then(|who| self.booths.get(&who)).map_or(0, |seen| seen.order);
        let after = here().filter(|(order, _)| *order > passed).min();
        after.or_else(|| here().min()).map(|(_, who)| who)
    }

    /// All that are here, and all that are `met`, wherever that is.
    pub(crate) fn members(&self, met: impl Fn(Fingerprint) -> bool) -> Vec<Member> {
        let shown = self.booths.iter().filter(|(who, seen)| seen.is_here() || met(**who));
        let member = |(who, seen): (&Fingerprint, &Seen)| Member {
            fingerprint: *who,
            name: self.name(*who),
            nearby: !seen.addresses.is_empty(),
            at_relay: seen.at_relay,
        };
        shown.map(member).collect()
    }

    /// The entry of `who`, made if need be; none for ourselves, and none beyond what can be remembered.
    fn seen(&mut self, who: Fingerprint) -> Option<&mut Seen> {
        if who == self.own {
            return None;
        }
        if !self.booths.contains_key(&who) {
            if self.booths.len() >= BOOTHS {
                let gone =
                    self.booths.iter().filter(|(_, seen)| !seen.is_here()).min_by_key(|(_, seen)| seen.order);
                let gone = *gone?.0;
                self.booths.remove(&gone);
            }
            self.arrivals += 1;
        }
        let order = self.arrivals;
        Some(self.booths.entry(who).or_insert_with(|| Seen { order, ..Seen::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Fingerprint = Fingerprint([0; 32]);
    const B: Fingerprint = Fingerprint([9; 32]);
    const C: Fingerprint = Fingerprint([3; 32]);

    fn sighting(who: Fingerprint, addresses: usize) -> Sighting {
        let address = "10.9.0.2:4433".parse().unwrap();
        Sighting { fingerprint: who, name: "B".into(), addresses: vec![address; addresses], open: false }
    }

    #[test]
    fn the_first_to_come_is_tried_first_and_then_each_in_turn() {
        let mut roster = Roster::new(OWN, None);
        assert_eq!(roster.next(None, |_| true), None);
        roster.sighted(&sighting(OWN, 1));
        assert_eq!(roster.next(None, |_| true), None, "that is us");
        roster.sighted(&sighting(B, 1));
        roster.at_relay(C, true);
        assert_eq!(roster.next(None, |_| true), Some(B));
        assert_eq!(roster.next(Some(B), |_| true), Some(C));
        assert_eq!(roster.next(Some(C), |_| true), Some(B));
        assert_eq!(roster.next(Some(C), |who| who != B), Some(C), "B has a place already");
        roster.sighted(&sighting(B, 0));
        assert_eq!(roster.next(Some(C), |_| true), Some(C), "B went away");
        assert_eq!(roster.addresses(B), &[]);
    }

    #[test]
    fn the_one_that_is_configured_is_the_only_one() {
        let mut roster = Roster::new(OWN, Some(C));
        roster.sighted(&sighting(B, 1));
        assert_eq!(roster.next(None, |_| true), Some(C));
        assert_eq!(roster.next(Some(C), |_| true), Some(C));
    }

    #[test]
    fn all_that_are_here_are_shown_and_no_more_are_remembered_than_make_sense() {
        let mut roster = Roster::new(OWN, None);
        for n in 1..=200u8 {
            roster.sighted(&sighting(Fingerprint([n; 32]), 20));
        }
        assert_eq!(roster.members(|_| false).len(), BOOTHS);
        assert_eq!(roster.addresses(Fingerprint([1; 32])).len(), ADDRESSES);
        roster.sighted(&sighting(Fingerprint([1; 32]), 0));
        roster.sighted(&sighting(Fingerprint([222; 32]), 1));
        let members = roster.members(|_| false);
        assert!(members.iter().any(|m| m.fingerprint == Fingerprint([222; 32]) && m.nearby && !m.at_relay));
        assert!(members.iter().all(|m| m.fingerprint != Fingerprint([1; 32])));
    }
}
