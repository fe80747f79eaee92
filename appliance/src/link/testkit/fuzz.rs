//! What a peer or a relay can throw at a link. Each function takes any bytes, and panics only where the link
//! is wrong: it is run by `cargo fuzz` (see `appliance/fuzz/`) and by property tests.

use bytes::Bytes;

use crate::link::crypto::sealing::{Block, Opened, PairSeal};
use crate::link::media::feedback::Feedback;
use crate::link::media::receiver::{ASTRAY, Event, Own, Receiver};
use crate::link::media::sender::{Plan, Sender};
use crate::link::peers::announcement::{Instances, Place};
use crate::link::sizes::{MAX_DATAGRAM, SAFE_DATAGRAM};
use crate::link::track::TRACKS;
use crate::media::picture::{AccessUnit, Stamps};
use crate::pairing::RoomKey;

/// What one end may hold of what a peer sends, in bytes. See the assembler's limits: frames under way, of the
/// largest size.
const HELD: usize = 128 << 20;

/// Cuts `data` into things of up to 64 kB, each behind two bytes of length and one of the milliseconds that
/// pass before it.
fn things(mut data: &[u8]) -> impl Iterator<Item = (u64, Bytes)> {
    std::iter::from_fn(move || {
        let (&[high, low, ms], rest) = data.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (thing, rest) = rest.split_at(length);
        data = rest;
        Some((u64::from(ms) * 1_000, Bytes::copy_from_slice(thing)))
    })
}

/// Datagrams of the `hologram` and `voice` tracks: frames come out in order, and little is kept.
pub fn hologram(data: &[u8]) {
    let mut receiver = Receiver::new(Own::default());
    let mut now_us = 1_000_000;
    let mut last: Option<u32> = None;
    for (seen, (us, datagram)) in things(data).enumerate() {
        now_us += us;
        if us.is_multiple_of(3_000) {
            receiver.voice(datagram.clone(), now_us);
        }
        receiver.datagram(datagram, now_us);
        receiver.tick(now_us);
        while receiver.poll(now_us).is_some() {}
        assert!(receiver.next_us() > now_us, "nothing is left undone");
        while let Some(event) = receiver.poll_event() {
            let Event::Frame(unit) = event else { continue };
            let number = unit.number;
            let later = last.is_none_or(|last| number != last && number.wrapping_sub(last) < 1 << 31);
            // Numbers may start again only when the receiver has lost its way.
            assert!(later || seen > ASTRAY as usize, "{number} after {last:?}");
            last = Some(number);
            let _ = unit.stamps.durations_us();
        }
    }
    assert!(receiver.held() <= HELD);
}

/// Datagrams of the `feedback` track, from two peers, to a sender that has something on its way.
pub fn feedback(data: &[u8]) {
    let mut receiver = Receiver::new(Own::default());
    let mut now_us = 1_000_000;
    let mut sender = Sender::new(Plan { max_kbps: 4_000, deadline_us: 100_000 }, now_us);
    sender.add(0, 40_000, false, now_us);
    sender.add(1, 40_000, false, now_us);
    for (number, (us, datagram)) in things(data).enumerate() {
        now_us += us;
        let peer = number % 2;
        let stamps = Stamps { capture_us: now_us, ..Stamps::default() };
        let data = Bytes::from(vec![number as u8; 12_000]);
        let unit = AccessUnit { data, keyframe: true, number: number as u32, stamps };
        sender.fit(if us.is_multiple_of(2_000) { SAFE_DATAGRAM } else { MAX_DATAGRAM });
        let _ = sender.frame(&unit, now_us);
        match Feedback::parse(datagram) {
            Some(Feedback::Report(report)) => receiver.report(&report, now_us),
            Some(Feedback::Arrivals(arrivals)) => {
                sender.arrivals(peer, &arrivals, now_us);
            }
            Some(Feedback::Nacks(nacks)) => nacks.iter().for_each(|nack| sender.nack(peer, nack, now_us)),
            _ => {}
        }
        sender.set_rtt_us(peer, receiver.rtt_us(), receiver.shortest_us());
        sender.tick(now_us);
        let sent = std::iter::from_fn(|| sender.poll(now_us)).take(10_000).count();
        assert!(sent < 10_000, "sending ends");
        assert!(sender.next_us() > now_us, "nothing is left undone");
        assert!([0, 1].iter().all(|&peer| sender.video_kbps(peer).is_some_and(|k| (1..=4_000).contains(&k))));
    }
}

/// Datagrams in place of sealed ones: whatever they are, nobody with the key has made them.
pub fn sealed(data: &[u8]) {
    let Ok(mut seal) = PairSeal::new(&RoomKey::of([7; 32]), &[1; 32], "a", "b") else { return };
    seal.learn(&[3; 32]);
    let mut block = Block::default();
    for (which, datagram) in things(data) {
        let track = TRACKS[(which / 1_000) as usize % TRACKS.len()].track;
        assert_eq!(seal.open(track, &datagram, &mut block), Opened::Refused);
    }
}

/// Names of broadcasts that a relay announces and withdraws.
pub fn announced(data: &[u8]) {
    let mut instances = Instances::at(Place::new("room", None));
    for (withdrawn, name) in things(data) {
        if let Some(who) = instances.update(&String::from_utf8_lossy(&name), withdrawn == 0) {
            instances.met(who);
            assert!(instances.newest(who).is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::media::feedback::{Arrivals, MAX_RUNS, Nack, Report, Run};
    use crate::link::media::packet::{Part, put_header};
    use crate::link::media::test_frames::shards;
    use crate::link::media::test_frames::unit;
    use proptest::prelude::*;

    fn thing(ms: u8, datagram: &[u8]) -> Vec<u8> {
        let length = u16::try_from(datagram.len()).unwrap();
        [&length.to_be_bytes()[..], &[ms], datagram].concat()
    }

    /// A datagram that makes sense, of frame `number`.
    fn shard(number: u8, index: u8, packet: u16) -> Vec<u8> {
        let shards = shards(&unit(number.into(), 4_000), number.into(), 2);
        let s = &shards[usize::from(index) % shards.len()];
        // Two of three as split shards, but for the last, which is short.
        let part = [Part::Whole, Part::First, Part::Second][usize::from(packet % 3)];
        let mut out = Vec::new();
        put_header(&mut out, packet.into(), s.frame, (s.index, part), (s.data, s.parity), s.left_us);
        if part != Part::Whole {
            out.extend_from_slice(&1_000u16.to_be_bytes());
        }
        let bytes = part.bytes(1_000);
        out.extend_from_slice(&s.piece[bytes.start.min(s.piece.len())..bytes.end.min(s.piece.len())]);
        out
    }

    fn answer(kind: u8, a: u32, b: u16, c: u16) -> Vec<u8> {
        let runs = [Run { start: b, length: c }; MAX_RUNS];
        match kind % 3 {
            0 => Report { sent_us: a.into(), echo_us: b.into(), ..Report::default() }.write().to_vec(),
            1 => {
                let came = (0..c % 600).map(|i| (i % 3 != 0).then_some(u64::from(b) + u64::from(i) * 100));
                Arrivals::write(a % 64, came.collect::<Vec<_>>().into_iter()).to_vec()
            }
            _ => Nack::write(&[Nack { frame: a % 40, round: b as u8, need: c, runs, count: 2 }]).to_vec(),
        }
    }

    /// As it is, or with a byte of it changed, or cut short.
    fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        (any::<prop::sample::Index>(), any::<u8>(), 0..4u8).prop_map(move |(at, value, what)| {
            let mut bytes = bytes.clone();
            let at = at.index(bytes.len().min(64));
            match what {
                0 => bytes[at] = value,
                1 => bytes.truncate(at),
                _ => {}
            }
            bytes
        })
    }

    fn noise() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..200)
    }

    fn stream(one: impl Strategy<Value = Vec<u8>> + 'static) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec((0..40u8, prop_oneof![6 => one, 1 => noise()]), 0..120)
            .prop_map(|all| all.iter().flat_map(|(ms, datagram)| thing(*ms, datagram)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_hologram(data in stream((0..40u8, any::<u8>(), 0..300u16).prop_flat_map(|(n, i, p)| damaged(shard(n, i, p))))) {
            hologram(&data);
        }

        #[test]
        fn any_feedback(
            data in stream(
                (any::<u8>(), any::<u32>(), any::<u16>(), any::<u16>()).prop_flat_map(|(k, a, b, c)| damaged(answer(k, a, b, c)))
            )
        ) {
            feedback(&data);
        }

        #[test]
        fn any_sealed(data in stream(noise())) {
            sealed(&data);
        }

        #[test]
        fn any_announcement(names in prop::collection::vec((0..2u8, "room/booth/?[0-9+]{0,3}-?([0-9a-f]{64})?[0-9a-f+ -]{0,3}|.{0,20}"), 0..60)) {
            announced(&names.iter().flat_map(|(ms, name)| thing(*ms, name.as_bytes())).collect::<Vec<_>>());
        }
    }
}
