//! What comes in, datagram by datagram, in virtual time.

use super::*;
use crate::link::media::packet::put_header;
use crate::link::media::test_frames::shards;
use crate::link::media::test_frames::unit;
use crate::link::media::voice::VoicePacketizer;

/// The datagrams of frame `number`, from datagram `packet` on.
fn datagrams(number: u32, size: usize, packet: u32) -> Vec<Bytes> {
    let write = |(i, s): (usize, crate::link::media::packet::Shard)| {
        let mut out = Vec::new();
        put_header(&mut out, packet + i as u32, number, (s.index, s.part), (s.data, s.parity), s.left_us);
        out.extend_from_slice(&s.piece);
        out.into()
    };
    shards(&unit(number, size), number, 1).into_iter().enumerate().map(write).collect()
}

/// The number of the next frame that comes out.
fn frame(receiver: &mut Receiver) -> Option<u32> {
    std::iter::from_fn(|| receiver.poll_event()).find_map(|event| match event {
        Event::Frame(unit) => Some(unit.number),
        _ => None,
    })
}

/// How often a keyframe is asked for.
fn keyframes(receiver: &mut Receiver) -> u32 {
    let events = std::iter::from_fn(|| receiver.poll_event());
    events.filter(|event| matches!(event, Event::KeyframeRequested)).count() as u32
}

fn asking(keyframe: bool, sent_us: u64) -> Report {
    Report { keyframe, sent_us, echo_us: u64::MAX >> 12, ..Report::default() }
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut receiver = Receiver::new(Own::default());
    let mut random = fastrand::Rng::with_seed(42);
    datagrams(2, 5_000, 0).into_iter().for_each(|d| receiver.datagram(d, 1_000));
    receiver.tick(0);
    assert_eq!(frame(&mut receiver), Some(2));
    for n in 0..20_000 {
        let mut bytes = vec![0; random.usize(..1_200)];
        random.fill(&mut bytes);
        receiver.datagram(bytes.into(), n);
        receiver.tick(n);
    }
    assert!(frame(&mut receiver).is_none());
    assert!(receiver.tally.malformed > 19_000);
    datagrams(3, 5_000, 9).into_iter().for_each(|d| receiver.datagram(d, 1_000));
    receiver.tick(1_000);
    assert_eq!(frame(&mut receiver), Some(3));
    assert_eq!(receiver.tally.lost, 0);
}

#[test]
fn repetitions_are_counted_and_change_nothing() {
    let mut receiver = Receiver::new(Own::default());
    for _ in 0..3 {
        datagrams(3, 5_000, 9).into_iter().for_each(|d| receiver.datagram(d, 1_000));
        receiver.tick(1_000);
    }
    assert_eq!(frame(&mut receiver), Some(3));
    assert!(frame(&mut receiver).is_none());
    assert_eq!(receiver.tally.repeated, 2 * datagrams(3, 5_000, 9).len() as u64);
}

#[test]
fn numbers_that_begin_anew_are_believed_after_a_while() {
    let mut receiver = Receiver::new(Own::default());
    let mut got = Vec::new();
    for n in 0..600u32 {
        // In the middle the other side starts over.
        let number = n % 300;
        let us = u64::from(n) * 4_000;
        datagrams(number, 2_500, number * 4).into_iter().for_each(|d| receiver.datagram(d, us));
        receiver.tick(us);
        got.extend(std::iter::from_fn(|| frame(&mut receiver)).map(|number| (n, number)));
    }
    let again: Vec<_> = got.iter().filter(|(n, _)| *n >= 300).collect();
    assert!(again.len() > 100 && again.iter().all(|(n, number)| n - 300 == *number), "{again:?}");
}

#[test]
fn late_shards_of_frames_that_are_out_begin_nothing_anew() {
    let mut receiver = Receiver::new(Own::default());
    datagrams(0, 2_500, 0).into_iter().for_each(|d| receiver.datagram(d, 0));
    for n in 1..2_000u32 {
        // Sent again and again under new numbers, long after it was whole.
        let us = u64::from(n) * 1_000;
        datagrams(0, 2_500, n * 4).into_iter().for_each(|d| receiver.datagram(d, us));
        receiver.tick(us);
    }
    let out = std::iter::from_fn(|| frame(&mut receiver));
    assert_eq!(out.collect::<Vec<_>>(), [0]);
}

#[test]
fn one_false_number_is_not_believed_for_long() {
    let mut receiver = Receiver::new(Own::default());
    let false_one = datagrams(900, 500, 60_000).remove(0);
    let mut got = 0;
    for n in 0..300u32 {
        datagrams(n, 2_500, n * 4).into_iter().for_each(|d| receiver.datagram(d, n.into()));
        if n == 10 {
            receiver.datagram(false_one.clone(), n.into());
        }
        receiver.tick(n.into());
        got += std::iter::from_fn(|| frame(&mut receiver)).count();
    }
    assert!(got > 100, "{got}");
}

#[test]
fn damaged_datagrams_never_panic() {
    let mut receiver = Receiver::new(Own::default());
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..10_000u32 {
        for datagram in datagrams(n, 2_500, n * 4) {
            let mut bytes = datagram.to_vec();
            let at = random.usize(..60);
            bytes[at] ^= random.u8(..);
            receiver.datagram(bytes.into(), u64::from(n) * 1_000);
        }
        receiver.tick(u64::from(n) * 1_000);
        while receiver.poll(u64::from(n) * 1_000).is_some() {}
        while let Some(event) = receiver.poll_event() {
            if let Event::Frame(unit) = event {
                let _ = unit.stamps.durations_us();
            }
        }
        assert!(receiver.held() < 64 << 20);
    }
}

#[test]
fn a_report_that_was_held_back_says_nothing_of_now() {
    let mut receiver = Receiver::new(Own::default());
    receiver.next_report(0);
    let old = Report { camera: true, sent_us: 7, echo_us: 1_000, held_us: 2_000, ..Report::default() };
    receiver.report(&old, 1_000 + STALE_US + 2_001);
    assert!(!receiver.has_met() && receiver.heard_us().is_none());
    assert_eq!(receiver.tally.repeated, 1);
    receiver.report(&old, 1_000 + STALE_US + 2_000);
    assert!(receiver.has_met());
}

#[test]
fn keyframes_are_granted_at_a_bounded_rate() {
    let mut receiver = Receiver::new(Own::default());
    receiver.next_report(0);
    let mut granted = 0;
    for ms in 1..=2_000u64 {
        receiver.report(&asking(true, ms * 1_000), ms * 1_000);
        granted += keyframes(&mut receiver);
    }
    assert_eq!(granted, 8);
}

#[test]
fn only_who_answers_is_there() {
    let mut receiver = Receiver::new(Own::default());
    let report = |receiver: &mut Receiver, echo_us, now_us| {
        receiver.report(&Report { echo_us, sent_us: now_us, ..Report::default() }, now_us);
        receiver.has_met()
    };
    assert!(!report(&mut receiver, 900, 1_000), "before we said anything");
    receiver.next_report(2_000);
    assert!(!report(&mut receiver, 1_999, 3_000), "an answer to an earlier session");
    assert_eq!(receiver.answered_us(), None);
    assert!(report(&mut receiver, 2_000, 4_000));
    assert_eq!(receiver.answered_us(), Some(4_000));
    assert!(matches!(receiver.poll_event(), Some(Event::Connected)));
    assert!(matches!(receiver.poll_event(), Some(Event::KeyframeRequested)));
}

#[test]
fn a_report_that_was_heard_before_changes_nothing() {
    let mut receiver = Receiver::new(Own::default());
    let old = Report { camera: true, sent_us: 10, ..Report::default() };
    receiver.report(&old, 100);
    receiver.report(&Report { camera: false, sent_us: 20, ..Report::default() }, 200);
    receiver.report(&old, 300);
    assert!(!receiver.peer().camera);
    let report = receiver.next_report(1_200);
    assert_eq!((report.echo_us, report.held_us), (20, 1_000));
}

#[test]
fn what_is_given_up_asks_for_a_keyframe_by_itself() {
    let mut receiver = Receiver::new(Own::default());
    let mut holed = datagrams(3, 8_000, 0);
    holed.drain(2..5);
    holed.into_iter().for_each(|d| receiver.datagram(d, 1_000));
    let mut asked = false;
    for ms in 1..1_500 {
        receiver.tick(ms * 1_000);
        while let Some(bytes) = receiver.poll(ms * 1_000) {
            asked |= matches!(Feedback::parse(bytes), Some(Feedback::Report(report)) if report.keyframe);
        }
    }
    assert!(asked);
}

#[test]
fn arrivals_and_questions_go_back() {
    let mut receiver = Receiver::new(Own::default());
    let mut holed = datagrams(3, 8_000, 0);
    holed.drain(2..5);
    holed.into_iter().for_each(|d| receiver.datagram(d, 1_000));
    let (mut arrivals, mut nacks) = (0, 0);
    for ms in 1..60 {
        receiver.tick(ms * 1_000);
        while let Some(bytes) = receiver.poll(ms * 1_000) {
            match Feedback::parse(bytes) {
                Some(Feedback::Arrivals(told)) => arrivals += told.iter().flatten().count(),
                Some(Feedback::Nacks(asked)) => {
                    assert_eq!((asked[0].frame, asked[0].need), (3, 2));
                    nacks += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!(arrivals, datagrams(3, 8_000, 0).len() - 3);
    assert_eq!(nacks, 2, "one question, sent twice");
}

#[test]
fn sound_comes_out_once_and_shares_the_numbers_of_frames() {
    let mut receiver = Receiver::new(Own::default());
    let mut packetizer = VoicePacketizer::default();
    let mut voice = |number: u32, packet: u32| {
        let frame = VoiceFrame { number, capture_us: 9_000, data: vec![1; 80].into() };
        packetizer.packetize(frame, packet).unwrap()
    };
    let shards = datagrams(3, 900, 1);
    receiver.voice(voice(7, 0), 1_000);
    shards.into_iter().for_each(|datagram| receiver.datagram(datagram, 1_100));
    let second = voice(8, 9);
    receiver.voice(second.clone(), 1_200);
    receiver.voice(second, 1_200);
    receiver.tick(1_200);
    let events: Vec<_> = std::iter::from_fn(|| receiver.poll_event()).collect();
    let voices = events.iter().filter_map(|event| match event {
        Event::Voice(frame) => Some(frame.number),
        _ => None,
    });
    assert_eq!(voices.collect::<Vec<_>>(), [7, 8]);
    assert!(events.iter().any(|event| matches!(event, Event::Frame(unit) if unit.number == 3)));
    assert_eq!((receiver.tally.voice, receiver.tally.repeated), (2, 1));
}

#[test]
fn the_secret_goes_with_every_report_until_the_peer_says_that_it_has_it() {
    let mut receiver = Receiver::new(Own { secret: Some([9; 32]), ..Own::default() });
    let keys = |receiver: &mut Receiver, now_us| {
        let answers: Vec<_> = std::iter::from_fn(|| receiver.poll(now_us)).collect();
        answers.into_iter().filter(|a| Feedback::parse(a.clone()) == Some(Feedback::Key([9; 32]))).count()
    };
    assert_eq!(keys(&mut receiver, 1_000_000), 1);
    assert_eq!(keys(&mut receiver, 1_100_000), 1);
    // An answer shows that a report has come; the secret goes in a datagram of its own, which may be lost.
    let answer = Report { echo_us: 1_000_000, sent_us: 5, ..Report::default() };
    receiver.report(&answer, 1_150_000);
    assert_eq!(keys(&mut receiver, 1_300_000), 1);
    receiver.report(&Report { has_key: true, sent_us: 6, ..answer }, 1_350_000);
    assert_eq!(keys(&mut receiver, 1_500_000), 0);
}
