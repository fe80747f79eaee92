//! The echo canceller: adaptive filter, post filter, guard.

use super::canceller::{EchoCanceller, EchoReport};
use super::delay_finder::{DELAYS, DelayFinder};
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

/// The canceller.
pub struct AdaptiveCanceller {
    fft: Fft,
    high_pass: [HighPass; 2],
    /// Newest at `newest`, older ones after it.
    played: Vec<Spectrum>,
    newest: usize,
    last_played: [f32; FRAME],
    finder: DelayFinder,
    /// Frames by which what is played is delayed before the filter.
    offset: usize,
    /// Nothing is known of the path.
    lost: bool,
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
            high_pass: [HighPass::new(), HighPass::new()],
            played: vec![Spectrum::ZERO; HISTORY],
            newest: 0,
            last_played: [0.0; FRAME],
            finder: DelayFinder::new(),
            offset: 0,
            lost: true,
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
        let mut reference = *reference;
        self.high_pass[0].process(&mut reference);
        self.samples[..FRAME].copy_from_slice(&self.last_played);
        self.samples[FRAME..].copy_from_slice(&reference);
        self.last_played = reference;
        self.newest = (self.newest + HISTORY - 1) % HISTORY;
        self.fft.forward(&self.samples, &mut self.played[self.newest]);
    }

    /// Moves the filter to where the echo is.
    fn find_delay(&mut self, capture: &[f32; FRAME]) {
        self.samples[..FRAME].fill(0.0);
        self.samples[FRAME..].copy_from_slice(capture);
        self.fft.forward(&self.samples, &mut self.spectrum);
        let (played, newest) = (&self.played, self.newest);
        self.finder.hear(&self.spectrum, |ago| &played[(newest + ago) % HISTORY]);
        let Some(delay) = self.finder.delay() else { return };
        // Where nothing is delayed, nothing can begin earlier.
        let earliest = if self.offset == 0 { 0 } else { EARLIEST };
        let fits = (self.offset + earliest..=self.offset + LATEST).contains(&delay);
        if fits && !self.lost {
            self.agreed = 0;
            return;
        }
        self.agreed = if delay.abs_diff(self.found) <= 1 { self.agreed + 1 } else { 0 };
        self.found = delay;
        if self.agreed < AGREED {
            return;
        }
        self.agreed = 0;
        let offset = delay.saturating_sub(BEGINS);
        self.filter.shift(offset as isize - self.offset as isize);
        self.offset = offset;
        if self.lost {
            self.lost = false;
            self.filter.begins((delay - offset).saturating_sub(EARLIER));
        }
    }
}

impl EchoCanceller for AdaptiveCanceller {
    fn process(&mut self, reference: &[f32; FRAME], capture: &mut [f32; FRAME]) {
        self.play(reference);
        let saturated = capture.iter().any(|sample| sample.abs() >= SATURATED);
        self.high_pass[1].process(capture);
        self.noise.hear(mean_square(reference), mean_square(capture));
        self.find_delay(capture);

        let (played, from) = (&self.played, self.newest + self.offset);
        let played = |partition: usize| &played[(from + partition) % HISTORY];
        let mut echo = [0.0; FRAME];
        self.filter.estimate(&mut self.fft, played, &mut echo);
        let captured = *capture;
        for (sample, echo) in capture.iter_mut().zip(&echo) {
            *sample -= echo;
        }
        if !saturated {
            self.filter.learn(&mut self.fft, played, capture);
        }
        let mut broke = false;
        for (captured, left) in captured.chunks_exact(LOOK).zip(capture.chunks_exact(LOOK)) {
            broke |= self.guard.look(captured, left);
        }
        if broke {
            self.lost = true;
            self.filter.forget();
            self.finder.forget();
            self.post_filter.forget();
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
        let mut random = fastrand::Rng::with_seed(later as u64);
        let mut played = vec![[0.0; FRAME]; later + 1];
        let (mut before, mut after) = (0.0, 0.0);
        for at in 0..frames {
            played.rotate_right(1);
            played[0] = std::array::from_fn(|_| 0.2 * (random.f32() - 0.5));
            let mut frame = played[later].map(|sample| 0.5 * sample + 2e-4 * (random.f32() - 0.5));
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
