//! Clicks beside a steady tone: what no tone of that pitch could be.

use std::f32::consts::TAU;

use crate::room::RATE_HZ;

/// Of no click at all, in dB.
const SILENCE_DB: f32 = -120.0;

/// The loudest click in `samples` of 48 kHz, in dB of full scale, beside a tone of `tone_hz` that may come and go.
///
/// Each sample of a tone follows from the two before it: x(n) = 2 cos(ω) x(n−1) − x(n−2). What is left of a sample
/// without that is, of a step, the height of the step; of a single sample that does not belong, up to twice its
/// height; of a tone that is half a per cent off its pitch, or fades over a few ms, less than a hundredth of the
/// tone. So a tone that is cut off at its peak is a click as loud as that peak.
pub fn loudest_click_db(samples: &[i16], tone_hz: f32) -> f32 {
    let follows = 2.0 * (TAU * tone_hz / RATE_HZ as f32).cos();
    let left = |three: &[i16]| {
        let [a, b, c] = [three[0], three[1], three[2]].map(f32::from);
        (c - follows * b + a).abs()
    };
    let most = samples.windows(3).map(left).fold(0.0, f32::max) / 32_768.0;
    if most > 0.0 { (20.0 * most.log10()).max(SILENCE_DB) } else { SILENCE_DB }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: f32 = 440.0;
    /// −26 dB.
    const PEAK: f32 = 0.05;

    fn tone(hz: f32) -> Vec<i16> {
        let sample =
            |n: u16| (PEAK * (TAU * hz / RATE_HZ as f32 * f32::from(n)).sin() * 32_768.0).round() as i16;
        (0..9_600).map(sample).collect()
    }

    /// The first sample from `from` on that is as high as the tone gets.
    fn peak(samples: &[i16], from: usize) -> usize {
        let most = samples.iter().copied().max().unwrap_or(0);
        from + samples[from..].iter().position(|&sample| sample > most - 4).unwrap_or(0)
    }

    #[test]
    fn a_tone_is_no_click_even_a_little_off_its_pitch() {
        assert!(loudest_click_db(&tone(HZ), HZ) < -75.0);
        assert!(loudest_click_db(&tone(HZ * 1.005), HZ) < -75.0);
        assert_eq!(loudest_click_db(&[0; 100], HZ), SILENCE_DB);
    }

    #[test]
    fn a_tone_that_fades_is_none_and_one_that_is_cut_off_is() {
        let mut samples = tone(HZ);
        let cut = peak(&samples, 4_800);
        for (n, sample) in samples[4_800..].iter_mut().enumerate() {
            *sample = (f32::from(*sample) * (1.0 - n as f32 / 240.0).max(0.0)) as i16;
        }
        assert!(loudest_click_db(&samples, HZ) < -60.0, "{}", loudest_click_db(&samples, HZ));
        let mut samples = tone(HZ);
        samples[cut..].fill(0);
        assert!((loudest_click_db(&samples, HZ) + 26.0).abs() < 1.0, "{}", loudest_click_db(&samples, HZ));
    }

    #[test]
    fn a_sample_that_does_not_belong_and_a_piece_that_is_missing_are_clicks() {
        let mut samples = tone(HZ);
        samples[5_000] += 1_036; // −30 dB
        assert!((-30.0..-23.0).contains(&loudest_click_db(&samples, HZ)));
        let mut samples = tone(HZ);
        // Half a period, so that it goes on in the opposite phase.
        let from = peak(&samples, 5_000);
        samples.drain(from..from + (RATE_HZ as f32 / HZ / 2.0) as usize);
        assert!(loudest_click_db(&samples, HZ) > -30.0);
    }
}
