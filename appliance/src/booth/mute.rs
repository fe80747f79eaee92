//! The microphone's switch.

use std::sync::atomic::Ordering::Relaxed;

use super::shared::Shared;

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
