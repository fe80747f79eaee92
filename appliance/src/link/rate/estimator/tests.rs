//! One test for each way a path can be, in virtual time.

use super::simulator::{Dice, Loss, Moment, Trace, World, run};
use super::*;

fn go(world: &World, seconds: f64) -> Trace {
    run(world, &mut Estimator::new(world.limits), seconds)
}

fn target(moment: &Moment) -> f64 {
    moment.target
}

fn got(moment: &Moment) -> f64 {
    moment.got
}

/// The step: 20 Mbit/s, 5 from 10 s, 20 from 30 s.
fn step(change: impl FnOnce(&mut World)) -> Trace {
    let mut world = World { rate: vec![(0.0, 20.0), (10.0, 5.0), (30.0, 20.0)], ..World::new() };
    change(&mut world);
    go(&world, 60.0)
}

fn tell_step(name: &str, trace: &Trace) -> (f64, f64, f64) {
    let peak_ms = trace.most(10.0, 30.0, |moment| moment.queue_ms);
    let drained_s = trace.until(10.0, |moment| moment.queue_ms < 50.0);
    let back_s = trace.until(30.0, |moment| moment.target >= 16.0);
    let padding = |from, to| {
        trace.within(from, to).map(|moment| moment.padding as f64).sum::<f64>() * 8.0 / 1e6 / (to - from)
    };
    println!(
        "{name}: peak {peak_ms:.0} ms, below 50 ms after {drained_s:.2} s, 80 % after {back_s:.2} s, standing {:.1} ms \
         (narrow) {:.1} ms (wide), use {:.0} % (narrow) {:.0} % (wide), padding {:.3} and {:.3} Mbit/s",
        trace.standing(12.0, 30.0),
        trace.standing(35.0, 60.0),
        trace.mean(15.0, 30.0, got) / 0.05,
        trace.mean(45.0, 60.0, got) / 0.2,
        padding(15.0, 30.0),
        padding(45.0, 60.0),
    );
    (peak_ms, drained_s, back_s)
}

fn holds_step(name: &str, trace: &Trace) {
    let (peak_ms, drained_s, back_s) = tell_step(name, trace);
    assert!(peak_ms < 450.0, "{name}");
    assert!(drained_s < 1.5, "{name}");
    assert!(back_s < 10.0, "{name}");
    assert!(trace.standing(12.0, 30.0) < 30.0, "{name}");
    assert!(trace.standing(31.0, 60.0) < 30.0, "{name}");
    assert!(trace.mean(15.0, 30.0, got) > 4.2, "{name}");
}

#[test]
fn step_down_drains_and_step_up_is_found() {
    let trace = step(|_| {});
    println!("the step down, every 50 ms; then the step up, every 500 ms");
    trace.print(9.8, 11.5, 5);
    trace.print(29.5, 40.0, 50);
    holds_step("60 frames a second", &trace);
    holds_step("30 frames a second", &step(|world| world.fps = 30.0));
    holds_step("hungry encoder", &step(|world| world.encoder = vec![(0.0, 50.0)]));
    holds_step("20 packets", &step(|world| world.buffer = 20));
}

#[test]
fn the_step_holds_for_other_seeds_and_distances() {
    for seed in 2..5 {
        for delay in [10.0, 40.0] {
            for fps in [30.0, 60.0] {
                let change = |world: &mut World| {
                    *world = World { seed, delay: vec![(0.0, delay)], fps, ..world.clone() }
                };
                let name = format!("seed {seed}, {delay} ms, {fps}/s");
                let (_, drained_s, back_s) = tell_step(&name, &step(change));
                assert!(drained_s < 1.5 && back_s < 10.0);
            }
        }
    }
}

#[test]
fn a_slow_encoder_still_drains() {
    let trace = step(|world| world.follow = 200.0);
    let (_, drained_s, back_s) = tell_step("encoder follows in 200 ms", &trace);
    assert!(drained_s < 2.0 && back_s < 10.0);
}

#[test]
fn a_new_session_finds_the_rate_in_a_second() {
    let trace = go(&World { encoder: vec![(0.0, 50.0)], ..World::new() }, 20.0);
    let found_s = trace.until(0.0, |moment| moment.target > 16.0);
    println!("found after {found_s:.2} s");
    trace.print(0.0, 2.0, 10);
    assert!(found_s < 1.0);
    assert!(trace.standing(0.0, 20.0) < 30.0);
    assert!(trace.mean(2.0, 20.0, got) > 17.0);
}

#[test]
fn light_loss_costs_nothing() {
    for loss in [Loss::Random(0.02), Loss::Random(0.05), Loss::Bursts(0.03)] {
        for seed in 1..4 {
            let world = World {
                loss,
                seed,
                limits: Limits { ceiling_kbps: 18_000, ..World::new().limits },
                ..World::new()
            };
            let trace = go(&world, 30.0);
            println!(
                "least target {:.1}, mean {:.1}",
                trace.least(3.0, 30.0, target),
                trace.mean(3.0, 30.0, target)
            );
            assert!(trace.least(5.0, 30.0, target) > 16.0);
        }
    }
}

#[test]
fn a_policer_is_obeyed() {
    let world = World { policer: Some(10.0), encoder: vec![(0.0, 50.0)], ..World::new() };
    let trace = go(&world, 60.0);
    trace.print(0.0, 60.0, 200);
    println!("loss {:.3}, got {:.1}", trace.loss(5.0, 60.0), trace.mean(5.0, 60.0, got));
    assert!(trace.loss(5.0, 60.0) < 0.05);
    assert!(trace.mean(5.0, 60.0, got) > 7.5);
}

#[test]
fn shallow_and_deep_buffers_converge_without_storms() {
    for (buffer, least) in [(20, 7.5), (2000, 8.5)] {
        for fps in [30.0, 60.0] {
            let world =
                World { rate: vec![(0.0, 10.0)], buffer, fps, encoder: vec![(0.0, 50.0)], ..World::new() };
            let trace = go(&world, 40.0);
            println!(
                "{buffer} packets: loss {:.3}, got {:.2}, standing {:.1}",
                trace.loss(2.0, 40.0),
                trace.mean(5.0, 40.0, got),
                trace.standing(2.0, 40.0)
            );
            assert!(trace.loss(2.0, 40.0) < 0.05);
            assert!(trace.mean(5.0, 40.0, got) > least);
            assert!(trace.standing(2.0, 40.0) < 30.0);
        }
    }
}

#[test]
fn jitter_stalls_and_drift_do_not_collapse_it() {
    let calm = World { encoder: vec![(0.0, 14.0)], ..World::new() };
    let worlds = [
        ("jitter", World { jitter: 10.0, ..calm.clone() }),
        ("jitter that reorders", World { jitter: 10.0, reorders: true, ..calm.clone() }),
        ("jitter at 30 frames", World { jitter: 10.0, reorders: true, fps: 30.0, ..calm.clone() }),
        ("stalls", World { stall: 60.0, ..calm.clone() }),
        ("drift ahead", World { drift: 100.0, ..calm.clone() }),
        ("drift behind", World { drift: -100.0, ..calm.clone() }),
        ("all", World { jitter: 5.0, stall: 60.0, drift: 100.0, loss: Loss::Random(0.02), ..calm.clone() }),
    ];
    for (name, world) in worlds {
        let trace = go(&world, 60.0);
        println!(
            "{name}: got {:.2}, least target {:.2}",
            trace.mean(5.0, 60.0, got),
            trace.least(5.0, 60.0, target)
        );
        assert!(trace.mean(5.0, 60.0, |moment| moment.sent) > 13.0, "{name}");
        assert!(trace.least(5.0, 60.0, target) > 9.0, "{name}");
    }
    // Hungry and noisy: no collapse, and no standing queue.
    for jitter in [3.0, 10.0] {
        let trace = go(&World { encoder: vec![(0.0, 50.0)], jitter, reorders: true, ..World::new() }, 60.0);
        println!(
            "hungry, {jitter}: got {:.2}, standing {:.1}",
            trace.mean(5.0, 60.0, got),
            trace.standing(5.0, 60.0)
        );
        assert!(trace.mean(5.0, 60.0, got) > 15.0);
    }
}

#[test]
fn a_rival_is_given_way_and_its_share_taken_back() {
    let world = World { rival: (10.0, 20.0, 10.0), ..World::new() };
    let trace = go(&world, 40.0);
    trace.print(9.5, 30.0, 50);
    assert!(trace.mean(13.0, 20.0, got) > 7.0);
    assert!(trace.mean(13.0, 20.0, |moment| moment.queue_ms) < 30.0);
    assert!(trace.until(20.0, |moment| moment.target > 15.0) < 10.0);
}

#[test]
fn a_longer_way_is_no_queue() {
    let world = World { delay: vec![(0.0, 20.0), (10.0, 50.0), (30.0, 20.0)], ..World::new() };
    let trace = go(&world, 40.0);
    trace.print(9.8, 14.0, 10);
    let back_s = trace.until(10.5, |moment| moment.target > 15.0);
    println!("back after {back_s:.2} s");
    assert!(back_s < 2.0);
    assert!(trace.least(10.0, 40.0, target) > 8.0);
}

#[test]
fn an_idle_encoder_does_not_inflate_the_rate() {
    let limits = Limits { start_kbps: 4_000, floor_kbps: 500, ceiling_kbps: 12_000 };
    // Padding does not come through: nothing is proven.
    struct Unproven(Estimator);
    impl super::simulator::Control for Unproven {
        fn report(&mut self, arrivals: &[Arrival], lost: u32, now_us: u64) {
            self.0.report(arrivals, lost, now_us);
        }
        fn tick(&mut self, now_us: u64, unanswered_us: Option<u64>) {
            self.0.tick(now_us, unanswered_us);
        }
        fn target_kbps(&self) -> f64 {
            self.0.target_kbps().into()
        }
        fn queue_us(&self) -> u64 {
            self.0.queue_us()
        }
        fn probe(&mut self, _: u64) -> Option<(f64, u64)> {
            None
        }
    }
    let world = World { limits, encoder: vec![(0.0, 3.0)], ..World::new() };
    let trace = run(&world, &mut Unproven(Estimator::new(limits)), 30.0);
    let most = trace.most(0.0, 30.0, target);
    assert!(most > 4.2 && most < 3.0 * 1.65, "{most}");
}

#[test]
fn at_the_ceiling_and_while_a_queue_stands_there_is_no_padding() {
    let limits = Limits { start_kbps: 4_000, floor_kbps: 500, ceiling_kbps: 12_000 };
    let trace = go(&World { limits, ..World::new() }, 20.0);
    assert_eq!(trace.within(3.0, 20.0).map(|moment| moment.padding).sum::<u64>(), 0);
    let trace = step(|_| {});
    assert_eq!(trace.within(10.1, 11.3).map(|moment| moment.padding).sum::<u64>(), 0);
    // And never much of it.
    assert!(trace.within(15.0, 60.0).map(|moment| moment.padding).sum::<u64>() / 45 < 25_000);
}

#[test]
fn the_rest_of_a_queue_that_drained_gives_no_rate_back() {
    // As wide as before it may be for a longer way that came alone, not for one under a queue that has
    // fallen.
    for longer_ms in [6.0, 8.0, 12.0] {
        let trace = step(|world| world.delay = vec![(0.0, 20.0), (10.0, 20.0 + longer_ms)]);
        let most = trace.most(11.0, 30.0, target);
        assert!(most < 8.0, "{longer_ms} ms: {most} Mbit/s on a line of 5");
        assert!(trace.mean(15.0, 30.0, got) > 4.0, "{longer_ms} ms");
    }
}

#[test]
fn silence_lowers_the_rate_and_its_end_restores_it() {
    let trace = go(&World { deaf: (10.0, 11.0), ..World::new() }, 30.0);
    let before = trace.mean(9.0, 10.0, target);
    assert!(trace.least(10.0, 11.2, target) < before * 0.6);
    assert!(trace.least(10.0, 10.1, target) > before * 0.99);
    assert!(trace.mean(11.5, 12.0, target) > before * 0.85);
    // Nothing out, nothing to hear.
    let mut estimator = Estimator::new(World::new().limits);
    estimator.tick(60_000_000, None);
    assert_eq!(estimator.target_kbps(), 4_000);
}

#[test]
fn nonsense_changes_nothing() {
    let limits = World::new().limits;
    let good = |at: u64| -> Vec<Arrival> {
        (0..20)
            .map(|i| Arrival {
                sent_us: at + i * 1000,
                received_us: at + i * 1000 + 5_020_000,
                bytes: 1100,
                probe: false,
            })
            .collect()
    };
    let mut estimator = Estimator::new(limits);
    let mut untouched = Estimator::new(limits);
    for at in (1_000_000..3_000_000).step_by(25_000) {
        estimator.report(&good(at), 0, at + 60_000);
        untouched.report(&good(at), 0, at + 60_000);
        let one = |sent_us, received_us, bytes| Arrival { sent_us, received_us, bytes, probe: at % 2 == 0 };
        let bad = [
            one(u64::MAX, 0, 1100),
            one(0, u64::MAX, 1100),
            one(u64::MAX, u64::MAX, u32::MAX),
            one(at, at + 5_020_000, 0),
            one(at + 10_000_000, at + 15_020_000, 1100),
            one(at, at, 1100),
            one(at, at + 90_000_000, 1100),
        ];
        estimator.report(&bad[..1 + (at / 25_000 % 7) as usize], u32::MAX, at + 60_000);
        estimator.report(&[], 0, at + 60_000);
        estimator.report(&[], u32::MAX, at + 60_000);
        assert_eq!(estimator.target_kbps(), untouched.target_kbps());
        assert_eq!(estimator.queue_us(), untouched.queue_us());
    }
}

#[test]
fn dice_neither_panic_nor_leave_the_limits() {
    let limits = Limits { start_kbps: 4_000, floor_kbps: 500, ceiling_kbps: 60_000 };
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut estimator = Estimator::new(limits);
        let mut wild = move |near: u64| match (dice.roll() * 8.0) as u32 {
            0 => u64::MAX,
            1 => 0,
            2 => (dice.roll() * u64::MAX as f64) as u64,
            3 => 1 << (dice.roll() * 63.0) as u32,
            _ => near.saturating_add((dice.roll() * 100_000.0) as u64),
        };
        for i in 0..200u64 {
            let now_us = wild(i * 25_000);
            let arrivals: Vec<Arrival> = (0..wild(3) % 9)
                .map(|_| Arrival {
                    sent_us: wild(i * 24_000),
                    received_us: wild(i * 25_000),
                    bytes: wild(1_000) as u32 % 70_000,
                    probe: wild(0) % 2 == 0,
                })
                .collect();
            estimator.report(&arrivals, wild(2) as u32, now_us);
            estimator.tick(wild(i * 25_000), Some(wild(i * 25_000)));
            estimator.probe(i % 2 == 0, wild(i * 25_000));
            assert!((500..=60_000).contains(&estimator.target_kbps()));
            estimator.queue_us();
        }
    }
}
