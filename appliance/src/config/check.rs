//! Limits that a type cannot hold.

use super::limit::{Refusal, one_of, within};
use super::schema::Config;
use crate::pairing::{MOST_NAME, readable};
use crate::units::{DECODERS, ENCODERS, MAX_PEERS};

/// Checks what the schema's types let through. The refusal names the place and what is allowed.
pub(super) fn limits(config: &Config) -> Result<(), Refusal> {
    within("camera.width", &config.camera.width, 64..=8192, "pixels")?;
    within("camera.height", &config.camera.height, 64..=8192, "pixels")?;
    within("camera.fps", &config.camera.fps, 1..=240, "pictures per second")?;
    within("codec.bitrate_kbps", &config.codec.bitrate_kbps, 100..=100_000, "kbit/s")?;
    within("codec.threads", &config.codec.threads, 0..=64, "threads (0: as the picture needs)")?;
    within("link.deadline_ms", &config.link.deadline_ms, 20..=1_000, "ms")?;
    within("screen.delay_ms", &config.screen.delay_ms, 0..=200, "ms")?;
    if let Some(percent) = &config.sound.volume_percent {
        within("sound.volume_percent", percent, 0..=100, "per cent")?;
    }
    within("sound.gain_db", &config.sound.gain_db, -20..=40, "dB")?;

    for (key, value) in [("width", &config.camera.width), ("height", &config.camera.height)] {
        if value.get_ref() % 2 != 0 {
            let reason = format!(
                "`camera.{key}` is {}; only even numbers can be coded (chroma is halved)",
                value.get_ref()
            );
            return Err((value.span(), reason));
        }
    }
    if let Some(name) = &config.booth.name
        && readable(name.get_ref().as_bytes()).is_none()
    {
        let reason = format!("`booth.name` must be 1 to {MOST_NAME} bytes long, on one line, and not blank");
        return Err((name.span(), reason));
    }
    one_of("codec.encoder", &config.codec.encoder, &ENCODERS)?;
    one_of("codec.decoder", &config.codec.decoder, &DECODERS)?;
    room(config)?;
    whereabouts(config)?;
    super::check_network::limits(config)?;
    Ok(())
}

/// What the room is known by.
fn room(config: &Config) -> Result<(), Refusal> {
    let Some(room) = &config.room else { return Ok(()) };
    within("room.most", &room.most, 1..=MAX_PEERS as u32, "other booths")?;
    match (&room.key, &room.code) {
        (Some(_), Some(code)) => {
            Err((code.span(), "`room.code` is for a booth without a room: take `key` or `code`".into()))
        }
        (None, Some(code)) if config.peer.is_some() => {
            Err((code.span(), "`room.code` finds the other booth itself: take `[peer]` out".into()))
        }
        // A room that came by code is kept elsewhere; the file may still say how many are met.
        (None, None) if room.most.span().is_empty() => {
            Err((0..0, "`[room]` wants `key = \"…\"`, as `holobooth room new` prints it".into()))
        }
        _ => Ok(()),
    }
}

/// Where the other booth and the relay are, and how they are known.
fn whereabouts(config: &Config) -> Result<(), Refusal> {
    let v4 = config.link.listen.is_ipv4();
    let has_key = config.room.as_ref().is_some_and(|room| room.key.is_some());
    let other_kind = "`link.listen` is of the other kind: both must be IPv4, or both IPv6";
    if let Some(relay) = &config.relay {
        let place = relay.address.get_ref();
        let refuse = |why: &str| Err((relay.address.span(), format!("`relay.address` is {place}; {why}")));
        match place.ip() {
            Some(ip) if ip.is_unspecified() => return refuse("it must be the relay's own address"),
            Some(ip) if ip.is_ipv4() != v4 => return refuse(other_kind),
            // Without a peer it is for later, when the booth has been paired.
            _ if !has_key && config.peer.is_some() => {
                return refuse(
                    "nothing goes through a relay unsealed: add a section `[room]` with the `key` that \
                     `holobooth room new` prints",
                );
            }
            _ => {}
        }
    }
    let Some(peer) = &config.peer else { return Ok(()) };
    if let Some(address) = &peer.address {
        let place = address.get_ref();
        let refuse = |why: &str| Err((address.span(), format!("`peer.address` is {place}; {why}")));
        if place.port() == 0 || place.ip().is_unspecified() {
            return refuse("it must be the other booth's own address and port, such as \"192.0.2.7:4433\"");
        }
        if place.is_ipv4() != v4 {
            return refuse(other_kind);
        }
        if !has_key && peer.fingerprint.is_none() {
            return refuse(
                "nothing says who may answer there: add the `fingerprint` that `holobooth identity` prints \
                 at the other booth, or a \
                 section `[room]` with the `key` that `holobooth room new` prints",
            );
        }
    }
    match &peer.fingerprint {
        Some(fingerprint) if peer.address.is_none() && !has_key => {
            let reason = "`peer` has neither an address nor a room to be found by: add `address = \
                          \"192.0.2.7:4433\"` here, or a \
                          section `[room]` with the `key` that `holobooth room new` prints";
            Err((fingerprint.span(), reason.into()))
        }
        _ => Ok(()),
    }
}
