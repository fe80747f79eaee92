//! The pitches by which voices are understood: what is beyond them differs between chains that sound the same.

use realfft::RealFftPlanner;

/// From the lowest to the highest pitch, in Hz, as telephones have it.
const BAND_HZ: (f32, f32) = (300.0, 3_400.0);
const RATE_HZ: f32 = crate::room::RATE_HZ as f32;

/// Leaves only those; nothing moves in time.
pub fn telephone(samples: &[f32]) -> Vec<f32> {
    let size = samples.len().next_power_of_two().max(2);
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let mut padded = vec![0.0; size];
    padded[..samples.len()].copy_from_slice(samples);
    let mut spectrum = forward.make_output_vec();
    // Lengths are those that were planned: it cannot fail.
    let _ = forward.process(&mut padded, &mut spectrum);
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let pitch_hz = bin as f32 * RATE_HZ / size as f32;
        let inside = (BAND_HZ.0..=BAND_HZ.1).contains(&pitch_hz);
        *value *= if inside { 1.0 / size as f32 } else { 0.0 };
    }
    let _ = inverse.process(&mut spectrum, &mut padded);
    padded.truncate(samples.len());
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hearing::db;

    #[test]
    fn only_the_band_is_left() {
        let tone = |hz: f32| -> Vec<f32> {
            (0..48_000).map(|n| 0.5 * (n as f32 / RATE_HZ * hz * std::f32::consts::TAU).sin()).collect()
        };
        assert!((db(&telephone(&tone(1_000.0))) - db(&tone(1_000.0))).abs() < 0.2);
        assert!(db(&telephone(&tone(100.0))) < -40.0 && db(&telephone(&tone(8_000.0))) < -40.0);
    }
}
