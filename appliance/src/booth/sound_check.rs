//! A sound check of the booth that runs: what it asks of the sound threads, and what the screen shows of it.

use std::sync::atomic::Ordering::Relaxed;

use super::shared::{Shared, SoundCheck};
use crate::doctor::SoundReport;
use crate::health::Notice;
use crate::screen::{Card, Level};
use crate::sound::check::{Error, measure};
use crate::units::SoundDeviceRequest;

/// How often the levels on the card are new, in µs: read with ease, and drawn at 4K without effort.
const LEVELS_US: u64 = 250_000;

/// Makes a check, which takes some seconds. What was measured, in JSON.
pub(super) fn run(shared: &Shared) -> Result<String, String> {
    log::info!("booth {}: checks the sound: nothing leaves the booth, and no peer is heard", shared.name);
    shared.live().check.running = true;
    shared.link.muted.store(true, Relaxed);
    let measured = measured(shared).map_err(|e| e.to_string());
    shared.link.muted.store(shared.sound.muted.load(Relaxed), Relaxed);
    let report = SoundReport::of(measured.clone());
    for line in report.to_string().lines() {
        log::info!("sound check: {line}");
    }
    shared.live().check = SoundCheck { running: false, result: Some(report.notice()) };
    serde_json::to_string(&measured?).map_err(|e| e.to_string())
}

fn measured(shared: &Shared) -> Result<crate::sound::check::Measured, Error> {
    let sound = &shared.config.sound;
    for (device, what) in [(&sound.microphone, "microphone"), (&sound.loudspeaker, "loudspeaker")] {
        if *device == SoundDeviceRequest::None {
            return Err(Error::Off { what });
        }
    }
    measure(&shared.sound.check, &shared.stop)
}

/// The cards of checks.
#[derive(Default)]
pub(super) struct Cards {
    levels: Option<Card>,
    /// When that was made.
    levels_us: u64,
    /// The last result, and until when it is shown.
    result: Option<(Notice, u64)>,
}

impl Cards {
    /// The card that belongs on the screen at `now_us`, if any does; `is_news` when somebody else has left a newer
    /// one.
    pub(super) fn card(&mut self, shared: &Shared, now_us: u64, is_news: bool) -> Option<Card> {
        let (running, result) = {
            let mut live = shared.live();
            (live.check.running, live.check.result.take())
        };
        if running {
            if self.levels.is_none() || now_us >= self.levels_us + LEVELS_US {
                let check = &shared.sound.check;
                let level = |label: &str, db| Level { label: label.to_owned(), db };
                let levels = vec![
                    level("Loudspeaker", check.loudspeaker.take_db()),
                    level("Microphone", check.microphone.take_db()),
                ];
                self.levels = Some(Card::levels(&shared.name, "Sound check: please be quiet", levels));
                self.levels_us = now_us;
            }
            return self.levels.clone();
        }
        self.levels = None;
        if let Some(notice) = result {
            let until_us = now_us + u64::from(notice.shown_s) * 1_000_000;
            self.result = Some((notice, until_us));
        } else if is_news {
            self.result = None;
        }
        let (notice, _) = self.result.as_ref().filter(|(_, until_us)| now_us < *until_us)?;
        Some(Card::notice(&shared.name, &notice.title, &notice.lines, notice.trouble))
    }
}
