//! A changed network is on trial: what was reached before must be reached again, or the change goes back.

use std::path::Path;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::error::Error;
use super::places::Places;
use super::store::{Reach, Store};
use crate::health::{self, Status};

/// How long a booth has to reach again what it reached before, from its start.
pub const TIMEOUT: Duration = Duration::from_secs(120);
/// How long it has to be reached without a gap: longer than a line that was cut goes unnoticed (`IDLE` of link/socket.rs, 2 s), so that what
/// is left of a session over the old network proves nothing.
const SETTLE: Duration = Duration::from_secs(4);
/// From one question to the next.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What is known after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Waiting,
    Reached,
    Lost,
}

/// One trial. Times are passed in, counted from its start.
#[derive(Debug, Clone, Copy)]
struct Trial {
    before: Reach,
    timeout: Duration,
    /// Since when there was no gap.
    held_since: Option<Duration>,
}

impl Trial {
    fn new(before: Reach, timeout: Duration) -> Self {
        Self { before, timeout, held_since: None }
    }

    /// Takes notice of what is reached `now`.
    fn look(&mut self, now: Duration, reach: Reach) -> Outcome {
        let again = self.before.peer && reach.peer || self.before.relay && reach.relay;
        self.held_since = again.then(|| self.held_since.unwrap_or(now));
        match self.held_since {
            _ if !self.before.any() => Outcome::Reached,
            Some(since) if now.saturating_sub(since) >= SETTLE => Outcome::Reached,
            // What is just being reached is waited for.
            None if now >= self.timeout => Outcome::Lost,
            _ => Outcome::Waiting,
        }
    }
}

/// What a booth reaches.
pub(super) fn reach(status: &Status) -> Reach {
    let relay = status.peers.iter().any(|peer| peer.connected && peer.route == "relay");
    Reach { peer: status.connected(), relay: relay || status.room.iter().any(|member| member.at_relay) }
}

/// What the booth that answers on `socket` reaches; nothing when none answers.
pub(super) fn reached(socket: &Path) -> Reach {
    health::ask(socket).map(|status| reach(&status)).unwrap_or_default()
}

/// Watches over a changed network until it is known to work, or takes it back. Nothing to do when none is on trial. What was found, in a line.
///
/// # Errors
/// [`Error`]; then the trial goes on when this is called again.
pub fn confirm(places: &Places, timeout: Duration) -> Result<String, Error> {
    let before = Store::at(&places.store).state()?;
    let Some(pending) = before.pending else { return Ok("no network is on trial".into()) };
    let socket = places.in_force()?.health.socket;
    let (start, mut trial) = (Instant::now(), Trial::new(pending, timeout));
    loop {
        match trial.look(start.elapsed(), reached(&socket)) {
            Outcome::Waiting => std::thread::sleep(ASK_EVERY),
            Outcome::Reached => {
                let locked = Store::lock(&places.store)?;
                let state = locked.state()?;
                // A stick may have come meanwhile: then what it brought is on trial, by the next call.
                if state.applied != before.applied {
                    return Ok("another configuration was applied meanwhile".into());
                }
                locked.commit(&state.confirm())?;
                return Ok("the changed network reaches what was reached before: kept".into());
            }
            Outcome::Lost => return lost(places, &before, timeout),
        }
    }
}

fn lost(places: &Places, before: &super::store::State, timeout: Duration) -> Result<String, Error> {
    let locked = Store::lock(&places.store)?;
    let state = locked.state()?;
    if state.applied != before.applied || state.pending.is_none() {
        return Ok("another configuration was applied meanwhile".into());
    }
    locked.commit(&state.revert()?)?;
    let line = format!(
        "the changed network reached neither the other booth nor the relay for {} s: the configuration before is in force again",
        timeout.as_secs()
    );
    let advice = "check [network] on the stick: address, gateway, VLAN, password; then change the file and put it in once more";
    Answer { lines: vec![line.clone(), advice.into()], ..Answer::refused("Network change taken back", "") }
        .leave(places);
    if let Err(e) = places.take_effect() {
        log::error!("provision: the network before is in force and could not be written: {e}");
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::PeerStatus;

    const PEER: Reach = Reach { peer: true, relay: false };
    const RELAY: Reach = Reach { peer: false, relay: true };
    const NOTHING: Reach = Reach { peer: false, relay: false };

    fn seconds(looks: &[(u64, Reach)], before: Reach) -> Vec<Outcome> {
        let mut trial = Trial::new(before, Duration::from_secs(120));
        looks.iter().map(|(s, reach)| trial.look(Duration::from_secs(*s), *reach)).collect()
    }

    #[test]
    fn what_was_reached_must_be_reached_again() {
        use Outcome::{Lost, Reached, Waiting};
        assert_eq!(
            seconds(&[(0, NOTHING), (60, PEER), (63, PEER), (64, PEER)], PEER),
            [Waiting, Waiting, Waiting, Reached]
        );
        assert_eq!(
            seconds(&[(0, PEER), (2, NOTHING), (119, NOTHING), (120, NOTHING)], PEER),
            [Waiting, Waiting, Waiting, Lost]
        );
        assert_eq!(
            seconds(&[(0, RELAY), (10, RELAY), (120, RELAY)], PEER),
            [Waiting, Waiting, Lost],
            "another thing"
        );
        assert_eq!(seconds(&[(0, RELAY), (4, RELAY)], Reach { peer: true, relay: true }), [Waiting, Reached]);
        assert_eq!(
            seconds(&[(119, PEER), (120, PEER), (123, PEER)], PEER),
            [Waiting, Waiting, Reached],
            "at the last moment"
        );
        assert_eq!(seconds(&[(119, PEER), (121, NOTHING)], PEER), [Waiting, Lost]);
        assert_eq!(seconds(&[(0, PEER), (3, NOTHING), (5, PEER), (8, PEER)], PEER), [Waiting; 4], "a gap");
        assert_eq!(seconds(&[(0, NOTHING)], NOTHING), [Reached], "nothing to lose");
    }

    #[test]
    fn a_status_says_what_is_reached() {
        let mut status = Status::default();
        assert_eq!(reach(&status), NOTHING);
        status.room.push(health::MemberStatus { at_relay: true, ..Default::default() });
        assert_eq!(reach(&status), RELAY);
        status.room.clear();
        status.peers = vec![PeerStatus { connected: true, route: "direct".into(), ..PeerStatus::default() }];
        assert_eq!(reach(&status), PEER);
        status.peers[0].route = "relay".into();
        assert_eq!(reach(&status), Reach { peer: true, relay: true });
    }
}
