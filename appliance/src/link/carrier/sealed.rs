//! A carrier on which everything is encrypted, where there is a room key to do it with.

use std::sync::PoisonError;

use bytes::Bytes;

use crate::link::carrier::{Carrier, Event, Slot};
use crate::link::crypto::sealing::{Block, Opened, SharedPair, SharedSender};
use crate::link::error::Ended;
use crate::link::sizes::{MAX_PEERS, SEAL_OVERHEAD};
use crate::link::track::Track;

/// See the module's text.
pub(crate) struct Sealed<C> {
    carrier: C,
    /// None where there is no room key: then nothing is encrypted, and there is no relay.
    sender: Option<SharedSender>,
    pairs: [Option<SharedPair>; MAX_PEERS],
    /// What goes, and what comes.
    blocks: (Block, Block),
}

impl<C: Carrier> Sealed<C> {
    /// Encrypts under `sender` what goes to all peers of `carrier`.
    pub(crate) fn new(carrier: C, sender: Option<SharedSender>) -> Self {
        Self { carrier, sender, pairs: Default::default(), blocks: Default::default() }
    }

    /// Decrypts; none for what is only waiting for a key.
    fn open(&mut self, slot: Slot, track: Track, sealed: Bytes) -> Option<Event> {
        if self.sender.is_none() {
            return Some(Event::Datagram(slot, track, sealed));
        }
        let pair = self.pairs.get(slot)?.as_ref()?;
        let opened =
            pair.lock().unwrap_or_else(PoisonError::into_inner).open(track, &sealed, &mut self.blocks.1);
        match opened {
            Opened::Plain(plain) => Some(Event::Datagram(slot, track, plain)),
            Opened::Refused => Some(Event::DecryptFailed(slot)),
            Opened::NoKey => None,
        }
    }
}

impl<C: Carrier> Carrier for Sealed<C> {
    type Peer = (C::Peer, Option<SharedPair>);

    fn now_us(&self) -> u64 {
        self.carrier.now_us()
    }

    fn datagram(&self) -> usize {
        self.carrier.datagram().saturating_sub(SEAL_OVERHEAD)
    }

    fn ready(&self) -> bool {
        self.carrier.ready()
    }

    fn waiting_bytes(&self) -> usize {
        self.carrier.waiting_bytes()
    }

    fn left(&self) -> u64 {
        self.carrier.left()
    }

    fn leaves_at(&self) -> u64 {
        self.carrier.leaves_at()
    }

    fn allow(&mut self, bytes: u64) {
        self.carrier.allow(bytes);
    }

    fn join(&mut self, slot: Slot, (peer, pair): Self::Peer) {
        self.carrier.join(slot, peer);
        if let Some(place) = self.pairs.get_mut(slot) {
            *place = pair;
        }
    }

    fn leave(&mut self, slot: Slot) {
        self.carrier.leave(slot);
        if let Some(place) = self.pairs.get_mut(slot) {
            *place = None;
        }
    }

    fn secret(&self) -> Option<[u8; 32]> {
        let sender = self.sender.as_ref()?;
        Some(sender.lock().unwrap_or_else(PoisonError::into_inner).secret())
    }

    fn learn(&mut self, slot: Slot, secret: &[u8; 32]) {
        if let Some(Some(pair)) = self.pairs.get(slot) {
            pair.lock().unwrap_or_else(PoisonError::into_inner).learn(secret);
        }
    }

    fn send_all(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended> {
        let datagram = match &self.sender {
            Some(sender) => {
                let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                sender.close(track, &datagram, &mut self.blocks.0)?
            }
            None => datagram,
        };
        self.carrier.send_all(track, datagram)
    }

    fn send_feedback(&mut self, slot: Slot, datagram: Bytes) -> Result<(), Ended> {
        let datagram = match self.pairs.get(slot) {
            Some(Some(pair)) => {
                let mut pair = pair.lock().unwrap_or_else(PoisonError::into_inner);
                pair.close(&datagram, &mut self.blocks.0)?
            }
            // Without a room key there is no pair either; with one, nothing goes before there is.
            _ if self.sender.is_some() => return Ok(()),
            _ => datagram,
        };
        self.carrier.send_feedback(slot, datagram)
    }

    async fn next(&mut self, until_us: u64) -> Result<Event, Ended> {
        loop {
            match self.carrier.next(until_us).await? {
                Event::Datagram(slot, track, sealed) => {
                    if let Some(event) = self.open(slot, track, sealed) {
                        return Ok(event);
                    }
                    // However many there are of these, time goes on.
                    if self.carrier.now_us() >= until_us {
                        return Ok(Event::Time);
                    }
                }
                other => return Ok(other),
            }
        }
    }
}
