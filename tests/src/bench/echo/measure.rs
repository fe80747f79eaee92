//! What a canceller did to a scene, in figures.

use std::ops::Range;

use serde_json::{Value, json};

use super::case::{BOTH, END_S, FAR_ONLY, FRAME, NEAR_ONLY, RATE_HZ, STEP_S, Scene, active_power, powers};
use super::chain::Outcome;
use super::fft::{Complex, Fft, delay, hann, spectra};
use super::stoi::stoi;

/// From the first word to when the residue counts.
const CONVERGED_S: f64 = 2.0;
/// From the first word to when the loss at a quiet microphone counts.
const SETTLED_S: f64 = 10.0;
/// From when both speak to when it counts.
const BOTH_AFTER_S: f64 = 1.0;
/// After a step, windows of this length, the first of which begins so much later, and each one so much after
/// the last.
const WINDOW_S: f64 = 0.5;
const FIRST_WINDOW_S: f64 = 0.15;
const WINDOW_STEP_S: f64 = 0.1;
/// From a step to when the loss is to be back.
pub const BACK_S: f64 = 3.0;
/// Windows with fewer frames of echo say nothing.
const LEAST_FRAMES: usize = 10;
/// No canceller delays by more.
const LONGEST_DELAY: usize = 4_800;

/// The figures of one canceller in one case.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// What the canceller delays, in ms.
    pub delay_ms: f64,
    /// What is left while the far voice speaks alone, over the microphone's noise, from 2 s on.
    pub residue_db: f64,
    /// Echo return loss enhancement from 10 s on.
    pub erle_db: f64,
    /// The same right after double talk.
    pub erle_after_db: f64,
    /// The least of any half second after the path changed.
    pub step_least_db: f64,
    /// The least of any half second from 3 s after the change on.
    pub step_back_db: f64,
    /// The near voice's loss while it speaks alone.
    pub alone_loss_db: f64,
    /// The near voice's loss while both speak.
    pub loss_db: f64,
    /// Of the near voice's energy, what is cut by over 6 dB while both speak.
    pub cut_percent: f64,
    /// Intelligibility while both speak.
    pub stoi: f64,
    /// CPU time of 10 ms, in µs: mean and longest.
    pub cpu_us: [f64; 2],
    /// How often the guard ducked before the step, and after.
    pub ducked: [u64; 2],
}

impl Figures {
    /// Measures.
    pub fn of(scene: &Scene, outcome: &Outcome) -> Self {
        let near_alone = span(NEAR_ONLY.start + 0.5..NEAR_ONLY.end);
        let late = delay(
            &scene.near[near_alone.clone()],
            outcome.output.get(near_alone.start..near_alone.end + LONGEST_DELAY).unwrap_or(&[]),
            LONGEST_DELAY,
        );
        let output: Vec<f32> = outcome.output[late..].iter().copied().chain((0..late).map(|_| 0.0)).collect();
        let echo = Echo::new(scene, &output);
        let near = NearSpectra::new(&scene.near, &output);
        let windows: Vec<(f64, f64)> = (0..)
            .map(|at| FIRST_WINDOW_S + f64::from(at) * WINDOW_STEP_S)
            .take_while(|from_s| STEP_S + from_s + WINDOW_S < END_S - 0.2)
            .filter_map(|from_s| {
                let start_s = STEP_S + from_s;
                Some((from_s, echo.loss_db(start_s..start_s + WINDOW_S)?))
            })
            .collect();
        let least = |from_s: f64| {
            windows.iter().filter(|(at, _)| *at >= from_s).map(|(_, db)| *db).fold(f64::INFINITY, f64::min)
        };
        let both = BOTH.start + BOTH_AFTER_S..BOTH.end;
        let (loss_db, cut_percent) = near.kept(both.clone());
        let heard = span(both);
        Self {
            delay_ms: late as f64 * 1e3 / RATE_HZ,
            residue_db: echo.residue_db(FAR_ONLY.start + CONVERGED_S..FAR_ONLY.end),
            erle_db: echo.loss_db(FAR_ONLY.start + SETTLED_S..FAR_ONLY.end).unwrap_or(0.0),
            erle_after_db: echo.loss_db(BOTH.end + 0.5..STEP_S).unwrap_or(0.0),
            step_least_db: least(0.0),
            step_back_db: least(BACK_S),
            alone_loss_db: near.kept(NEAR_ONLY.start + 1.0..NEAR_ONLY.end).0,
            loss_db,
            cut_percent,
            stoi: stoi(&scene.near[heard.clone()], &output[heard]),
            cpu_us: outcome.cpu_us,
            ducked: outcome.ducked,
        }
    }

    /// For machines.
    pub fn to_json(self) -> Value {
        json!({
            "delay_ms": self.delay_ms,
            "residue_db": self.residue_db,
            "erle_db": self.erle_db,
            "erle_after_double_talk_db": self.erle_after_db,
            "step_least_db": self.step_least_db,
            "step_from_3s_db": self.step_back_db,
            "near_alone_loss_db": self.alone_loss_db,
            "double_talk_loss_db": self.loss_db,
            "double_talk_cut_percent": self.cut_percent,
            "double_talk_stoi": self.stoi,
            "cpu_us": self.cpu_us[0],
            "ducked_before_step": self.ducked[0],
            "ducked_after_step": self.ducked[1],
        })
    }
}

fn span(seconds: Range<f64>) -> Range<usize> {
    (seconds.start * RATE_HZ) as usize..(seconds.end * RATE_HZ) as usize
}

/// Powers of frames, and which of them have an echo: within 15 dB of the echo's level.
struct Echo {
    active: Vec<bool>,
    microphone: Vec<f64>,
    output: Vec<f64>,
    noise: f64,
}

impl Echo {
    fn new(scene: &Scene, output: &[f32]) -> Self {
        let level = active_power(&scene.echo);
        let noise = powers(&scene.noise);
        Self {
            active: powers(&scene.echo).into_iter().map(|power| power > 0.03 * level).collect(),
            microphone: powers(&scene.microphone),
            output: powers(output),
            noise: noise.iter().sum::<f64>() / noise.len() as f64,
        }
    }

    fn frames(&self, seconds: Range<f64>) -> impl Iterator<Item = usize> {
        let samples = span(seconds);
        (samples.start / FRAME..samples.end / FRAME).filter(|at| self.active[*at])
    }

    /// The loss of what the microphone heard in frames with an echo.
    fn loss_db(&self, seconds: Range<f64>) -> Option<f64> {
        let frames: Vec<usize> = self.frames(seconds).collect();
        if frames.len() < LEAST_FRAMES {
            return None;
        }
        let sum = |powers: &[f64]| frames.iter().map(|at| powers[*at]).sum::<f64>();
        Some(10.0 * (sum(&self.microphone) / sum(&self.output).max(1e-20)).log10())
    }

    fn residue_db(&self, seconds: Range<f64>) -> f64 {
        let frames: Vec<usize> = self.frames(seconds).collect();
        let left = frames.iter().map(|at| self.output[*at]).sum::<f64>() / frames.len().max(1) as f64;
        10.0 * (left / self.noise).log10()
    }
}

/// Tiles of near voice and output: so many bands from 100 Hz to 10 kHz, 60 ms each.
const BANDS: usize = 22;
const TILE_FRAMES: usize = 6;
const WINDOW: usize = 960;
const SIZE: usize = 1_024;

struct NearSpectra {
    near: Vec<Vec<Complex>>,
    output: Vec<Vec<Complex>>,
}

impl NearSpectra {
    fn new(near: &[f32], output: &[f32]) -> Self {
        let fft = Fft::new(SIZE);
        let window = hann(WINDOW);
        Self { near: spectra(near, &window, FRAME, &fft), output: spectra(output, &window, FRAME, &fft) }
    }

    /// The near voice's loss in dB, and the percentage of its energy that is cut by over 6 dB: in each tile
    /// the gain is that part of the output that goes with the voice.
    fn kept(&self, seconds: Range<f64>) -> (f64, f64) {
        let samples = span(seconds);
        let frames = samples.start / FRAME..samples.end / FRAME;
        let edge = |band: usize| 100.0 * 100f64.powf(band as f64 / BANDS as f64) * SIZE as f64 / RATE_HZ;
        let mut tiles = Vec::new();
        for band in 0..BANDS {
            let bins = edge(band).ceil() as usize..edge(band + 1).ceil() as usize;
            let mut of_band = Vec::new();
            for start in frames.clone().step_by(TILE_FRAMES) {
                let (mut energy, mut cross) = (0.0, [0.0; 2]);
                for at in start..(start + TILE_FRAMES).min(frames.end) {
                    for bin in bins.clone() {
                        let (s, o) = (self.near[at][bin], self.output[at][bin]);
                        energy += s[0] * s[0] + s[1] * s[1];
                        cross[0] += o[0] * s[0] + o[1] * s[1];
                        cross[1] += o[1] * s[0] - o[0] * s[1];
                    }
                }
                of_band.push((energy, cross[0].hypot(cross[1]) / energy.max(1e-20)));
            }
            let loudest = of_band.iter().map(|tile| tile.0).fold(0.0, f64::max);
            tiles.extend(of_band.into_iter().filter(|tile| tile.0 > 1e-4 * loudest));
        }
        let energy: f64 = tiles.iter().map(|tile| tile.0).sum();
        let kept: f64 = tiles.iter().map(|(energy, gain)| energy * gain * gain).sum();
        let cut: f64 = tiles.iter().filter(|tile| tile.1 < 0.5).map(|tile| tile.0).sum();
        (10.0 * (energy / kept.max(1e-20)).log10(), 100.0 * cut / energy.max(1e-20))
    }
}
