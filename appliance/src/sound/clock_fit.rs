//! A sound device's clock against ours, from positions with their time.
//!
//! A position is read late, never early: the device tells of it by periods, the kernel's timer or USB frames,
//! so the index stands still for up to a period while the time goes on. Of the positions of each
//! [`BUCKET_US`] the earliest against the line counts, whose error is a fraction of the mean's, and once there
//! are many, of several buckets in a row again the earliest. Through these of the last [`WINDOW`] buckets goes
//! a line of least squares, drawn towards what the rate is known to be by a weight that fades as they add up
//! (ridge regression).
//!
//! What is published begins on that line, after one bucket, or after [`UNKNOWN`] when the rate was not known,
//! and follows it without a jump. When a bucket is complete, the published line keeps its place and changes its
//! slope so that it meets the fitted one after as long as the fit has lasted. In a second the slope changes by
//! [`SLEW_PPM_S`] at most, but by [`FIRST_SLEW_PPM_S`] in the first [`FIRST_US`] of an unknown rate.

use std::collections::VecDeque;

use super::clock_line::ClockLine;

/// The rate that a device should have, in Hz; all indices are of it.
const NOMINAL_HZ: f64 = crate::sound::rate::RATE_HZ;
/// How long a bucket is, in µs.
const BUCKET_US: f64 = 500_000.0;
/// Buckets that are fitted: 30 s.
const WINDOW: usize = 60;
/// The most points that the line goes through. Fewer, of more buckets each, are less late; but they must
/// still be enough for the mean to tell.
const GROUPS: usize = 10;
/// How far a bucket's point is off the line, in µs, as far as is known before there are any; the earliest of
/// several is as much less.
const POINT_US: f64 = 30.0;
/// How far rates of crystals are off: those of any device, of one that was measured some time ago, and of one
/// that was measured until just now, in ppm.
const ANY_PPM: f64 = 100.0;
const KEPT_PPM: f64 = 5.0;
const MEASURED_PPM: f64 = 2.0;
/// A rate further off than this is none that was measured well, in ppm.
const LIMIT_PPM: f64 = 1_000.0;
/// Buckets before anything is published of a device whose rate is not known.
const UNKNOWN: usize = 4;
/// The least time that the published line takes to meet the fitted one, in µs.
const MEETING_US: f64 = 1_000_000.0;
/// By how much the published slope changes in a second at most, in ppm.
const SLEW_PPM_S: f64 = 2.0;
/// The same at first.
const FIRST_SLEW_PPM_S: f64 = 100.0;
/// How long that lasts, in µs.
const FIRST_US: f64 = 4_000_000.0;
/// After so many buckets the rate is known better than it was kept.
const CONVERGED: usize = 40;
/// After so many it is known at all, and so well, in ppm.
const HALF_KNOWN: usize = 8;
const HALF_KNOWN_PPM: f64 = 20.0;
/// A bucket whose earliest position is further off the published line than this, in µs, is of another line; no
/// single position is so much too early.
const STEP_US: f64 = 5_000.0;
/// Nor is any so much too late, in µs; after so many in a row that are either, the fit begins again at once.
const OFF_US: f64 = 50_000.0;
const OFF_POSITIONS: u32 = 8;

/// A position: an index, and the time in µs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    index: f64,
    at_us: f64,
}

/// The fit of one device's clock.
#[derive(Debug, Clone)]
pub struct ClockFit {
    /// Of complete buckets, in the order of time.
    points: VecDeque<Point>,
    /// The earliest position of the bucket that is being filled.
    earliest: Option<Point>,
    bucket_ends_us: f64,
    /// What the rate was known to be when the points began, in ppm above nominal, and how well.
    known_ppm: f64,
    known_within_ppm: f64,
    /// The fitted line: a point on it, and its slope.
    fitted: Option<Point>,
    ppm: f64,
    residual_us: f64,
    /// The published line, likewise.
    published: Option<Point>,
    published_ppm: f64,
    /// Whether it follows these points, and is not left over from before a gap.
    follows: bool,
    /// Until when the slope may change quickly.
    first_ends_us: Option<f64>,
    off: u32,
    restarts: u32,
}

impl Default for ClockFit {
    fn default() -> Self {
        Self::of_unknown()
    }
}

impl ClockFit {
    /// Of a device of which nothing is known.
    pub fn of_unknown() -> Self {
        Self::new(0.0, ANY_PPM)
    }

    /// Of a device that was measured before, and had this rate in Hz. One that no device has is ignored.
    pub fn of_rate(rate_hz: f64) -> Self {
        let ppm = (rate_hz / NOMINAL_HZ - 1.0) * 1e6;
        if ppm.abs() < LIMIT_PPM { Self::new(ppm, KEPT_PPM) } else { Self::of_unknown() }
    }

    fn new(known_ppm: f64, known_within_ppm: f64) -> Self {
        Self {
            points: VecDeque::with_capacity(WINDOW + 1),
            earliest: None,
            bucket_ends_us: 0.0,
            known_ppm,
            known_within_ppm,
            fitted: None,
            ppm: known_ppm,
            residual_us: 0.0,
            published: None,
            published_ppm: known_ppm,
            follows: false,
            first_ends_us: None,
            off: 0,
            restarts: 0,
        }
    }

    /// Takes a position: the device's sample `index`, at the nominal 48 kHz, was at the converter at `at_us`
    /// on CLOCK_MONOTONIC. Repeated ones do no harm; those that are no numbers are ignored.
    pub fn push(&mut self, index: f64, at_us: f64) {
        if !index.is_finite() || !at_us.is_finite() {
            return;
        }
        let point = Point { index, at_us };
        if self.late_us(point).is_some_and(|late| !(-STEP_US..OFF_US).contains(&late)) {
            self.off += 1;
            if self.off < OFF_POSITIONS {
                return;
            }
            self.restart();
        }
        self.off = 0;
        match self.earliest {
            None => {
                self.earliest = Some(point);
                self.bucket_ends_us = at_us + BUCKET_US;
            }
            Some(earliest) if at_us < self.bucket_ends_us => {
                if late_us(earliest, self.ppm, point) < 0.0 {
                    self.earliest = Some(point);
                }
            }
            Some(earliest) => {
                self.complete(earliest);
                self.earliest = Some(point);
                // From the last end on, so that buckets are of one length; unless nothing came for a while.
                self.bucket_ends_us += BUCKET_US;
                if self.bucket_ends_us <= at_us {
                    self.bucket_ends_us = at_us + BUCKET_US;
                }
            }
        }
    }

    /// Begins again after a gap, with the rate that was found. The published line goes on until there is a
    /// better one, and then jumps to it: it is another line.
    pub fn restart(&mut self) {
        let within_ppm = match self.points.len() {
            CONVERGED.. => MEASURED_PPM,
            HALF_KNOWN.. => HALF_KNOWN_PPM,
            _ => f64::INFINITY,
        };
        if within_ppm < self.known_within_ppm {
            (self.known_ppm, self.known_within_ppm) = (self.ppm, within_ppm);
        }
        self.follows = false;
        self.points.clear();
        self.earliest = None;
        self.fitted = None;
        self.off = 0;
        self.restarts += 1;
    }

    /// The published line; nothing in the first half second, or the first two of a device whose rate is not
    /// known.
    pub fn line(&self) -> Option<ClockLine> {
        let Point { index, at_us } = self.published?;
        Some(ClockLine { index, at_us, rate_hz: rate_hz(self.published_ppm) })
    }

    /// How much faster than nominal the device is, as fitted, in ppm.
    pub fn ppm(&self) -> f64 {
        self.ppm
    }

    /// The fitted rate in Hz, once it is worth keeping: after 20 s.
    pub fn measured_hz(&self) -> Option<f64> {
        (self.points.len() >= CONVERGED).then(|| rate_hz(self.ppm))
    }

    /// How far the points that are fitted are off the line (root of the mean square), in µs.
    pub fn residual_us(&self) -> f64 {
        self.residual_us
    }

    /// How many times it began again.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// How late a position is against the published line, when that follows these points.
    fn late_us(&self, point: Point) -> Option<f64> {
        self.published.filter(|_| self.follows).map(|line| late_us(line, self.published_ppm, point))
    }

    /// A bucket is complete: a new fit, and a new slope of what is published.
    fn complete(&mut self, earliest: Point) {
        if self.late_us(earliest).is_some_and(|late| late.abs() > STEP_US) {
            self.restart();
        }
        if self.points.len() == WINDOW {
            self.points.pop_front();
        }
        self.points.push_back(earliest);
        self.fit();
        let Some(fitted) = self.fitted else { return };
        let unknown = self.known_within_ppm >= ANY_PPM;
        let begins = if unknown { UNKNOWN } else { 1 };
        let (Some(line), true) = (self.published, self.follows) else {
            if self.points.len() >= begins {
                self.published = Some(fitted);
                self.published_ppm = self.ppm;
                self.follows = true;
                self.first_ends_us = unknown.then_some(earliest.at_us + FIRST_US);
            }
            return;
        };
        // The published line at this index, and how late the fitted one is there.
        let here = Point { index: earliest.index, at_us: at_us(line, self.published_ppm, earliest.index) };
        let late = at_us(fitted, self.ppm, here.index) - here.at_us;
        let lasted_us = earliest.at_us - self.points.front().map_or(earliest.at_us, |point| point.at_us);
        // Twice as long as it takes at least with a slope that must first be gained and then be lost again:
        // shorter, and the lines would cross again and again.
        let least_us = 2e6 * (late.abs() / SLEW_PPM_S).sqrt();
        // A line that is to be later runs slower.
        let wanted = self.ppm - late / lasted_us.max(least_us).max(MEETING_US) * 1e6;
        let first = self.first_ends_us.is_some_and(|end| earliest.at_us < end);
        let slew = if first { FIRST_SLEW_PPM_S } else { SLEW_PPM_S };
        let most = slew * (here.at_us - line.at_us).clamp(0.0, BUCKET_US) / 1e6;
        self.published_ppm += (wanted - self.published_ppm).clamp(-most, most);
        self.published = Some(here);
    }

    /// The line of least squares through the points, in µs over nominal µs, against the known rate.
    fn fit(&mut self) {
        let Some(&last) = self.points.back() else { return };
        // The earliest of each group, the last group first; the first one may be short.
        let size = self.points.len().div_ceil(GROUPS).max(1);
        let mut groups = [last; GROUPS];
        let mut count = 0;
        for (index, &point) in self.points.iter().rev().enumerate() {
            let Some(earliest) = groups.get_mut(index / size) else { break };
            if index % size == 0 || late_us(*earliest, self.ppm, point) < 0.0 {
                *earliest = point;
            }
            count = index / size + 1;
        }
        let groups = groups.get(..count).unwrap_or_default();
        let count = count as f64;
        // From the last point on, so that numbers stay small however long a stream runs; and only what
        // differs from the known rate.
        let x = |point: &Point| (point.index - last.index) / NOMINAL_HZ;
        let y = |point: &Point| late_us(last, self.known_ppm, *point);
        let (mean_x, mean_y) =
            (groups.iter().map(x).sum::<f64>() / count, groups.iter().map(y).sum::<f64>() / count);
        let (mut xx, mut xy) = (0.0, 0.0);
        for point in groups {
            xx += (x(point) - mean_x).powi(2);
            xy += (x(point) - mean_x) * (y(point) - mean_y);
        }
        // Of a point's error and the known rate's: the ridge.
        let ridge = (POINT_US / size as f64 / self.known_within_ppm).powi(2);
        // µs a second are ppm; a device that becomes later is slow.
        let slope = xy / (xx + ridge);
        let square = |point: &Point| (y(point) - mean_y - slope * (x(point) - mean_x)).powi(2);
        self.residual_us = (groups.iter().map(square).sum::<f64>() / count).sqrt();
        // Exact: a period longer by s is a rate lower by s / (1 + s).
        let period = (1.0 + slope / 1e6) / (1.0 + self.known_ppm / 1e6);
        self.ppm = (1.0 / period - 1.0) * 1e6;
        let late_at_last = mean_y - slope * mean_x;
        self.fitted = Some(Point { index: last.index, at_us: last.at_us + late_at_last });
    }
}

fn rate_hz(ppm: f64) -> f64 {
    NOMINAL_HZ * (1.0 + ppm / 1e6)
}

/// When `index` passes on the line through `point`, in µs.
fn at_us(point: Point, ppm: f64, index: f64) -> f64 {
    point.at_us + (index - point.index) * 1e6 / rate_hz(ppm)
}

/// How late `of` is against the line through `point`, in µs.
fn late_us(point: Point, ppm: f64, of: Point) -> f64 {
    of.at_us - at_us(point, ppm, of.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that is read every `every_us`, each time late by up to `jitter_us`.
    struct Device {
        ppm: f64,
        every_us: f64,
        jitter_us: f64,
        random: fastrand::Rng,
        at_us: f64,
        index: f64,
    }

    impl Device {
        fn new(ppm: f64, jitter_us: f64, seed: u64) -> Self {
            let random = fastrand::Rng::with_seed(seed);
            // Well into a long uptime, where numbers are large.
            Self { ppm, every_us: 5_000.0, jitter_us, random, at_us: 3e12, index: 7e9 }
        }

        fn run(&mut self, fit: &mut ClockFit, seconds: f64, mut each: impl FnMut(&ClockFit, &Self)) {
            let end = self.at_us + seconds * 1e6;
            while self.at_us < end {
                self.at_us += self.every_us;
                self.index += self.every_us * rate_hz(self.ppm) / 1e6;
                fit.push(self.index, self.at_us + self.random.f64() * self.jitter_us);
                each(fit, self);
            }
        }
    }

    fn nothing(_: &ClockFit, _: &Device) {}

    #[test]
    fn finds_the_rate_through_a_millisecond_of_jitter() {
        for seed in 0..40 {
            for ppm in [-100.0, 37.0, 180.0] {
                let (mut fit, mut device) = (ClockFit::of_unknown(), Device::new(ppm, 1_000.0, seed));
                device.run(&mut fit, 11.0, nothing);
                assert!((fit.ppm() - ppm).abs() < 2.0, "{seed}: {} for {ppm} after 10 s", fit.ppm());
                device.run(&mut fit, 20.0, nothing);
                assert!((fit.ppm() - ppm).abs() < 0.5, "{seed}: {} for {ppm} after 30 s", fit.ppm());
                let line = fit.line().unwrap();
                let published = (line.rate_hz / NOMINAL_HZ - 1.0) * 1e6;
                assert!((published - ppm).abs() < 1.0, "{seed}: publishes {published} for {ppm}");
                let late = late_us(
                    Point { index: line.index, at_us: line.at_us },
                    published,
                    Point { index: device.index, at_us: device.at_us },
                );
                assert!(late.abs() < 60.0, "{seed}: {late} us off");
                assert!(fit.residual_us() < 40.0, "{seed}: {}", fit.residual_us());
                assert_eq!(fit.restarts(), 0);
            }
        }
    }

    #[test]
    fn positions_that_move_in_steps_do_no_harm() {
        // The position steps with the kernel's timer at 300 Hz. Who reads is woken by the step that completes
        // a period, and comes a little late.
        for ppm in [-100.5, 99.6] {
            let (mut fit, mut random) = (ClockFit::of_unknown(), fastrand::Rng::with_seed(5));
            let (tick_us, mut period) = (1e6 / 300.0, 0.0);
            for tick in 0..9_000 {
                let at_us = f64::from(tick) * tick_us;
                let index = at_us * rate_hz(ppm) / 1e6;
                if index >= period {
                    period = index + 240.0;
                    fit.push(index.floor(), 3e12 + at_us + random.f64() * 300.0);
                }
            }
            assert!((fit.ppm() - ppm).abs() < 1.0, "{} for {ppm}", fit.ppm());
        }
    }

    #[test]
    fn a_kept_rate_is_right_from_the_start_and_corrected_when_wrong() {
        for seed in 0..20 {
            let (mut fit, mut device) = (ClockFit::of_rate(rate_hz(80.0)), Device::new(80.5, 1_000.0, seed));
            device.run(&mut fit, 60.0, |fit, _| {
                assert!((fit.ppm() - 80.5).abs() < 3.0, "{seed}: {}", fit.ppm())
            });
            let (mut fit, mut device) = (ClockFit::of_rate(rate_hz(-40.0)), Device::new(60.0, 1_000.0, seed));
            device.run(&mut fit, 32.0, nothing);
            assert!((fit.ppm() - 60.0).abs() < 1.0, "{seed}: {}", fit.ppm());
        }
        assert_eq!(ClockFit::of_rate(44_100.0).ppm(), 0.0);
        assert_eq!(ClockFit::of_rate(f64::NAN).ppm(), 0.0);
    }

    #[test]
    fn what_is_published_never_jumps() {
        for (mut fit, slew, ppm) in [
            (ClockFit::of_unknown(), FIRST_SLEW_PPM_S, 150.0),
            (ClockFit::of_rate(rate_hz(-30.0)), SLEW_PPM_S, 5.0),
        ] {
            let mut before: Option<ClockLine> = None;
            Device::new(ppm, 3_000.0, 7).run(&mut fit, 60.0, |fit, device| {
                let line = fit.line();
                if let (Some(before), Some(line)) = (before, line) {
                    let place =
                        |line: ClockLine| line.at_us + (device.index - line.index) * 1e6 / line.rate_hz;
                    let ppm = |line: ClockLine| (line.rate_hz / NOMINAL_HZ - 1.0) * 1e6;
                    // A step of slope over the part of a bucket that has passed.
                    let jump = place(line) - place(before);
                    let most = slew * 0.5 * 0.6;
                    assert!(jump.abs() < most, "jumped by {jump} us");
                    assert!(
                        (ppm(line) - ppm(before)).abs() < slew * 0.55,
                        "{} to {}",
                        ppm(before),
                        ppm(line)
                    );
                }
                before = line;
            });
            assert!((fit.ppm() - ppm).abs() < 1.0);
        }
    }

    #[test]
    fn after_a_gap_the_rate_stays() {
        let (mut fit, mut device) = (ClockFit::of_unknown(), Device::new(-60.0, 1_000.0, 3));
        device.run(&mut fit, 40.0, nothing);
        // Samples were lost, and nobody counted them: 10 ms, too few for a single position to tell.
        device.index -= 480.0;
        device.run(&mut fit, 1.0, nothing);
        assert_eq!(fit.restarts(), 1);
        device.run(&mut fit, 9.0, |fit, _| assert!((fit.ppm() + 60.0).abs() < 1.5, "{}", fit.ppm()));
        let line = fit.line().unwrap();
        let late = device.at_us - line.at_us - (device.index - line.index) * 1e6 / line.rate_hz;
        assert!(late.abs() < 100.0, "{late}");
        assert!(fit.measured_hz().is_none());
        device.run(&mut fit, 20.0, nothing);
        assert!((fit.measured_hz().unwrap() - rate_hz(-60.0)).abs() < 0.03);
    }

    #[test]
    fn a_great_gap_is_seen_at_once() {
        for samples in [-24_000.0, 480.0] {
            let (mut fit, mut device) = (ClockFit::of_unknown(), Device::new(10.0, 1_000.0, 4));
            device.run(&mut fit, 10.0, nothing);
            device.index += samples;
            device.run(&mut fit, 0.05, nothing);
            assert_eq!(fit.restarts(), 1, "{samples}");
            device.run(&mut fit, 1.0, nothing);
            assert_eq!(fit.restarts(), 1, "{samples}");
            let line = fit.line().unwrap();
            let late = device.at_us - line.at_us - (device.index - line.index) * 1e6 / line.rate_hz;
            assert!(late.abs() < 100.0, "{samples}: {late}");
        }
    }

    #[test]
    fn a_few_wild_positions_do_no_harm() {
        let (mut fit, mut device) = (ClockFit::of_unknown(), Device::new(20.0, 500.0, 9));
        device.run(&mut fit, 20.0, nothing);
        for wild in [f64::NAN, f64::INFINITY, 0.0, device.index + 1e6] {
            fit.push(wild, device.at_us);
            fit.push(device.index, wild);
        }
        device.run(&mut fit, 5.0, nothing);
        assert_eq!(fit.restarts(), 0);
        assert!((fit.ppm() - 20.0).abs() < 1.0, "{}", fit.ppm());
    }
}
