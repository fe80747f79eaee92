//! One connection to the other booth: our tracks out, its tracks in.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use moq_net::{Timescale, broadcast, cache, origin, track};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::feedback::Feedback;
use super::receiver::Receiver;
use super::sender::{Plan, Refused, Sender};
use super::wire::{Event, Lane, MoqWire, Track, Wire};
use super::{Counters, Doors, Signals};
use crate::picture::AccessUnit;

const HOLOGRAM: &str = "hologram";
const FEEDBACK: &str = "feedback";
/// What the other side may make us keep: nothing here lives longer than a datagram.
const CACHE_BYTES: u64 = 1 << 20;
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// From a connection to flowing tracks.
const SETUP_LIMIT: Duration = Duration::from_secs(3);
/// Reports come ten times a second: without one for so long, in µs, the other side is not there, whatever the connection says.
const UNHEARD_US: u64 = 3_000_000;
/// How long a loop waits for a wire that has enough to do, in µs.
const BREATH_US: u64 = 1_000;
/// How often it looks around, in µs.
const LOOK_US: u64 = 25_000;

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
    hologram: Lane,
    feedback: Lane,
    session: moq_net::Session,
    /// What the tracks hang on: they end when these are dropped.
    _roots: (broadcast::Producer, broadcast::Consumer, origin::Producer, origin::Producer),
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
    plan: Plan,
    doors: Doors<'_>,
) -> Ended {
    let mut tasks = JoinSet::new();
    let tracks = match timeout(SETUP_LIMIT, set_up(connection, dialled, us, &mut tasks)).await {
        Ok(Ok(tracks)) => tracks,
        Ok(Err(ended)) => return ended,
        Err(_) => return Ended::Silent,
    };
    let _presence = Presence(doors.signals);
    let wire = MoqWire::new(connection, tracks.hologram, tracks.feedback, doors.outgoing.as_fd(), true);
    let mut wire = match wire {
        Ok(wire) => wire,
        Err(e) => return e.into(),
    };
    tokio::select! {
        Err(ended) = drive(&mut wire, number, plan, doors) => ended,
        error = tracks.session.closed() => error.into(),
        error = connection.closed() => error.into(),
    }
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
    let hologram = Lane { ours: hologram_out, theirs: hologram_in };
    let feedback = Lane { ours: feedback_out, theirs: feedback_in };
    Ok(Tracks { hologram, feedback, session, _roots: roots })
}

/// The flags that hold while a session lasts; taken back however it ends.
struct Presence<'a>(&'a Signals);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.connected.store(false, Relaxed);
        self.0.peer_has_camera.store(false, Relaxed);
    }
}

/// Sends what the encoder makes, takes what comes, answers, until the session ends.
pub(super) async fn drive(
    wire: &mut impl Wire,
    number: u64,
    plan: Plan,
    doors: Doors<'_>,
) -> Result<Infallible, Ended> {
    let (signals, counters) = (doors.signals, doors.counters);
    let mut now = wire.now_us();
    let since = now;
    let mut receiver = Receiver::new(number, doors);
    let mut sender = Sender::new(plan, receiver.rtt_us(), now);
    // What was made for the session before refers to pictures that this one never saw.
    doors.outgoing.clear();
    loop {
        receiver.tick(now);
        sender.set_rtt_us(receiver.rtt_us());
        sender.tick(now);
        while let Some(answer) = receiver.poll(now) {
            wire.send(Track::Feedback, answer)?;
        }
        while wire.ready()
            && let Some(datagram) = sender.poll(now)
        {
            wire.send(Track::Hologram, datagram)?;
        }
        if now > receiver.heard_us().unwrap_or(since) + UNHEARD_US {
            return Err(Ended::Unheard);
        }
        tell(&sender, &receiver, signals, counters);
        let due = if wire.ready() { sender.next_us() } else { now + BREATH_US };
        let until = due.min(receiver.next_us()).min(now + LOOK_US);
        let event = wire.next(until.max(now)).await?;
        now = wire.now_us();
        match event {
            Event::Time => {}
            Event::Datagram(Track::Hologram, datagram) => receiver.datagram(datagram, now),
            Event::Datagram(Track::Feedback, datagram) => match Feedback::parse(datagram) {
                Some(Feedback::Report(report)) => receiver.report(&report, now),
                Some(Feedback::Arrivals(arrivals)) if sender.arrivals(&arrivals, now) => {}
                Some(Feedback::Nacks(nacks)) => nacks.iter().for_each(|nack| sender.nack(nack, now)),
                Some(Feedback::Arrivals(_)) | None => Counters::add(&counters.garbage, 1),
            },
            Event::Outgoing => {
                while let Some(unit) = doors.outgoing.take() {
                    send(&mut sender, unit, wire.datagram(), now, doors);
                }
            }
        }
    }
}

/// Gives a frame to the sender.
fn send(sender: &mut Sender, mut unit: AccessUnit, datagram: usize, now: u64, doors: Doors<'_>) {
    let counters = doors.counters;
    unit.stamps.sent_us = now;
    match sender.frame(&unit, datagram, now) {
        Ok(()) => {
            Counters::add(&counters.sent_frames, 1);
            Counters::add(&counters.sent_bytes, unit.data.len() as u64);
            Counters::add(&counters.sent_keyframes, unit.keyframe.into());
            return;
        }
        Err(Refused::TooLarge) => {
            log::error!(
                "link: a frame of {} bytes is too large to send; lower codec.bitrate_kbps",
                unit.data.len()
            );
        }
        Err(Refused::Full | Refused::NeedsKeyframe) => {}
    }
    Counters::add(&counters.dropped_frames, 1);
    doors.signals.keyframe_for_peer.store(true, Relaxed);
}

/// What the encoder must know, and what status shows.
fn tell(sender: &Sender, receiver: &Receiver<'_>, signals: &Signals, counters: &Counters) {
    signals.target_kbps.store(u64::from(sender.video_kbps()), Relaxed);
    signals.congested.store(sender.congested(), Relaxed);
    let (queue_us, line_kbps) = sender.line();
    Counters::set(&counters.queue_us, queue_us);
    Counters::set(&counters.line_kbps, line_kbps.into());
    Counters::set(&counters.loss_permille, (sender.loss() * 1000.0) as u64);
    Counters::set(&counters.repairs, sender.repairs_sent);
    Counters::set(&counters.rtt_us, receiver.rtt_us());
}
