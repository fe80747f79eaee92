//! What is reported to the service manager: that the booth is ready, how it is, and that every thread makes
//! progress. No clock: time is passed in; whoever sends it stands apart.
//!
//! Source: sd_notify(3), sd_watchdog_enabled(3).

use std::time::Duration;

use sd_notify::NotifyState;

use super::State;
use crate::media::heartbeat::Heartbeat;

/// Decides what is said, and when.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// How often it wants to be fed, in µs; none when nobody waits for it.
    every_us: Option<u64>,
    fed_us: Option<u64>,
    ready: bool,
    state: Option<State>,
    /// The thread that stands still.
    still: Option<&'static str>,
}

/// What there is to say now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Say {
    /// The booth has come up.
    pub ready: bool,
    /// It is something else now.
    pub state: Option<State>,
    /// Every thread makes progress.
    pub alive: bool,
    /// This thread stands still, by so many µs more than it may; said once.
    pub still: Option<(&'static str, u64)>,
    /// This one did, and goes on.
    pub goes_on: Option<&'static str>,
}

impl Watchdog {
    /// One that bites when it was not fed for `limit`.
    pub fn new(limit: Option<Duration>) -> Self {
        // Half of it, as sd_watchdog_enabled(3) has it.
        let every_us = limit.map(|limit| limit.as_micros() as u64 / 2);
        Self { every_us, ..Self::default() }
    }

    /// What there is to say at `now_us` of a booth that is, or is not, `ready`, and of its threads.
    pub fn look(&mut self, now_us: u64, ready: bool, state: State, heartbeats: &[&Heartbeat]) -> Say {
        let mut say = Say::default();
        if ready && !self.ready {
            self.ready = true;
            say.ready = true;
        }
        if self.state != Some(state) {
            self.state = Some(state);
            say.state = Some(state);
        }
        let overdue =
            heartbeats.iter().filter_map(|heartbeat| Some((heartbeat.overdue_us(now_us)?, heartbeat.name())));
        match overdue.max() {
            Some((by_us, name)) => {
                if self.still != Some(name) {
                    self.still = Some(name);
                    say.still = Some((name, by_us));
                }
            }
            None => {
                say.goes_on = self.still.take();
                // What stood there was about the thread.
                say.state = say.goes_on.map_or(say.state, |_| Some(state));
                let due = |every_us: u64| self.fed_us.is_none_or(|fed_us| now_us >= fed_us + every_us);
                say.alive = self.every_us.is_some_and(due);
            }
        }
        if say.alive {
            self.fed_us = Some(now_us);
        }
        say
    }
}

impl Say {
    /// Sends it to the service manager, if there is one, and logs what a person has to know.
    pub fn send(&self) {
        if let Some((name, by_us)) = self.still {
            log::error!(
                "health: the {name} thread stands still, {} ms longer than it may; if that lasts, whoever \
                 runs this booth \
                 starts it again",
                by_us / 1000
            );
        }
        if let Some(name) = self.goes_on {
            log::warn!("health: the {name} thread goes on");
        }
        let mut states = Vec::new();
        if self.ready {
            states.push(NotifyState::Ready);
        }
        let still = self.still.map(|(name, _)| format!("the {name} thread stands still"));
        if let Some(status) = still.as_deref().or(self.state.map(State::word)) {
            states.push(NotifyState::Status(status));
        }
        if self.alive {
            states.push(NotifyState::Watchdog);
        }
        if !states.is_empty() {
            notify(&states);
        }
    }
}

/// How long the service manager lets a booth go without a sign of life; none when it does not watch.
pub fn watched() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// The booth ends, and is meant to.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        log::debug!("health: the service manager does not listen: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    /// How often it was fed from `from_s` to `to_s`, looking ten times a second.
    fn fed(
        dog: &mut Watchdog,
        from_s: u64,
        to_s: u64,
        heartbeats: &[&Heartbeat],
        turns: &[&Heartbeat],
    ) -> u64 {
        let times = (from_s * S..to_s * S).step_by(100_000);
        times
            .filter(|&now| {
                turns.iter().for_each(|heartbeat| heartbeat.beat_at(now));
                dog.look(now, true, State::Live, heartbeats).alive
            })
            .count() as u64
    }

    #[test]
    fn fed_at_half_the_limit_while_all_make_progress() {
        let (a, b, unused) = (Heartbeat::new("a"), Heartbeat::new("b"), Heartbeat::new("unused"));
        let mut dog = Watchdog::new(Some(Duration::from_secs(2)));
        assert_eq!(fed(&mut dog, 100, 160, &[&a, &b, &unused], &[&a, &b]), 60);
        let mut nobody = Watchdog::new(None);
        assert_eq!(fed(&mut nobody, 160, 200, &[&a, &b], &[&a, &b]), 0);
    }

    #[test]
    fn one_that_stands_still_ends_the_feeding_and_is_named_once() {
        let (a, b) = (Heartbeat::new("a"), Heartbeat::new("b"));
        let mut dog = Watchdog::new(Some(Duration::from_secs(2)));
        fed(&mut dog, 100, 101, &[&a, &b], &[&a, &b]);
        // It may take a while, and no longer.
        assert!((8..=11).contains(&fed(&mut dog, 101, 160, &[&a, &b], &[&a])));
        assert_eq!(fed(&mut dog, 160, 200, &[&a, &b], &[&a]), 0);
        let mut dog = Watchdog::new(Some(Duration::from_secs(2)));
        a.beat_at(200 * S);
        let say = dog.look(200 * S, true, State::Live, &[&a, &b]);
        assert!(say.still.is_some_and(|(name, by_us)| name == "b" && by_us > 80 * S) && !say.alive);
        assert_eq!(dog.look(201 * S, true, State::Live, &[&a, &b]), Say::default(), "said once");
        b.beat_at(202 * S);
        let say = dog.look(202 * S, true, State::Live, &[&a, &b]);
        assert_eq!((say.goes_on, say.alive), (Some("b"), true), "and fed at once");
    }

    #[test]
    fn ready_once_and_each_state_once() {
        let mut dog = Watchdog::new(None);
        let say = dog.look(1, false, State::Starting, &[]);
        assert_eq!((say.ready, say.state), (false, Some(State::Starting)));
        assert_eq!(dog.look(2, false, State::Starting, &[]), Say::default());
        assert!(dog.look(3, true, State::Starting, &[]).ready);
        assert_eq!(dog.look(4, true, State::Starting, &[]), Say::default());
        assert_eq!(dog.look(5, true, State::Live, &[]).state, Some(State::Live));
    }
}
