//! A room of six walls: its impulse response by image sources (Allen and Berkley, JASA 65(4), 1979).

use std::f64::consts::PI;

/// Metres a second, at 20 °C.
const SPEED_OF_SOUND: f64 = 343.0;
const RATE_HZ: f64 = 48_000.0;
/// A booth from inside, in metres.
pub const BOOTH: [f64; 3] = [2.6, 3.2, 2.7];
/// Samples to each side of an echo of which it is made, for few come on a whole sample.
const REACH: f64 = 20.0;

/// The response between two points of the booth, from its direct sound on, which comes some samples in; with
/// the energy 1.
pub fn response(rt60_s: f64, from: [f64; 3], to: [f64; 3]) -> Vec<f32> {
    // Sabine; walls absorb alike.
    let volume: f64 = BOOTH.iter().product();
    let surface = 2.0 * (BOOTH[0] * BOOTH[1] + BOOTH[1] * BOOTH[2] + BOOTH[0] * BOOTH[2]);
    let absorbed = (24.0 * 10f64.ln() / SPEED_OF_SOUND * volume / (surface * rt60_s)).min(0.95);
    let reflected = (1.0 - absorbed).sqrt();
    let direct = distance(from, to);
    let farthest = direct + rt60_s * SPEED_OF_SOUND;
    let start = direct / SPEED_OF_SOUND * RATE_HZ - REACH;
    let mut response = vec![0.0; (rt60_s * RATE_HZ) as usize + 2 * REACH as usize];
    let orders = |axis: usize| {
        let most = (farthest / (2.0 * BOOTH[axis])).ceil() as i32;
        (-most..=most).flat_map(|n| [(n, false), (n, true)])
    };
    // How far an image is from `to` along one axis, and how often the sound was reflected on its way.
    let image = |axis: usize, (n, mirrored): (i32, bool)| {
        let sign = if mirrored { -1.0 } else { 1.0 };
        let offset = sign * from[axis] + 2.0 * f64::from(n) * BOOTH[axis] - to[axis];
        let bounces = if mirrored { (n - 1).abs() + n.abs() } else { 2 * n.abs() };
        (offset * offset, bounces)
    };
    for x in orders(0) {
        let (x, bounces_x) = image(0, x);
        for y in orders(1) {
            let (y, bounces_y) = image(1, y);
            for z in orders(2) {
                let (z, bounces_z) = image(2, z);
                let metres = (x + y + z).sqrt();
                if metres < farthest {
                    let strength = reflected.powi(bounces_x + bounces_y + bounces_z) / metres;
                    add(&mut response, metres / SPEED_OF_SOUND * RATE_HZ - start, strength);
                }
            }
        }
    }
    let energy: f64 = response.iter().map(|x| x * x).sum();
    response.iter().map(|x| (x / energy.sqrt()) as f32).collect()
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// An impulse between samples.
fn add(response: &mut [f64], at: f64, strength: f64) {
    let first = (at - REACH).ceil().max(0.0) as usize;
    let last = ((at + REACH).floor() as usize + 1).min(response.len());
    for (k, sample) in response.iter_mut().enumerate().take(last).skip(first) {
        let x = k as f64 - at;
        let sinc = if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) };
        *sample += strength * sinc * (PI * x / (2.0 * REACH)).cos().powi(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverberation_decays_as_asked() {
        for rt60_s in [0.25, 0.4] {
            let response = response(rt60_s, [0.6, 0.3, 1.2], [1.3, 0.35, 1.6]);
            let left = |from: usize| -> f64 { response[from..].iter().map(|x| f64::from(x * x)).sum() };
            let at = |db: f64| (0..response.len()).find(|&at| left(at) < 10f64.powf(db / 10.0)).unwrap();
            // From 5 to 25 dB down, which is a third of the whole decay.
            let measured_s = 3.0 * (at(-25.0) - at(-5.0)) as f64 / RATE_HZ;
            assert!((0.7..1.4).contains(&(measured_s / rt60_s)), "{measured_s} s for {rt60_s}");
        }
    }
}
