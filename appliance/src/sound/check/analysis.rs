//! What a recording of the sweep says about loudspeaker, room and microphone. No I/O.
//!
//! Reverberation from the backward integral of the response's energy (Schroeder, JASA 37, 1965), evaluated over
//! 20 dB, or 10 where noise leaves no more (ISO 3382-2).

use super::sweep::{LENGTH, MIDDLE_BAND_HZ, Transfer, WHOLE_BAND_HZ};
use crate::sound::rate::RATE_HZ;

/// So much earlier than it was played the sweep may seem to be heard, in samples: what the stamps of two cards may
/// be wrong by, 10 ms.
const EARLY: usize = 480;
/// How far the direct sound's peak stands above the noise of the response, in power: seven times its deviation,
/// which noise alone does not reach in hours of checks.
const HEARD: f64 = 50.0;
/// Median and mean of the square of normally distributed noise.
const MEDIAN_OF_MEAN: f64 = 0.455;
/// Less than this is not heard, in power: 100 dB below what was played.
const LEAST: f64 = 1e-10;
/// Reflections may be stronger than the direct sound, which comes up to so much earlier, in samples: 20 ms.
const BEFORE_PEAK: usize = 960;
/// And is at least so strong beside them; side lobes of the band's edges are weaker.
const DIRECT: f64 = 0.5;
/// Half the width of a peak, in samples: 1 ms.
const PEAK: usize = 48;
/// The response is looked at in blocks of 10 ms, in samples.
const BLOCK: usize = 480;
/// What the weights spread the response to either side, in samples: 20 ms.
const SPREAD: usize = 960;
/// Noise after the response is told from so much of the end of it.
const END: usize = 5;
/// A block that is no louder than this many times the noise belongs to it.
const NOISE: f64 = 2.0;
/// Of a sample that is clipped. A card's own rate may have been another: its resampler rings.
const FULL_SCALE: f32 = 0.999;
/// What is measured of a noise that is not there, in dB of full scale.
const SILENCE_DB: f64 = -120.0;

/// The way from loudspeaker to microphone.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EchoPath {
    /// From the loudspeaker's converter to the microphone's, in ms.
    pub delay_ms: f64,
    /// What a sound has gained on that way, in dB; negative when it is quieter. All octaves count alike.
    pub gain_db: f64,
    /// Reverberation time of the room (T20, or T10 where it is noisy), in ms, at 350 Hz to 1.4 kHz; none when it
    /// is lost in the noise.
    pub reverberation_ms: Option<f64>,
}

/// What a sound check has found.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Measured {
    /// The way that the sweep took; none when it was not heard.
    pub path: Option<EchoPath>,
    /// Noise at the microphone before the sweep, in dB of full scale (RMS); -120 at the least.
    pub noise_db: f64,
    /// Samples at full scale: it was too loud for the microphone.
    pub clipped: u32,
}

impl Measured {
    /// From `recorded`, in which the sweep's first sample would be at `lead`, were there no delay; `ratio` as in
    /// [`Transfer::new`].
    pub(super) fn of(recorded: &[f32], lead: f64, ratio: f64) -> Self {
        let start = (lead.max(0.0) as usize).saturating_sub(EARLY).min(recorded.len());
        let (before, after) = recorded.split_at(start);
        let path = EchoPath::of(after, ratio).map(|path| {
            let delay_ms = path.delay_ms + (start as f64 - lead) * 1e3 / RATE_HZ;
            EchoPath { delay_ms, ..path }
        });
        let noise = before.iter().map(|&x| f64::from(x * x)).sum::<f64>() / before.len().max(1) as f64;
        let clipped = recorded.iter().filter(|x| x.abs() >= FULL_SCALE).count() as u32;
        Self { path, noise_db: (10.0 * noise.log10()).max(SILENCE_DB), clipped }
    }
}

fn energy(samples: &[f64]) -> f64 {
    samples.iter().map(|x| x * x).sum()
}

fn mean(samples: &[f64]) -> f64 {
    energy(samples) / samples.len().max(1) as f64
}

/// Power of the noise that is left at the end of a response.
fn noise_after(response: &[f64]) -> f64 {
    mean(&response[response.len() - response.len() / END..])
}

impl EchoPath {
    /// The delay is counted from the first of `recorded`.
    fn of(recorded: &[f32], ratio: f64) -> Option<Self> {
        // Later than this, the end of the sweep was not heard any more.
        let latest = recorded.len().checked_sub(LENGTH)?;
        let mut transfer = Transfer::new(recorded, ratio)?;
        let mut band = |weighted: bool, band_hz| {
            let mut response =
                if weighted { transfer.weighted_response(band_hz) } else { transfer.response(band_hz) }?;
            response.truncate(latest);
            Some(response)
        };
        let response = band(false, WHOLE_BAND_HZ)?;
        let direct = direct(&response)?;
        let end = direct + end(&response[direct..]);
        let weighted = band(true, WHOLE_BAND_HZ)?;
        let part = &weighted[direct.saturating_sub(SPREAD)..(end + SPREAD).min(latest)];
        let heard = energy(part) - noise_after(&weighted[direct..]) * part.len() as f64;
        Some(Self {
            delay_ms: direct as f64 * 1e3 / RATE_HZ,
            gain_db: 10.0 * heard.max(LEAST).log10(),
            reverberation_ms: reverberation_ms(&band(false, MIDDLE_BAND_HZ)?[direct..]),
        })
    }
}

/// Where the direct sound is, if anything was heard.
fn direct(response: &[f64]) -> Option<usize> {
    let mut powers: Vec<f64> = response.iter().map(|x| x * x).collect();
    let (peak, height) = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let first = peak.saturating_sub(BEFORE_PEAK);
    let mut direct = (first..peak).find(|&n| powers[n] >= height * DIRECT * DIRECT).unwrap_or(peak);
    // On the slope of a peak.
    while direct < peak && powers[direct + 1] > powers[direct] {
        direct += 1;
    }
    // Somebody who claps is spread over a second, and has no peak; what is beside it there is as strong.
    let part = |from: usize, to: usize| &response[from.min(response.len())..to.min(response.len())];
    let before = part(peak.saturating_sub(BLOCK), peak.saturating_sub(PEAK));
    let after = part(peak + PEAK, peak + BLOCK);
    let beside = (energy(before) + energy(after)) / (before.len() + after.len()).max(1) as f64;
    let middle = powers.len() / 2;
    let (_, median, _) = powers.select_nth_unstable_by(middle, f64::total_cmp);
    let noise = beside.max(*median / MEDIAN_OF_MEAN);
    (height > LEAST && height > HEARD * noise).then_some(direct)
}

/// Where a response that begins with the direct sound is lost in the noise.
fn end(response: &[f64]) -> usize {
    let noise = noise_after(response);
    let quiet = response.chunks_exact(BLOCK).skip(1).position(|block| mean(block) <= NOISE * noise);
    quiet.map_or(response.len(), |at| (at + 1) * BLOCK)
}

/// Three times the time in which the energy that is still to come falls from 5 dB below all of it to 25 dB below;
/// six times that of 10 dB where noise is nearer than that. Begins with the direct sound.
fn reverberation_ms(response: &[f64]) -> Option<f64> {
    let noise = noise_after(response);
    let mut left = 0.0;
    let mut decay: Vec<f64> = response[..end(response)]
        .iter()
        .rev()
        .map(|x| {
            // The noise would never fall.
            left += x * x - noise;
            left
        })
        .collect();
    decay.reverse();
    let whole = decay.first().copied().filter(|whole| *whole > 0.0)?;
    [20.0, 10.0].into_iter().find_map(|fall_db: f64| {
        let level = |db: f64| whole * 10f64.powf(-db / 10.0);
        let below = |db: f64| decay.iter().position(|&left| left < level(db));
        let (from, to) = (below(5.0)?, below(5.0 + fall_db)?);
        let samples = 60.0 / fall_db * to.saturating_sub(from) as f64;
        // What is left there would otherwise be the noise's: its energy while a decay goes on (by 4.3 dB).
        let told = level(5.0 + fall_db) >= NOISE * noise * samples / (60.0 / 4.343);
        told.then_some(samples * 1e3 / RATE_HZ)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: usize = 24_000;
    const TAIL: usize = 60_000;

    /// A room: direct sound after `delay`, and a diffuse tail as strong, which falls by 60 dB in `rt60_ms`; its
    /// energy is 1.
    fn room(delay: usize, rt60_ms: f64) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(9);
        let mut tail: Vec<f64> = (0..(rt60_ms * 48.0) as usize)
            .map(|n| (random.f64() - 0.5) * 10f64.powf(-3.0 * n as f64 / 48.0 / rt60_ms))
            .collect();
        tail[..48].fill(0.0);
        let scale = (0.5 / energy(&tail)).sqrt();
        tail.iter_mut().for_each(|x| *x *= scale);
        tail[0] = 0.5f64.sqrt();
        std::iter::repeat_n(0.0, delay).chain(tail).collect()
    }

    /// The sweep as it is heard in `room`, with noise (RMS).
    fn heard(room: &[f64], gain: f32, noise: f32, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = (room.len() + LENGTH).next_power_of_two();
        let mut planner = realfft::RealFftPlanner::<f64>::new();
        let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
        let spectrum = |samples: &mut dyn Iterator<Item = f64>| {
            let mut time: Vec<f64> = samples.collect();
            time.resize(size, 0.0);
            let mut out = forward.make_output_vec();
            forward.process(&mut time, &mut out).unwrap();
            out
        };
        let sweep = spectrum(&mut super::super::sweep::samples().map(f64::from));
        let mut product: Vec<_> =
            spectrum(&mut room.iter().copied()).iter().zip(sweep).map(|(a, b)| a * b).collect();
        let mut out = inverse.make_output_vec();
        inverse.process(&mut product, &mut out).unwrap();
        let echo = out.iter().map(|x| (*x / size as f64) as f32 * gain);
        let all = std::iter::repeat_n(0.0, LEAD).chain(echo).chain(std::iter::repeat(0.0));
        // Twelve equal ones are as good as normal.
        let mut normal = || (0..12).map(|_| random.f32()).sum::<f32>() - 6.0;
        all.take(LEAD + LENGTH + TAIL).map(|x| x + noise * normal()).collect()
    }

    fn measured(recorded: &[f32]) -> Measured {
        Measured::of(recorded, LEAD as f64, 1.0)
    }

    /// How much louder the sweep is in what is heard, in dB.
    fn gain_db(recorded: &[f32]) -> f64 {
        let all = |samples: &mut dyn Iterator<Item = f32>| samples.map(|x| f64::from(x * x)).sum::<f64>();
        10.0 * (all(&mut recorded.iter().copied()) / all(&mut super::super::sweep::samples())).log10()
    }

    #[test]
    fn delay_gain_and_reverberation_are_those_of_the_room() {
        for (delay, gain, rt60_ms, noise) in [
            (0, 1.0, 250.0, 1e-4),
            (2_880, 0.1, 150.0, 1e-4),
            (24_000, 0.7, 600.0, 1e-4),
            (30_000, 0.5, 900.0, 1e-3),
        ] {
            let room = room(delay, rt60_ms);
            let found = measured(&heard(&room, gain, noise, 1));
            let path = found.path.unwrap();
            assert!((path.delay_ms - delay as f64 / 48.0).abs() < 0.05, "{found:?}");
            let gain_db = gain_db(&heard(&room, gain, 0.0, 1));
            assert!((path.gain_db - gain_db).abs() < 0.5, "{gain_db}: {found:?}");
            let off = path.reverberation_ms.unwrap() / rt60_ms;
            assert!((0.85..1.15).contains(&off), "{rt60_ms}: {found:?}");
            assert!((found.noise_db - 20.0 * f64::from(noise).log10()).abs() < 0.5, "{found:?}");
            assert_eq!(found.clipped, 0);
        }
    }

    #[test]
    fn the_lead_counts_with_its_fraction_and_may_be_too_late_by_a_little() {
        let recorded = heard(&room(480, 200.0), 0.5, 1e-4, 2);
        for (lead, delay_ms) in [(LEAD as f64 + 0.5, 9.99), (LEAD as f64 + 720.0, -5.0)] {
            let path = Measured::of(&recorded, lead, 1.0).path.unwrap();
            assert!((path.delay_ms - delay_ms).abs() < 0.02, "{path:?}");
        }
    }

    #[test]
    fn an_echo_of_a_tenth_of_the_noise_is_still_found() {
        for seed in 0..10 {
            let room = room(2_880, 250.0);
            let echo = heard(&room, 0.1, 0.0, seed);
            let rms = |part: &[f32]| (part.iter().map(|x| x * x).sum::<f32>() / part.len() as f32).sqrt();
            let noise = rms(&echo[LEAD + 2_880..LEAD + 2_880 + LENGTH]) * 10f32.sqrt();
            let found = measured(&heard(&room, 0.1, noise, seed));
            let path = found.path.unwrap();
            assert!((path.delay_ms - 60.0).abs() < 0.07, "{found:?}");
            // Of the reverberation nothing stands above the noise.
            assert!((-24.0..-18.0).contains(&path.gain_db), "{found:?}");
        }
    }

    #[test]
    fn noise_and_silence_are_nothing_heard() {
        let quiet = measured(&[0.0; LEAD + LENGTH + TAIL]);
        assert_eq!(quiet, Measured { path: None, noise_db: SILENCE_DB, clipped: 0 });
        for seed in 0..20 {
            let found = measured(&heard(&[0.0], 1.0, 0.05, seed));
            assert!(found.path.is_none() && (found.noise_db + 26.0).abs() < 0.5, "{seed}: {found:?}");
        }
        // A hum, and somebody who claps twice.
        let hum = |n: usize| 0.1 * (n as f32 / 48_000.0 * 180.0 * std::f32::consts::TAU).sin();
        let clap = |n: usize| if n % 60_000 == 30_000 { 0.9 } else { 0.0 };
        for noise in [&hum as &dyn Fn(usize) -> f32, &clap] {
            let recorded: Vec<f32> = (0..LEAD + LENGTH + TAIL).map(noise).collect();
            assert_eq!(measured(&recorded).path, None);
        }
        assert_eq!(measured(&[]).path, None);
    }

    #[test]
    fn what_is_clipped_is_counted_and_the_rest_still_found() {
        let loud = heard(&room(2_880, 250.0), 12.0, 1e-3, 4);
        let clipped: Vec<f32> = loud.iter().map(|x| x.clamp(-1.0, 1.0)).collect();
        let found = measured(&clipped);
        assert!(found.clipped > 4_800, "{found:?}");
        assert!((found.path.unwrap().delay_ms - 60.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn a_reflection_that_is_stronger_is_not_the_delay() {
        let mut room = vec![0.0; 4_000];
        (room[2_000], room[2_400]) = (0.7, 1.0);
        let path = measured(&heard(&room, 0.3, 1e-4, 5)).path.unwrap();
        assert!((path.delay_ms - 2_000.0 / 48.0).abs() < 0.05, "{path:?}");
    }

    #[test]
    fn reverberation_that_is_lost_in_noise_is_none() {
        let found = measured(&heard(&room(2_880, 1_500.0), 0.05, 0.02, 6));
        assert!(found.path.is_some_and(|path| path.reverberation_ms.is_none()), "{found:?}");
    }
}
