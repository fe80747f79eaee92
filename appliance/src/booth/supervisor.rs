//! The threads: how they are started, how urgent they are, what becomes of the booth when one fails, and who
//! watches over them.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::Scope;
use std::time::Duration;

use super::error::Error;
use super::heartbeats::Heartbeats;
use super::shared::Shared;
use crate::health::{self, ScreenState, State, Watchdog};
use crate::media::clock::now_us;
use crate::media::heartbeat::Heartbeat;
use crate::realtime;

/// After a failure, how long the other threads may take to end.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often the heartbeats are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Makes the calling thread urgent. Where the system does not allow it, the booth works all the same, with
/// less even times.
fn set_realtime_priority(name: &str, priority: u8) {
    if let Err(e) = realtime::set_realtime_priority(priority) {
        log::info!("booth: no real-time scheduling for the {name} thread: {e}");
    }
}

/// Starts the threads. One that fails ends the booth, so that whoever keeps it running starts it afresh.
#[derive(Clone, Copy)]
pub(super) struct Supervisor<'scope, 'env> {
    pub(super) scope: &'scope Scope<'scope, 'env>,
    pub(super) stop: &'scope AtomicBool,
    pub(super) failure: &'scope Mutex<Option<Error>>,
}

impl<'scope> Supervisor<'scope, '_> {
    /// The same for one that must not wait for a core.
    pub(super) fn start_realtime(
        self,
        heartbeat: &'scope Heartbeat,
        priority: u8,
        body: impl FnOnce() -> Result<(), Error> + Send + 'scope,
    ) {
        self.start(heartbeat, move || {
            set_realtime_priority(heartbeat.name(), priority);
            body()
        });
    }

    /// Starts the thread that `heartbeat` is of.
    pub(super) fn start(
        self,
        heartbeat: &'scope Heartbeat,
        body: impl FnOnce() -> Result<(), Error> + Send + 'scope,
    ) {
        let name = heartbeat.name();
        heartbeat.beat();
        let fail = move |error| {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.stop.store(true, Relaxed);
            // A thread that is stuck in a driver would keep the others, and whoever restarts the booth,
            // waiting for ever.
            std::thread::spawn(|| {
                std::thread::sleep(LAST_WORDS);
                std::process::exit(1);
            });
        };
        let guarded = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            heartbeat.ended();
            if let Err(e) = result.unwrap_or(Err(Error::Thread(name))) {
                fail(e);
            }
        };
        if let Err(source) =
            std::thread::Builder::new().name(name.to_owned()).spawn_scoped(self.scope, guarded)
        {
            fail(Error::System { what: "a thread", source });
        }
    }
}

/// Tells the service manager how the booth is, for as long as it runs. Waits for no other thread: what it
/// must know of them is read without a lock, or when the lock is free.
pub(super) fn watch_over(shared: &Shared) {
    let Heartbeats {
        booth,
        display,
        capture,
        encode,
        decode,
        microphone,
        loudspeaker,
        input,
        status,
        discovery,
        code,
    } = &shared.heartbeats;
    let sound = [microphone, loudspeaker, input];
    let others = [booth, display, capture, encode, status, discovery, code, &shared.link.heartbeat];
    let heartbeats: Vec<_> = others.into_iter().chain(sound).chain(decode).collect();
    let mut watchdog = Watchdog::new(health::watched());
    let (mut state, mut screen) = (State::Starting, ScreenState::Off);
    while !shared.stopping() {
        if let Ok(live) = shared.live.try_lock() {
            (state, screen) = (live.state, live.screen.state);
        }
        let others = decode.iter().chain([status, &shared.link.heartbeat]).all(|heartbeat| heartbeat.runs());
        let ready = is_ready(shared.config.screen.device != "none", screen, others);
        watchdog.look(now_us(), ready, state, &heartbeats).send();
        std::thread::sleep(POLL_INTERVAL);
    }
    health::stopping();
}

/// Whether the booth has come up: its screen shows a card, or there is no screen and the `others` run.
fn is_ready(wanted: bool, screen: ScreenState, others: bool) -> bool {
    match screen {
        ScreenState::On => true,
        ScreenState::Searching => others,
        // Nobody has looked for it yet.
        ScreenState::Off => !wanted && others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_screen_is_lit_or_when_there_is_none_and_the_others_run() {
        assert!(is_ready(true, ScreenState::On, false));
        assert!(!is_ready(true, ScreenState::Off, true), "not looked for yet");
        for (wanted, screen) in [(true, ScreenState::Searching), (false, ScreenState::Off)] {
            assert!(is_ready(wanted, screen, true) && !is_ready(wanted, screen, false));
        }
    }
}
