//! The echo canceller: adaptive filter, post filter, guard.

use super::canceller::{EchoCanceller, EchoReport};
use super::delay_finder::{DELAYS, DelayFinder};
use super::distortion::Distortion;
use super::guard::EchoGuard;
use super::high_pass::HighPass;
use super::kalman_filter::{KalmanFilter, PARTITIONS};
use super::post_filter::{DELAY, PostFilter};
use super::snr::NoiseSwitch;
use super::spectrum::{Fft, SIZE, Spectrum};
use crate::sound::rate::FRAME;

/// From here on the microphone was overdriven.
const SATURATED: f32 = 0.999;
/// Spectra of what was played that are kept, one for each frame.
const HISTORY: usize = DELAYS + PARTITIONS;
/// The partition in which the path should begin, so that an echo that comes earlier is in the filter, too.
const BEGINS: usize = 6;
/// From where to where it may begin without the filter being moved.
const EARLIEST: usize = 1;
const LATEST: usize = 13;
/// The path may begin so many partitions before the one in which most of it is.
const EARLIER: usize = 2;
/// Frames for which the same delay must be found before the filter is moved.
const AGREED: u32 = 8;
/// Samples that the guard looks at, at once.
const LOOK: usize = FRAME / 2;
const ERLE_KEPT: f32 = 0.98;
/// Once the microphone's power exceeds the residual's by 14 dB, the path is known well enough for the residual to tell of
/// the loudspeaker's distortion.
const KNOWN: f32 = 25.0;
/// What is played is audible from this mean square on: -60 dB.
const AUDIBLE: f32 = 1e-6;

/// The canceller.
pub struct AdaptiveCanceller {
    fft: Fft,
    high_pass: HighPass,
    distortion: Distortion,
    /// What is played; and the second and third power of that.
    played: Played,
    powers: [Played; 2],
    /// Where in each of them the newest frame is; older ones follow.
    newest: usize,
    /// The mean square of each of these frames.
    loudness: [f32; HISTORY],
    finder: DelayFinder,
    /// Frames by which what is played is delayed before the filter.
    offset: usize,
    /// Nothing is known of the path.
    lost: bool,
    /// Where the filter takes the path to begin, in frames after it was played.
    begins: usize,
    /// The delay as it was found last, and for how many frames it was.
    found: usize,
    agreed: u32,
    filter: KalmanFilter,
    guard: EchoGuard,
    post_filter: PostFilter,
    noise: NoiseSwitch,
    spectrum: Spectrum,
    samples: Box<[f32; SIZE]>,
    captured_power: f32,
    left_power: f32,
}

/// Spectra of the latest frames, each taken with its predecessor.
struct Played {
    high_pass: HighPass,
    spectra: Vec<Spectrum>,
    samples: Box<[f32; SIZE]>,
}

impl Played {
    fn new() -> Self {
        Self {
            high_pass: HighPass::new(),
            spectra: vec![Spectrum::ZERO; HISTORY],
            samples: Box::new([0.0; SIZE]),
        }
    }

    fn push(&mut self, fft: &mut Fft, at: usize, mut frame: [f32; FRAME]) {
        self.high_pass.process(&mut frame);
        self.samples.copy_within(FRAME.., 0);
        self.samples[FRAME..].copy_from_slice(&frame);
        fft.forward(&self.samples, &mut self.spectra[at]);
    }

    fn ago(&self, newest: usize, frames: usize) -> &Spectrum {
        &self.spectra[(newest + frames) % HISTORY]
    }
}

impl Default for AdaptiveCanceller {
    fn default() -> Self {
        Self::new()
    }
}

impl AdaptiveCanceller {
    /// A canceller that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fft: Fft::new(),
            high_pass: HighPass::new(),
            distortion: Distortion::new(),
            played: Played::new(),
            powers: [Played::new(), Played::new()],
            newest: 0,
            loudness: [0.0; HISTORY],
            finder: DelayFinder::new(),
            offset: 0,
            lost: true,
            begins: 0,
            found: 0,
            agreed: 0,
            filter: KalmanFilter::new(),
            guard: EchoGuard::new(),
            post_filter: PostFilter::new(),
            noise: NoiseSwitch::new(),
            spectrum: Spectrum::ZERO,
            samples: Box::new([0.0; SIZE]),
            captured_power: 0.0,
            left_power: 0.0,
        }
    }

    fn play(&mut self, reference: &[f32; FRAME]) {
        self.newest = (self.newest + HISTORY - 1) % HISTORY;
        self.loudness[self.newest] = mean_square(reference) as f32;
        self.played.push(&mut self.fft, self.newest, *reference);
        for (played, power) in self.powers.iter_mut().zip(Distortion::powers(reference)) {
            played.push(&mut self.fft, self.newest, power);
        }
    }

    /// Whether something was played that may have an echo now.
    fn is_playing(&self) -> bool {
        let ago = |frames: usize| self.loudness[(self.newest + frames) % HISTORY];
        (0..self.offset + PARTITIONS).any(|frames| ago(frames) > AUDIBLE)
    }

    /// Moves the filter to where the echo is.
    fn find_delay(&mut self, capture: &[f32; FRAME]) {
        self.samples[..FRAME].fill(0.0);
        self.samples[FRAME..].copy_from_slice(capture);
        self.fft.forward(&self.samples, &mut self.spectrum);
        let (played, newest) = (&self.played, self.newest);
        self.finder.hear(&self.spectrum, |ago| played.ago(newest, ago));
        let Some(delay) = self.finder.delay() else { return };
        // Where nothing is delayed, nothing can begin earlier.
        let earliest = if self.offset == 0 { 0 } else { EARLIEST };
        let fits = (self.offset + earliest..=self.offset + LATEST).contains(&delay);
        let earlier = delay < self.begins;
        if fits && !self.lost && !earlier {
            self.agreed = 0;
            return;
        }
        self.agreed = if delay.abs_diff(self.found) <= 1 { self.agreed + 1 } else { 0 };
        self.found = delay;
        if self.agreed < AGREED {
            return;
        }
        self.agreed = 0;
        // A delay that was found in the first words may be a voice's own period: what fits is not moved.
        if !fits {
            let offset = delay.saturating_sub(BEGINS);
            self.filter.shift(offset as isize - self.offset as isize);
            self.offset = offset;
            self.begins = offset;
        }
        if self.lost || earlier {
            self.lost = false;
            let partition = (delay - self.offset).saturating_sub(EARLIER);
            self.begins = self.offset + partition;
            self.filter.begins(partition);
        }
    }
}

impl EchoCanceller for AdaptiveCanceller {
    fn process(&mut self, reference: &[f32; FRAME], capture: &mut [f32; FRAME]) {
        self.play(reference);
        let saturated = capture.iter().any(|sample| sample.abs() >= SATURATED);
        self.high_pass.process(capture);
        self.noise.hear(mean_square(reference), mean_square(capture));
        self.find_delay(capture);

        let (played, newest, offset) = (&self.played, self.newest, self.offset);
        let mut echo = [0.0; FRAME];
        self.filter.estimate(&mut self.fft, |partition| played.ago(newest, offset + partition), &mut echo);
        let mut distorted = [[0.0; FRAME]; 2];
        for ((power, coefficient), distorted) in
            self.powers.iter().zip(self.distortion.coefficients()).zip(&mut distorted)
        {
            self.filter.estimate(&mut self.fft, |partition| power.ago(newest, offset + partition), distorted);
            for (echo, distorted) in echo.iter_mut().zip(distorted) {
                *echo += coefficient * *distorted;
            }
        }
        let captured = *capture;
        for (sample, echo) in capture.iter_mut().zip(&echo) {
            *sample -= echo;
        }
        if !saturated {
            self.filter.learn(&mut self.fft, |partition| played.ago(newest, offset + partition), capture);
            if !self.lost && self.captured_power > KNOWN * self.left_power {
                let (error, other) = (self.filter.error(), self.filter.innovation());
                self.distortion.learn(&mut self.fft, &distorted, error, other);
            }
        }
        let playing = self.is_playing();
        let mut broke = false;
        for (captured, left) in captured.chunks_exact(LOOK).zip(capture.chunks_exact(LOOK)) {
            broke |= self.guard.look(captured, left, playing);
        }
        if broke {
            self.lost = true;
            self.filter.forget();
            self.finder.forget();
            self.post_filter.forget();
            (self.captured_power, self.left_power) = (0.0, 0.0);
        }
        if mean_square(&echo) > 0.0 {
            self.captured_power =
                ERLE_KEPT * self.captured_power + (1.0 - ERLE_KEPT) * mean_square(&captured) as f32;
            self.left_power = ERLE_KEPT * self.left_power + (1.0 - ERLE_KEPT) * mean_square(capture) as f32;
        }
        self.post_filter.believe(!self.guard.doubts());
        self.post_filter.process(&mut self.fft, capture, &echo, self.noise.suppresses());
        self.guard.duck(capture);
    }

    fn interrupt(&mut self) {
        self.guard.interrupt();
    }

    fn delay(&self) -> usize {
        DELAY
    }

    fn report(&self) -> EchoReport {
        let begins = self.offset + self.filter.strongest();
        EchoReport {
            erle_db: 10.0 * f64::from(self.captured_power / self.left_power.max(1e-12)).log10(),
            delay_ms: 10 * begins as u32,
            ducked: self.guard.count(),
            ducking: self.guard.ducking(),
            snr_db: self.noise.snr_db(),
            suppresses_noise: self.noise.suppresses(),
        }
    }
}

fn mean_square(frame: &[f32; FRAME]) -> f64 {
    frame.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum::<f64>() / FRAME as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_out_as_much_later_as_it_says() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut canceller = AdaptiveCanceller::new();
        let (mut heard, mut given) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let mut frame: [f32; FRAME] = std::array::from_fn(|_| 0.2 * (random.f32() - 0.5));
            heard.extend(frame);
            canceller.process(&[0.0; FRAME], &mut frame);
            given.extend(frame);
        }
        let from = 24_000;
        let likeness = |delay: usize| -> f32 {
            let late = &given[from + delay..from + delay + 9_600];
            heard[from..from + 9_600].iter().zip(late).map(|(a, b)| a * b).sum()
        };
        let found = (0..1_000).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap();
        assert!(found.abs_diff(canceller.delay()) <= 2, "{found} samples late");
    }

    /// Plays noise that comes back half as loud and so many frames later; gives the loss of it at the end, in dB.
    fn echo_loss(canceller: &mut AdaptiveCanceller, later: usize, frames: usize) -> f64 {
        distorted_echo_loss(canceller, later, frames, 0.1, |sample| sample)
    }

    /// The same of noise up to `peak`, by a loudspeaker that bends each sample.
    fn distorted_echo_loss(
        canceller: &mut AdaptiveCanceller,
        later: usize,
        frames: usize,
        peak: f32,
        bend: impl Fn(f32) -> f32,
    ) -> f64 {
        let mut random = fastrand::Rng::with_seed(later as u64);
        let mut played = vec![[0.0; FRAME]; later + 1];
        let (mut before, mut after) = (0.0, 0.0);
        for at in 0..frames {
            played.rotate_right(1);
            played[0] = std::array::from_fn(|_| 2.0 * peak * (random.f32() - 0.5));
            let mut frame = played[later].map(|sample| 0.5 * bend(sample) + 2e-4 * (random.f32() - 0.5));
            if at + 50 >= frames {
                before += mean_square(&frame);
            }
            canceller.process(&played[0], &mut frame);
            if at + 50 >= frames {
                after += mean_square(&frame);
            }
        }
        10.0 * (before / after).log10()
    }

    #[test]
    fn an_echo_goes_wherever_it_comes_from() {
        let mut canceller = AdaptiveCanceller::new();
        for later in [1, 20, 61, 30] {
            let loss_db = echo_loss(&mut canceller, later, 400);
            assert!(loss_db > 35.0, "{later} frames later: {loss_db} dB");
            let found = canceller.report().delay_ms;
            assert!(found.abs_diff(10 * later as u32) <= 10, "{found} ms for {later} frames");
        }
    }

    #[test]
    fn what_a_loudspeaker_adds_goes_with_the_echo() {
        let bend = |sample: f32| sample + 0.4 * sample * sample - 0.9 * sample * sample * sample;
        let is_known = |canceller: &AdaptiveCanceller| {
            let [second, third] = canceller.distortion.coefficients();
            // Of noise that is as loud all the time, a part of the third power is in the path.
            assert!((second - 0.4).abs() < 0.05 && (third + 0.9).abs() < 0.2, "{second} and {third}");
        };
        let mut canceller = AdaptiveCanceller::new();
        for (later, frames) in [(20, 800), (60, 800)] {
            let loss_db = distorted_echo_loss(&mut canceller, later, frames, 0.5, bend);
            assert!(loss_db > 45.0, "{later} frames later: {loss_db} dB");
            is_known(&canceller);
        }
    }

    #[test]
    fn who_answers_in_silence_is_not_ducked_for_a_path_that_broke() {
        let mut canceller = AdaptiveCanceller::new();
        echo_loss(&mut canceller, 3, 300);
        echo_loss(&mut canceller, 30, 15);
        assert!(canceller.report().ducking);
        let mut random = fastrand::Rng::with_seed(9);
        let (mut said, mut heard) = (0.0, 0.0);
        for at in 0..150 {
            let mut frame = std::array::from_fn(|_| 0.2 * (random.f32() - 0.5));
            let before = mean_square(&frame);
            canceller.process(&[0.0; FRAME], &mut frame);
            if at >= 50 {
                said += before;
                heard += mean_square(&frame);
            }
        }
        let loss_db = 10.0 * (said / heard).log10();
        assert!(loss_db < 0.5, "{loss_db} dB");
        echo_loss(&mut canceller, 30, 5);
        assert!(canceller.report().ducking, "the path is still not learnt");
    }

    #[test]
    fn a_delay_that_was_taken_for_a_later_one_is_put_right() {
        let mut canceller = AdaptiveCanceller::new();
        echo_loss(&mut canceller, 3, 400);
        // As if the first words after a change had a period of 8 frames.
        canceller.filter.forget();
        canceller.begins = 9;
        canceller.filter.begins(9);
        let loss_db = echo_loss(&mut canceller, 3, 150);
        assert!(loss_db > 20.0, "{loss_db} dB");
        assert!(canceller.begins <= 3, "{}", canceller.begins);
    }

    #[test]
    fn what_was_interrupted_is_not_heard_where_it_is_not_expected() {
        const FRAMES: usize = 400;
        let mut random = fastrand::Rng::with_seed(6);
        let played: Vec<[f32; FRAME]> =
            (0..FRAMES + 3).map(|_| std::array::from_fn(|_| 0.2 * (random.f32() - 0.5))).collect();
        let heard = |canceller: &mut AdaptiveCanceller, at: usize, later: usize| {
            let mut frame = played[at - later].map(|sample| 0.5 * sample);
            let before = mean_square(&frame);
            canceller.process(&played[at], &mut frame);
            (before, mean_square(&frame))
        };
        let loss_db = |interrupted: bool| {
            let mut canceller = AdaptiveCanceller::new();
            for at in 30..FRAMES {
                heard(&mut canceller, at, 20);
            }
            if interrupted {
                canceller.interrupt();
            }
            let all = (FRAMES..FRAMES + 3).map(|at| heard(&mut canceller, at, 23));
            let (before, after) = all.fold((0.0, 0.0), |sum, (b, a)| (sum.0 + b, sum.1 + a));
            10.0 * (before / after).log10()
        };
        let (without, with) = (loss_db(false), loss_db(true));
        assert!(with > 27.0 && without < 23.0, "{with} and {without} dB in the first 30 ms");
    }

    #[test]
    fn whatever_comes_does_no_lasting_harm() {
        let mut canceller = AdaptiveCanceller::new();
        for wild in [f32::NAN, f32::INFINITY, 1e30, -1.0] {
            canceller.process(&[wild; FRAME], &mut [wild; FRAME]);
        }
        let loss_db = echo_loss(&mut canceller, 5, 600);
        assert!(loss_db > 35.0, "{loss_db} dB");
    }
}
