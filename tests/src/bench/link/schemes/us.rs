//! Our link, as the booth runs it: direct, or where only a relay joins the booths.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use holobooth::link::{self, Handles, Inbox, Peer, Relay};
use holobooth::media::picture::AccessUnit;
use holobooth::pairing::{Fingerprint, Identity, Pins, RoomKey};

use crate::bench::link::clip::{KBPS, Request};
use crate::bench::link::files::Files;
use crate::bench::link::measure::DEADLINE_US;
use crate::bench::link::scheme::{Carrier, Frame, READY, Scheme, Surroundings};
use crate::bench::link::viewer::{Verdict, Viewer};
use crate::booth::PORT;
use crate::child::Side;
use crate::clock::{stamps_at, wait_until};
use crate::line::RELAY_ADDRESS;
use crate::relay;
use holobooth::realtime;

/// What the deadline leaves for decoding, in µs.
const DECODING_US: i64 = 5_000;
/// How long the receiving thread waits before it looks whether to stop, in ms.
const POLL_INTERVAL_MS: u16 = 100;
const CONNECT_MS: i64 = 15_000;

/// One end of a link, and what stops it.
struct End {
    handles: Handles,
    stop: AtomicBool,
}

/// A link on its thread; stops when dropped.
struct Running {
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(scheme: Scheme, side: Side, around: Surroundings<'_>) -> io::Result<Self> {
        let identity = |side: Side| Identity::load_or_make(&around.dir.join(side.name()));
        let address = |side: Side| -> io::Result<SocketAddr> {
            format!("{}:{PORT}", side.address()).parse().map_err(io::Error::other)
        };
        let other = side.other();
        let direct = scheme != Scheme::UsRelay;
        let config = link::Config {
            listen: address(side)?,
            room: Some(RoomKey::of([7; 32])),
            identity: identity(side).map_err(io::Error::other)?,
            name: side.name().to_owned(),
            pins: Pins::default(),
            folder: around.dir.to_owned(),
            peer: Peer {
                address: if direct { Some(address(other)?) } else { None },
                fingerprint: Some(identity(other).map_err(io::Error::other)?.fingerprint()),
            },
            relay: if direct { None } else { Some(at_relay(around)?) },
            max_kbps: KBPS[0],
            deadline: Duration::from_micros((DEADLINE_US - DECODING_US).unsigned_abs()),
            most: 1,
        };
        let end = Arc::new(End { handles: Handles::new()?, stop: AtomicBool::new(false) });
        end.handles.camera.store(side == Side::A, Relaxed);
        let inside = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let link = || link::run(config, &mut Inbox::default(), &inside.handles, &inside.stop);
            if let Err(error) = realtime::set_realtime_priority(realtime::LINK)
                .and_then(|()| link().map_err(io::Error::other))
            {
                eprintln!("{error}");
                inside.stop.store(true, Relaxed);
            }
        });
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let c = &self.end.handles.peers[0].counters;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        eprintln!(
            "sent {} (keyframes {}), dropped {}, received {}, lost {}, keyframes asked for {}, shards asked for {}, \
             repaired {}, sessions {}, loss {} ‰, line {} kbit/s in {} bytes, mtu_drops {} times",
            read(&c.sent_frames),
            read(&c.sent_keyframes),
            read(&c.dropped_frames),
            read(&c.received_frames),
            read(&c.lost_frames),
            read(&c.keyframe_requests),
            read(&c.nacks),
            read(&c.repairs),
            read(&c.connects),
            read(&c.loss_permille),
            read(&c.path_kbps),
            read(&c.datagram_bytes),
            read(&c.mtu_drops),
        );
    }
}

fn at_relay(around: Surroundings<'_>) -> io::Result<Relay> {
    let fingerprint = std::fs::read_to_string(&Files::new(around.dir).relay)?;
    Ok(Relay {
        host: RELAY_ADDRESS.to_owned(),
        port: relay::PORT,
        fingerprint: Fingerprint::parse(&fingerprint),
    })
}

/// The sending end.
pub(super) struct Sender(Running);

impl Sender {
    pub(super) fn start(scheme: Scheme, around: Surroundings<'_>) -> io::Result<Self> {
        let running = Running::start(scheme, Side::A, around)?;
        let connected = || running.end.handles.connected();
        wait_until(CONNECT_MS, 20, connected).ok_or(io::ErrorKind::TimedOut)?;
        running.end.handles.encoder.take_keyframe();
        Ok(Self(running))
    }
}

impl Carrier for Sender {
    fn request(&mut self) -> Request {
        let encoder = &self.0.end.handles.encoder;
        let kbps = Some(encoder.get().target_kbps).filter(|kbps| *kbps > 0);
        Request { keyframe: encoder.take_keyframe(), kbps }
    }

    fn send(&mut self, frame: Frame) -> io::Result<()> {
        let end = &self.0.end;
        if end.stop.load(Relaxed) {
            return Err(io::Error::other("the link has ended"));
        }
        let stamps = stamps_at(frame.capture_us);
        let unit = AccessUnit { data: frame.data, keyframe: frame.keyframe, number: frame.number, stamps };
        if end.handles.outgoing.put(unit).is_some() {
            end.handles.encoder.request_keyframe();
        }
        Ok(())
    }
}

/// The receiving end, with the rules of the booth's decoding thread: whatever breaks the chain asks for a
/// keyframe.
pub(super) fn receive(
    scheme: Scheme,
    around: Surroundings<'_>,
    viewer: &mut Viewer,
    stop: &'static AtomicBool,
) -> io::Result<()> {
    let running = Running::start(scheme, Side::B, around)?;
    println!("{READY}");
    let peer = &running.end.handles.peers[0];
    while !stop.load(Relaxed) && !running.end.stop.load(Relaxed) {
        let Some(incoming) = peer.incoming.wait(POLL_INTERVAL_MS) else { continue };
        match viewer.arrived(incoming.unit.data) {
            Verdict::Decoded => peer.needs_keyframe.store(false, Relaxed),
            Verdict::Broken => peer.needs_keyframe.store(true, Relaxed),
            Verdict::Old => {}
        }
    }
    // First of all: a link may take its time to end.
    viewer.save()
}
