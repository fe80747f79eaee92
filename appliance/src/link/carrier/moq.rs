//! MoQ datagram tracks over one QUIC connection.
//!
//! Our broadcast has one track of each kind for all peers, and a `feedback` track for each peer, with its
//! fingerprint in the name. At a relay all peers of the room subscribe to the same tracks of ours, so each
//! datagram leaves once and the relay fans it out.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use moq_net::{Timestamp, broadcast, track};
use tokio::time::sleep;

use crate::link::carrier::{Carrier, Event, Slot};
use crate::link::error::Ended;
use crate::link::net::congestion::MinWindow;
use crate::link::sizes::{MAX_DATAGRAM, MAX_PEERS, SAFE_DATAGRAM, SEAL_OVERHEAD};
use crate::link::track::{TRACKS, Track};
use crate::media::clock::now_us;
use crate::pairing::Fingerprint;

/// moq-net keeps the last 64 datagrams of a track until the connection takes them.
const BURST: usize = 32;
/// What MoQ writes before a datagram's payload, at most: subscription, sequence number and time, in bytes.
const MOQ_HEADER: usize = 20;

/// Our tracks for all peers of a connection.
#[derive(Clone)]
pub(crate) struct OurTracks {
    pub(crate) voice: track::Producer,
    pub(crate) hologram: track::Producer,
}

/// A track of a broadcast, by its kind and, where it is for one peer, that peer.
pub(crate) fn track_name(track: Track, peer: Fingerprint) -> String {
    let name = track.info().name;
    if track == Track::Feedback { format!("{name}/{peer}") } else { name.to_owned() }
}

/// The tracks of one peer.
pub(crate) struct PeerTracks {
    /// Theirs, in the order of [`TRACKS`].
    pub(crate) theirs: [track::Subscriber; TRACKS.len()],
    /// Our feedback to it.
    pub(crate) feedback: track::Producer,
    /// What the incoming tracks hang on: they end when it is dropped.
    pub(crate) _broadcast: broadcast::Consumer,
}

/// See the module's text.
pub(crate) struct MoqCarrier<'a> {
    connection: &'a quinn::Connection,
    /// The connection leads to the other booth itself, so that what fits it fits the whole way.
    direct: bool,
    ours: OurTracks,
    peers: [Option<PeerTracks>; MAX_PEERS],
    min_window: MinWindow,
    /// Room for datagrams in QUIC while none waits, in bytes: a little less than was configured.
    room: usize,
    /// Datagrams given since MoQ last had a chance to pass them on.
    given: usize,
}

impl<'a> MoqCarrier<'a> {
    /// Over `connection`, which leads to one peer itself if `direct`.
    pub(crate) fn new(
        connection: &'a quinn::Connection,
        direct: bool,
        ours: OurTracks,
        min_window: MinWindow,
    ) -> Self {
        let room = connection.datagram_send_buffer_space();
        Self { connection, direct, ours, peers: Default::default(), min_window, room, given: 0 }
    }

    fn append(
        &mut self,
        pick: impl FnOnce(&mut Self) -> Option<&mut track::Producer>,
        datagram: Bytes,
    ) -> Result<(), Ended> {
        if let Some(track) = pick(self) {
            track.append_datagram(Timestamp::from_micros(now_us())?, datagram)?;
            self.given += 1;
        }
        Ok(())
    }
}

impl Carrier for MoqCarrier<'_> {
    type Peer = PeerTracks;

    fn now_us(&self) -> u64 {
        now_us()
    }

    fn datagram(&self) -> usize {
        let found = self.connection.max_datagram_size().filter(|_| self.direct).unwrap_or(0);
        found.saturating_sub(MOQ_HEADER).clamp(SAFE_DATAGRAM + SEAL_OVERHEAD, MAX_DATAGRAM)
    }

    fn ready(&self) -> bool {
        self.given < BURST
    }

    fn waiting_bytes(&self) -> usize {
        self.room.saturating_sub(self.connection.datagram_send_buffer_space())
    }

    fn left(&self) -> u64 {
        self.connection.stats().frame_tx.datagram
    }

    fn leaves_at(&self) -> u64 {
        // What waits in QUIC is known in bytes alone.
        let waiting = self.waiting_bytes().div_ceil(MAX_DATAGRAM);
        self.left() + (waiting + self.given + 1) as u64
    }

    fn allow(&mut self, bytes: u64) {
        self.min_window.set(bytes);
    }

    fn join(&mut self, slot: Slot, peer: PeerTracks) {
        if let Some(place) = self.peers.get_mut(slot) {
            *place = Some(peer);
        }
    }

    fn leave(&mut self, slot: Slot) {
        if let Some(place) = self.peers.get_mut(slot) {
            *place = None;
        }
    }

    fn send_all(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended> {
        self.append(
            |carrier| match track {
                Track::Voice => Some(&mut carrier.ours.voice),
                Track::Hologram => Some(&mut carrier.ours.hologram),
                Track::Feedback => None,
            },
            datagram,
        )
    }

    fn send_feedback(&mut self, slot: Slot, datagram: Bytes) -> Result<(), Ended> {
        self.append(|carrier| Some(&mut carrier.peers.get_mut(slot)?.as_mut()?.feedback), datagram)
    }

    async fn next(&mut self, until_us: u64) -> Result<Event, Ended> {
        if std::mem::take(&mut self.given) > 0 {
            // MoQ's and QUIC's own tasks pass on what was given.
            tokio::task::yield_now().await;
        }
        let wait = Duration::from_micros(until_us.saturating_sub(now_us()));
        let peers = &mut self.peers;
        let datagram = moq_net::kio::wait(|waiter| {
            for info in &TRACKS {
                for (slot, peer) in peers.iter_mut().enumerate() {
                    let Some(peer) = peer else { continue };
                    match peer.theirs[info.track as usize].poll_recv_datagram(waiter) {
                        Poll::Pending => {}
                        Poll::Ready(Ok(Some(datagram))) => {
                            return Poll::Ready(Event::Datagram(slot, info.track, datagram.payload));
                        }
                        Poll::Ready(Ok(None)) => return Poll::Ready(Event::Over(slot, Ended::Closed)),
                        Poll::Ready(Err(error)) => return Poll::Ready(Event::Over(slot, error.into())),
                    }
                }
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            event = datagram => Ok(event),
            () = sleep(wait) => Ok(Event::Time),
        }
    }
}
