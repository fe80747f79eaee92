//! Fades: what begins or ends within a sample is a click. No I/O.

/// Samples over which a fade goes: 5 ms of 48 kHz.
pub(crate) const FADE: usize = 240;

/// The first `silent` samples become silence, and the [`FADE`] after them come up.
pub(crate) fn fade_in(samples: &mut [f32], silent: usize) {
    let silent = silent.min(samples.len());
    let (before, after) = samples.split_at_mut(silent);
    before.fill(0.0);
    for (n, sample) in after.iter_mut().take(FADE).enumerate() {
        *sample *= gain(n, FADE);
    }
}

/// The samples go down to silence, over all of them.
pub(crate) fn fade_out(samples: &mut [f32]) {
    let length = samples.len();
    for (n, sample) in samples.iter_mut().enumerate() {
        *sample *= 1.0 - gain(n, length);
    }
}

/// A raised cosine from 0 to 1 over `length` samples: its slope has no step either.
fn gain(n: usize, length: usize) -> f32 {
    let turn = (n as f32 + 0.5) / length as f32 * std::f32::consts::PI;
    0.5 - 0.5 * turn.cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_step(samples: &[f32]) -> f32 {
        samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn neither_end_has_a_step() {
        let mut samples = [1.0; 480];
        fade_in(&mut samples, 100);
        assert!(samples[..100].iter().all(|&x| x == 0.0) && samples[100 + FADE..].iter().all(|&x| x == 1.0));
        assert!(longest_step(&samples) < 0.01);
        let mut samples = [1.0; 240];
        fade_out(&mut samples);
        assert!(samples[0] > 0.999 && samples[239] < 1e-3 && longest_step(&samples) < 0.01);
        fade_in(&mut [1.0; 10], 20);
    }
}
