//! A booth without camera, codec and screen: the link alone, with an encoder that makes exactly what it is
//! asked for. For rates that a software encoder cannot make in the rig.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use holobooth::link::{self, Handles, Inbox, Peer};
use holobooth::media::picture::{AccessUnit, Incoming};
use holobooth::media::voice::{VOICE_FRAME_US, VoiceFrame};
use holobooth::pairing::{Identity, Pins, RoomKey};

use crate::booth::PORT;
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us, stamps_at};

const FRAME_US: i64 = 33_333;
const FRAMES_A_SECOND: u32 = 30;
/// How large a voice frame is, in bytes.
const VOICE_BYTES: usize = 100;
/// How often it is told how many left late, in voice frames.
const TELL_EVERY: u32 = 100;
const DEADLINE: Duration = Duration::from_millis(100);
/// How large a keyframe is, in frames.
const KEYFRAME: u64 = 3;
/// Before the link knows what the line takes, in kbit/s.
const FIRST_KBPS: u64 = 1_000;
const POLL_INTERVAL_MS: u16 = 100;

/// Meets the other side, sends it frames at up to `kbps`, and prints a line for each frame that comes: its
/// number and when, in µs. With `voice`, a keyframe goes every second, sound goes beside, and a line is
/// printed for each voice frame that comes: `v`, its number, when it came and when it was captured, in µs.
/// Does not end by itself.
///
/// # Errors
/// When the link cannot be started.
pub fn run(side: Side, dir: &Path, kbps: u32, voice: bool) -> io::Result<()> {
    let identity = |side: Side| Identity::load_or_make(&dir.join(side.name())).map_err(io::Error::other);
    let address = |side: Side| -> io::Result<SocketAddr> {
        format!("{}:{PORT}", side.address()).parse().map_err(io::Error::other)
    };
    let other = side.other();
    let config = link::Config {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT),
        room: Some(RoomKey::of([7; 32])),
        identity: identity(side)?,
        name: side.name().to_owned(),
        pins: Pins::default(),
        folder: dir.to_owned(),
        peer: Peer { address: Some(address(other)?), fingerprint: Some(identity(other)?.fingerprint()) },
        relay: None,
        max_kbps: kbps,
        deadline: DEADLINE,
        most: 1,
    };
    let (handles, stop) = (Handles::new()?, AtomicBool::new(false));
    handles.camera.store(true, Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| encode(kbps, voice, &handles, &stop));
        if voice {
            scope.spawn(|| speak(&handles, &stop));
            scope.spawn(|| listen(&handles, &stop));
        }
        scope.spawn(|| decode(&handles, &stop));
        let ended = link::run(config, &mut Inbox::default(), &handles, &stop);
        stop.store(true, Relaxed);
        ended.map(drop).map_err(io::Error::other)
    })
}

fn encode(most_kbps: u32, voice: bool, handles: &Handles, stop: &AtomicBool) {
    let mut noise = vec![0; most_kbps as usize * 125];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    let noise = bytes::Bytes::from(noise);
    let (mut number, mut next_us) = (0, now_us());
    while !stop.load(Relaxed) {
        next_us += FRAME_US;
        sleep_until_us(next_us);
        let command = handles.encoder.get();
        if !command.connected || command.congested {
            continue;
        }
        let keyframe = handles.encoder.take_keyframe() || (voice && number % FRAMES_A_SECOND == 0);
        let kbps = match u64::from(command.target_kbps) {
            0 => FIRST_KBPS,
            kbps => kbps,
        };
        let bytes = kbps * FRAME_US.unsigned_abs() / 8_000 * if keyframe { KEYFRAME } else { 1 };
        let data = noise.slice(..noise.len().min(bytes as usize));
        let now = now_us();
        let stamps = stamps_at(now);
        if handles.outgoing.put(AccessUnit { data, keyframe, number, stamps }).is_some() {
            handles.encoder.request_keyframe();
        }
        number = number.wrapping_add(1);
        let c = &handles.peers[0].counters;
        let line = (c.path_kbps.load(Relaxed), c.queue_us.load(Relaxed), c.rtt_us.load(Relaxed));
        println!(
            "# {now} us: video {kbps} kbit/s{}, line {} kbit/s, queue {} us, round trip {} us, {} shards again",
            if keyframe { ", keyframe" } else { "" },
            line.0,
            line.1,
            line.2,
            c.repairs.load(Relaxed)
        );
    }
}

/// A microphone and its coder, from the moment that somebody listens.
fn speak(handles: &Handles, stop: &AtomicBool) {
    let data = bytes::Bytes::from(vec![7; VOICE_BYTES]);
    let (mut number, mut next_us) = (0, now_us());
    while !stop.load(Relaxed) {
        next_us += VOICE_FRAME_US.cast_signed();
        sleep_until_us(next_us);
        if !handles.connected() {
            continue;
        }
        let capture_us = now_us().unsigned_abs();
        let _ = handles.voice.put(VoiceFrame { number, capture_us, data: data.clone() });
        number += 1;
        if number.is_multiple_of(TELL_EVERY) {
            let c = handles.peers[0].counters.snapshot();
            println!("voice put {number} sent {} delayed {}", c.voice_sent, c.voice_delayed);
        }
    }
}

fn listen(handles: &Handles, stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        if let Some(frame) = handles.peers[0].voice.wait(POLL_INTERVAL_MS) {
            println!("v {} {} {}", frame.number, now_us(), frame.capture_us);
        }
    }
}

/// With the rules of the booth's decoding thread.
fn decode(handles: &Handles, stop: &AtomicBool) {
    let peer = &handles.peers[0];
    let (mut session, mut next) = (0, None);
    while !stop.load(Relaxed) {
        let Some(Incoming { session: by, unit }) = peer.incoming.wait(POLL_INTERVAL_MS) else { continue };
        if by != session {
            (session, next) = (by, None);
        }
        let decodable = unit.keyframe || next == Some(unit.number);
        peer.needs_keyframe.store(!decodable, Relaxed);
        next = decodable.then(|| unit.number.wrapping_add(1));
        if decodable {
            println!("{} {}", unit.number, now_us());
        }
    }
}
