//! A check without a booth: the cards are opened for it, and served as a booth serves them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::analysis::Measured;
use super::error::Error;
use super::measure::measure;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::voice::VoiceFrame;
use crate::realtime;
use crate::sound::capture::{CaptureHandles, capture};
use crate::sound::card_event::CardEvent;
use crate::sound::card_loop::CardHandles;
use crate::sound::handles::Handles;
use crate::sound::playback::{PlaybackHandles, playback};
use crate::units::{MAX_PEERS, SoundDeviceRequest, SoundRequest};

/// What came of a check without a booth.
#[derive(Debug)]
pub struct Alone {
    /// The microphone, and where it is plugged in, once it ran.
    pub microphone: Option<String>,
    /// The loudspeaker likewise.
    pub loudspeaker: Option<String>,
    /// What was found.
    pub measured: Result<Measured, Error>,
}

/// A card, as its loop reports it.
#[derive(Default)]
struct Card(Mutex<(Option<String>, Option<String>)>);

impl Card {
    fn take_in(&self, event: CardEvent) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CardEvent::Running { device, mode, .. } => *known = (Some(format!("{device} {mode}")), None),
            CardEvent::Missing(e) | CardEvent::Failed(e) => known.1 = Some(e.to_string()),
            CardEvent::Clock(_) => {}
        }
    }

    /// Its name, and what is wrong with it.
    fn known(self) -> (Option<String>, Option<String>) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the cards that `request` names and checks them as [`measure`] does.
pub fn alone(request: &SoundRequest) -> Alone {
    let (microphone, loudspeaker) = (Card::default(), Card::default());
    let measured = serve(request, &microphone, &loudspeaker);
    let (microphone, loudspeaker) = (microphone.known(), loudspeaker.known());
    let measured = measured.map_err(|e| match e {
        // Why it does not, where that is known.
        Error::NotRunning { what } => {
            let trouble = if what == "microphone" { microphone.1 } else { loudspeaker.1 };
            trouble.map_or(Error::NotRunning { what }, Error::Card)
        }
        e => e,
    });
    Alone { microphone: microphone.0, loudspeaker: loudspeaker.0, measured }
}

fn serve(request: &SoundRequest, microphone: &Card, loudspeaker: &Card) -> Result<Measured, Error> {
    for (device, what) in [(&request.microphone, "microphone"), (&request.loudspeaker, "loudspeaker")] {
        if *device == SoundDeviceRequest::None {
            return Err(Error::Off { what });
        }
    }
    let system = |e: &dyn std::fmt::Display| Error::Card(format!("sound: {e}; restart the machine"));
    let (writer, reader) = crate::sound::reference().map_err(|e| system(&e))?;
    let mailbox = |name| Mailbox::<VoiceFrame>::bounded(name, 1).map_err(|e| system(&e));
    let voice = mailbox("microphone→nobody")?;
    // No peer speaks.
    let nobody = mailbox("nobody→loudspeaker")?;
    let (sound, stop) = (Handles::default(), AtomicBool::new(false));
    let heartbeats = [Heartbeat::new("microphone"), Heartbeat::new("loudspeaker")];
    let [hears, plays] =
        heartbeats.each_ref().map(|heartbeat| CardHandles { heartbeat, kept_hz: &|_| None, stop: &stop });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Without the right to it, the check may be interrupted, and says so.
            let _ = realtime::set_realtime_priority(realtime::SOUND);
            let handles = CaptureHandles { voice: &voice, sound: &sound };
            capture(request, reader, handles, hears, |event| microphone.take_in(event))
        });
        scope.spawn(|| {
            let _ = realtime::set_realtime_priority(realtime::SOUND);
            let handles = PlaybackHandles { voices: [&nobody; MAX_PEERS], sound: &sound };
            playback(request, || None, writer, handles, plays, |event| loudspeaker.take_in(event))
        });
        let measured = measure(&sound.check, &AtomicBool::new(false));
        stop.store(true, Relaxed);
        measured
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::LipSync;

    #[test]
    fn a_card_that_is_switched_off_is_named() {
        let request = |microphone, loudspeaker| SoundRequest {
            microphone,
            loudspeaker,
            volume_percent: None,
            gain_db: 0,
            echo_canceller: true,
            lip_sync: LipSync::Sync,
        };
        let none = || SoundDeviceRequest::None;
        let missing = || SoundDeviceRequest::Card("missing".to_owned());
        for (request, what) in
            [(request(none(), missing()), "microphone"), (request(missing(), none()), "loudspeaker")]
        {
            let Alone { measured: Err(e), .. } = alone(&request) else { panic!("{what}") };
            assert!(e.to_string().contains(&format!("no {what} (sound.{what} is \"none\")")), "{e}");
        }
    }
}
