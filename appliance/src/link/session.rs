//! One session with the other booth: our frames out, its frames in.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use moq_net::{Timestamp, track};
use tokio::io::unix::AsyncFd;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::moq::{Incoming, SETUP_LIMIT, Tracks};
use super::receiver::Receiver;
use super::{Counters, Doors, shard};
use crate::clock::now_us;

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
    #[error("`link.room` is no MoQ path")]
    Name,
    #[error("the other side closed its tracks")]
    Closed,
    #[error("no report for {} s", UNHEARD_US / 1_000_000)]
    Unheard,
    #[error("a time beyond what MoQ can carry")]
    Time(#[from] moq_net::TimeOverflow),
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// Exchanges frames and reports over `tracks` of `connection` until one of them ends. `number` tells this session from those
/// before.
pub(super) async fn run(
    connection: &quinn::Connection,
    mut tracks: Tracks,
    number: u64,
    doors: Doors<'_>,
) -> Ended {
    let receiver = Receiver::new(number, doors);
    let ended = tokio::select! {
        sent = send(&mut tracks.hologram_out, connection, doors) => sent.err(),
        received = receive(&mut tracks.incoming, &mut tracks.feedback_out, connection, receiver, doors) => received.err(),
        error = connection.closed() => Some(error.into()),
    };
    ended.unwrap_or(Ended::Closed)
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
                let datagram = datagram?.ok_or(Ended::Closed)?;
                // What a relay still had of a run that is over is no picture of now.
                if receiver.has_met() {
                    receiver.shard(datagram.payload, now_us());
                }
            }
            datagram = tracks.feedback.recv_datagram() => {
                receiver.report(datagram?.ok_or(Ended::Closed)?.payload, now_us());
            }
            _ = tick.tick() => {
                if now_us() > receiver.heard_us().unwrap_or(since) + UNHEARD_US {
                    return Err(Ended::Unheard);
                }
                Counters::set(&doors.counters.rtt_us, connection.rtt().as_micros() as u64);
                let urgent = doors.signals.keyframe_for_us.load(Relaxed) || !receiver.has_met();
                if ticks.is_multiple_of(FEEDBACK_EVERY) || urgent {
                    let now = now_us();
                    let report = receiver.next_report(now);
                    feedback_out.append_datagram(Timestamp::from_micros(now)?, report.write())?;
                }
                ticks = ticks.wrapping_add(1);
            }
        }
    }
}
