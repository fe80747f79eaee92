//! One connection to the other booth: our tracks out, its tracks in.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moq_net::{Timescale, Timestamp, broadcast, origin, track};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::assembler::{Assembler, Made};
use super::feedback::{Feedback, PeerClock};
use super::shard::{self, Shard};
use super::{Counters, Doors, Incoming};
use crate::clock::now_us;
use crate::picture::AccessUnit;

const HOLOGRAM: &str = "hologram";
const FEEDBACK: &str = "feedback";
/// From a connection to flowing tracks.
const SETUP_LIMIT: Duration = Duration::from_secs(3);
/// How often the feedback is looked at, and every how many looks it is sent with nothing urgent in it.
const FEEDBACK_TICK: Duration = Duration::from_millis(25);
const FEEDBACK_EVERY: u32 = 4;
/// The least time between keyframes that the other side asks for, in µs: one must have had time to arrive.
const KEYFRAME_SPACING_US: u64 = 250_000;
/// A large frame goes out in bursts with a breath between: moq-net keeps the last 64 datagrams of a track until the connection
/// takes them, and the other side's socket holds a few hundred. Together they allow 280 Mbit/s.
const BURST: usize = 32;
const BREATH: Duration = Duration::from_millis(1);

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection is gone: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("MoQ: {0}")]
    Moq(#[from] moq_net::Error),
    #[error("the other side takes no QUIC datagrams")]
    NoDatagrams,
    #[error("the other side published nothing within {} s", SETUP_LIMIT.as_secs())]
    Silent,
    #[error("the other side closed its tracks")]
    Closed,
    #[error("a time beyond what MoQ can carry")]
    Time(#[from] moq_net::TimeOverflow),
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// The tracks of a session that is set up.
struct Tracks {
    hologram_out: track::Producer,
    feedback_out: track::Producer,
    hologram_in: track::Subscriber,
    feedback_in: track::Subscriber,
    session: moq_net::Session,
    /// What the tracks hang on: they end when these are dropped.
    _roots: (broadcast::Producer, broadcast::Consumer, origin::Producer, origin::Producer),
}

fn new_origin(tasks: &mut JoinSet<moq_net::Error>) -> origin::Producer {
    let (producer, driver) = origin::Producer::new(origin::Config::default());
    tasks.spawn(moq_net::time::run(driver));
    producer
}

/// Speaks MoQ over `connection` until it ends. `us` is `<room>/<booth>`; the other booth is whoever else is under the room.
pub(super) async fn run(connection: &quinn::Connection, dialled: bool, us: &str, doors: Doors<'_>) -> Ended {
    let mut tasks = JoinSet::new();
    let tracks = match timeout(SETUP_LIMIT, set_up(connection, dialled, us, &mut tasks)).await {
        Ok(Ok(tracks)) => tracks,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::Silent,
    };
    let number = doors.counters.connects.fetch_add(1, Relaxed) + 1;
    let result = Running::new(number, tracks, doors).run(connection).await;
    doors.signals.connected.store(false, Relaxed);
    doors.signals.peer_has_camera.store(false, Relaxed);
    result.err().unwrap_or(Ended::Closed)
}

async fn set_up(
    connection: &quinn::Connection,
    dialled: bool,
    us: &str,
    tasks: &mut JoinSet<moq_net::Error>,
) -> Result<Tracks, Ended> {
    if connection.max_datagram_size().is_none() {
        return Err(Ended::NoDatagrams);
    }
    let ours = new_origin(tasks);
    let path = format!("{us}/{}", std::time::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_millis()));
    let broadcast = ours.create_broadcast(path.as_str())?;
    let info = || track::Info::default().with_timescale(Timescale::MICRO);
    let hologram_out = broadcast.create_track(HOLOGRAM, info())?;
    let feedback_out = broadcast.create_track(FEEDBACK, info())?;
    broadcast.announce(Default::default())?;

    let theirs = new_origin(tasks);
    let mut announced = theirs.consume().announced();
    let transport = web_transport_quinn::Session::raw(connection.clone());
    let (session, driver) = if dialled {
        let client = moq_net::Client::new().with_publisher(&ours).with_subscriber(theirs.clone());
        client.connect(Instant::now(), transport).await?
    } else {
        let server = moq_net::Server::new().with_publisher(&ours).with_subscriber(theirs.clone());
        server.accept(Instant::now(), transport).await?
    };
    tasks.spawn(moq_net::time::run(driver));

    let room = us.split('/').next().unwrap_or_default();
    let path = loop {
        let update = announced.next().await.ok_or(Ended::Closed)?;
        let path = update.prefix.to_string();
        let (there, here) = (format!("{room}/"), format!("{us}/"));
        if update.kind.is_active() && path.starts_with(&there) && !path.starts_with(&here) {
            break path;
        }
    };
    let broadcast_in = theirs.consume().request_broadcast(path.as_str()).await?;
    let subscription = |priority| track::Subscription::default().with_priority(priority);
    let feedback_in = broadcast_in.track(FEEDBACK)?.subscribe(subscription(200)).await?;
    let hologram_in = broadcast_in.track(HOLOGRAM)?.subscribe(subscription(100)).await?;
    let roots = (broadcast, broadcast_in, ours, theirs);
    Ok(Tracks { hologram_out, feedback_out, hologram_in, feedback_in, session, _roots: roots })
}

/// A session whose tracks flow.
struct Running<'a> {
    number: u64,
    tracks: Tracks,
    doors: Doors<'a>,
    assembler: Assembler,
    clock: PeerClock,
    /// `sent_us` of the newest report from the other side, and when it came.
    heard: Option<(u64, u64)>,
    newest: u32,
    keyframe_sent_us: u64,
    asking: bool,
}

impl<'a> Running<'a> {
    fn new(number: u64, tracks: Tracks, doors: Doors<'a>) -> Self {
        Self {
            number,
            tracks,
            doors,
            assembler: Assembler::default(),
            clock: PeerClock::default(),
            heard: None,
            newest: 0,
            keyframe_sent_us: 0,
            asking: false,
        }
    }

    async fn run(mut self, connection: &quinn::Connection) -> Result<(), Ended> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for descriptors that may be closed; a borrowed one is not"
        )]
        let outgoing = AsyncFd::new(self.doors.outgoing.as_fd())?;
        let mut tick = interval(FEEDBACK_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ticks = 0u32;
        loop {
            tokio::select! {
                ready = outgoing.readable() => {
                    while let Some(unit) = self.doors.outgoing.take() {
                        self.send(unit).await?;
                    }
                    ready?.clear_ready();
                }
                datagram = self.tracks.hologram_in.recv_datagram() => {
                    self.shard(datagram?.ok_or(Ended::Closed)?.payload);
                }
                datagram = self.tracks.feedback_in.recv_datagram() => {
                    self.report(datagram?.ok_or(Ended::Closed)?.payload);
                }
                _ = tick.tick() => {
                    Counters::set(&self.doors.counters.rtt_us, connection.rtt().as_micros() as u64);
                    if ticks.is_multiple_of(FEEDBACK_EVERY) || self.doors.signals.keyframe_for_us.load(Relaxed) {
                        self.send_report()?;
                    }
                    ticks = ticks.wrapping_add(1);
                }
                error = self.tracks.session.closed() => return Err(error.into()),
                error = connection.closed() => return Err(error.into()),
            }
        }
    }

    async fn send(&mut self, mut unit: AccessUnit) -> Result<(), Ended> {
        let counters = self.doors.counters;
        unit.stamps.sent_us = now_us();
        let timestamp = Timestamp::from_micros(unit.stamps.capture_us)?;
        for (i, shard) in shard::cut(&unit, unit.number).enumerate() {
            if i > 0 && i.is_multiple_of(BURST) {
                sleep(BREATH).await;
            }
            self.tracks.hologram_out.append_datagram(timestamp, shard)?;
        }
        Counters::add(&counters.sent_frames, 1);
        Counters::add(&counters.sent_bytes, unit.data.len() as u64);
        if unit.keyframe {
            Counters::add(&counters.sent_keyframes, 1);
            self.keyframe_sent_us = unit.stamps.sent_us;
        }
        Ok(())
    }

    fn shard(&mut self, datagram: Bytes) {
        let counters = self.doors.counters;
        let made = Shard::parse(datagram).map_or(Made::Nonsense, |shard| self.assembler.push(shard));
        match made {
            Made::Nothing => {}
            Made::Nonsense => Counters::add(&counters.garbage, 1),
            Made::Frame { mut unit, lost } => {
                let now = now_us();
                // Until the clocks have met, the way counts as no time at all.
                let unknown = unit.stamps.sent_us as i64 - now as i64;
                let offset = self.clock.offset_us().unwrap_or(unknown);
                unit.stamps = unit.stamps.shifted_us(-offset);
                unit.stamps.received_us = now;
                self.newest = unit.number;
                Counters::add(&counters.received_frames, 1);
                Counters::add(&counters.received_bytes, unit.data.len() as u64);
                Counters::add(&counters.lost_frames, lost.into());
                // Refused when the decoder is too slow; it then sees the gap in the numbers.
                let _ = self.doors.incoming.put(Incoming { session: self.number, unit });
            }
        }
    }

    fn report(&mut self, datagram: Bytes) {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        let Some(report) = Feedback::parse(datagram) else {
            Counters::add(&counters.garbage, 1);
            return;
        };
        let now = now_us();
        if self.heard.is_some_and(|(newest, _)| report.sent_us <= newest) {
            // Overtaken by a newer one, or repeated.
            return;
        }
        if self.heard.is_none() {
            // It listens, so what is sent from here on can arrive.
            signals.keyframe_for_peer.store(true, Relaxed);
            signals.connected.store(true, Relaxed);
        }
        self.heard = Some((report.sent_us, now));
        self.clock.exchange(&report, now);
        if let Some(offset) = self.clock.offset_us() {
            Counters::set(&counters.clock_offset_us, offset as u64);
        }
        signals.peer_has_camera.store(report.camera, Relaxed);
        if report.keyframe && now >= self.keyframe_sent_us + KEYFRAME_SPACING_US {
            signals.keyframe_for_peer.store(true, Relaxed);
        }
    }

    fn send_report(&mut self) -> Result<(), Ended> {
        let (signals, counters) = (self.doors.signals, self.doors.counters);
        let now = now_us();
        let keyframe = signals.keyframe_for_us.load(Relaxed);
        if keyframe && !self.asking {
            Counters::add(&counters.keyframe_requests, 1);
        }
        self.asking = keyframe;
        let (echo_us, held_us) = self.heard.map_or((0, 0), |(sent_us, at)| {
            (sent_us, u32::try_from(now.saturating_sub(at)).unwrap_or(u32::MAX))
        });
        let report = Feedback {
            keyframe,
            camera: signals.camera.load(Relaxed),
            sent_us: now,
            echo_us,
            held_us,
            newest: self.newest,
            received: counters.received_frames.load(Relaxed),
            lost: counters.lost_frames.load(Relaxed),
        };
        let timestamp = Timestamp::from_micros(now)?;
        self.tracks.feedback_out.append_datagram(timestamp, report.write())?;
        Ok(())
    }
}
