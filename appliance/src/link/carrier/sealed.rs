//! A carrier on which everything is sealed.

use std::sync::PoisonError;

use bytes::Bytes;

use crate::link::Counters;
use crate::link::carrier::{Event, Wire};
use crate::link::crypto::sealing::{Block, Shared};
use crate::link::error::Ended;
use crate::link::sizes::SEAL_OVERHEAD;
use crate::link::track::Track;

/// A wire on which everything is sealed.
pub(crate) struct Sealed<'a, W> {
    wire: W,
    seal: Shared,
    /// What goes, and what comes.
    blocks: (Block, Block),
    counters: &'a Counters,
}

impl<'a, W: Wire> Sealed<'a, W> {
    /// Datagrams that do not open are counted in `counters`.
    pub(crate) fn new(wire: W, seal: Shared, counters: &'a Counters) -> Self {
        Self { wire, seal, blocks: Default::default(), counters }
    }
}

impl<W: Wire> Wire for Sealed<'_, W> {
    fn now_us(&self) -> u64 {
        self.wire.now_us()
    }

    fn datagram(&self) -> usize {
        self.wire.datagram().saturating_sub(SEAL_OVERHEAD)
    }

    fn ready(&self) -> bool {
        self.wire.ready()
    }

    fn allow(&mut self, bytes: u64) {
        self.wire.allow(bytes);
    }

    fn send(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended> {
        let sealed = self.seal.lock().unwrap_or_else(PoisonError::into_inner).close(
            track,
            &datagram,
            &mut self.blocks.0,
        )?;
        self.wire.send(track, sealed)
    }

    async fn next(&mut self, until_us: u64) -> Result<Event, Ended> {
        loop {
            let (track, sealed) = match self.wire.next(until_us).await? {
                Event::Datagram(track, sealed) => (track, sealed),
                other => return Ok(other),
            };
            let block = &mut self.blocks.1;
            let opened = self.seal.lock().unwrap_or_else(PoisonError::into_inner).open(track, &sealed, block);
            if let Some(plain) = opened {
                return Ok(Event::Datagram(track, plain));
            }
            Counters::add(&self.counters.decrypt_failed, 1);
            // However many there are of these, time goes on.
            if self.wire.now_us() >= until_us {
                return Ok(Event::Time);
            }
        }
    }
}
