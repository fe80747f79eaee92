//! The loop of a card, of either direction: opened when it can be, served until it fails, and looked for again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::card_clock::Rate;
use super::card_event::CardEvent;
use super::counters::SoundCounters;
use super::device::{Error, Opened, Params};
use super::open;
use crate::media::heartbeat::Heartbeat;

/// How long a card is waited for before `stop` is looked at.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// What opening a card may take.
const OPENING: Duration = Duration::from_secs(10);
/// How often a missing card is looked for.
const RETRY: Duration = Duration::from_millis(250);
/// A card that has worked for so long is opened again at once when it fails.
const WORKED: Duration = Duration::from_secs(1);

/// The handles of the loop.
#[derive(Clone, Copy)]
pub struct CardHandles<'a> {
    /// That the loop makes progress.
    pub heartbeat: &'a Heartbeat,
    /// The rate in Hz that a card of this name had when it was used last.
    pub kept_hz: &'a (dyn Fn(&str) -> Option<f64> + Sync),
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// What serves a card.
pub(super) trait Server {
    /// An open card.
    type Pcm;

    /// Opens the card that is asked for.
    fn open(&self) -> Result<Opened<Self::Pcm>, Error>;

    /// What it was set to.
    fn params(pcm: &Self::Pcm) -> Params;

    /// How long it was waited for so far.
    fn waited(pcm: &Self::Pcm) -> Duration;

    /// What counts the time that serving it takes beside waiting, in µs.
    fn busy_us(counters: &SoundCounters) -> &AtomicU64;

    /// There is no card.
    fn missing(&mut self) {}

    /// A card was opened that had this rate in Hz when it was used last.
    fn begin(&mut self, kept_hz: Option<f64>);

    /// Serves a period, or waits for one, [`POLL_INTERVAL`] at most. Says from time to time how the card's clock
    /// runs.
    fn turn(&mut self, pcm: &mut Self::Pcm) -> Result<Option<Rate>, Error>;

    /// The card is closed.
    fn end(&mut self) {}
}

/// Serves the card until it is stopped.
pub(super) fn run<S: Server>(
    server: &mut S,
    counters: &SoundCounters,
    handles: CardHandles<'_>,
    mut on_event: impl FnMut(CardEvent),
) {
    let CardHandles { heartbeat, kept_hz, stop } = handles;
    while !stop.load(Relaxed) {
        heartbeat.extend_deadline(OPENING);
        let (mut pcm, choice) = match server.open() {
            Ok(opened) => (opened.stream, opened.choice),
            Err(e) => {
                on_event(CardEvent::Missing(e));
                server.missing();
                std::thread::sleep(RETRY);
                continue;
            }
        };
        let key = choice.candidate.key();
        server.begin(kept_hz(&key));
        let mode = S::params(&pcm).to_string();
        on_event(CardEvent::Running { device: open::describe(&choice), mode, key });
        let since = Instant::now();
        let failure = loop {
            if stop.load(Relaxed) {
                break None;
            }
            heartbeat.beat();
            let (began, waited) = (Instant::now(), S::waited(&pcm));
            let served = server.turn(&mut pcm);
            let busy = began.elapsed().saturating_sub(S::waited(&pcm) - waited);
            S::busy_us(counters).fetch_add(busy.as_micros() as u64, Relaxed);
            match served {
                Ok(Some(rate)) => on_event(CardEvent::Clock(rate)),
                Ok(None) => {}
                Err(e) => break Some(e),
            }
        };
        server.end();
        if let Some(e) = failure {
            counters.restarts.fetch_add(1, Relaxed);
            on_event(CardEvent::Failed(e));
            // Closed before it is looked for: of some cards nobody may open what is still open.
            drop(pcm);
            if since.elapsed() < WORKED {
                std::thread::sleep(RETRY);
            }
        }
    }
}
