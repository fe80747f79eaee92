//! The adaptive filter: the echo's path, learnt while both speak.
//!
//! A partitioned-block Kalman filter in the frequency domain (Enzner and Vary, "Frequency-domain adaptive Kalman
//! filter for acoustic echo control in hands-free telephones", Signal Processing 86(6), 2006; Kuech, Mabande and
//! Enzner, "State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014). For
//! each partition of the path and each frequency it keeps, beside its estimate, how uncertain that is. A step is
//! as long as the uncertainty is large beside what else is heard: in double talk it goes on learning, slowly,
//! where a gradient filter would have to be stopped.

use super::spectrum::{BINS, Fft, Real, SIZE, Spectrum};
use crate::sound::rate::FRAME;

/// Partitions of the filter, of a frame each.
pub(super) const PARTITIONS: usize = 32;
/// Partitions that are brought back to their length with each frame, in turn.
const CONSTRAINED: usize = 8;
/// Of the path's power, what changes from frame to frame: people move, air does.
const CHANGE: f32 = 0.000_3;
/// How far back the power of what else is heard reaches, for each frame.
const OTHER_KEPT: f32 = 0.8;
/// The uncertainty to begin with: the power of a path that is nearly as loud as what is played, over its partitions.
const LOUDEST: f32 = 0.5;
const UNKNOWN: f32 = LOUDEST / PARTITIONS as f32;
/// Once it is known where the path begins: of a partition's power, what the next has, for 60 dB in 0.5 s; and of a
/// partition before the first.
const REVERBERATION: f32 = 0.8;
const TOO_EARLY: f32 = 0.01;
/// Never more certain than this, or the numbers would get too small to be fast.
const CERTAIN: f32 = 1e-12;
/// Power of a spectrum that is nothing: -110 dB.
const NOTHING: f32 = 1e-11 * SIZE as f32;

/// The filter.
pub(super) struct KalmanFilter {
    path: Vec<Spectrum>,
    uncertainty: Vec<Real>,
    /// Power of all that is not echo.
    other: Real,
    /// The variance of the innovation, of the frame that was learnt from last: of what else is heard, and of the echo
    /// that was expected to be left.
    innovation: Real,
    next_constrained: usize,
    error: Spectrum,
    estimate: Spectrum,
    samples: Box<[f32; SIZE]>,
}

impl KalmanFilter {
    pub(super) fn new() -> Self {
        Self {
            path: vec![Spectrum::ZERO; PARTITIONS],
            uncertainty: vec![[UNKNOWN; BINS]; PARTITIONS],
            other: [NOTHING; BINS],
            innovation: [NOTHING; BINS],
            next_constrained: 0,
            error: Spectrum::ZERO,
            estimate: Spectrum::ZERO,
            samples: Box::new([0.0; SIZE]),
        }
    }

    /// Forgets the path.
    pub(super) fn forget(&mut self) {
        self.path.fill(Spectrum::ZERO);
        self.uncertainty.fill([UNKNOWN; BINS]);
        self.other = [NOTHING; BINS];
    }

    /// A path that was forgotten begins in this partition, so far as is known; what was learnt meanwhile is kept. The
    /// fewer partitions are uncertain, the faster the others are learnt.
    pub(super) fn begins(&mut self, partition: usize) {
        let mut expected = LOUDEST * (1.0 - REVERBERATION);
        for (at, uncertainty) in self.uncertainty.iter_mut().enumerate() {
            if at < partition {
                uncertainty.fill(LOUDEST * TOO_EARLY);
            } else {
                uncertainty.fill(expected);
                expected *= REVERBERATION;
            }
        }
    }

    /// The path begins `later` partitions later than before, or earlier where that is negative.
    pub(super) fn shift(&mut self, later: isize) {
        let count = later.unsigned_abs().min(PARTITIONS);
        let fresh = if later > 0 {
            self.path.rotate_left(count);
            self.uncertainty.rotate_left(count);
            PARTITIONS - count..PARTITIONS
        } else {
            self.path.rotate_right(count);
            self.uncertainty.rotate_right(count);
            0..count
        };
        self.path[fresh.clone()].fill(Spectrum::ZERO);
        self.uncertainty[fresh].fill([UNKNOWN; BINS]);
    }

    /// The echo in a frame. `played(p)` is the spectrum of what was played `p` frames ago, with the frame before it.
    pub(super) fn estimate<'a>(
        &mut self,
        fft: &mut Fft,
        played: impl Fn(usize) -> &'a Spectrum,
        echo: &mut [f32; FRAME],
    ) {
        self.estimate.re.fill(0.0);
        self.estimate.im.fill(0.0);
        for (partition, path) in self.path.iter().enumerate() {
            self.estimate.add_product(played(partition), path);
        }
        fft.inverse(&self.estimate, &mut self.samples);
        echo.copy_from_slice(&self.samples[FRAME..]);
    }

    /// Learns from what was left of the frame after the estimate was taken out.
    pub(super) fn learn<'a>(
        &mut self,
        fft: &mut Fft,
        played: impl Fn(usize) -> &'a Spectrum,
        residual: &[f32; FRAME],
    ) {
        self.samples[..FRAME].fill(0.0);
        self.samples[FRAME..].copy_from_slice(residual);
        fft.forward(&self.samples, &mut self.error);

        // Power of the echo that is expected to be left.
        let mut left = [0.0; BINS];
        for (partition, uncertainty) in self.uncertainty.iter().enumerate() {
            let x = played(partition);
            for k in 0..BINS {
                left[k] += 0.5 * (x.re[k] * x.re[k] + x.im[k] * x.im[k]) * uncertainty[k];
            }
        }
        let power = self.error.powers();
        let mut step = [0.0; BINS];
        for k in 0..BINS {
            // As it is after this step, for what is echo is then taken out.
            let part = self.other[k] / (left[k] + self.other[k] + NOTHING);
            let other = (power[k] * part * part).max(NOTHING);
            self.other[k] += (1.0 - OTHER_KEPT) * (other - self.other[k]);
            // A voice that begins is not in the mean yet.
            let sudden = power[k] - left[k];
            self.innovation[k] = left[k] + self.other[k].max(sudden) + NOTHING;
            step[k] = 0.5 / self.innovation[k];
        }
        for (partition, (path, uncertainty)) in self.path.iter_mut().zip(&mut self.uncertainty).enumerate() {
            let x = played(partition);
            for k in 0..BINS {
                let gain = uncertainty[k] * step[k];
                let (re, im) = (gain * x.re[k], -gain * x.im[k]);
                path.re[k] += re * self.error.re[k] - im * self.error.im[k];
                path.im[k] += re * self.error.im[k] + im * self.error.re[k];
                let played = x.re[k] * x.re[k] + x.im[k] * x.im[k];
                let size = path.re[k] * path.re[k] + path.im[k] * path.im[k];
                // Nothing is learnt, and nothing forgotten, while nothing is played.
                let change = if played > NOTHING { CHANGE * size } else { 0.0 };
                uncertainty[k] = ((1.0 - 0.5 * gain * played) * uncertainty[k] + change).max(CERTAIN);
            }
        }
        for _ in 0..CONSTRAINED {
            self.constrain(fft);
        }
    }

    /// The spectrum of what was left of the frame that was learnt from last.
    pub(super) fn error(&self) -> &Spectrum {
        &self.error
    }

    /// The power that it was expected to have.
    pub(super) fn innovation(&self) -> &Real {
        &self.innovation
    }

    /// Brings a partition back to its length: the other half of its samples is an error of circular convolution.
    fn constrain(&mut self, fft: &mut Fft) {
        let path = &mut self.path[self.next_constrained];
        fft.inverse(path, &mut self.samples);
        self.samples[FRAME..].fill(0.0);
        fft.forward(&self.samples, path);
        self.next_constrained = (self.next_constrained + 1) % PARTITIONS;
    }

    /// The partition in which most of the path is.
    pub(super) fn strongest(&self) -> usize {
        let power = |path: &Spectrum| path.powers().iter().sum::<f32>();
        let mut best = (0, 0.0);
        for (partition, path) in self.path.iter().enumerate() {
            let power = power(path);
            if power > best.1 {
                best = (partition, power);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loudspeaker that plays noise, and a room of 60 ms that begins 20 ms after it.
    struct Room {
        fft: Fft,
        random: fastrand::Rng,
        response: Vec<f32>,
        played: Vec<f32>,
        spectra: Vec<Spectrum>,
        filter: KalmanFilter,
    }

    impl Room {
        const BEGINS: usize = 960;

        fn new() -> Self {
            let mut random = fastrand::Rng::with_seed(5);
            let decay = |n: usize| (-(n as f32) / 400.0).exp() / 14.0;
            let response = (0..2_880).map(|n| decay(n) * 2.0 * (random.f32() - 0.5)).collect();
            Self {
                fft: Fft::new(),
                random,
                response,
                played: vec![0.0; 8_192],
                spectra: vec![Spectrum::ZERO; PARTITIONS],
                filter: KalmanFilter::new(),
            }
        }

        /// Plays so many frames, beside a near voice of this power; gives how much of the echo's power is taken
        /// out, in dB, and the near voice apart.
        fn run(&mut self, frames: usize, near: f32) -> f32 {
            let (mut before, mut after) = (0.0, 0.0);
            for _ in 0..frames {
                let start = self.played.len();
                for _ in 0..FRAME {
                    self.played.push(0.3 * (self.random.f32() - 0.5));
                }
                let mut samples = [0.0; SIZE];
                samples.copy_from_slice(&self.played[start - FRAME..]);
                let mut spectrum = Spectrum::ZERO;
                self.fft.forward(&samples, &mut spectrum);
                self.spectra.rotate_right(1);
                self.spectra[0] = spectrum;
                let echo: [f32; FRAME] = std::array::from_fn(|n| {
                    let newest = start + n - Self::BEGINS;
                    self.response.iter().zip(self.played[..=newest].iter().rev()).map(|(h, x)| h * x).sum()
                });
                let near: [f32; FRAME] =
                    std::array::from_fn(|_| (12.0 * near).sqrt() * (self.random.f32() - 0.5));
                let mut estimate = [0.0; FRAME];
                let spectra = &self.spectra;
                self.filter.estimate(&mut self.fft, |p| &spectra[p], &mut estimate);
                let residual = std::array::from_fn(|n| echo[n] + near[n] - estimate[n]);
                self.filter.learn(&mut self.fft, |p| &spectra[p], &residual);
                before += echo.iter().map(|x| x * x).sum::<f32>();
                after += echo.iter().zip(&estimate).map(|(x, y)| (x - y) * (x - y)).sum::<f32>();
            }
            10.0 * (before / after).log10()
        }

        fn echo_power(&self) -> f32 {
            0.3 * 0.3 / 12.0 * self.response.iter().map(|h| h * h).sum::<f32>()
        }
    }

    #[test]
    fn learns_a_room_and_keeps_it_while_both_speak() {
        let mut room = Room::new();
        room.filter.begins(1);
        room.run(60, 0.0);
        let alone = room.run(20, 0.0);
        assert!(alone > 20.0, "{alone} dB");
        let loud = 10.0 * room.echo_power();
        let begins = room.run(10, loud);
        assert!(begins > 18.0, "{begins} dB when the other begins");
        let both = room.run(100, loud);
        assert!(both > 18.0, "{both} dB beside a voice that is 10 dB louder than the echo");
    }

    #[test]
    fn learns_while_both_speak() {
        let mut room = Room::new();
        let near = room.echo_power();
        room.filter.begins(1);
        room.run(150, near);
        let both = room.run(50, near);
        assert!(both > 8.0, "{both} dB");
    }

    #[test]
    fn what_is_moved_is_still_known() {
        let mut room = Room::new();
        room.filter.begins(1);
        room.run(60, 0.0);
        assert_eq!(room.filter.strongest(), 2);
        room.filter.shift(2);
        assert_eq!(room.filter.strongest(), 0);
        room.filter.shift(-2);
        assert_eq!(room.filter.strongest(), 2);
        let known = room.run(3, 0.0);
        assert!(known > 15.0, "{known} dB");
        room.filter.forget();
        let forgotten = room.run(1, 0.0);
        assert!(forgotten < 3.0, "{forgotten} dB");
    }
}
