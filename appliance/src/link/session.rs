//! One connection to the other booth: our tracks out, its tracks in.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use moq_net::{Timescale, Timestamp, broadcast, cache, origin, track};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::receiver::Receiver;
use super::{Counters, Doors, Signals, shard};
use crate::clock::now_us;

const HOLOGRAM: &str = "hologram";
const FEEDBACK: &str = "feedback";
/// What the other side may make us keep: nothing here lives longer than a datagram.
const CACHE_BYTES: u64 = 1 << 20;
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// From a connection to flowing tracks.
const SETUP_LIMIT: Duration = Duration::from_secs(3);
/// How often the feedback is looked at, and every how many looks it is sent with nothing urgent in it.
const FEEDBACK_TICK: Duration = Duration::from_millis(25);
const FEEDBACK_EVERY: u32 = 4;
/// Reports come ten times a second: without one for so long, in µs, the other side is not there, whatever the connection says.
const UNHEARD_US: u64 = 3_000_000;
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
    #[error("no report for {} s", UNHEARD_US / 1_000_000)]
    Unheard,
    #[error("a time beyond what MoQ can carry")]
    Time(#[from] moq_net::TimeOverflow),
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// The tracks of a session that is set up.
struct Tracks {
    hologram_out: track::Producer,
    feedback_out: track::Producer,
    incoming: Incoming,
    session: moq_net::Session,
    /// What the tracks hang on: they end when these are dropped.
    _roots: (broadcast::Producer, broadcast::Consumer, origin::Producer, origin::Producer),
}

/// The other booth's tracks.
struct Incoming {
    hologram: track::Subscriber,
    feedback: track::Subscriber,
}

fn new_origin(tasks: &mut JoinSet<moq_net::Error>) -> origin::Producer {
    let mut config = origin::Config::default();
    config.pool = cache::Pool::new(cache::Config::default().with_capacity(CACHE_BYTES));
    config.cache_duration = CACHE_DURATION;
    let (producer, driver) = origin::Producer::new(config);
    tasks.spawn(moq_net::time::run(driver));
    producer
}

/// Speaks MoQ over `connection` until it ends. `us` is `<room>/<booth>`; the other booth is whoever else is under the room.
/// `number` tells this session from those before.
pub(super) async fn run(
    connection: &quinn::Connection,
    dialled: bool,
    us: &str,
    number: u64,
    doors: Doors<'_>,
) -> Ended {
    let mut tasks = JoinSet::new();
    let mut tracks = match timeout(SETUP_LIMIT, set_up(connection, dialled, us, &mut tasks)).await {
        Ok(Ok(tracks)) => tracks,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::Silent,
    };
    let _presence = Presence(doors.signals);
    let receiver = Receiver::new(number, doors);
    let ended = tokio::select! {
        sent = send(&mut tracks.hologram_out, connection, doors) => sent.err(),
        received = receive(&mut tracks.incoming, &mut tracks.feedback_out, connection, receiver, doors) => received.err(),
        error = tracks.session.closed() => Some(error.into()),
        error = connection.closed() => Some(error.into()),
    };
    ended.unwrap_or(Ended::Closed)
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
    let incoming = Incoming { hologram: hologram_in, feedback: feedback_in };
    Ok(Tracks { hologram_out, feedback_out, incoming, session, _roots: roots })
}

/// The flags that hold while a session lasts; taken back however it ends.
struct Presence<'a>(&'a Signals);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.connected.store(false, Relaxed);
        self.0.peer_has_camera.store(false, Relaxed);
    }
}

/// Sends what the encoder makes. Beside [`receive`], so that neither waits for the other.
async fn send(
    hologram: &mut track::Producer,
    connection: &quinn::Connection,
    doors: Doors<'_>,
) -> Result<(), Ended> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for descriptors that may be closed; a borrowed one is not"
    )]
    let outgoing = AsyncFd::new(doors.outgoing.as_fd())?;
    // What was made for the session before refers to pictures that this one never saw.
    doors.outgoing.clear();
    let mut burst = 0;
    loop {
        outgoing.readable().await?.clear_ready();
        while let Some(mut unit) = doors.outgoing.take() {
            if connection.datagram_send_buffer_space() < unit.data.len() + unit.data.len() / 8 {
                // The line is slower than the encoder. What does not fit would be late, and what refers to it wrong.
                Counters::add(&doors.counters.dropped_frames, 1);
                doors.signals.keyframe_for_peer.store(true, Relaxed);
                continue;
            }
            unit.stamps.sent_us = now_us();
            let timestamp = Timestamp::from_micros(unit.stamps.capture_us)?;
            let mut whole = false;
            for shard in shard::cut(&unit, unit.number) {
                if burst == BURST {
                    sleep(BREATH).await;
                    burst = 0;
                }
                hologram.append_datagram(timestamp, shard)?;
                burst += 1;
                whole = true;
            }
            if !whole {
                log::error!(
                    "link: a frame of {} bytes is too large to send; lower codec.bitrate_kbps",
                    unit.data.len()
                );
                continue;
            }
            Counters::add(&doors.counters.sent_frames, 1);
            Counters::add(&doors.counters.sent_bytes, unit.data.len() as u64);
            Counters::add(&doors.counters.sent_keyframes, unit.keyframe.into());
        }
        // Whoever waited for the next frame gave the connection time to take this one.
        burst = 0;
    }
}

/// Takes what comes, and tells the other side about it.
async fn receive(
    tracks: &mut Incoming,
    feedback_out: &mut track::Producer,
    connection: &quinn::Connection,
    mut receiver: Receiver<'_>,
    doors: Doors<'_>,
) -> Result<(), Ended> {
    let mut tick = interval(FEEDBACK_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ticks = 0u32;
    let since = now_us();
    loop {
        tokio::select! {
            datagram = tracks.hologram.recv_datagram() => {
                receiver.shard(datagram?.ok_or(Ended::Closed)?.payload, now_us());
            }
            datagram = tracks.feedback.recv_datagram() => {
                receiver.report(datagram?.ok_or(Ended::Closed)?.payload, now_us());
            }
            _ = tick.tick() => {
                if now_us() > receiver.heard_us().unwrap_or(since) + UNHEARD_US {
                    return Err(Ended::Unheard);
                }
                Counters::set(&doors.counters.rtt_us, connection.rtt().as_micros() as u64);
                if ticks.is_multiple_of(FEEDBACK_EVERY) || doors.signals.keyframe_for_us.load(Relaxed) {
                    let now = now_us();
                    let report = receiver.next_report(now);
                    feedback_out.append_datagram(Timestamp::from_micros(now)?, report.write())?;
                }
                ticks = ticks.wrapping_add(1);
            }
        }
    }
}
