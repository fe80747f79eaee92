use super::*;
use crate::sound::testkit::{Line, Outcome, run};
use crate::sound::voice_codec::VoiceEncoder;

const CLEAN: Line = Line {
    ppm: 0.0,
    read_late_us: 0.0,
    jitter_ms: 0.0,
    loss: 0.0,
    burst: None,
    step: None,
    first: 0,
    seed: 1,
};

fn talk(line: Line, seconds: f64) -> Outcome {
    run(line, seconds).unwrap()
}

#[test]
fn a_clean_line_costs_one_frame_and_what_the_codec_takes() {
    let outcome = talk(CLEAN, 8.0);
    assert_eq!((outcome.clicks, outcome.concealed, outcome.jumps), (0, 0, 0), "{outcome:?}");
    // 10 ms of frame, 20 ms of line, 2.5 ms of Opus; up to 5 ms until the next look, and 5 ms of look-ahead.
    assert!(outcome.most_delay_ms < 45.0, "{outcome:?}");
}

#[test]
fn clocks_that_differ_make_no_click_and_no_growth() {
    for ppm in [-200.0, 200.0] {
        let outcome = talk(Line { ppm, ..CLEAN }, 30.0);
        assert_eq!((outcome.clicks, outcome.concealed, outcome.jumps), (0, 0, 0), "{ppm}: {outcome:?}");
        assert!((outcome.delay_ms[1] - outcome.delay_ms[0]).abs() < 7.0, "{ppm}: {outcome:?}");
        assert!((outcome.drift_ppm - ppm).abs() < 5.0, "{ppm}: {outcome:?}");
    }
}

#[test]
fn jitter_is_taken_up_by_the_delay_and_not_by_the_listener() {
    let outcome = talk(Line { jitter_ms: 25.0, ..CLEAN }, 20.0);
    // The delay grows before the voice has come up, and by the frames that are late first.
    assert!(outcome.clicks == 0 && outcome.jumps <= 1 && outcome.concealed <= 3, "{outcome:?}");
    assert!(outcome.most_delay_ms < 80.0, "{outcome:?}");
}

#[test]
fn five_per_cent_of_loss_conceal_next_to_nothing() {
    let outcome = talk(Line { loss: 0.05, ..CLEAN }, 60.0);
    // The first to be so late is not waited for, nor the second of two; three in a row, one in 8000, cost four
    // frames, for they are waited for first.
    assert!(outcome.concealed <= 15, "{outcome:?}");
    assert!(outcome.most_delay_ms < 95.0, "{outcome:?}");
}

#[test]
fn a_path_that_becomes_longer_or_shorter_is_followed_by_pitch_periods() {
    let longer = talk(Line { step: Some((5.0, 120.0)), ..CLEAN }, 20.0);
    assert!(longer.concealed <= 13, "{longer:?}");
    assert!(longer.delay_ms[1] < 175.0 && longer.delay_ms[1] > 140.0, "{longer:?}");
    let shorter = talk(Line { step: Some((5.0, -19.0)), jitter_ms: 0.0, ..CLEAN }, 30.0);
    assert_eq!(shorter.concealed, 0, "{shorter:?}");
    assert!(shorter.delay_ms[1] < longer.delay_ms[0] - 12.0, "the delay comes down again: {shorter:?}");
}

/// Half an hour, half of it before the frames' numbers begin again at 0; both cards tell of their positions by
/// periods. Nothing has grown at its end.
fn half_an_hour(line: Line) -> Outcome {
    const SECONDS: f64 = 1_800.0;
    const FRAMES: u32 = 180_000;
    let outcome = talk(Line { read_late_us: 5_000.0, first: u32::MAX - FRAMES / 2, ..line }, SECONDS);
    println!("{line:?}: {outcome:?}, {:.4} % concealed", outcome.concealed_share() * 100.0);
    assert!(outcome.decoded + outcome.concealed > u64::from(FRAMES) - 100, "{outcome:?}");
    assert_eq!(outcome.clicks, 0, "{outcome:?}");
    assert!((outcome.drift_ppm - line.ppm).abs() < 2.0, "{outcome:?}");
    assert!(outcome.known_off_ms < 1.0, "{outcome:?}");
    outcome
}

/// By how much delay and buffer may have grown, or shrunk, from the first minute to the last: a frame.
fn assert_flat(outcome: &Outcome) {
    assert!((outcome.delay_ms[1] - outcome.delay_ms[0]).abs() < 10.0, "{outcome:?}");
    assert!(outcome.waiting[1].abs_diff(outcome.waiting[0]) <= VOICE_FRAME, "{outcome:?}");
}

#[test]
fn half_an_hour_at_100_ppm_makes_no_click_and_no_growth() {
    let outcome = half_an_hour(Line { ppm: 100.0, ..CLEAN });
    assert_eq!((outcome.concealed, outcome.jumps), (0, 0), "{outcome:?}");
    assert_flat(&outcome);
}

#[test]
fn half_an_hour_at_minus_100_ppm_makes_no_click_and_no_growth() {
    let outcome = half_an_hour(Line { ppm: -100.0, ..CLEAN });
    assert_eq!((outcome.concealed, outcome.jumps), (0, 0), "{outcome:?}");
    assert_flat(&outcome);
}

#[test]
fn half_an_hour_of_loss_and_jitter_conceals_next_to_nothing() {
    let outcome = half_an_hour(Line { ppm: 100.0, loss: 0.05, jitter_ms: 25.0, ..CLEAN });
    assert!(outcome.concealed_share() <= 0.001, "{outcome:?}");
    assert_flat(&outcome);
}

#[test]
fn half_an_hour_of_bursts_conceals_what_three_copies_cannot_save() {
    let outcome = half_an_hour(Line { ppm: -100.0, loss: 0.05, burst: Some(3.0), jitter_ms: 25.0, ..CLEAN });
    assert!(outcome.concealed_share() <= 0.025, "{outcome:?}");
    // The longest burst of a minute decides, and is now longer, now shorter: nothing grows, that is all.
    assert!(outcome.delay_ms[1] < outcome.delay_ms[0] + 10.0, "{outcome:?}");
    assert!(outcome.waiting[1] <= outcome.waiting[0] + VOICE_FRAME, "{outcome:?}");
}

fn frame(number: u32, data: &'static [u8]) -> VoiceFrame {
    VoiceFrame { number, capture_us: u64::from(number) * 10_000, data: data.into() }
}

#[test]
fn what_no_decoder_takes_is_counted_and_harmless() {
    let mut playout = Playout::new().unwrap();
    // An empty frame, a code 3 packet without a count, 60 ms of SILK, and noise.
    let bad: [&[u8]; 4] = [&[], &[0xff], &[0x18, 1, 2, 3], &[0x55; 200]];
    let (mut arrived, mut played, mut output) = (Arrived::default(), Played::default(), 0);
    for round in 0..200 {
        playout.arrived(frame(round, bad[round as usize % 4]), output, &mut arrived);
        for _ in 0..2 {
            let mut out = [0.0; PERIOD];
            let now = playout.render(output, &mut out);
            played.malformed += now.malformed;
            assert!(out.iter().all(|x| x.is_finite() && x.abs() < 4.0));
            output += PERIOD as i64;
        }
    }
    assert!(played.malformed > 40, "{played:?}");
}

#[test]
fn absurd_times_and_ten_times_the_rate_change_nothing_for_long() {
    let mut playout = Playout::new().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut arrived = Arrived::default();
    for round in 0..300i64 {
        for k in 0..10u32 {
            let number = if random.u8(..) < 8 { random.u32(..) } else { round as u32 * 10 + k };
            let frame = VoiceFrame { number, capture_us: random.u64(..), data: vec![0xe8; 3].into() };
            playout.arrived(frame, round * PERIOD as i64, &mut arrived);
        }
        let mut out = [0.0; PERIOD];
        playout.render(round * PERIOD as i64, &mut out);
        assert!(playout.waiting() < 80 * VOICE_FRAME, "{}", playout.waiting());
    }
    assert!(arrived.dropped + arrived.late + arrived.begun > 100, "{arrived:?}");
}

#[test]
fn what_was_waited_for_and_is_lost_is_not_concealed_again() {
    let mut encoder = crate::sound::voice_codec::VoiceEncoder::new().unwrap();
    let mut playout = Playout::new().unwrap();
    let (mut arrived, mut played, mut output) = (Arrived::default(), Played::default(), 0);
    let mut missing = Vec::new();
    let mut out = [0.0; PERIOD];
    for number in 0..400 {
        let tone = std::array::from_fn(|n| 0.1 * ((n as f32) * 0.0576).sin());
        let data = encoder.encode(&tone).unwrap();
        missing.push(VoiceFrame { number, capture_us: u64::from(number) * 10_000, data });
        // Three datagrams in a row are lost, and so is the first of their frames.
        if !(300..303).contains(&number) {
            let there = missing.drain(..).filter(|frame| frame.number + 3 > number);
            there.for_each(|frame| playout.arrived(frame, output, &mut arrived));
        }
        for _ in 0..2 {
            played.concealed += playout.render(output, &mut out).concealed;
            output += PERIOD as i64;
        }
    }
    // While the next datagram was waited for, 30 ms; one of them is in the place of the frame that is lost.
    assert_eq!(played.concealed, 3);
}

#[test]
fn who_falls_silent_is_not_invented_for_ever() {
    let mut encoder = crate::sound::voice_codec::VoiceEncoder::new().unwrap();
    let mut playout = Playout::new().unwrap();
    let (mut arrived, mut played, mut output) = (Arrived::default(), Played::default(), 0);
    let mut out = [0.0; PERIOD];
    for number in 0..100 {
        let tone = std::array::from_fn(|n| 0.1 * ((n as f32) * 0.0576).sin());
        let data = encoder.encode(&tone).unwrap();
        let frame = VoiceFrame { number, capture_us: u64::from(number) * 10_000, data };
        playout.arrived(frame, output, &mut arrived);
        for _ in 0..2 {
            playout.render(output, &mut out);
            output += PERIOD as i64;
        }
    }
    for _ in 0..100 {
        played.concealed += playout.render(output, &mut out).concealed;
        output += PERIOD as i64;
    }
    assert!(!playout.is_playing() && played.concealed <= GONE as u32 + 2, "{played:?}");
    assert_eq!(out, [0.0; PERIOD]);
}

#[test]
fn what_the_picture_asked_of_one_stream_is_not_asked_of_the_next() {
    let mut playout = Playout::new().unwrap();
    let mut arrived = Arrived::default();
    playout.arrived(frame(7, &[0xe8, 0, 0]), 0, &mut arrived);
    // Places count from the stream's own numbers, so that of another stream this would be minutes.
    playout.wait_for_picture(Some(playout.least_delay() + 480));
    playout.arrived(frame(1_000_000, &[0xe8, 0, 0]), 240, &mut arrived);
    // What is left of the first stream fades out.
    playout.render(240, &mut [0.0; PERIOD]);
    playout.arrived(frame(1_000_001, &[0xe8, 0, 0]), 480, &mut arrived);
    let off = playout.delay(480) - playout.least_delay() as f64;
    assert!(off.abs() <= 2.0 * PERIOD as f64, "{off} samples off");
    assert_eq!(arrived.begun, 2);
}

const TONE_HZ: f32 = 330.0;
const PEAK: f32 = 0.05;

/// A tone, coded by an encoder that has long been at it when the frame `number` comes.
fn tone(number: u32, count: u32) -> Vec<VoiceFrame> {
    const BEFORE: u32 = 50;
    let mut encoder = VoiceEncoder::new().unwrap();
    let samples = |frame: u32| -> [f32; VOICE_FRAME] {
        let turn = |n: usize| (frame as usize * VOICE_FRAME + n) as f32 / 48_000.0 * TONE_HZ;
        std::array::from_fn(|n| PEAK * (turn(n).fract() * std::f32::consts::TAU).sin())
    };
    let mut code = |frame| {
        let data = encoder.encode(&samples(frame)).unwrap();
        let number = number.wrapping_add(frame).wrapping_sub(BEFORE);
        VoiceFrame { number, capture_us: u64::from(frame) * 10_000, data }
    };
    (0..BEFORE + count).map(&mut code).skip(BEFORE as usize).collect()
}

/// Plays frames as they come, one each 10 ms, and then for half a second more.
fn play(frames: Vec<VoiceFrame>) -> Vec<f32> {
    let (mut playout, mut arrived, mut heard) = (Playout::new().unwrap(), Arrived::default(), Vec::new());
    let periods = frames.len() * 2 + 100;
    let mut frames = frames.into_iter();
    for period in 0..periods {
        let output = (period * PERIOD) as i64;
        if period % 2 == 0
            && let Some(frame) = frames.next()
        {
            playout.arrived(frame, output, &mut arrived);
        }
        let mut out = [0.0; PERIOD];
        playout.render(output, &mut out);
        heard.extend(out);
    }
    heard
}

/// How far a sample is at most off what follows from the two before it in a tone.
fn loudest_click(heard: &[f32]) -> f32 {
    let follows = 2.0 * (std::f32::consts::TAU * TONE_HZ / 48_000.0).cos();
    heard.windows(3).map(|x| (x[2] - follows * x[1] + x[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn a_voice_that_is_joined_in_the_middle_and_ends_there_makes_no_click() {
    let heard = play(tone(7, 100));
    assert!(heard.iter().any(|x| x.abs() > 0.9 * PEAK), "it is heard");
    assert!(heard[heard.len() - PERIOD..].iter().all(|&x| x == 0.0), "and over");
    assert!(loudest_click(&heard) < PEAK / 300.0, "{}", loudest_click(&heard));
}

#[test]
fn a_voice_that_begins_anew_makes_no_click() {
    let frames = [tone(7, 100), tone(5_000, 100)].concat();
    let heard = play(frames);
    assert!(loudest_click(&heard) < PEAK / 300.0, "{}", loudest_click(&heard));
}

#[test]
fn a_delay_that_is_too_long_comes_down_at_once_while_nobody_speaks() {
    let (mut random, mut encoder) = (fastrand::Rng::with_seed(3), VoiceEncoder::new().unwrap());
    let (mut playout, mut arrived, mut played) =
        (Playout::new().unwrap(), Arrived::default(), Played::default());
    let mut delays = Vec::new();
    // A room's noise, of -56 dB.
    for number in 0..300 {
        let noise: [f32; VOICE_FRAME] = std::array::from_fn(|_| 0.0055 * (random.f32() - 0.5));
        let data = encoder.encode(&noise).unwrap();
        let output = i64::from(number) * FRAME;
        playout.arrived(
            VoiceFrame { number, capture_us: u64::from(number) * 10_000, data },
            output,
            &mut arrived,
        );
        playout.wait_for_picture((number < 150).then_some(6_000));
        for period in [output, output + PERIOD as i64] {
            played.concealed += playout.render(period, &mut [0.0; PERIOD]).concealed;
        }
        delays.push(playout.delay(output + FRAME));
    }
    // Of 75 ms as much as is too long is gone in half a second; at half a per cent it would be 2.5 ms.
    assert!(delays[149] > 5_500.0 && delays[200] < 2_500.0, "{:?}", [delays[149], delays[200]]);
    assert_eq!(played.concealed, 0);
}
