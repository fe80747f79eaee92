//! Two links over a carrier in memory, for hours in seconds, under faults by seed.
//!
//! What stands at the ends is as much of a booth as the link can tell: an encoder that obeys its signals, and
//! a decoder that wants every frame it refers to.

pub(super) mod voice;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context as Waiting, Waker};

use fastrand::Rng;
use tokio::sync::mpsc;

use crate::link::carrier::sealed::Sealed;
use crate::link::crypto::sealing::{PairSeal, SenderSeal};
use crate::link::handles::Handles;
use crate::link::media::sender::Plan;
use crate::link::rate::encoder_control::EncoderControl;
use crate::link::session::{Context, Control, Feed, Notice, drive};
use crate::link::sizes;
use crate::link::sizes::{MAX_DATAGRAM, SAFE_DATAGRAM};
use crate::link::testkit::memory::{Line, MemoryCarrier, World};
use crate::media::picture::{AccessUnit, Incoming, Stamps};
use crate::media::voice::VOICE_FRAME_US;
use crate::pairing::RoomKey;

const FRAME_US: u64 = 33_333;
const MAX_KBPS: u32 = 4_000;
const DEADLINE_US: u64 = 100_000;
/// How far off the clocks may be that the booths find, in µs.
const CLOCK_US: u64 = 1_000;
/// From the end of a session to the next.
const REDIAL_US: u64 = 200_000;
/// Faults change after so long, in µs, and every so often all is well for a while.
const FAULT_US: std::ops::Range<u64> = 300_000..6_000_000;
const CLEAN_US: u64 = 12_000_000;
/// After faults, a picture must move again within this time, in µs.
const RECOVERY_US: u64 = 5_000_000;
/// A longer gap between two frames is a freeze, in µs.
const FREEZE_US: u64 = 200_000;

/// What happened in a simulation.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub struct Outcome {
    /// Virtual seconds.
    pub seconds: u64,
    /// Frames given to the links, both ways together.
    pub sent: u64,
    /// Of these, decoded at the other side.
    pub decoded: u64,
    /// Of these, within their deadline.
    pub on_time: u64,
    /// Bytes on the lines over bytes of coded frames, less one.
    pub overhead: f64,
    /// Frames that the links gave up.
    pub lost: u64,
    /// Shards sent again.
    pub repairs: u64,
    /// Keyframes asked for.
    pub keyframe_requests: u64,
    /// Gaps of more than 200 ms between two decoded frames, in a session.
    pub freezes: u64,
    /// Times that a path came to carry less at once.
    pub mtu_drops: u64,
    /// Sessions.
    pub sessions: u64,
    /// Datagrams that made no sense to their receiver.
    pub malformed: u64,
    /// Datagrams that did not open: changed on the way, or come twice.
    pub decrypt_failed: u64,
    /// What must never happen, and did.
    pub violations: Vec<String>,
}

/// The rest of a booth.
#[derive(Default)]
struct Actor {
    /// The frame that the encoder makes next, over all sessions.
    next: u32,
    decoder: Decoder,
    /// When each voice frame was put in, in µs, and what came of the other end's.
    voice_put_us: Vec<u64>,
    voice: VoiceOutcome,
}

/// What became of sound that was sent beside video.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub struct VoiceOutcome {
    /// Frames put in.
    pub sent: u64,
    /// Frames that came out at the other end.
    pub received: u64,
    /// Of these, more than 60 ms after they were put in.
    pub late: u64,
    /// From putting a frame in until its datagram went to the transport, in µs: the 99th percentile and the
    /// most.
    pub send_p99_us: u64,
    /// See [`VoiceOutcome::send_p99_us`].
    pub send_max_us: u64,
    /// Keyframes that went meanwhile.
    pub keyframes: u64,
    /// Bit rate of the video over what the line carries.
    pub load: f64,
}

#[derive(Default)]
struct Decoder {
    session: u64,
    /// The link's number that it can go on with.
    next: Option<u32>,
    /// The number that the encoder gave the frame last decoded.
    last: Option<u32>,
    decoded: u64,
    on_time: u64,
    decoded_us: u64,
    freezes: u64,
    violations: Vec<String>,
}

/// The bytes of frame `number`: from its number alone, so that the other end can check them.
fn content(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size.max(4)];
    Rng::with_seed(number.into()).fill(&mut bytes[4..]);
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

impl Actor {
    /// A camera's tick.
    fn encode(&mut self, handles: &Handles, now_us: u64, rng: &mut Rng) {
        let command = handles.encoder.get();
        if !command.connected || command.congested {
            return;
        }
        let keyframe = handles.encoder.take_keyframe();
        let kbps = match u64::from(command.target_kbps) {
            0 => 1_000,
            kbps => kbps,
        };
        let mean = kbps * FRAME_US / 8_000;
        let size = mean * rng.u64(60..140) / 100 * if keyframe { 3 } else { 1 };
        let stamps = Stamps { capture_us: now_us - 5_000, sent_us: now_us, ..Stamps::default() };
        let data = content(self.next, size as usize).into();
        let unit = AccessUnit { data, keyframe, number: self.next, stamps };
        self.next = self.next.wrapping_add(1);
        if handles.outgoing.put(unit).is_some() {
            handles.encoder.request_keyframe();
        }
    }

    /// Takes the pictures that the link gives.
    fn decode(&mut self, handles: &Handles, now_us: u64) {
        let d = &mut self.decoder;
        let peer = &handles.peers[0];
        while let Some(Incoming { session, unit }) = peer.incoming.take() {
            if session != d.session {
                (d.session, d.next, d.decoded_us) = (session, None, now_us);
            }
            if !unit.keyframe && d.next != Some(unit.number) {
                d.next = None;
                peer.needs_keyframe.store(true, Relaxed);
                continue;
            }
            peer.needs_keyframe.store(false, Relaxed);
            d.next = Some(unit.number.wrapping_add(1));
            let number = unit.data.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
            if d.last.is_some_and(|last| number <= last) {
                d.violations.push(format!("frame {number} shown after {:?}", d.last));
            }
            if unit.data[..] != content(number, unit.data.len())[..] {
                d.violations.push(format!("frame {number} is not what was sent"));
            }
            d.freezes += u64::from(now_us - d.decoded_us > FREEZE_US);
            (d.last, d.decoded_us) = (Some(number), now_us);
            d.decoded += 1;
            // Before the clocks have met, the stamps are the sender's: the same clock here.
            d.on_time += u64::from(now_us <= unit.stamps.capture_us + DEADLINE_US + CLOCK_US);
        }
    }
}

/// Something is wrong with a line, or nothing.
fn fault(rng: &mut Rng) -> Line {
    let datagram = rng.usize(SAFE_DATAGRAM + sizes::SEAL_OVERHEAD..=MAX_DATAGRAM);
    let mut line = Line { delay_us: rng.u64(1_000..60_000), datagram, ..Line::CLEAN };
    match rng.u8(..9) {
        0 => line.loss = rng.f32() * 0.1,
        1 => (line.loss, line.burst) = (rng.f32() * 0.01, 1.0 + rng.f32() * 12.0),
        2 => line.jitter_us = rng.u64(1_000..40_000),
        3 => line.double = rng.f32() * 0.3,
        4 => line.overtaken = rng.f32() * 0.2,
        5 => (line.kbps, line.queue_us) = (rng.u64(400..20_000), rng.u64(10_000..1_000_000)),
        6 => line.down = true,
        7 => line.changed = rng.f32() * 0.1,
        _ => {
            line.loss = rng.f32() * 0.05;
            line.jitter_us = rng.u64(1_000..20_000);
            line.double = 0.05;
            line.overtaken = 0.05;
            line.kbps = rng.u64(2_000..20_000);
        }
    }
    line
}

/// The line from the first end at an instant.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
struct Look {
    now_us: u64,
    queue_us: u64,
    carried_bytes: u64,
}

#[cfg(test)]
impl Look {
    fn at(world: &World) -> Self {
        Self { now_us: world.now_us(), queue_us: world.queue_us(0), carried_bytes: world.carried_bytes()[0] }
    }
}

/// Two booths, the lines between them, and what is to come.
struct Stage {
    world: Rc<RefCell<World>>,
    rng: Rng,
    actors: [Actor; 2],
    /// When each camera gives its next frame.
    camera_us: [u64; 2],
    /// When both speak next; never in most simulations.
    voice_us: u64,
    /// When a keyframe is asked for next, once a second; never in most simulations.
    keyframes_us: u64,
    /// Meanwhile cameras give none.
    pause_us: std::ops::Range<u64>,
    /// When the lines change next.
    fault_us: u64,
    /// What they change to, and when that changes again, in µs; when there is nothing more, faults.
    script: VecDeque<([Line; 2], u64)>,
    #[cfg(test)]
    looks: Vec<Look>,
    /// The highest rate of the video, in kbit/s.
    max_kbps: u32,
    /// While all is well: since when, and what each decoder had decoded last.
    clean: Option<(u64, [u64; 2])>,
}

impl Stage {
    fn new(seed: u64, max_kbps: u32, script: impl IntoIterator<Item = ([Line; 2], u64)>) -> Self {
        Self {
            world: World::new(seed, START_US),
            rng: Rng::with_seed(seed ^ 0x9E37_79B9),
            actors: Default::default(),
            camera_us: [START_US, START_US + FRAME_US / 2],
            voice_us: u64::MAX,
            keyframes_us: u64::MAX,
            pause_us: 0..0,
            fault_us: START_US,
            script: script.into_iter().collect(),
            max_kbps,
            clean: None,
            #[cfg(test)]
            looks: Vec::new(),
        }
    }

    /// Does what is due. While all is well, whoever shows nothing new for long is stuck.
    fn tick(&mut self, handles: &[Handles; 2], feeds: &[Feed; 2]) {
        let now_us = self.world.borrow().now_us();
        for (side, (actor, handles)) in self.actors.iter_mut().zip(handles).enumerate() {
            actor.decode(handles, now_us);
            actor.listen(handles, now_us);
            if now_us >= self.camera_us[side] {
                self.camera_us[side] += FRAME_US;
                if !self.pause_us.contains(&now_us) {
                    actor.encode(handles, now_us, &mut self.rng);
                }
            }
            if now_us >= self.voice_us {
                actor.speak(&feeds[side], now_us);
            }
            while let Some(unit) = handles.outgoing.take() {
                feeds[side].put(&unit);
            }
        }
        if now_us >= self.voice_us {
            self.voice_us += VOICE_FRAME_US;
        }
        if now_us >= self.keyframes_us {
            self.keyframes_us += 1_000_000;
            handles.iter().for_each(|handles| handles.encoder.request_keyframe());
        }
        if now_us >= self.fault_us {
            self.evaluate(now_us);
            self.change(now_us);
        }
        #[cfg(test)]
        self.looks.push(Look::at(&self.world.borrow()));
    }

    /// At the end of a time when all was well.
    fn evaluate(&mut self, now_us: u64) {
        let Some((since_us, before)) = self.clean.take() else { return };
        for (side, actor) in self.actors.iter_mut().enumerate() {
            let d = &mut actor.decoder;
            let frames = d.decoded - before[side];
            let expected = (CLEAN_US - RECOVERY_US) / FRAME_US / 2;
            if frames < expected || now_us - d.decoded_us > RECOVERY_US {
                let (from, to) = (since_us / 1_000, now_us / 1_000);
                d.violations.push(format!("{frames} frames from {from} to {to} ms, while nothing was wrong"));
            }
        }
    }

    fn change(&mut self, now_us: u64) {
        let rng = &mut self.rng;
        let mut world = self.world.borrow_mut();
        if let Some((lines, until_us)) = self.script.pop_front() {
            lines.into_iter().enumerate().for_each(|(from, line)| world.set_line(from, line));
            self.fault_us = until_us;
        } else if rng.u8(..6) == 0 {
            (0..2).for_each(|from| world.set_line(from, Line::CLEAN));
            self.fault_us = now_us + CLEAN_US;
            self.clean = Some((now_us, [0, 1].map(|side| self.actors[side].decoder.decoded)));
        } else {
            (0..2).for_each(|from| world.set_line(from, fault(rng)));
            self.fault_us = now_us + rng.u64(FAULT_US);
        }
    }

    /// When something is due next.
    fn next_us(&self) -> u64 {
        self.camera_us.into_iter().fold(self.fault_us.min(self.voice_us), u64::min)
    }

    /// One session, until it ends for one side or the time is over.
    fn session(&mut self, handles: &[Handles; 2], number: u64, end_us: u64) {
        let plan = Plan { max_kbps: self.max_kbps, deadline_us: DEADLINE_US };
        let paths = [format!("a/{number}"), format!("b/{number}")];
        let seals = |side: usize| {
            let pair = PairSeal::new(&RoomKey::of([7; 32]), &[1; 32], &paths[side], &paths[1 - side]);
            let sender = SenderSeal::with([number as u8 ^ side as u8; 32], &paths[side]);
            pair.and_then(|pair| Ok((Arc::new(Mutex::new(pair)), Arc::new(Mutex::new(sender?)))))
        };
        let (Ok(seals_a), Ok(seals_b)) = (seals(0), seals(1)) else { return };
        let feeds = [Feed::default(), Feed::default()];
        let controls = [0, 1].map(|_| RefCell::new(EncoderControl::default()));
        let over = [Cell::new(false), Cell::new(false)];
        let end = |side: usize, (pair, sender)| {
            let (control, receiver) = mpsc::unbounded_channel();
            let _ = control.send(Control::Join(0, number, Box::new(((), Some(pair)))));
            let carrier = MemoryCarrier::new(&self.world, side);
            (Sealed::new(carrier, Some(sender)), receiver, control)
        };
        let ((mut carrier_a, mut joins_a, _a), (mut carrier_b, mut joins_b, _b)) =
            (end(0, seals_a), end(1, seals_b));
        let context = |side: usize| Context { handles: &handles[side], control: &controls[side] };
        let notice = |side: usize| {
            let over = &over[side];
            move |_, notice: Notice| over.set(over.get() || matches!(notice, Notice::Over(_)))
        };
        let mut drives = (
            pin!(drive(&mut carrier_a, plan, &feeds[0], &mut joins_a, context(0), notice(0))),
            pin!(drive(&mut carrier_b, plan, &feeds[1], &mut joins_b, context(1), notice(1))),
        );
        let mut waiting = Waiting::from_waker(Waker::noop());
        while self.world.borrow().now_us() < end_us {
            let ended = drives.0.as_mut().poll(&mut waiting).is_ready()
                || drives.1.as_mut().poll(&mut waiting).is_ready();
            if ended || over.iter().any(Cell::get) {
                return;
            }
            self.tick(handles, &feeds);
            let limit_us = self.next_us().min(end_us);
            self.world.borrow_mut().advance(limit_us);
        }
    }
}

/// Two booths under faults by `seed` for `seconds` of virtual time.
///
/// # Errors
/// When the system gives no event descriptors.
pub fn simulate(seed: u64, seconds: u64) -> nix::Result<Outcome> {
    Ok(run(seed, seconds, MAX_KBPS, [])?.0)
}

const START_US: u64 = 10_000_000;

/// The same with video of up to `max_kbps`, over the lines of `script`, each both ways and until its end in
/// µs, and then under faults.
fn run(
    seed: u64,
    seconds: u64,
    max_kbps: u32,
    script: impl IntoIterator<Item = ([Line; 2], u64)>,
) -> nix::Result<(Outcome, Stage)> {
    play(Stage::new(seed, max_kbps, script), seconds)
}

/// Lets `stage` go on for `seconds`.
fn play(mut stage: Stage, seconds: u64) -> nix::Result<(Outcome, Stage)> {
    let end_us = START_US + seconds * 1_000_000;
    let handles = [Handles::new()?, Handles::new()?];
    let nobody = [Feed::default(), Feed::default()];
    let now_us = |stage: &Stage| stage.world.borrow().now_us();
    let mut outcome = Outcome { seconds, ..Outcome::default() };
    while now_us(&stage) < end_us {
        outcome.sessions += 1;
        stage.session(&handles, outcome.sessions, end_us);
        stage.world.borrow_mut().reset();
        // The time until the booths have found each other again.
        let until_us = now_us(&stage) + REDIAL_US;
        while now_us(&stage) < until_us {
            stage.tick(&handles, &nobody);
            let limit_us = stage.next_us().min(until_us);
            stage.world.borrow_mut().advance(limit_us);
        }
    }
    let mut coded = 0;
    for (handles, actor) in handles.iter().zip(&mut stage.actors) {
        let c = handles.peers[0].counters.snapshot();
        coded += c.sent_bytes;
        outcome.sent += c.sent_frames;
        outcome.decoded += actor.decoder.decoded;
        outcome.on_time += actor.decoder.on_time;
        outcome.freezes += actor.decoder.freezes;
        outcome.lost += c.lost_frames;
        outcome.repairs += c.repairs;
        outcome.keyframe_requests += c.keyframe_requests;
        outcome.mtu_drops += c.mtu_drops;
        outcome.malformed += c.malformed;
        outcome.decrypt_failed += c.decrypt_failed;
        outcome.violations.append(&mut actor.decoder.violations);
        actor.voice.keyframes = c.sent_keyframes;
        actor.voice.load = c.sent_bytes as f64;
    }
    outcome.overhead = stage.world.borrow().carried_bytes().iter().sum::<u64>() as f64 / coded as f64 - 1.0;
    Ok((outcome, stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_in_pictures_again() {
        let outcome = simulate(1, 60).unwrap();
        println!("{outcome:?}");
        assert!(outcome.violations.is_empty(), "{outcome:?}");
        assert!(outcome.decoded > 1_000 && outcome.repairs > 0 && outcome.decrypt_failed > 0, "{outcome:?}");
        assert_eq!(outcome.malformed, 0, "{outcome:?}");
    }

    #[test]
    fn losses_are_repaired_in_time() {
        let line = Line { delay_us: 20_000, kbps: 30_000, ..Line::CLEAN };
        for (loss, burst, late, overhead) in
            [(0.0, 1.0, 0.0, 0.2), (0.02, 1.0, 0.0, 0.28), (0.05, 1.0, 0.005, 0.5), (0.005, 6.0, 0.005, 0.8)]
        {
            let line = Line { loss, burst, ..line };
            let (outcome, _) = run(3, 15, 8_000, [([line; 2], u64::MAX)]).unwrap();
            println!("{loss} {burst}: {outcome:?}");
            // The last few are still under way.
            let missed = outcome.sent.saturating_sub(outcome.on_time + 8);
            assert!(
                missed as f64 <= late * outcome.sent as f64,
                "{loss} {burst}: {missed} late, {outcome:?}"
            );
            assert!(outcome.overhead < overhead, "{loss} {burst}: {outcome:?}");
            assert_eq!((outcome.freezes, outcome.violations.len()), (0, 0), "{loss} {burst}: {outcome:?}");
        }
    }

    #[test]
    fn a_path_that_carries_less_at_once_costs_no_frame() {
        let wide = Line { delay_us: 20_000, kbps: 30_000, ..Line::CLEAN };
        let narrow = Line { datagram: SAFE_DATAGRAM + sizes::SEAL_OVERHEAD, ..wide };
        for seed in 0..40 {
            let narrows_us = START_US + 3_000_000 + seed * 4_100;
            let script = [([wide; 2], narrows_us), ([narrow; 2], u64::MAX)];
            let (outcome, _) = run(seed, 6, 8_000, script).unwrap();
            // The last few are still under way.
            let missed = outcome.sent.saturating_sub(outcome.on_time + 8);
            assert_eq!((missed, outcome.lost, outcome.keyframe_requests), (0, 0, 0), "{seed}: {outcome:?}");
            assert_eq!(outcome.mtu_drops, 2, "{seed}: {outcome:?}");
            assert_eq!((outcome.freezes, outcome.violations.len()), (0, 0), "{seed}: {outcome:?}");
        }
    }

    /// Nothing for longer than one message can tell of arrivals, then pictures as before.
    #[test]
    fn a_camera_that_comes_back_finds_the_line_as_wide_as_it_was() {
        const S: u64 = 1_000_000;
        let line = Line { delay_us: 20_000, ..Line::CLEAN };
        for pause_us in [S / 4, 3 * S / 5, S, 3 * S] {
            let mut stage = Stage::new(5, 8_000, [([line; 2], u64::MAX)]);
            let back_us = START_US + 3 * S + pause_us;
            stage.pause_us = START_US + 3 * S..back_us;
            let (_, stage) = play(stage, 9).unwrap();
            let carried = |us: u64| {
                let at = stage.looks.partition_point(|look| look.now_us < us);
                stage.looks[at].carried_bytes
            };
            let kbps = |from_us: u64| (carried(from_us + S / 2) - carried(from_us)) * 8_000 / (S / 2);
            let (before, after) =
                (kbps(START_US + 5 * S / 2), [0, S / 4, S / 2].map(|us| kbps(back_us + us)));
            println!("{pause_us}: {before}, {after:?}");
            assert!(after.iter().all(|&after| after > before * 4 / 5), "{pause_us}: {before}, {after:?}");
        }
    }

    /// When what stands in the line was low for a second, and the most that stood, both in µs, of `looks`.
    fn drained(looks: &[Look]) -> (u64, u64) {
        let since_us = looks[0].now_us;
        let most_us = looks.iter().map(|look| look.queue_us).max().unwrap_or(0);
        let calm = |at: &usize| {
            let second = looks[*at..].iter().take_while(|look| look.now_us < looks[*at].now_us + 1_000_000);
            second.into_iter().all(|look| look.queue_us <= 50_000)
        };
        let at = (0..looks.len()).find(calm).unwrap_or(looks.len() - 1);
        (looks[at].now_us - since_us, most_us)
    }

    #[test]
    fn a_line_that_narrows_is_drained_and_found_again_when_it_widens() {
        const S: u64 = 1_000_000;
        let wide = Line { delay_us: 20_000, jitter_us: 1_000, kbps: 20_000, queue_us: 2 * S, ..Line::CLEAN };
        let narrow = Line { kbps: 5_000, ..wide };
        let back = Line { kbps: 100_000, ..wide };
        for seed in 0..12 {
            let script =
                [(wide, 12), (narrow, 22), (wide, 36)].map(|(line, s)| ([line, back], START_US + s * S));
            let (outcome, stage) = run(seed, 36, 18_000, script).unwrap();
            let part = |from: u64, to: u64| {
                let at = |s: u64| stage.looks.partition_point(|look| look.now_us < START_US + s * S);
                &stage.looks[at(from)..at(to)]
            };
            let (drained_us, most_us) = drained(part(12, 22));
            let wide = part(22, 36);
            let full = |at: &usize| {
                let end = wide.partition_point(|look| look.now_us < wide[*at].now_us + S);
                end < wide.len() && wide[end].carried_bytes - wide[*at].carried_bytes > 2_000_000
            };
            let back_us = (0..wide.len()).find(full).map(|at| wide[at].now_us + S - wide[0].now_us);
            let found = (drained_us, most_us, back_us, outcome.freezes);
            println!("seed {seed}: {found:?}");
            assert!(drained_us < S && most_us < S / 2, "seed {seed}: {found:?}");
            assert!(back_us.is_some_and(|us| us < 8 * S) && outcome.freezes == 0, "seed {seed}: {found:?}");
        }
    }
}
