//! Speech made longer or shorter where the delay has to jump: by a pitch period (waveform similarity overlap-add,
//! WSOLA: Verhelst and Roelands, ICASSP 1993), or, while nobody speaks, by as much as is asked for. No I/O.

/// Pitch periods that are looked for, in samples at 48 kHz: voices between 70 and 400 Hz.
const SHORTEST: usize = 120;
const LONGEST: usize = 680;
/// Samples that are compared, and blended.
const OVERLAP: usize = 240;
/// What has to be there to find a period, and to take one out or put one in.
pub(super) const NEEDED: usize = LONGEST + OVERLAP;
/// Every so many samples are compared first; the best place is then looked at closely.
const COARSE: usize = 4;
/// Below this mean square it is silence, and any piece of it sounds like any other (−60 dBFS).
const SILENCE: f32 = 1e-6;
/// So does any of the background, up to this mean square (−40 dBFS), and what is no more than 3 dB above it.
const LOUDEST_BACKGROUND: f32 = 1e-4;
const ABOVE_BACKGROUND: f32 = 2.0;
/// How much the background may rise from one frame to the next: by 3 dB in 0.7 s.
const RISE: f32 = 1.01;
/// The least normalized correlation at which a period counts as one.
const SIMILAR: f32 = 0.5;

/// How loud it is while nobody speaks: the least of the frames, slowly rising (mean square).
#[derive(Debug, Clone, Copy)]
pub(super) struct Background(f32);

impl Background {
    pub(super) const UNKNOWN: Self = Self(0.0);

    /// Takes a frame.
    pub(super) fn hear(&mut self, frame: &[f32]) {
        let power = energy(frame) / frame.len().max(1) as f32;
        let least = if self.0 > 0.0 { power.min(self.0 * RISE) } else { power };
        self.0 = least.max(SILENCE / ABOVE_BACKGROUND);
    }
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|x| x * x).sum()
}

/// How many samples may be taken out of, or repeated at, the beginning of `samples`, when nobody speaks there and it is
/// by `off` samples that the delay is wrong; none while somebody does.
pub(super) fn pause(samples: &[f32], background: Background, off: usize) -> Option<usize> {
    let most = samples.len().saturating_sub(OVERLAP).min(LONGEST);
    if most < SHORTEST {
        return None;
    }
    let samples = &samples[..most + OVERLAP];
    let quiet = (background.0 * ABOVE_BACKGROUND).clamp(SILENCE, LOUDEST_BACKGROUND);
    (energy(samples) < quiet * samples.len() as f32).then(|| off.clamp(SHORTEST, most))
}

/// The pitch period at the beginning of `samples`, of which [`NEEDED`] are looked at; none where the sound has
/// none, and a cut would be heard.
pub(super) fn period(samples: &[f32]) -> Option<usize> {
    let samples = samples.get(..NEEDED)?;
    let head = &samples[..OVERLAP];
    let head_energy = energy(head);
    let similarity = |lag: usize, step: usize| {
        let other = &samples[lag..lag + OVERLAP];
        let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
        for (x, y) in head.iter().zip(other).step_by(step) {
            dot += x * y;
            a += x * x;
            b += y * y;
        }
        dot / (a * b).sqrt().max(f32::MIN_POSITIVE)
    };
    if head_energy < SILENCE * OVERLAP as f32 {
        return None;
    }
    let best = |lags: &mut dyn Iterator<Item = usize>, step: usize| {
        lags.map(|lag| (lag, similarity(lag, step))).max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let (coarse, _) = best(&mut (SHORTEST..=LONGEST).step_by(COARSE), COARSE)?;
    let around = coarse.saturating_sub(COARSE).max(SHORTEST)..=(coarse + COARSE).min(LONGEST);
    best(&mut around.into_iter(), 1).filter(|&(_, similar)| similar >= SIMILAR).map(|(lag, _)| lag)
}

/// How much of `b` there is at `n` of the overlap, when `a` turns into it: raised cosine.
fn fade(n: usize) -> f32 {
    0.5 - 0.5 * (std::f32::consts::PI * (n as f32 + 0.5) / OVERLAP as f32).cos()
}

/// Takes `period` samples out of the beginning of `samples`; what is left is at its front, and its new length
/// is returned.
pub(super) fn shorten(samples: &mut [f32], period: usize) -> usize {
    for n in 0..OVERLAP {
        let b = fade(n);
        samples[n] = samples[n] * (1.0 - b) + samples[n + period] * b;
    }
    samples.copy_within(OVERLAP + period.., OVERLAP);
    samples.len() - period
}

/// Repeats the first `period` samples: `samples` must have been made longer by `period` at its end, and is
/// moved there.
pub(super) fn lengthen(samples: &mut [f32], period: usize) {
    let old = samples.len() - period;
    samples.copy_within(..old, period);
    // Now the front and `period..` are the same. Up to `period` it is as it was, and then it goes over into
    // the second copy of the beginning.
    for n in 0..OVERLAP {
        let b = fade(n);
        // What followed the first period, before the move, is at `2 * period`.
        let onward = samples[2 * period + n];
        samples[period + n] = onward * (1.0 - b) + samples[period + n] * b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    fn voice(hz: f32, length: usize) -> Vec<f32> {
        let wave = |n: usize| {
            let t = n as f32 / 48_000.0;
            (1..8).map(|k| (TAU * hz * k as f32 * t).sin() / k as f32).sum::<f32>() * 0.2
        };
        (0..length).map(wave).collect()
    }

    /// The largest step between neighbours.
    fn step(samples: &[f32]) -> f32 {
        samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn finds_the_pitch_of_a_voice_and_none_in_noise() {
        for hz in [75.0, 110.0, 220.0, 390.0] {
            let found = period(&voice(hz, NEEDED)).unwrap() as f32;
            let periods = found * hz / 48_000.0;
            assert!((periods - periods.round()).abs() < 0.02, "{hz} Hz: {found}");
        }
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<_> = (0..NEEDED).map(|_| random.f32() - 0.5).collect();
        assert_eq!(period(&noise), None);
        assert_eq!(period(&voice(110.0, NEEDED - 1)), None, "too short to look at");
    }

    #[test]
    fn a_pause_is_what_is_no_louder_than_the_background() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut noise = |amplitude: f32| -> Vec<f32> {
            (0..NEEDED).map(|_| amplitude * (2.0 * random.f32() - 1.0)).collect()
        };
        let mut background = Background::UNKNOWN;
        assert_eq!(pause(&[0.0; NEEDED], background, 300), Some(300));
        assert_eq!(pause(&noise(0.01), background, 300), None, "of which nothing is known");
        for _ in 0..10 {
            background.hear(&noise(0.01));
            background.hear(&voice(110.0, 480));
        }
        assert_eq!(pause(&noise(0.01), background, 10_000), Some(LONGEST));
        assert_eq!(pause(&noise(0.01), background, 1), Some(SHORTEST));
        assert_eq!(pause(&voice(110.0, NEEDED), background, 300), None);
        assert_eq!(pause(&noise(0.01)[..OVERLAP + 200], background, 300), Some(200), "what there is");
        assert_eq!(
            pause(&noise(0.01)[..OVERLAP + SHORTEST - 1], background, 300),
            None,
            "too short to look at"
        );
        // Whoever hums on and on is no background.
        (0..2_000).for_each(|_| background.hear(&voice(110.0, 480)));
        assert_eq!(pause(&voice(110.0, NEEDED), background, 300), None);
    }

    #[test]
    fn a_voice_goes_on_without_a_step() {
        for hz in [83.0, 140.0, 301.0] {
            let whole = voice(hz, 4 * NEEDED);
            let lag = period(&whole).unwrap();
            let mut shorter = whole.clone();
            let length = shorten(&mut shorter, lag);
            assert_eq!(length, whole.len() - lag);
            assert!(step(&shorter[..length]) < step(&whole) * 1.2, "{hz} Hz");
            assert_eq!(shorter[length - 1], whole[whole.len() - 1], "the end is the same");
            let mut longer = whole.clone();
            longer.resize(whole.len() + lag, 0.0);
            lengthen(&mut longer, lag);
            assert!(step(&longer) < step(&whole) * 1.2, "{hz} Hz");
            assert_eq!(longer[longer.len() - 1], whole[whole.len() - 1]);
            // It is the same voice all along.
            let differs =
                longer.iter().zip(&voice(hz, longer.len())).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            assert!(differs / (longer.len() as f32) < 0.02, "{hz} Hz: {differs}");
        }
    }
}
