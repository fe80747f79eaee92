//! The microphone's switch: by order, and by key.

use std::sync::atomic::Ordering::Relaxed;

use super::shared::Shared;
use crate::input::{self, Event};

/// Switches the microphone off or on.
pub(super) fn set(shared: &Shared, muted: bool) -> String {
    let before = shared.sound.muted.swap(muted, Relaxed);
    shared.link.muted.store(muted, Relaxed);
    shared.marks.own_muted.store(muted, Relaxed);
    if before != muted {
        log::info!("booth {}: the microphone is {}", shared.name, if muted { "off" } else { "on" });
    }
    let word = if muted { "off: no sound leaves this booth" } else { "on" };
    format!("the microphone is {word}")
}

/// Switches the microphone whenever a key for it is pressed.
pub(super) fn listen(shared: &Shared) {
    let handles = input::Handles { heartbeat: &shared.heartbeats.input, stop: &shared.stop };
    input::run(shared.config.sound.mute_key.codes(), handles, |event| match event {
        Event::Opened(name) => log::info!("input: {name} switches the microphone"),
        Event::Pressed(name, count) => {
            log::info!("input: the microphone's key of {name} was pressed");
            // Twice is what it was.
            if count % 2 == 1 {
                set(shared, !shared.sound.muted.load(Relaxed));
            }
        }
        Event::Failed(e) => log::warn!("{e}"),
    });
}
