//! When to dial the relay. No I/O: the time is passed in.
//!
//! A booth with a relay stays connected to it, for that is where it sees booths that no multicast reaches. A
//! connection that carries meetings and has fallen silent is not waited for: another is dialled beside it.

use crate::link::peers::route::Id;

/// From the end of a dial to the next: from the shortest, doubling to the longest.
const PAUSE_US: (u64, u64) = (50_000, 1_000_000);
/// The least from one dial to the next, however often the network changes.
const BETWEEN_US: u64 = 50_000;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct RelayDial {
    dialling: bool,
    dialled_us: Option<u64>,
    next_us: u64,
    pause_us: u64,
    newest: Option<Id>,
}

impl RelayDial {
    /// The connection to the relay, when there is one.
    pub(crate) fn connection(&self) -> Option<Id> {
        self.newest
    }

    /// Whether to dial now; `silent` says that all meetings over the relay have fallen silent. If so, it
    /// counts as being dialled until [`RelayDial::up`] or [`RelayDial::failed`].
    pub(crate) fn dial(&mut self, silent: bool, now_us: u64) -> bool {
        let due = now_us >= self.next_us && self.dialled_us.is_none_or(|us| now_us >= us + BETWEEN_US);
        if self.dialling || !due || (self.newest.is_some() && !silent) {
            return false;
        }
        (self.dialling, self.dialled_us) = (true, Some(now_us));
        true
    }

    /// Connection `id` leads to the relay, and takes the place of any before.
    pub(crate) fn up(&mut self, id: Id, now_us: u64) {
        self.newest = Some(id);
        self.rest(now_us);
    }

    /// A dial came to nothing.
    pub(crate) fn failed(&mut self, now_us: u64) {
        self.rest(now_us);
    }

    /// Connection `id` is gone.
    pub(crate) fn gone(&mut self, id: Id) {
        self.newest = self.newest.filter(|newest| *newest != id);
    }

    /// A meeting over the relay works: the next dial, whenever it comes, need not wait.
    pub(crate) fn works(&mut self) {
        self.pause_us = PAUSE_US.0;
    }

    /// This machine's addresses changed: what failed may work now.
    pub(crate) fn network_changed(&mut self, now_us: u64) {
        (self.dialling, self.next_us, self.pause_us) = (false, now_us, PAUSE_US.0);
    }

    fn rest(&mut self, now_us: u64) {
        let pause_us = self.pause_us.clamp(PAUSE_US.0, PAUSE_US.1);
        self.dialling = false;
        self.next_us = now_us + pause_us;
        self.pause_us = (pause_us * 2).min(PAUSE_US.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_stands_and_failures_space_the_dials() {
        let mut relay = RelayDial::default();
        let mut dials = 0;
        for ms in 0..10_000 {
            if relay.dial(false, ms * 1_000) {
                dials += 1;
                relay.failed(ms * 1_000);
            }
        }
        assert!((10..20).contains(&dials), "{dials} in ten seconds");
        assert!(relay.dial(false, 11_000_000) && !relay.dial(false, 11_100_000), "one at a time");
        relay.up(7, 11_200_000);
        assert!((11_300..20_000).all(|ms| !relay.dial(false, ms * 1_000)));
        assert!(relay.dial(true, 20_000_000), "silent: another beside it");
        relay.up(8, 20_100_000);
        relay.gone(7);
        assert_eq!(relay.connection(), Some(8));
        relay.gone(8);
        assert!(relay.connection().is_none() && relay.dial(false, 30_000_000));
    }

    #[test]
    fn a_changed_network_makes_the_next_dial_come_at_once() {
        let mut relay = RelayDial::default();
        for ms in 0..5_000 {
            if relay.dial(false, ms * 1_000) {
                relay.failed(ms * 1_000);
            }
        }
        assert!(!relay.dial(false, 5_001_000));
        relay.network_changed(5_002_000);
        assert!(relay.dial(false, 5_060_000));
    }
}
