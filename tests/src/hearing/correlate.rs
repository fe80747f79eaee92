//! Where in what is heard something is that was said: correlation by FFT.

use realfft::RealFftPlanner;

/// Where it fits best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// Samples from the start of what is heard to that of what was said.
    pub lag: usize,
    /// How alike both are there: 1 for the same but for loudness, 0 for nothing in common.
    pub likeness: f32,
    /// How much louder what is heard of it is than it was said.
    pub gain: f32,
}

/// Looks for `said` in `heard`, which begins where `said` may begin at the earliest and is longer by as much as
/// it may be late; none when either is silent or `heard` too short.
pub fn align(said: &[f32], heard: &[f32]) -> Option<Alignment> {
    let lags = (heard.len() + 1).checked_sub(said.len()).filter(|_| !said.is_empty())?;
    let size = (heard.len() + said.len()).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let spectrum = |samples: &[f32]| {
        let mut padded = vec![0.0; size];
        padded[..samples.len()].copy_from_slice(samples);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).ok().map(|()| spectrum)
    };
    let (a, b) = (spectrum(said)?, spectrum(heard)?);
    let mut product: Vec<_> = a.iter().zip(&b).map(|(a, b)| a.conj() * b).collect();
    let ends = [0, product.len() - 1];
    ends.into_iter().for_each(|end| product[end].im = 0.0);
    let mut products = inverse.make_output_vec();
    inverse.process(&mut product, &mut products).ok()?;
    let energy = |samples: &[f32]| samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum::<f64>();
    let said_energy = energy(said);
    let mut under = energy(&heard[..said.len()]);
    let mut best: Option<Alignment> = None;
    for lag in 0..lags {
        if lag > 0 {
            under += f64::from(heard[lag + said.len() - 1]).powi(2) - f64::from(heard[lag - 1]).powi(2);
        }
        let found = f64::from(products[lag]) / size as f64;
        // Where there is next to nothing to be heard, rounding is alike to everything.
        if under <= said_energy * 1e-8 || said_energy <= 0.0 {
            continue;
        }
        let likeness = (found / (said_energy * under).sqrt()) as f32;
        if best.is_none_or(|best| likeness > best.likeness) {
            best = Some(Alignment { lag, likeness, gain: (found / said_energy) as f32 });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delayed_sound_is_found_with_its_loudness() {
        let mut random = fastrand::Rng::with_seed(5);
        let said: Vec<f32> = (0..4_800).map(|_| random.f32() - 0.5).collect();
        let mut heard: Vec<f32> = (0..9_600).map(|_| 0.05 * (random.f32() - 0.5)).collect();
        for (n, said) in said.iter().enumerate() {
            heard[1_234 + n] += 0.5 * said;
        }
        let found = align(&said, &heard).unwrap();
        assert_eq!(found.lag, 1_234);
        assert!(found.likeness > 0.98 && (found.gain - 0.5).abs() < 0.01, "{found:?}");
        assert_eq!(align(&said, &vec![0.0; 9_600]), None);
        assert_eq!(align(&said, &heard[..100]), None);
    }
}
