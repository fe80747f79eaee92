//! A microphone and a loudspeaker through the booth's own sound devices: what is played comes back as it was,
//! the clocks are measured, and a thread that comes late does no lasting harm.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use holobooth::media::clock::now_us;
use holobooth::realtime::{CAPTURE, set_realtime_priority};
use holobooth::sound::clock_fit::ClockFit;
use holobooth::sound::clock_line::ClockLine;
use holobooth::sound::device::{
    self, BLOCK, CapturePcm, Direction, Facts, PlaybackPcm, Position, candidates, rank,
};
use holobooth::units::SoundDeviceRequest;

use crate::loopback;
use crate::report::Report;
use crate::scenario::{Context, Error, Kind, Scenario, TWO_BOOTHS, failed};
use crate::steal;

pub(crate) const SCENARIO: Scenario = Scenario {
    name: "sound-devices",
    summary: "sound returns as it was played, clocks are found within 3 ppm, late threads recover",
    kind: Kind::Scenario,
    place: TWO_BOOTHS,
    relay: false,
    time_limit_s: 240,
    run,
};

const CARD: &str = "bootha";
/// How long the clocks are measured, in s.
const SECONDS: u64 = 22;
const TIMEOUT: Duration = Duration::from_millis(50);
/// Where in each sequence a thread sleeps that is to come late, in blocks of 5 ms.
const LATE_AT: usize = 400;
const LATE: Duration = Duration::from_millis(150);

/// What is played ahead lasts for 10 ms, and a timer of the rig comes up to two ticks of 3.3 ms late by itself: a
/// thread that the machine under the rig keeps waiting for longer than the rest leaves a gap that says nothing of
/// the devices.
const STOLEN_US: i64 = 3_000;
const TRIES: usize = 3;
/// How far a clock may be found from what all of its positions say.
const WITHIN_PPM: f64 = 3.0;
/// How far a cable may run from what it was set to: where its two sides round to different frames, the driver
/// moves the slower one ahead by whole ones (`last_drift` in sound/drivers/aloop.c). Most seen: 7 ppm.
const CABLE_PPM: f64 = 15.0;

/// A cable: the value of its `PCM Rate Shift 100000`, and what that makes of its clock. The driver rounds the
/// bytes of each tick down (`frac_pos` in sound/drivers/aloop.c), which adds about 1 ppm to what is here.
struct Cable {
    number: u32,
    shift: i32,
    ppm: f64,
}

const CABLES: [Cable; 3] = [
    Cable { number: 0, shift: 100_000, ppm: 0.0 },
    Cable { number: 1, shift: 100_010, ppm: -100.0 },
    Cable { number: 2, shift: 99_990, ppm: 100.0 },
];

fn run(context: &Context) -> Result<Report, Error> {
    let mut report = Report::default();
    let seconds = if context.quick { 6 } else { SECONDS };
    for cable in &CABLES {
        loopback::shift_rate(CARD, cable.number, cable.shift).map_err(failed("PCM Rate Shift"))?;
    }
    let mut heard: [Option<Result<Heard, device::Error>>; CABLES.len()] = [const { None }; CABLES.len()];
    let mut worst_us = Vec::new();
    let mut discarded = 0;
    loop {
        let mut tried = Vec::new();
        let stolen_us = steal::longest_us(|| tried = all_cables(seconds));
        let stolen_us = stolen_us.map_err(failed("looking for stolen time"))?;
        eprintln!("the machine took {:.1} ms away", stolen_us as f64 / 1e3);
        worst_us.push(stolen_us);
        // Only what has gaps is tried again; an error stays.
        for (kept, tried) in heard.iter_mut().zip(tried) {
            if kept.as_ref().is_none_or(has_gaps) {
                *kept = tried;
            }
        }
        let gaps = heard.iter().flatten().filter(|heard| has_gaps(heard)).count();
        if gaps == 0 || stolen_us < STOLEN_US || worst_us.len() == TRIES {
            break;
        }
        discarded += gaps;
    }
    report.figure("discarded_for_stolen_time", discarded);
    report.figure("repeats", worst_us.len() - 1);
    report.figure("stolen_ms", worst_us.iter().max().map(|us| us / 1000));
    for (cable, heard) in CABLES.iter().zip(heard) {
        let name = format!("cable at {}", cable.shift);
        let Some(heard) = heard else {
            report.check(name, false, "its thread panicked");
            continue;
        };
        let heard = match heard {
            Ok(heard) => heard,
            Err(e) => {
                report.check(name, false, e);
                continue;
            }
        };
        let snr_db = heard.snr_db(0..heard.played.len());
        report.check(format!("{name}: comes back as it was"), snr_db > 60.0, format!("{snr_db:.0} dB"));
        let gaps = format!("{} and {} gaps", heard.silences.len(), heard.losses.len());
        report.check(format!("{name}: no gap"), heard.is_whole(), gaps);
        if !heard.is_whole() {
            continue;
        }
        for (what, clock) in [("loudspeaker", &heard.speaker), ("microphone", &heard.microphone)] {
            let (ppm, all_ppm) = (clock.fit.ppm(), clock.all_ppm());
            let found = format!("{ppm:+.2} ppm, all positions {all_ppm:+.2}, set to {:+.2}", cable.ppm);
            let right = (ppm - all_ppm).abs() < WITHIN_PPM && (all_ppm - cable.ppm).abs() < CABLE_PPM;
            report.check(format!("{name}: clock of the {what}"), right, found);
            report.figure(&format!("{what}_{}_ppm", cable.shift), ppm);
            report.figure(&format!("{what}_{}_all_ppm", cable.shift), all_ppm);
        }
        report.figure(&format!("write_to_read_{}_ms", cable.shift), heard.write_to_read_us / 1e3);
        report.figure(&format!("loop_{}_ms", cable.shift), heard.loop_us().map(|us| us / 1e3));
    }
    late(&mut report, Late::Writer)?;
    late(&mut report, Late::Reader)?;
    missing(&mut report);
    broken(&mut report)?;
    Ok(report)
}

/// Plays and records on all cables at once; nothing of one whose thread panicked.
fn all_cables(seconds: u64) -> Vec<Option<Result<Heard, device::Error>>> {
    thread::scope(|scope| {
        let threads =
            CABLES.each_ref().map(|cable| scope.spawn(|| loop_back(cable.number, seconds, Late::None)));
        threads.into_iter().map(|thread| thread.join().ok()).collect()
    })
}

fn has_gaps(heard: &Result<Heard, device::Error>) -> bool {
    heard.as_ref().is_ok_and(|heard| !heard.is_whole())
}

/// A thread sleeps for once: the other side hears silence or loses samples, as many as it says, and all else
/// is as it was.
fn late(report: &mut Report, late: Late) -> Result<(), Error> {
    let name = format!("{late:?} late");
    let heard = match loop_back(3, 5, late) {
        Ok(heard) => heard,
        Err(e) => {
            report.check(name, false, e);
            return Ok(());
        }
    };
    let gaps = match late {
        Late::Reader => &heard.losses,
        _ => &heard.silences,
    };
    let samples = LATE.as_millis() as u64 * 48;
    let found = format!("{gaps:?} samples of about {samples}");
    let about = gaps.iter().sum::<u64>().abs_diff(samples) < 48 * 60;
    report.check(format!("{name}: one gap, and its length"), gaps.len() == 1 && about, found);
    let before = heard.snr_db(0..LATE_AT / 2 * BLOCK);
    report.check(format!("{name}: unharmed before"), before > 60.0, format!("{before:.0} dB"));
    let after = heard.snr_db_after(heard.played.len() - BLOCK * 200);
    report.check(format!("{name}: unharmed after"), after > 60.0, format!("{after:.0} dB"));
    Ok(())
}

fn missing(report: &mut Report) {
    let error = open(Direction::Capture, "Absent", CapturePcm::open).err();
    let said = error.as_ref().map(ToString::to_string).unwrap_or_default();
    report.check("a missing card is named, and what is there", said.contains("bootha"), said);
}

/// A card that is busy, that does not start, and that stops moving: each is an error of its own.
fn broken(report: &mut Report) -> Result<(), Error> {
    const REQUEST: &str = "hw:pcmtest,0";
    let inject = |fault: &str, value: &str| {
        let path = format!("/sys/module/snd_pcmtest/parameters/{fault}");
        std::fs::write(&path, value).map_err(failed(path))
    };
    for (fault, expected) in [("inject_open_err", "busy"), ("inject_trigger_err", "snd_pcm_start")] {
        inject(fault, "1")?;
        let begin = |device: &str| {
            let mut microphone = CapturePcm::open(device)?;
            microphone.read(&mut [0.0; BLOCK], TIMEOUT)
        };
        let error = open(Direction::Capture, REQUEST, begin).err();
        inject(fault, "0")?;
        let said = error.map_or("it was opened".to_owned(), |e| e.to_string());
        report.check(format!("{fault}: says why"), said.contains(expected), said);
    }
    let mut microphone = match open(Direction::Capture, REQUEST, CapturePcm::open) {
        Ok(microphone) => microphone,
        Err(e) => {
            report.check("opened once it is whole again", false, e);
            return Ok(());
        }
    };
    let mut block = [0.0; BLOCK];
    let mut read_for = |ms: u64| {
        let (end_us, mut blocks) = (now_us() + ms * 1_000, 0_u64);
        loop {
            match microphone.read(&mut block, TIMEOUT) {
                Ok(captured) => blocks += u64::from(captured.is_some()),
                Err(e) => break Err(e),
            }
            if now_us() > end_us {
                break Ok(blocks);
            }
        }
    };
    // It moves by 200 ms at once.
    let blocks = read_for(2_000);
    let found = format!("{blocks:?} blocks in 2 s");
    report.check("a card that moves in long steps is read", blocks.is_ok_and(|n| n > 300), found);
    // In ticks of the kernel.
    inject("inject_delay", "3000")?;
    let stalled = read_for(3_000);
    inject("inject_delay", "0")?;
    let found = format!("{stalled:?}");
    report.check("one that stands still fails", matches!(stalled, Err(device::Error::Stalled { .. })), found);
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    None,
    Writer,
    Reader,
}

/// A card's clock as the booth fits it, and all positions that it was fitted to.
struct Clock {
    fit: ClockFit,
    positions: Vec<(f64, f64)>,
}

impl Clock {
    /// With memory for so many positions, as [`Recorded::with_capacity`] has it.
    fn with_capacity(positions: usize) -> Self {
        let mut positions = vec![(f64::NAN, f64::NAN); positions];
        positions.clear();
        Self { fit: ClockFit::of_unknown(), positions }
    }

    fn push(&mut self, position: Position) {
        self.positions.push((position.index, position.at_us));
        self.fit.push(position.index, position.at_us);
    }

    /// How much faster than nominal, by the line of least squares through all positions: late ones and all, and
    /// nothing left out.
    fn all_ppm(&self) -> f64 {
        let count = self.positions.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| self.positions.iter().map(of).sum::<f64>() / count;
        let (index, at_us) = (mean(|position| position.0), mean(|position| position.1));
        let (mut squares, mut products) = (0.0, 0.0);
        for position in &self.positions {
            squares += (position.1 - at_us).powi(2);
            products += (position.0 - index) * (position.1 - at_us);
        }
        (products / squares * 1e6 / 48_000.0 - 1.0) * 1e6
    }
}

/// What went over a cable.
struct Heard {
    played: Vec<f32>,
    captured: Vec<f32>,
    speaker: Clock,
    microphone: Clock,
    /// Index of the first captured sample that is not silent.
    begins: usize,
    silences: Vec<u64>,
    losses: Vec<u64>,
    write_to_read_us: f64,
}

impl Heard {
    /// Whether nothing was lost.
    fn is_whole(&self) -> bool {
        self.silences.is_empty() && self.losses.is_empty()
    }

    /// How far above the difference what came back is, for a part of what was played, counted from where the
    /// first sample came back.
    fn snr_db(&self, part: std::ops::Range<usize>) -> f64 {
        snr_db(&self.played, &self.captured, part, self.begins)
    }

    /// The same from a sample on, at whatever distance it came back.
    fn snr_db_after(&self, from: usize) -> f64 {
        const MARK: usize = 64;
        let mark = &self.played[from..from + MARK];
        let found = self
            .captured
            .windows(MARK)
            .rposition(|window| window.iter().zip(mark).all(|(a, b)| (a - b).abs() < 1e-4));
        found.map_or(f64::NEG_INFINITY, |at| {
            snr_db(&self.played[from..], &self.captured, 0..self.played.len() - from, at)
        })
    }

    /// From the converter of the loudspeaker to that of the microphone, as the clocks have it, in µs.
    fn loop_us(&self) -> Option<f64> {
        let at = |line: ClockLine, index: f64| line.at_us + (index - line.index) * 1e6 / line.rate_hz;
        Some(at(self.microphone.fit.line()?, self.begins as f64) - at(self.speaker.fit.line()?, 0.0))
    }
}

fn snr_db(played: &[f32], captured: &[f32], part: std::ops::Range<usize>, begins: usize) -> f64 {
    let (mut signal, mut noise, mut count) = (0.0, 0.0, 0);
    for index in part {
        let (Some(&played), Some(&captured)) = (played.get(index), captured.get(begins + index)) else {
            break;
        };
        signal += f64::from(played).powi(2);
        noise += (f64::from(played) - f64::from(captured)).powi(2);
        count += 1;
    }
    if count < BLOCK { f64::NEG_INFINITY } else { 10.0 * (signal / noise.max(1e-18)).log10() }
}

/// Opens the best device for a request.
fn open<T>(
    direction: Direction,
    request: &str,
    open: impl FnMut(&str) -> Result<T, device::Error>,
) -> Result<T, device::Error> {
    let request = request.parse().unwrap_or(SoundDeviceRequest::None);
    let ranking = rank(direction, &request, candidates(direction), Facts::default());
    ranking.open(direction, &request, open).map(|opened| opened.stream)
}

/// Plays noise into a cable and records it at the other end.
fn loop_back(cable: u32, seconds: u64, late: Late) -> Result<Heard, device::Error> {
    let mut speaker = open(Direction::Playback, &format!("hw:{CARD},0,{cable}"), PlaybackPcm::open)?;
    let mut microphone = open(Direction::Capture, &format!("hw:{CARD},1,{cable}"), CapturePcm::open)?;
    let blocks = seconds as usize * 48_000 / BLOCK;
    let mut random = fastrand::Rng::with_seed(cable.into());
    let played: Vec<f32> = (0..blocks * BLOCK).map(|_| random.f32() * 0.5 - 0.25).collect();
    let over = AtomicBool::new(false);
    // What is recorded after the last block was written lasts no longer than what is on its way.
    let recorded = Recorded::with_capacity(blocks + 200);
    let recording = thread::scope(|scope| {
        let recorder = scope.spawn(|| {
            let _ = set_realtime_priority(CAPTURE);
            record(&mut microphone, &over, recorded, late == Late::Reader)
        });
        let _ = set_realtime_priority(CAPTURE);
        let result = play(&mut speaker, &played, late == Late::Writer);
        over.store(true, Relaxed);
        (result, recorder.join())
    });
    let (Ok((clock, silences, wrote_us)), Ok(Ok(recorded))) = recording else {
        return Err(match recording {
            (Err(e), _) | (_, Ok(Err(e))) => e,
            _ => device::Error::Stalled { device: CARD.into() },
        });
    };
    let begins = recorded.samples.iter().position(|&sample| sample != 0.0).unwrap_or(0);
    let read_us = recorded.read_us.get(begins / BLOCK).copied().unwrap_or_default();
    Ok(Heard {
        played,
        captured: recorded.samples,
        speaker: clock,
        microphone: recorded.clock,
        begins,
        silences,
        losses: recorded.losses,
        write_to_read_us: read_us as f64 - wrote_us as f64,
    })
}

type Played = (Clock, Vec<u64>, u64);

/// Gives the clock, lengths of silences, and when the first block was written.
fn play(speaker: &mut PlaybackPcm, samples: &[f32], late: bool) -> Result<Played, device::Error> {
    let mut clock = Clock::with_capacity(samples.len() / BLOCK + 1);
    let (mut silences, mut first_us) = (Vec::new(), 0);
    for (number, block) in samples.chunks_exact(BLOCK).enumerate() {
        if late && number == LATE_AT {
            thread::sleep(LATE);
        }
        let block = std::array::from_fn(|index| [block[index]; 2]);
        let written = loop {
            if let Some(written) = speaker.write(&block, TIMEOUT)? {
                break written;
            }
        };
        if number == 0 {
            first_us = now_us();
        }
        if let Some(silence) = written.silence {
            silences.push(silence);
            clock.fit.restart();
        }
        clock.push(written.position);
    }
    Ok((clock, silences, first_us))
}

struct Recorded {
    samples: Vec<f32>,
    /// When each block was read.
    read_us: Vec<u64>,
    losses: Vec<u64>,
    clock: Clock,
}

impl Recorded {
    /// Room for so many blocks, in memory that is there already: a page that is first touched takes User-Mode
    /// Linux long enough, in the kernel and not preempted, for other cables' threads to come late.
    fn with_capacity(blocks: usize) -> Self {
        let mut samples = vec![f32::NAN; blocks * BLOCK];
        let mut read_us = vec![u64::MAX; blocks];
        samples.clear();
        read_us.clear();
        Self { samples, read_us, losses: Vec::new(), clock: Clock::with_capacity(blocks) }
    }
}

fn record(
    microphone: &mut CapturePcm,
    over: &AtomicBool,
    mut recorded: Recorded,
    late: bool,
) -> Result<Recorded, device::Error> {
    let mut block = [0.0; BLOCK];
    while !over.load(Relaxed) {
        if late && recorded.read_us.len() == LATE_AT {
            thread::sleep(LATE);
        }
        let Some(captured) = microphone.read(&mut block, TIMEOUT)? else { continue };
        recorded.read_us.push(now_us());
        recorded.samples.extend(block);
        if let Some(lost) = captured.lost {
            recorded.losses.push(lost);
            recorded.clock.fit.restart();
        }
        recorded.clock.push(captured.position);
    }
    Ok(recorded)
}
