//! What goes out, datagram by datagram, in virtual time.

use super::super::assembler::{Assembler, Made};
use super::*;
use crate::link::media::feedback::{Feedback, MAX_RUNS};
use crate::link::media::packet::Datagram;
use crate::link::media::test_frames::unit;
use crate::link::sizes;

const PLAN: Plan = Plan { max_kbps: 8_000, deadline_us: 100_000 };

/// One that serves a peer 40 ms away.
fn serving(now_us: u64) -> Sender {
    let mut sender = Sender::new(PLAN, now_us);
    sender.add(0, 40_000, false, now_us);
    sender
}

fn warm(now_us: u64) -> Sender {
    let mut sender = serving(now_us);
    while drain(&mut sender, &mut now_us.clone(), 100).len() > 1 {}
    sender
}

/// What goes out within `ms`.
fn drain(sender: &mut Sender, now_us: &mut u64, ms: u64) -> Vec<Datagram> {
    let mut out = Vec::new();
    for _ in 0..ms {
        *now_us += 1_000;
        out.extend(std::iter::from_fn(|| sender.poll(*now_us)).filter_map(Datagram::parse));
    }
    out
}

fn frame(number: u32, size: usize, now_us: u64) -> AccessUnit {
    let mut unit = unit(number, size);
    unit.stamps.capture_us = now_us;
    unit
}

#[test]
fn the_path_is_warmed_before_the_first_frame() {
    let mut now = 1_000_000;
    let mut sender = serving(now);
    let padding = drain(&mut sender, &mut now, 50);
    assert!(padding.len() > 5 && padding.iter().all(|d| d.shard.is_none()), "{padding:?}");
    assert!(drain(&mut sender, &mut now, 50).is_empty());
}

#[test]
fn a_line_too_slow_for_the_encoder_gets_whole_pictures_and_is_not_flooded() {
    let mut now = 1_000_000;
    let mut sender = Sender::new(PLAN, now);
    sender.add(0, 40_000, true, now);
    assert!(drain(&mut sender, &mut now, 100).is_empty(), "no padding for a start");
    let (start_us, mut sent, mut shards) = (now, 0, Vec::new());
    assert_eq!(sender.frame(&frame(30, 20_000, now), now), Ok(()));
    assert_eq!(sender.frame(&frame(31, 8_000, now), now), Err(Refused::Full));
    while sender.next_video_us() < u64::MAX {
        shards.extend(drain(&mut sender, &mut now, 1).into_iter().filter_map(|d| d.shard));
        sent = shards.iter().map(|shard| shard.piece.len() + AROUND).sum();
    }
    // What the line takes in this time, and what the pacer's bucket holds.
    let most = (now - start_us) * u64::from(FLOOR_KBPS) / 8_000 + 4_500;
    assert!(sent > 20_000 && sent as u64 <= most, "{sent} bytes in {} us", now - start_us);
    // The other side waits for it as long as it is on its way.
    assert!(shards.iter().all(|shard| shard.left_us > 100_000), "{:?}", shards.last());
    sender.set_participant(0, true);
    assert!(sender.frame(&frame(60, 20_000, now), now).is_ok());
    let shards = drain(&mut sender, &mut now, 200);
    let left_us = shards.iter().find_map(|d| d.shard.as_ref()).map(|shard| shard.left_us);
    assert!(left_us.is_some_and(|us| us <= PLAN.deadline_us), "{left_us:?}");
}

#[test]
fn after_a_refusal_only_a_keyframe_goes() {
    let now = 1_000_000;
    let mut sender = warm(now);
    let mut send = |n| sender.frame(&frame(n, 400_000, now), now);
    assert_eq!(send(1), Err(Refused::NeedsKeyframe));
    assert_eq!(send(30), Ok(()));
    let full = (31..60).map(&mut send).find(Result::is_err);
    assert_eq!(full, Some(Err(Refused::Full)));
    assert_eq!(send(61), Err(Refused::NeedsKeyframe));
}

#[test]
fn what_is_asked_for_is_sent_again_with_some_to_spare_and_once() {
    let mut now = 1_000_000;
    let mut sender = warm(now);
    sender.frame(&frame(0, 20_000, now), now).unwrap();
    let sent = drain(&mut sender, &mut now, 10);
    let shards: Vec<_> = sent.iter().filter_map(|d| d.shard.clone()).collect();
    assert!(shards.len() > 19 && shards[0].parity > 0);
    let mut runs = [Run::default(); MAX_RUNS];
    runs[0] = Run { start: 3, length: 4 };
    let nack = Nack { frame: 0, round: 1, need: 3, runs, count: 1 };
    // What was sent less than a round trip ago cannot be missed yet, and asking for it does not use up the
    // question.
    sender.nack(0, &nack, now);
    assert!(drain(&mut sender, &mut now, 5).is_empty());
    now += 40_000;
    sender.nack(0, &nack, now);
    sender.nack(0, &nack, now);
    let again: Vec<_> = drain(&mut sender, &mut now, 30).into_iter().filter_map(|d| d.shard).collect();
    assert!((4..=8).contains(&again.len()), "{}", again.len());
    for shard in &again {
        let first = &shards[usize::from(shard.index)];
        assert!((3..7).contains(&shard.index) && shard.piece == first.piece);
    }
    let mut numbers: Vec<_> = sent.iter().map(|d| d.packet).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), sent.len());
    // Shards and frames that never were change nothing.
    runs[0] = Run { start: 900, length: u16::MAX };
    sender.nack(0, &Nack { round: 2, runs, ..nack }, now);
    sender.nack(0, &Nack { frame: 77, ..nack }, now);
    assert!(drain(&mut sender, &mut now, 30).is_empty());
}

/// What a receiver makes of what is sent while the path narrows after `before` datagrams, and of repairs.
#[test]
fn what_was_cut_for_a_wider_path_goes_as_split_shards_and_so_do_repairs() {
    let mut now = 1_000_000;
    for before in 0..18 {
        let mut sender = warm(now);
        let original = frame(0, 20_000, now);
        sender.fit(1_369);
        sender.frame(&original, now).unwrap();
        let mut sent: Vec<Bytes> = Vec::new();
        while sender.backlog_us() > 0 {
            now += 200;
            let narrow = sent.len() >= before;
            sender.fit(if narrow { sizes::SAFE_DATAGRAM } else { 1_369 });
            let some = sender.poll(now);
            assert!(some.iter().all(|datagram| !narrow || datagram.len() <= sizes::SAFE_DATAGRAM));
            sent.extend(some);
        }
        assert!(sender.frames[0].is_out() && sender.waiting_bytes == 0 && sender.next_us() == u64::MAX);
        sender.fit(sizes::SAFE_DATAGRAM);
        let mut runs = [Run::default(); MAX_RUNS];
        runs[0] = Run { start: 2, length: 3 };
        now += 40_000;
        sender.nack(0, &Nack { frame: 0, round: 1, need: 3, runs, count: 1 }, now);
        let mut repairs: Vec<Bytes> = Vec::new();
        while sender.next_us() < u64::MAX {
            now = now.max(sender.next_us());
            repairs.extend(sender.poll(now));
        }
        assert!(repairs.iter().all(|datagram| datagram.len() <= sizes::SAFE_DATAGRAM));
        let received = |datagrams: &[Bytes]| {
            let mut assembler = Assembler::default();
            for shard in datagrams.iter().filter_map(|d| Datagram::parse(d.clone())?.shard) {
                assert_ne!(assembler.push(shard, now, 0), Made::Malformed);
            }
            assembler.take().map(|out| out.unit.data)
        };
        assert_eq!(received(&sent), Some(original.data.clone()), "{before}");
        // Without shards 2, 3 and 4 and all parity, repairs are needed, and enough.
        sent.retain(|d| {
            let shard = Datagram::parse(d.clone()).and_then(|d| d.shard);
            shard.is_some_and(|shard| !(2..5).contains(&shard.index) && shard.index < shard.data)
        });
        assert_eq!(received(&sent), None, "{before}");
        sent.extend(repairs);
        assert_eq!(received(&sent), Some(original.data), "{before}");
    }
}

#[test]
fn a_frame_that_takes_too_long_to_leave_has_the_parity_of_one_beyond_repair() {
    let now = 1_000_000;
    let sender = warm(now);
    let left_us = PLAN.deadline_us;
    let small = 20_000;
    assert!(sender.pacer.span_us(small) < 20_000 && sender.repairable(small, left_us));
    let large = small * left_us as usize / sender.pacer.span_us(small) as usize;
    assert!(!sender.repairable(large, left_us));
}

#[test]
fn loss_brings_parity() {
    let mut now = 1_000_000;
    let mut sender = warm(now);
    let mut random = fastrand::Rng::with_seed(4);
    let mut parity = Vec::new();
    for n in 0..200 {
        let loss = if n < 100 { 0.0 } else { 0.08 };
        sender.frame(&frame(n * 30, 25_000, now), now).unwrap();
        let sent = drain(&mut sender, &mut now, 33);
        parity.extend(sent.iter().find_map(|d| d.shard.as_ref()).map(|s| s.parity));
        let base = sent[0].packet;
        let came = sent.iter().map(|_| (random.f32() >= loss).then_some(now)).collect::<Vec<_>>();
        for _ in 0..2 {
            let Some(Feedback::Arrivals(arrivals)) =
                Feedback::parse(Arrivals::write(base, came.iter().copied()))
            else {
                panic!("no arrivals")
            };
            assert!(sender.arrivals(0, &arrivals, now));
        }
    }
    assert!(
        parity[99] < parity[0] && parity[115] >= parity[99] + 2 && parity[199] >= parity[99] + 3,
        "{parity:?}"
    );
}
