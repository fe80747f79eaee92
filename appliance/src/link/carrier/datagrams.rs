//! MoQ datagram tracks over one QUIC connection.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use bytes::Bytes;
use moq_net::Timestamp;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::link::carrier::moq::{Lane, Tracks};
use crate::link::error::Ended;
use crate::link::net::congestion::MinWindow;
use crate::link::net::socket::SEND_BUFFER;
use crate::link::sizes;
use crate::link::sizes::{MAX_DATAGRAM, SAFE_DATAGRAM};
use crate::media::clock::now_us;

use crate::link::carrier::{Event, Wire};
use crate::link::track::Track;

/// MoQ datagram tracks over one QUIC connection.
pub(crate) struct MoqWire<'a> {
    connection: &'a quinn::Connection,
    tracks: Tracks,
    min_window: MinWindow,
    outgoing: AsyncFd<BorrowedFd<'a>>,
    /// Datagrams given since MoQ last had a chance to pass them on.
    given: usize,
}

/// moq-net keeps the last 64 datagrams of a track until the connection takes them.
const BURST: usize = 32;
/// What may wait in QUIC, in bytes: enough that the line never runs dry between two looks.
const WAITING: usize = 32 << 10;
/// What MoQ writes before a datagram's payload, at most: subscription, sequence number and time, in bytes.
const MOQ_HEADER: usize = 20;

impl<'a> MoqWire<'a> {
    /// `outgoing` is readable while the encoder's hand-over holds something.
    pub(crate) fn new(
        connection: &'a quinn::Connection,
        tracks: Tracks,
        min_window: MinWindow,
        outgoing: BorrowedFd<'a>,
    ) -> std::io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for descriptors that may be closed; a borrowed one is not"
        )]
        let outgoing = AsyncFd::new(outgoing)?;
        Ok(Self { connection, tracks, min_window, outgoing, given: 0 })
    }
}

impl Wire for MoqWire<'_> {
    fn now_us(&self) -> u64 {
        now_us()
    }

    fn datagram(&self) -> usize {
        let found = self.connection.max_datagram_size().filter(|_| self.tracks.direct).unwrap_or(0);
        found.saturating_sub(MOQ_HEADER).clamp(SAFE_DATAGRAM + sizes::SEAL_OVERHEAD, MAX_DATAGRAM)
    }

    fn ready(&self) -> bool {
        let waiting = SEND_BUFFER.saturating_sub(self.connection.datagram_send_buffer_space());
        self.given < BURST && waiting < WAITING
    }

    fn allow(&mut self, bytes: u64) {
        self.min_window.set(bytes);
    }

    fn send(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended> {
        let lane: &mut Lane = match track {
            Track::Hologram => &mut self.tracks.hologram,
            Track::Feedback => &mut self.tracks.feedback,
        };
        lane.ours.append_datagram(Timestamp::from_micros(now_us())?, datagram)?;
        self.given += 1;
        Ok(())
    }

    async fn next(&mut self, until_us: u64) -> Result<Event, Ended> {
        if std::mem::take(&mut self.given) > 0 {
            // MoQ's and QUIC's own tasks pass on what was given.
            tokio::task::yield_now().await;
        }
        let wait = Duration::from_micros(until_us.saturating_sub(now_us()));
        tokio::select! {
            biased;
            datagram = self.tracks.feedback.theirs.recv_datagram() => {
                Ok(Event::Datagram(Track::Feedback, datagram?.ok_or(Ended::Closed)?.payload))
            }
            datagram = self.tracks.hologram.theirs.recv_datagram() => {
                Ok(Event::Datagram(Track::Hologram, datagram?.ok_or(Ended::Closed)?.payload))
            }
            readable = self.outgoing.readable() => {
                readable?.clear_ready();
                Ok(Event::Outgoing)
            }
            () = sleep(wait) => Ok(Event::Time),
        }
    }
}
