//! Which connection carries the meeting: what to dial now, and which of those that came up becomes the
//! session. Pure; the time is passed in.
//!
//! ```text
//!            ┌──────────────┐  a connection of either way has met the peer   ┌────────────┐
//!   start ──►│    alone     │ ─────────────────────────────────────────────► │  carried   │
//!            │ direct dialled; ◄───────────────────────────────────────────── │  by one    │
//!            │ GRACE later the │            it is gone                        │ connection │
//!            │ relay too    │                                                │            │
//!            └──────────────┘                                                └────────────┘
//!                                 carried directly       nothing is dialled
//!                                 carried by the relay   direct is dialled on, every 1 to 5 s
//!                                 carried, but quiet     both are dialled beside it
//! ```
//!
//! A connection is first *up* (its handshake is done), then has *met* (the peer's tracks flow through it);
//! only then may it take the place of what carries, so that a switch costs no more than what is under way. A
//! direct one always may, the relay's only when nothing carries or what carries is quiet. Of two direct ones
//! that cross each other, both booths keep the same; of two that do not, the newer, for it was dialled
//! because the older failed somebody.

use crate::link::handles::Way;

/// How long direct alone is tried before the relay is too.
const GRACE_US: u64 = 700_000;
/// Reports come ten times a second: without one for so long, the session is in doubt.
const QUIET_US: u64 = 600_000;
/// The same before the first report, for which the other side has to get as far as we are.
const QUIET_AT_FIRST_US: u64 = 1_500_000;
/// The same just after a change of this machine's own addresses.
const QUIET_AFTER_CHANGE_US: u64 = 250_000;
/// How long such a change makes a session suspect.
const CHANGE_US: u64 = 3_000_000;
/// The route is looked at more often than this, or this machine stood still, and has not listened meanwhile.
const STALL_US: u64 = 400_000;
/// A peer not heard for so long is gone, whatever still stands.
const GONE_US: u64 = 3_000_000;
/// Of two direct connections this close to each other, the booths were dialling both at once.
const CROSSING_US: u64 = 1_000_000;
/// How long a direct connection that is up and meets nobody keeps us from dialling another.
const HOPE_US: u64 = 1_000_000;
/// From the end of a dial to the next: from the shortest, doubling to the longest.
const PAUSE_US: (u64, u64) = (50_000, 1_000_000);
/// The same for direct while the relay carries.
const PAUSE_RELAYED_US: (u64, u64) = (1_000_000, 5_000_000);
/// A direct way that lasted less than this is not yet to be trusted.
const TRUST_US: u64 = 10_000_000;
/// How long such a way is left alone while the relay carries: doubling with every such end, to the longest.
const DISTRUST_US: (u64, u64) = (5_000_000, 60_000_000);
/// The least from one dial of a way to the next, however often the network changes.
const BETWEEN_US: u64 = 50_000;

/// A connection; numbers rise.
pub(crate) type Id = u64;

pub(crate) const WAYS: [Way; 2] = [Way::Direct, Way::Relay];

/// One way: when it may be dialled, and the newest connection on it.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Whether there is an address to dial.
    known: bool,
    dialling: bool,
    dialled_us: Option<u64>,
    next_us: u64,
    pause_us: u64,
    newest: Option<Up>,
}

/// A connection that is up.
#[derive(Debug, Clone, Copy)]
struct Up {
    id: Id,
    /// Whether it stays when another crosses it.
    stays: bool,
    since_us: u64,
}

/// The connection that carries.
#[derive(Debug, Clone, Copy)]
struct Session {
    id: Id,
    way: Way,
    since_us: u64,
    /// When the peer was last heard on it.
    heard_us: Option<u64>,
}

/// The choice. See the module.
#[derive(Debug)]
pub(crate) struct Route {
    direct: Line,
    relay: Line,
    session: Option<Session>,
    /// From when the relay may be dialled although nothing is known of direct.
    relay_from_us: u64,
    heard_us: Option<u64>,
    changed_us: Option<u64>,
    looked_us: u64,
    /// When this machine last went on after standing still.
    awake_us: u64,
    /// Direct sessions in a row that did not last.
    short_lived: u32,
}

impl Route {
    /// At the start: `direct` and `relay` say whether there is an address to dial.
    pub(crate) fn new(direct: bool, relay: bool, now_us: u64) -> Self {
        let line = |known| Line {
            known,
            dialling: false,
            dialled_us: None,
            next_us: now_us,
            pause_us: PAUSE_US.0,
            newest: None,
        };
        Self {
            direct: line(direct),
            relay: line(relay),
            session: None,
            relay_from_us: now_us + if direct { GRACE_US } else { 0 },
            heard_us: None,
            changed_us: None,
            looked_us: now_us,
            awake_us: now_us,
            short_lived: 0,
        }
    }

    /// Whether the booth is at the relay, where it can be met.
    pub(crate) fn at_relay(&mut self, there: bool) {
        self.relay.known = there;
    }

    /// An address was found at which the booth can be dialled.
    pub(crate) fn found(&mut self, now_us: u64) {
        self.direct.known = true;
        self.direct.next_us = now_us;
    }

    /// To be told the time every now and then: silence counts only while somebody listens.
    pub(crate) fn look(&mut self, now_us: u64) {
        if now_us > self.looked_us + STALL_US {
            self.awake_us = now_us;
        }
        self.looked_us = now_us;
    }

    /// Whether `way` is to be dialled now. If so, it counts as being dialled until [`Route::up`] or
    /// [`Route::dial_failed`]; a dial still under way is given up for the new one.
    pub(crate) fn dial(&mut self, way: Way, now_us: u64) -> bool {
        let line = self.line(way);
        let (last_us, mut next_us) = (line.dialled_us.unwrap_or(0), line.next_us);
        if self.is_quiet(now_us) {
            next_us = next_us.min(last_us + PAUSE_US.1);
        }
        let due = now_us >= next_us && (last_us == 0 || now_us >= last_us + BETWEEN_US);
        if line.dialling || !due || !self.wants(way, now_us) {
            return false;
        }
        let line = self.line_mut(way);
        line.dialling = true;
        line.dialled_us = Some(now_us);
        true
    }

    /// Whether a connection on `way` would be of use.
    pub(crate) fn wants(&self, way: Way, now_us: u64) -> bool {
        let line = self.line(way);
        // One that is up and has not met yet may still do: directly soon or never, at the relay whenever the
        // peer comes there.
        let waiting = line.newest.is_some_and(|up| {
            let hopeful = way == Way::Relay || now_us < up.since_us + HOPE_US;
            hopeful && self.session.is_none_or(|session| session.id != up.id)
        });
        let quiet = self.is_quiet(now_us);
        let useful = match (way, self.session.map(|session| session.way)) {
            (Way::Direct, None | Some(Way::Relay)) => true,
            (Way::Relay, None) => now_us >= self.relay_from_us,
            (_, Some(_)) => quiet,
        };
        line.known && !waiting && useful
    }

    /// A dial of `way` came to nothing.
    pub(crate) fn dial_failed(&mut self, way: Way, now_us: u64) {
        self.rest(way, now_us);
    }

    /// A connection on `way` is up, `dialled` by us or not; `stays` says whether it stays when another
    /// crosses it. Whether to go on with it; if not, it is to be closed.
    pub(crate) fn up(&mut self, id: Id, way: Way, dialled: bool, stays: bool, now_us: u64) -> bool {
        if dialled {
            self.rest(way, now_us);
        }
        let welcome = match way {
            Way::Direct => self.direct.newest.is_none_or(|rival| {
                let crossing = now_us < rival.since_us + CROSSING_US && rival.stays != stays;
                !crossing || stays
            }),
            Way::Relay => self.session.is_none_or(|s| s.way == Way::Relay) || self.is_quiet(now_us),
        };
        if welcome {
            let line = self.line_mut(way);
            // Where it came from, it can be dialled.
            line.known = true;
            line.newest = Some(Up { id, stays, since_us: now_us });
        }
        welcome
    }

    /// The peer's tracks flow through connection `id`. Whether it becomes the session, in the place of
    /// whatever was. A connection that is the session already becomes it again: another run of the peer was
    /// met there.
    pub(crate) fn met(&mut self, id: Id, now_us: u64) -> bool {
        let Some(way) = self.way_of(id) else { return false };
        let holds = self.session.is_some_and(|s| s.way == Way::Direct) && !self.is_quiet(now_us);
        if way == Way::Relay && holds {
            self.relay.newest = None;
            return false;
        }
        if way == Way::Relay {
            self.evaluate_direct(now_us);
            // What was given up is dialled again, and not waited for.
            let given_up = self.session.map(|session| session.id);
            self.direct.newest = self.direct.newest.filter(|up| Some(up.id) != given_up);
        }
        self.session = Some(Session { id, way, since_us: now_us, heard_us: None });
        match way {
            Way::Direct => self.relay.newest = None,
            Way::Relay => self.direct.next_us = self.direct.next_us.max(now_us + self.direct_pause_us().0),
        }
        true
    }

    /// The session is over, its connection perhaps not: `id` stands on, and may meet the peer's next
    /// instance.
    pub(crate) fn session_over(&mut self, id: Id, now_us: u64) {
        let Some(session) = self.session.filter(|session| session.id == id) else { return };
        if self.direct.newest.is_none_or(|up| up.id == id) {
            self.evaluate_direct(now_us);
        }
        self.session = None;
        if session.heard_us.is_some() {
            self.hurry(now_us);
        }
    }

    /// Connection `id` is gone.
    pub(crate) fn gone(&mut self, id: Id, now_us: u64) {
        for way in WAYS {
            let line = self.line_mut(way);
            if line.newest.is_some_and(|up| up.id == id) {
                line.newest = None;
            }
        }
        self.session_over(id, now_us);
    }

    /// The peer was last heard at `at_us`. Whether that is the first time in this session.
    pub(crate) fn heard(&mut self, at_us: u64) -> bool {
        let Some(session) = self.session.as_mut().filter(|session| at_us >= session.since_us) else {
            return false;
        };
        let first = session.heard_us.is_none();
        session.heard_us = Some(at_us);
        self.heard_us = Some(at_us);
        if session.way == Way::Direct && at_us >= session.since_us + TRUST_US {
            self.short_lived = 0;
        }
        if first {
            let way = session.way;
            self.line_mut(way).pause_us = PAUSE_US.0;
        }
        first
    }

    /// This machine's addresses changed: what failed may work now, and what worked may not.
    pub(crate) fn network_changed(&mut self, now_us: u64) {
        self.changed_us = Some(now_us);
        self.short_lived = 0;
        self.hurry(now_us);
        for way in WAYS {
            // A dial from the address of before is waiting for an answer that will not come.
            self.line_mut(way).dialling = false;
        }
    }

    /// Whether connection `id` is still of use.
    pub(crate) fn keeps(&self, id: Id, now_us: u64) -> bool {
        let carries = self.session.is_some_and(|session| session.id == id);
        let unneeded = self.relay.newest.is_some_and(|up| up.id == id)
            && self.session.is_some_and(|s| s.way == Way::Direct)
            && !self.is_quiet(now_us);
        carries || (self.way_of(id).is_some() && !unneeded)
    }

    /// Whether the other booth is there.
    pub(crate) fn has_peer(&self, now_us: u64) -> bool {
        // Between two sessions it is away no longer than it may be quiet in one.
        let limit_us = if self.session.is_some() { GONE_US } else { QUIET_US };
        self.heard_us.is_some_and(|at_us| now_us < at_us + limit_us)
    }

    /// The way that carries, from the first report on.
    pub(crate) fn way(&self) -> Option<Way> {
        self.session.filter(|session| session.heard_us.is_some()).map(|session| session.way)
    }

    /// Whether what carries has brought nothing for long enough to be doubted.
    pub(crate) fn is_quiet(&self, now_us: u64) -> bool {
        let Some(session) = self.session else { return false };
        let suspect = self.changed_us.is_some_and(|at_us| now_us < at_us + CHANGE_US);
        let limit_us = match session.heard_us {
            None => QUIET_AT_FIRST_US,
            Some(_) if suspect => QUIET_AFTER_CHANGE_US,
            Some(_) => QUIET_US,
        };
        now_us > session.heard_us.unwrap_or(session.since_us).max(self.awake_us) + limit_us
    }

    fn line(&self, way: Way) -> &Line {
        match way {
            Way::Direct => &self.direct,
            Way::Relay => &self.relay,
        }
    }

    fn line_mut(&mut self, way: Way) -> &mut Line {
        match way {
            Way::Direct => &mut self.direct,
            Way::Relay => &mut self.relay,
        }
    }

    /// The way on which `id` is the newest.
    fn way_of(&self, id: Id) -> Option<Way> {
        WAYS.into_iter().find(|&way| self.line(way).newest.is_some_and(|up| up.id == id))
    }

    /// Bounds of the pause between dials of direct.
    fn direct_pause_us(&self) -> (u64, u64) {
        match (self.session.map(|s| s.way), self.short_lived) {
            (Some(Way::Relay), 0) => PAUSE_RELAYED_US,
            (Some(Way::Relay), n) => {
                let pause_us = DISTRUST_US.0.saturating_mul(1 << (n - 1).min(8)).min(DISTRUST_US.1);
                (pause_us, pause_us)
            }
            _ => PAUSE_US,
        }
    }

    /// A dial is over; the next one waits a little longer.
    fn rest(&mut self, way: Way, now_us: u64) {
        let (least_us, most_us) = if way == Way::Direct { self.direct_pause_us() } else { PAUSE_US };
        let line = self.line_mut(way);
        let pause_us = line.pause_us.clamp(least_us, most_us);
        line.dialling = false;
        line.next_us = now_us + pause_us;
        line.pause_us = pause_us.saturating_mul(2).min(most_us);
    }

    /// Both ways may be dialled at once.
    fn hurry(&mut self, now_us: u64) {
        self.relay_from_us = self.relay_from_us.min(now_us);
        for way in WAYS {
            let line = self.line_mut(way);
            (line.next_us, line.pause_us) = (now_us, PAUSE_US.0);
        }
    }

    /// What carried does so no longer, and no other direct connection is there to do it.
    fn evaluate_direct(&mut self, now_us: u64) {
        let short =
            |s: Session| s.way == Way::Direct && s.heard_us.is_some() && now_us < s.since_us + TRUST_US;
        if self.session.is_some_and(short) {
            self.short_lived = self.short_lived.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
