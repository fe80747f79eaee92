//! What the adaptive filter leaves of the echo is suppressed, band by band, no deeper than to the noise of the
//! place, and noise is put where something was taken away, so that nothing pumps. In a noisy place, noise is
//! suppressed as well.
//!
//! How much of the echo is left follows from how much was taken out: while only the other end speaks the ratio of
//! both is at its least, which is kept for some seconds. The gains become a short filter of linear phase, which
//! delays less than a filter bank would.

use super::least::Least;
use super::spectrum::{BINS, Fft, Real, SIZE, Spectrum};
use crate::sound::rate::FRAME;

/// Taps to each side of the filter's middle, and so what it delays, in samples.
pub(crate) const DELAY: usize = 128;
const TAPS: usize = 2 * DELAY + 1;
/// Bands: two bins wide at least, from 1 kHz on a tenth of their frequency.
const BANDS: usize = 43;
const LEAST_BINS: usize = 2;
/// Samples over which the window that powers are taken through rises; it falls over the others, so that the
/// newest count.
const RISE: usize = 700;
/// Samples over which one frame's filter fades into the next one's.
const FADE: usize = 240;
/// How far back powers reach, for each frame.
const KEPT: f32 = 0.3;
/// How the power of a room's reverberation falls, for each frame: 60 dB in 0.4 s.
const REVERBERATION: f32 = 0.7;
/// Frames over which the ratio of left echo to echo is taken.
const LEAK_FRAMES: u32 = 25;
/// Windows of frames of which the least power is noise, and how much less than the mean that is.
const NOISE_WINDOW: u32 = 100;
const NOISE_BIAS: f32 = 2.2;
/// Of the echo that may be left, what is taken out: while nobody near speaks, and while somebody does.
const ALONE: f32 = 200.0;
const BESIDE: f32 = 2.5;
/// From this ratio of all that is heard to the echo that may be left on, somebody near speaks; from the other on,
/// surely.
const MAYBE: f32 = 4.0;
const SURELY: f32 = 16.0;
/// How far below the noise the echo is brought.
const BELOW_NOISE: f32 = 0.07;
/// Of the noise that was taken away with an echo, what is put there.
const COMFORT: f32 = 0.6;
/// How fast a gain may grow, for each frame.
const GROWTH: f32 = 3.0;
const LEAST_GROWTH: f32 = 0.02;
/// Least gain of the suppression of noise: -12 dB.
const LEAST_NOISE_GAIN: f32 = 0.25;
/// Of the noise's power, what its suppression takes out.
const NOISE_TAKEN: f32 = 2.5;
const NOTHING: f32 = 1e-12;

type Band = [f32; BANDS];

/// The ratio of what is left to the echo, while only the other end speaks.
#[derive(Clone)]
struct Leak {
    left: f32,
    echo: f32,
    frames: u32,
    least: Least,
}

impl Leak {
    fn new() -> Self {
        Self { left: 0.0, echo: 0.0, frames: 0, least: Least::new(2) }
    }

    fn add(&mut self, left: f32, echo: f32, noise: f32) {
        // An echo below the noise tells nothing.
        if echo < noise {
            return;
        }
        self.left += (left - noise).max(0.0);
        self.echo += echo;
        self.frames += 1;
        if self.frames == LEAK_FRAMES {
            self.least.add(self.left / self.echo);
            (self.left, self.echo, self.frames) = (0.0, 0.0, 0);
        }
    }

    fn get(&self) -> f32 {
        self.least.get().clamp(1e-6, 1.0)
    }
}

/// The post filter.
pub(super) struct PostFilter {
    window: Box<[f32; SIZE]>,
    taps_window: [f32; TAPS],
    /// The first bin of each band, and the end.
    edges: [usize; BANDS + 1],
    /// Two frames each of what the adaptive filter left, of the echo that it took out, and of white noise.
    left: Box<[f32; SIZE]>,
    echo: Box<[f32; SIZE]>,
    white: Box<[f32; SIZE]>,
    random: fastrand::Rng,
    left_power: Band,
    echo_power: Band,
    tail: Band,
    leaks: Vec<Leak>,
    believed: bool,
    noises: Vec<Least>,
    gain: Band,
    noise_gain: Band,
    suppresses_noise: bool,
    /// Filters of voice and of noise, of the frame before and of this one.
    before: [Spectrum; 2],
    now: [Spectrum; 2],
    spectrum: Spectrum,
    product: Spectrum,
    samples: Box<[f32; SIZE]>,
    faded: Box<[f32; SIZE]>,
}

impl PostFilter {
    pub(super) fn new() -> Self {
        let half = |n: f32| (0.5 * std::f32::consts::PI * n).sin().powi(2);
        let window = |n: usize| {
            let n = n as f32 + 0.5;
            if n < RISE as f32 {
                half(n / RISE as f32)
            } else {
                half((SIZE as f32 - n) / (SIZE - RISE) as f32)
            }
        };
        let mut edges = [0; BANDS + 1];
        for band in 0..BANDS {
            edges[band + 1] = (edges[band] + LEAST_BINS.max(edges[band] / 10)).min(BINS);
        }
        edges[BANDS] = BINS;
        let mut flat = Spectrum::ZERO;
        flat.re.fill(1.0);
        Self {
            window: Box::new(std::array::from_fn(window)),
            taps_window: std::array::from_fn(|n| half((n + 1) as f32 / (DELAY + 1) as f32)),
            edges,
            left: Box::new([0.0; SIZE]),
            echo: Box::new([0.0; SIZE]),
            white: Box::new([0.0; SIZE]),
            random: fastrand::Rng::with_seed(1),
            left_power: [0.0; BANDS],
            echo_power: [0.0; BANDS],
            tail: [0.0; BANDS],
            leaks: vec![Leak::new(); BANDS],
            believed: true,
            noises: vec![Least::new(NOISE_WINDOW); BANDS],
            gain: [1.0; BANDS],
            noise_gain: [1.0; BANDS],
            suppresses_noise: false,
            before: [Spectrum::ZERO; 2],
            now: [Spectrum::ZERO; 2],
            spectrum: Spectrum::ZERO,
            product: Spectrum::ZERO,
            samples: Box::new([0.0; SIZE]),
            faded: Box::new([0.0; SIZE]),
        }
    }

    /// The path is another one: how much is left of the echo is not known.
    pub(super) fn forget(&mut self) {
        self.leaks.fill(Leak::new());
    }

    /// Whether the adaptive filter's estimate is to be believed: otherwise all of it counts as left.
    pub(super) fn believe(&mut self, believed: bool) {
        self.believed = believed;
    }

    /// Takes what the adaptive filter left of a frame, and the echo that it took out; gives the frame as it is
    /// sent, [`DELAY`] samples late.
    pub(super) fn process(
        &mut self,
        fft: &mut Fft,
        frame: &mut [f32; FRAME],
        echo: &[f32; FRAME],
        suppress_noise: bool,
    ) {
        push(&mut self.left, frame);
        push(&mut self.echo, echo);
        let random = &mut self.random;
        let white: [f32; FRAME] = std::array::from_fn(|_| 3.464 * (random.f32() - 0.5));
        push(&mut self.white, &white);

        let left = self.band_powers(fft, |filter| &filter.left);
        let echo = self.band_powers(fft, |filter| &filter.echo);
        let mut noise = [0.0; BANDS];
        for band in 0..BANDS {
            self.left_power[band] = KEPT * self.left_power[band] + (1.0 - KEPT) * left[band];
            self.echo_power[band] = KEPT * self.echo_power[band] + (1.0 - KEPT) * echo[band];
            self.tail[band] = self.echo_power[band].max(REVERBERATION * self.tail[band]);
            self.noises[band].add(self.left_power[band]);
            noise[band] = NOISE_BIAS * self.noises[band].get() + NOTHING;
            self.leaks[band].add(self.left_power[band], self.tail[band], noise[band]);
        }
        self.suppresses_noise = suppress_noise;
        self.choose_gains(&noise);
        self.make_filters(fft, &noise);
        self.apply(fft, frame);
    }

    fn band_powers(&mut self, fft: &mut Fft, of: impl Fn(&Self) -> &[f32; SIZE]) -> Band {
        let windowed: [f32; SIZE] = {
            let samples = of(self);
            std::array::from_fn(|n| samples[n] * self.window[n])
        };
        fft.forward(&windowed, &mut self.spectrum);
        let powers = self.spectrum.powers();
        let energy: f32 = self.window.iter().map(|w| w * w).sum();
        std::array::from_fn(|band| {
            let bins = &powers[self.edges[band]..self.edges[band + 1]];
            bins.iter().sum::<f32>() / bins.len() as f32 / energy
        })
    }

    fn choose_gains(&mut self, noise: &Band) {
        let leak = |leak: &Leak| if self.believed { leak.get() } else { 1.0 };
        let residual: Band = std::array::from_fn(|band| leak(&self.leaks[band]) * self.tail[band]);
        let width = |band: usize| (self.edges[band + 1] - self.edges[band]) as f32;
        let sum = |of: &dyn Fn(usize) -> f32| (0..BANDS).map(|band| width(band) * of(band)).sum::<f32>();
        let heard = sum(&|band| self.left_power[band]);
        let expected = sum(&|band| residual[band] + noise[band]);
        let near = ((heard / expected - MAYBE) / (SURELY - MAYBE)).clamp(0.0, 1.0);
        let taken = ALONE * (BESIDE / ALONE).powf(near);
        for band in 0..BANDS {
            let heard = self.left_power[band] + NOTHING;
            let floor = (BELOW_NOISE * noise[band] / (residual[band] + NOTHING)).sqrt().min(1.0);
            let gain = (1.0 - taken * residual[band] / heard).max(floor);
            let grown = GROWTH * self.gain[band] + LEAST_GROWTH;
            self.gain[band] = gain.min(grown);
            let wanted = if self.suppresses_noise {
                (1.0 - NOISE_TAKEN * noise[band] / heard).max(LEAST_NOISE_GAIN)
            } else {
                1.0
            };
            self.noise_gain[band] = wanted.min(GROWTH * self.noise_gain[band]);
        }
    }

    /// The gain of each bin, between the middles of bands.
    fn of_bins(&self, of_bands: &Band) -> Real {
        let mut bins = [0.0; BINS];
        let middle = |band: usize| (self.edges[band] + self.edges[band + 1] - 1) as f32 / 2.0;
        let mut band = 0;
        for (k, bin) in bins.iter_mut().enumerate() {
            while band + 2 < BANDS && k as f32 > middle(band + 1) {
                band += 1;
            }
            let part = ((k as f32 - middle(band)) / (middle(band + 1) - middle(band))).clamp(0.0, 1.0);
            *bin = of_bands[band] + part * (of_bands[band + 1] - of_bands[band]);
        }
        bins
    }

    fn make_filters(&mut self, fft: &mut Fft, noise: &Band) {
        std::mem::swap(&mut self.before, &mut self.now);
        let gain: Band = std::array::from_fn(|band| self.gain[band] * self.noise_gain[band]);
        let least = if self.suppresses_noise { LEAST_NOISE_GAIN } else { 1.0 };
        let comfort: Band = std::array::from_fn(|band| {
            let taken = 1.0 - self.gain[band] * self.gain[band];
            least * (COMFORT * noise[band] * taken.max(0.0)).sqrt()
        });
        for (which, bands) in [gain, comfort].iter().enumerate() {
            self.spectrum.re = self.of_bins(bands);
            self.spectrum.im.fill(0.0);
            fft.inverse(&self.spectrum, &mut self.samples);
            self.samples.rotate_right(DELAY);
            for (tap, window) in self.samples.iter_mut().zip(&self.taps_window) {
                *tap *= window;
            }
            self.samples[TAPS..].fill(0.0);
            fft.forward(&self.samples, &mut self.now[which]);
        }
    }

    fn apply(&mut self, fft: &mut Fft, frame: &mut [f32; FRAME]) {
        let inputs = [&self.left, &self.white];
        for (filters, out) in [(&self.before, &mut self.faded), (&self.now, &mut self.samples)] {
            self.product.re.fill(0.0);
            self.product.im.fill(0.0);
            for (filter, input) in filters.iter().zip(inputs) {
                fft.forward(input, &mut self.spectrum);
                self.product.add_product(&self.spectrum, filter);
            }
            fft.inverse(&self.product, out);
        }
        for (n, sample) in frame.iter_mut().enumerate() {
            let now = ((n + 1) as f32 / FADE as f32).min(1.0);
            *sample = now * self.samples[FRAME + n] + (1.0 - now) * self.faded[FRAME + n];
        }
    }
}

/// The newest frame after the one before it.
fn push(samples: &mut [f32; SIZE], frame: &[f32; FRAME]) {
    samples.copy_within(FRAME.., 0);
    samples[FRAME..].copy_from_slice(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        fft: Fft,
        filter: PostFilter,
        random: fastrand::Rng,
    }

    impl Place {
        fn new() -> Self {
            Self { fft: Fft::new(), filter: PostFilter::new(), random: fastrand::Rng::with_seed(2) }
        }

        fn noise(&mut self, power: f32) -> [f32; FRAME] {
            let amplitude = (12.0 * power).sqrt();
            std::array::from_fn(|_| amplitude * (self.random.f32() - 0.5))
        }

        /// Runs it over so many frames: noise of the place at 1e-6, the echo that is taken out, what is left of
        /// it, and a near voice, by power. Gives the power that comes out.
        fn run(&mut self, frames: usize, echo: f32, left: f32, near: f32, suppress: bool) -> f32 {
            let mut out = 0.0;
            for _ in 0..frames {
                let (echo, left) = (self.noise(echo), self.noise(left));
                let (near, noise) = (self.noise(near), self.noise(1e-6));
                let mut frame = std::array::from_fn(|n| left[n] + near[n] + noise[n]);
                self.filter.process(&mut self.fft, &mut frame, &echo, suppress);
                out += frame.iter().map(|x| x * x).sum::<f32>();
            }
            out / (frames * FRAME) as f32
        }
    }

    fn db(power: f32) -> f32 {
        10.0 * power.log10()
    }

    #[test]
    fn an_echo_that_is_left_goes_to_the_noise_and_a_voice_stays() {
        let mut place = Place::new();
        place.run(200, 0.0, 0.0, 0.0, false);
        place.run(100, 1e-2, 1e-5, 0.0, false);
        let alone = db(place.run(100, 1e-2, 1e-5, 0.0, false));
        assert!((-63.0..-60.0).contains(&alone), "{alone} dB for noise of -60");
        place.run(10, 1e-2, 1e-5, 1e-3, false);
        let both = db(place.run(100, 1e-2, 1e-5, 1e-3, false));
        assert!((both + 30.0).abs() < 1.0, "{both} dB for a voice of -30");
    }

    #[test]
    fn nothing_is_done_where_nothing_is_played() {
        let mut place = Place::new();
        place.run(200, 0.0, 0.0, 0.0, false);
        for (near, expected) in [(0.0, -60.0), (1e-3, -30.0)] {
            place.run(10, 0.0, 0.0, near, false);
            let found = db(place.run(50, 0.0, 0.0, near, false));
            assert!((found - expected).abs() < 0.3, "{found} dB for {expected}");
        }
    }

    #[test]
    fn noise_is_suppressed_when_asked_for() {
        let mut place = Place::new();
        place.run(400, 0.0, 0.0, 0.0, true);
        let noise = db(place.run(100, 0.0, 0.0, 0.0, true));
        assert!((-74.0..-66.0).contains(&noise), "{noise} dB");
        place.run(10, 0.0, 0.0, 1e-3, true);
        let voice = db(place.run(50, 0.0, 0.0, 1e-3, true));
        assert!((voice + 30.0).abs() < 0.5, "{voice} dB");
    }
}
