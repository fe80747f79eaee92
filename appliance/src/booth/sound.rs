//! What the sound threads are given, and what becomes of what they report. Each loop is its room's.

use super::error::Error;
use super::shared::{Live, Shared, SoundCard};
use crate::health::{CardState, CardStatus};
use crate::media::clock::now_us;
use crate::sound::kept_rate::KeptRate;
use crate::sound::{self, CardEvent, ReferenceReader, ReferenceWriter};

/// Microphone to mailbox.
///
/// # Errors
/// When there is no encoder to be had.
pub(super) fn microphone(shared: &Shared, reference: ReferenceReader) -> Result<(), Error> {
    let handles = sound::CaptureHandles { voice: &shared.link.voice, sound: &shared.sound };
    let card_handles = sound::CardHandles {
        heartbeat: &shared.heartbeats.microphone,
        kept_hz: &|key| kept_hz(shared, key),
        stop: &shared.stop,
    };
    let on_event = |event| card(shared, "microphone", |live| &mut live.microphone, event);
    Ok(sound::capture(&shared.config.sound.request(), reference, handles, card_handles, on_event)?)
}

/// Mailboxes to loudspeaker.
///
/// # Errors
/// When there are no decoders to be had.
pub(super) fn loudspeaker(shared: &Shared, reference: ReferenceWriter) -> Result<(), Error> {
    let handles = sound::PlaybackHandles {
        voices: shared.link.peers.each_ref().map(|peer| &peer.voice),
        sound: &shared.sound,
    };
    let card_handles = sound::CardHandles {
        heartbeat: &shared.heartbeats.loudspeaker,
        kept_hz: &|key| kept_hz(shared, key),
        stop: &shared.stop,
    };
    let monitor = || shared.live().monitor.clone();
    let on_event = |event| card(shared, "loudspeaker", |live| &mut live.loudspeaker, event);
    Ok(sound::playback(&shared.config.sound.request(), monitor, reference, handles, card_handles, on_event)?)
}

fn card(shared: &Shared, what: &str, of: impl Fn(&mut Live) -> &mut SoundCard, event: CardEvent) {
    let mut live = shared.live();
    let status = of(&mut live);
    let trouble = match event {
        CardEvent::Running { device, mode, key } => {
            log::info!("sound: {what}: {device} {mode}");
            status.card = CardStatus { state: CardState::Running, device, mode, ..CardStatus::default() };
            (status.key, status.measured_hz) = (key, None);
            return;
        }
        CardEvent::Clock(rate) => {
            status.card.ppm = rate.ppm;
            status.measured_hz = rate.measured_hz;
            return;
        }
        CardEvent::Missing(e) | CardEvent::Failed(e) => e.to_string(),
    };
    status.card.state = CardState::Searching;
    if status.card.trouble != trouble {
        log::warn!("{trouble}");
        status.card.trouble = trouble;
    }
}

fn kept_hz(shared: &Shared, key: &str) -> Option<f64> {
    KeptRate::new(&shared.config.booth.data, key, now_us()).read()
}

/// Keeps the rates of both cards' clocks.
#[derive(Default)]
pub(super) struct KeptRates {
    files: [Option<(String, KeptRate)>; 2],
}

impl KeptRates {
    /// Writes what is due.
    pub(super) fn tick(&mut self, shared: &Shared) {
        let (folder, now_us) = (&shared.config.booth.data, now_us());
        let rates = {
            let live = shared.live();
            [&live.microphone, &live.loudspeaker].map(|card| (card.key.clone(), card.measured_hz))
        };
        for ((key, measured_hz), file) in rates.into_iter().zip(&mut self.files) {
            let Some(hz) = measured_hz else { continue };
            let kept = file.take().filter(|(of, _)| *of == key);
            let (_, kept) = file.insert(kept.unwrap_or_else(|| {
                let kept = KeptRate::new(folder, &key, now_us);
                (key, kept)
            }));
            if let Err(e) = kept.write_when_due(hz, now_us) {
                log::warn!("sound: the rate of a card's clock could not be kept: {e}");
            }
        }
    }
}
