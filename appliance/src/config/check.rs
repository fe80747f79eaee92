//! Limits that a type cannot hold.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;

use super::schema::Config;
use crate::screen::ModeWish;

type Refusal = (Range<usize>, String);

fn within(key: &str, value: &Spanned<u32>, allowed: RangeInclusive<u32>, unit: &str) -> Result<(), Refusal> {
    if allowed.contains(value.get_ref()) {
        return Ok(());
    }
    let (low, high) = (allowed.start(), allowed.end());
    Err((value.span(), format!("`{key}` is {}; allowed is {low} to {high} {unit}", value.get_ref())))
}

/// Checks what the schema's types let through. The refusal names the place and what is allowed.
pub(super) fn limits(config: &Config) -> Result<(), Refusal> {
    within("camera.width", &config.camera.width, 64..=8192, "pixels")?;
    within("camera.height", &config.camera.height, 64..=8192, "pixels")?;
    within("camera.fps", &config.camera.fps, 1..=240, "pictures per second")?;
    within("codec.bitrate_kbps", &config.codec.bitrate_kbps, 100..=400_000, "kbit/s")?;
    within("codec.threads", &config.codec.threads, 0..=64, "threads (0: as the picture needs)")?;

    let room = &config.link.room;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if room.get_ref().is_empty() || room.get_ref().len() > 64 || !room.get_ref().chars().all(plain) {
        return Err((
            room.span(),
            "`link.room` must be 1 to 64 characters of letters, digits, `-`, `_`, `.`".into(),
        ));
    }
    let mode = &config.screen.mode;
    if let Err(reason) = ModeWish::parse(mode.get_ref()) {
        return Err((mode.span(), format!("`screen.mode` {reason}")));
    }
    if let Some(peer) = &config.peer {
        let print = peer.fingerprint.get_ref();
        if print.len() != 64 || !print.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err((
                peer.fingerprint.span(),
                "`peer.fingerprint` must be the 64 hexadecimal digits that `holobooth identity` prints at the \
                 other booth"
                    .into(),
            ));
        }
    }
    Ok(())
}
