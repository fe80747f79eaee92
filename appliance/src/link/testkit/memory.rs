//! A carrier in one process: two ends, a virtual clock, and a line each way with whatever is wrong with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use fastrand::Rng;

use crate::link::carrier::{Carrier, Event, Slot};
use crate::link::error::Ended;
use crate::link::sizes::MAX_DATAGRAM;
use crate::link::track::Track;

/// What IP, UDP, QUIC and MoQ put around a datagram, in bytes.
const AROUND: u64 = 70;

/// What a line does to datagrams, one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// From end to end, in µs.
    pub(crate) delay_us: u64,
    /// At most so much more, in µs, without reordering.
    pub(crate) jitter_us: u64,
    /// What it carries, in kbit/s.
    pub(crate) kbps: u64,
    /// What may wait to be carried, in µs; more is lost.
    pub(crate) queue_us: u64,
    /// Chance of a loss to begin, 0 to 1.
    pub(crate) loss: f32,
    /// Mean length of a loss, in datagrams.
    pub(crate) burst: f32,
    /// Chance of a datagram to come twice.
    pub(crate) double: f32,
    /// Chance of a datagram to be overtaken by those of the next few milliseconds.
    pub(crate) overtaken: f32,
    /// Chance of a datagram to be changed on the way, by one bit.
    pub(crate) changed: f32,
    /// The largest datagram that passes, in bytes.
    pub(crate) datagram: usize,
    /// Nothing passes at all.
    pub(crate) down: bool,
}

impl Line {
    /// Nothing is wrong with it.
    pub(crate) const CLEAN: Self = Self {
        delay_us: 10_000,
        jitter_us: 0,
        kbps: 100_000,
        queue_us: 200_000,
        loss: 0.0,
        burst: 1.0,
        double: 0.0,
        overtaken: 0.0,
        changed: 0.0,
        datagram: MAX_DATAGRAM,
        down: false,
    };
}

/// One way between the two ends.
struct Way {
    line: Line,
    /// When the line is free again.
    free_us: u64,
    /// When the last datagram came out.
    last_us: u64,
    losing: bool,
    /// What was given to it, headers included.
    carried_bytes: u64,
    /// On their way, by when they arrive.
    flying: BTreeMap<(u64, u64), (Track, Bytes)>,
}

/// What the two ends share.
pub(crate) struct World {
    now_us: u64,
    ways: [Way; 2],
    rng: Rng,
    serial: u64,
    /// When each end gave a voice datagram to its line, in µs.
    pub(crate) voice_sent_us: [Vec<u64>; 2],
    /// How long each end wants to wait.
    until_us: [u64; 2],
}

impl World {
    pub(crate) fn new(seed: u64, start_us: u64) -> Rc<RefCell<Self>> {
        let way = || Way {
            line: Line::CLEAN,
            free_us: 0,
            last_us: 0,
            losing: false,
            carried_bytes: 0,
            flying: BTreeMap::new(),
        };
        Rc::new(RefCell::new(Self {
            now_us: start_us,
            ways: [way(), way()],
            rng: Rng::with_seed(seed),
            serial: 0,
            voice_sent_us: Default::default(),
            until_us: [u64::MAX; 2],
        }))
    }

    /// The time, in µs.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// What each end has given to its line, headers included.
    pub(crate) fn carried_bytes(&self) -> [u64; 2] {
        [0, 1].map(|from: usize| self.ways[from].carried_bytes)
    }

    /// How long what end `from` gives now has to wait for the line, in µs.
    #[cfg(test)]
    pub(crate) fn queue_us(&self, from: usize) -> u64 {
        self.ways.get(from).map_or(0, |way| way.free_us.saturating_sub(self.now_us))
    }

    /// The line from end `from` becomes `line`.
    pub(crate) fn set_line(&mut self, from: usize, line: Line) {
        if let Some(way) = self.ways.get_mut(from) {
            way.line = line;
        }
    }

    /// Everything in flight is lost, and nobody waits: between two sessions.
    pub(crate) fn reset(&mut self) {
        self.ways.iter_mut().for_each(|way| way.flying.clear());
        self.until_us = [u64::MAX; 2];
    }

    /// Moves the clock to the next thing that happens, but not beyond `limit_us`.
    pub(crate) fn advance(&mut self, limit_us: u64) {
        let arrival = self.ways.iter().filter_map(|way| way.flying.keys().next().map(|key| key.0));
        let next = arrival.chain(self.until_us).min().unwrap_or(limit_us);
        self.now_us = self.now_us.max(next.min(limit_us));
    }

    fn send(&mut self, from: usize, track: Track, datagram: Bytes) {
        let (rng, now_us) = (&mut self.rng, self.now_us);
        if track == Track::Voice
            && let Some(sent_us) = self.voice_sent_us.get_mut(from)
        {
            sent_us.push(now_us);
        }
        let Some(way) = self.ways.get_mut(from) else { return };
        let line = way.line;
        let bytes = datagram.len() as u64 + AROUND;
        way.carried_bytes += bytes;
        let leave = 1.0 / line.burst.max(1.0);
        way.losing = if way.losing { rng.f32() >= leave } else { rng.f32() < line.loss };
        let waits_us = way.free_us.saturating_sub(now_us);
        if line.down || datagram.len() > line.datagram || way.losing || waits_us > line.queue_us {
            return;
        }
        way.free_us = now_us.max(way.free_us) + bytes * 8_000 / line.kbps.max(1);
        let jitter_us = if line.jitter_us > 0 { rng.u64(..line.jitter_us) } else { 0 };
        let mut at_us = (way.free_us + line.delay_us + jitter_us).max(way.last_us);
        if rng.f32() < line.overtaken {
            at_us += rng.u64(1_000..20_000);
        } else {
            way.last_us = at_us;
        }
        let datagram = if rng.f32() < line.changed { changed(&datagram, rng) } else { datagram };
        let times = 1 + u64::from(rng.f32() < line.double);
        for again in 0..times {
            self.serial += 1;
            way.flying.insert((at_us + again * 700, self.serial), (track, datagram.clone()));
        }
    }
}

/// The same but for one bit.
fn changed(datagram: &[u8], rng: &mut Rng) -> Bytes {
    let mut bytes = datagram.to_vec();
    if let Some(byte) = rng.choice(&mut bytes) {
        *byte ^= 1 << rng.u8(..8);
    }
    bytes.into()
}

/// One end.
pub(crate) struct MemoryCarrier {
    world: Rc<RefCell<World>>,
    /// 0 or 1.
    side: usize,
}

impl MemoryCarrier {
    pub(crate) fn new(world: &Rc<RefCell<World>>, side: usize) -> Self {
        Self { world: world.clone(), side }
    }
}

impl Carrier for MemoryCarrier {
    type Peer = ();

    fn now_us(&self) -> u64 {
        self.world.borrow().now_us
    }

    fn datagram(&self) -> usize {
        self.world.borrow().ways[self.side].line.datagram
    }

    fn ready(&self) -> bool {
        true
    }

    fn waiting_bytes(&self) -> usize {
        0
    }

    fn left(&self) -> u64 {
        0
    }

    fn leaves_at(&self) -> u64 {
        0
    }

    fn allow(&mut self, _: u64) {}

    fn join(&mut self, _: Slot, (): ()) {}

    fn leave(&mut self, _: Slot) {}

    fn send_all(&mut self, track: Track, datagram: Bytes) -> Result<(), Ended> {
        self.world.borrow_mut().send(self.side, track, datagram);
        Ok(())
    }

    fn send_feedback(&mut self, _: Slot, datagram: Bytes) -> Result<(), Ended> {
        self.world.borrow_mut().send(self.side, Track::Feedback, datagram);
        Ok(())
    }

    async fn next(&mut self, until_us: u64) -> Result<Event, Ended> {
        let side = self.side;
        poll_fn(|_| {
            let mut world = self.world.borrow_mut();
            let now_us = world.now_us;
            let inbox = &mut world.ways[1 - side].flying;
            if let Some(first) = inbox.first_entry()
                && first.key().0 <= now_us
            {
                let (track, datagram) = first.remove();
                return Poll::Ready(Ok(Event::Datagram(0, track, datagram)));
            }
            if now_us >= until_us {
                return Poll::Ready(Ok(Event::Time));
            }
            world.until_us[side] = until_us;
            Poll::Pending
        })
        .await
    }
}
