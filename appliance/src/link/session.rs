//! One session with the other booth: our frames out, its frames in.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use crate::link::carrier::datagrams::MoqWire;
use crate::link::carrier::moq::Tracks;
use crate::link::carrier::sealed::Sealed;
use crate::link::carrier::{Event, Wire};
use crate::link::error::{Ended, UNHEARD_US};
use crate::link::media::feedback::Feedback;
use crate::link::media::receiver::Receiver;
use crate::link::media::sender::{Plan, Refused, Sender};
use crate::link::net::congestion::MinWindow;
use crate::link::track::Track;
use crate::link::{Counters, Handles, Signals};
use crate::media::picture::AccessUnit;

/// How long a loop waits for a wire that has enough to do, in µs.
const BREATH_US: u64 = 1_000;
/// How often it looks around, in µs.
const POLL_INTERVAL_US: u64 = 25_000;

/// Exchanges frames and reports over `tracks` of `connection` until one of them ends. `number` tells this session from those
/// before.
pub(crate) async fn run(
    connection: &quinn::Connection,
    tracks: Tracks,
    number: u64,
    plan: Plan,
    min_window: MinWindow,
    handles: Handles<'_>,
) -> Ended {
    let seal = tracks.seal.clone();
    let mut wire = match MoqWire::new(connection, tracks, min_window, handles.outgoing.as_fd()) {
        Ok(wire) => wire,
        Err(e) => return e.into(),
    };
    let meeting = async {
        match seal {
            Some(seal) => drive(&mut Sealed::new(wire, seal, handles.counters), number, plan, handles).await,
            None => drive(&mut wire, number, plan, handles).await,
        }
    };
    tokio::select! {
        Err(ended) = meeting => ended,
        error = connection.closed() => error.into(),
    }
}

/// Sends what the encoder makes, takes what comes, answers, until the session ends.
pub(crate) async fn drive(
    wire: &mut impl Wire,
    number: u64,
    plan: Plan,
    handles: Handles<'_>,
) -> Result<Infallible, Ended> {
    let (signals, counters) = (handles.signals, handles.counters);
    let mut now = wire.now_us();
    let since = now;
    let mut receiver = Receiver::new(number, handles);
    let mut sender = Sender::new(plan, receiver.rtt_us(), now);
    // What was made for the session before refers to pictures that this one never saw.
    handles.outgoing.clear();
    let mut datagram = wire.datagram();
    loop {
        let before = std::mem::replace(&mut datagram, wire.datagram());
        Counters::add(&counters.mtu_drops, u64::from(datagram < before));
        sender.fit(datagram);
        Counters::set(&counters.datagram_bytes, datagram as u64);
        receiver.tick(now);
        sender.set_rtt_us(receiver.rtt_us(), receiver.shortest_us());
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
        wire.allow(sender.in_flight_bytes(now));
        tell(&mut sender, &receiver, signals, counters);
        let due = if wire.ready() { sender.next_us() } else { now + BREATH_US };
        let until = due.min(receiver.next_us()).min(now + POLL_INTERVAL_US);
        let event = wire.next(until.max(now)).await?;
        now = wire.now_us();
        match event {
            Event::Time => {}
            // What a relay still had of an instance that is over is no picture of now.
            Event::Datagram(Track::Hologram, _) if !receiver.has_met() => {}
            Event::Datagram(Track::Hologram, datagram) => receiver.datagram(datagram, now),
            Event::Datagram(Track::Feedback, datagram) => match Feedback::parse(datagram) {
                Some(Feedback::Report(report)) => receiver.report(&report, now),
                Some(Feedback::Arrivals(arrivals)) if sender.arrivals(&arrivals, now) => {}
                Some(Feedback::Nacks(nacks)) => nacks.iter().for_each(|nack| sender.nack(nack, now)),
                Some(Feedback::Arrivals(_)) | None => Counters::add(&counters.malformed, 1),
            },
            Event::Outgoing => {
                // Before the other side listens, what refers to nothing that it has.
                if !receiver.has_met() {
                    handles.outgoing.clear();
                }
                while let Some(unit) = handles.outgoing.take() {
                    send(&mut sender, unit, now, handles);
                }
            }
        }
    }
}

/// Gives a frame to the sender.
fn send(sender: &mut Sender, mut unit: AccessUnit, now: u64, handles: Handles<'_>) {
    let counters = handles.counters;
    unit.stamps.sent_us = now;
    match sender.frame(&unit, now) {
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
    handles.signals.keyframe_for_peer.store(true, Relaxed);
}

/// What the encoder must know, and what status shows.
fn tell(sender: &mut Sender, receiver: &Receiver<'_>, signals: &Signals, counters: &Counters) {
    signals.target_kbps.store(u64::from(sender.video_kbps()), Relaxed);
    signals.congested.store(sender.congested(), Relaxed);
    let (queue_us, line_kbps) = sender.line();
    Counters::set(&counters.queue_us, queue_us);
    Counters::set(&counters.line_kbps, line_kbps.into());
    Counters::set(&counters.loss_permille, (sender.loss() * 1000.0) as u64);
    Counters::add(&counters.repairs, std::mem::take(&mut sender.repairs_sent));
    Counters::set(&counters.rtt_us, receiver.rtt_us());
}
