//! Between the sample formats of sound cards and `f32` from −1 to 1.
//!
//! Source: ALSA's `snd_pcm_format_t` (pcm.h).

use alsa::pcm;

/// A card's sample format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFormat {
    /// 16 bits.
    S16,
    /// 24 bits in three bytes.
    S24In3,
    /// 24 bits in the low three of four bytes.
    S24In4,
    /// 32 bits, of which a card uses the highest.
    S32,
    /// 32-bit floating point.
    F32,
}

/// The largest step below 1 of a 24-bit and of a 32-bit sample.
const SCALE_24: f64 = (1 << 23) as f64;
const SCALE_32: f64 = (1_u32 << 31) as f64;

impl SampleFormat {
    /// All, the preferred first. All that hold 24 bits come before 16 bits: a quiet voice in a room with a
    /// loud loudspeaker is to lose nothing before the echo is cancelled.
    pub const ALL: [Self; 5] = [Self::S32, Self::S24In3, Self::S24In4, Self::F32, Self::S16];

    /// ALSA's name for it.
    pub fn to_alsa(self) -> pcm::Format {
        match self {
            Self::S16 => pcm::Format::S16LE,
            Self::S24In3 => pcm::Format::S243LE,
            Self::S24In4 => pcm::Format::S24LE,
            Self::S32 => pcm::Format::S32LE,
            Self::F32 => pcm::Format::FloatLE,
        }
    }

    /// Bytes of a sample.
    pub fn bytes(self) -> usize {
        match self {
            Self::S16 => 2,
            Self::S24In3 => 3,
            Self::S24In4 | Self::S32 | Self::F32 => 4,
        }
    }

    /// Reads samples; as many as both slices hold.
    pub fn decode(self, bytes: &[u8], samples: &mut [f32]) {
        let values = bytes.chunks_exact(self.bytes()).zip(samples);
        match self {
            Self::S16 => values.for_each(|(b, s)| *s = f32::from(i16::from_le_bytes(array(b))) / 32_768.0),
            Self::S24In3 => values.for_each(|(b, s)| {
                let [low, middle, high] = array(b);
                *s = from_high(i32::from_le_bytes([0, low, middle, high]));
            }),
            // The highest byte is undefined.
            Self::S24In4 => values.for_each(|(b, s)| *s = from_high(i32::from_le_bytes(array(b)) << 8)),
            Self::S32 => values.for_each(|(b, s)| *s = from_high(i32::from_le_bytes(array(b)))),
            Self::F32 => values.for_each(|(b, s)| *s = finite(f32::from_le_bytes(array(b)))),
        }
    }

    /// Writes samples, held to −1 to 1 and 0 where they are no number; as many as both slices hold.
    pub fn encode(self, samples: &[f32], bytes: &mut [u8]) {
        let values = bytes.chunks_exact_mut(self.bytes()).zip(samples);
        // A cast holds a floating-point number to the range of an integer.
        let high = |s: f32| (f64::from(finite(s)) * SCALE_32).round() as i32;
        let low = |s: f32| {
            ((f64::from(finite(s)) * SCALE_24).round() as i32).clamp(-(1 << 23), (1 << 23) - 1).to_le_bytes()
        };
        match self {
            Self::S16 => values.for_each(|(b, &s)| {
                b.copy_from_slice(&((finite(s) * 32_768.0).round() as i16).to_le_bytes());
            }),
            Self::S24In3 => values.for_each(|(b, &s)| b.copy_from_slice(&low(s)[..3])),
            Self::S24In4 => values.for_each(|(b, &s)| b.copy_from_slice(&low(s))),
            Self::S32 => values.for_each(|(b, &s)| b.copy_from_slice(&high(s).to_le_bytes())),
            Self::F32 => {
                values.for_each(|(b, &s)| b.copy_from_slice(&finite(s).clamp(-1.0, 1.0).to_le_bytes()))
            }
        }
    }
}

/// The first bytes of a chunk that is long enough.
fn array<const N: usize>(chunk: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
    array
}

fn from_high(value: i32) -> f32 {
    (f64::from(value) / SCALE_32) as f32
}

fn finite(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample }
}

/// The microphone's signal of interleaved frames: of stereo the mean; of more channels the first, which is
/// where microphone arrays put their result.
pub(super) fn to_mono(interleaved: &[f32], channels: usize, mono: &mut [f32]) {
    for (frame, out) in interleaved.chunks_exact(channels.max(1)).zip(mono) {
        *out = match frame {
            [left, right] => (left + right) / 2.0,
            [first, ..] => *first,
            [] => 0.0,
        };
    }
}

/// Frames for a card of so many channels: a single one gets the mean, those beyond front left and right
/// silence.
pub(super) fn from_stereo(stereo: &[[f32; 2]], channels: usize, interleaved: &mut [f32]) {
    for ([left, right], frame) in stereo.iter().zip(interleaved.chunks_exact_mut(channels.max(1))) {
        match frame {
            [only] => *only = (left + right) / 2.0,
            [first, second, rest @ ..] => {
                (*first, *second) = (*left, *right);
                rest.fill(0.0);
            }
            [] => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(format: SampleFormat, samples: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0xA5; samples.len() * format.bytes()];
        format.encode(samples, &mut bytes);
        let mut back = vec![9.0; samples.len()];
        format.decode(&bytes, &mut back);
        back
    }

    /// The step between two samples.
    fn step(format: SampleFormat) -> f32 {
        match format {
            SampleFormat::S16 => 1.0 / 32_768.0,
            _ => 1.0 / SCALE_24 as f32,
        }
    }

    proptest! {
        #[test]
        fn samples_survive_within_half_a_step(samples in prop::collection::vec(-1.0_f32..1.0, 1..300)) {
            for format in SampleFormat::ALL {
                for (sample, back) in samples.iter().zip(through(format, &samples)) {
                    // What is closer than half a step to 1 becomes the largest sample, a step below 1.
                    let highest = 1.0 - step(format);
                    prop_assert!((sample.min(highest) - back).abs() <= step(format) / 2.0, "{format:?} {sample} {back}");
                }
            }
        }

        #[test]
        fn bytes_of_a_card_survive(bytes in prop::collection::vec(any::<u8>(), 12..600)) {
            // What 24 bits hold is exact in f32; of 32 only these are.
            for format in [SampleFormat::S16, SampleFormat::S24In3] {
                let whole = &bytes[..bytes.len() / format.bytes() * format.bytes()];
                let mut samples = vec![0.0; whole.len() / format.bytes()];
                format.decode(whole, &mut samples);
                prop_assert!(samples.iter().all(|s| (-1.0..1.0).contains(s)));
                let mut back = vec![0; whole.len()];
                format.encode(&samples, &mut back);
                prop_assert_eq!(whole, &back[..], "{:?}", format);
            }
        }
    }

    #[test]
    fn no_card_is_sent_what_is_no_sample() {
        for format in SampleFormat::ALL {
            let back = through(format, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, -2.0]);
            let highest = if format == SampleFormat::F32 { 1.0 } else { 1.0 - step(format) };
            assert_eq!(back[0], 0.0, "{format:?}");
            assert!((back[1] - highest).abs() < 1e-6 && back[1] <= 1.0 && back[3] == back[1], "{format:?}");
            assert!(back[2] == -1.0 && back[4] == -1.0, "{format:?} {back:?}");
        }
    }

    #[test]
    fn bytes_lie_as_alsa_has_them() {
        let bytes = |format: SampleFormat| {
            let mut bytes = vec![0xA5; format.bytes()];
            format.encode(&[-0.5], &mut bytes);
            bytes
        };
        assert_eq!(bytes(SampleFormat::S16), [0, 0xC0]);
        assert_eq!(bytes(SampleFormat::S24In3), [0, 0, 0xC0]);
        assert_eq!(bytes(SampleFormat::S24In4), [0, 0, 0xC0, 0xFF]);
        assert_eq!(bytes(SampleFormat::S32), [0, 0, 0, 0xC0]);
        // The fourth byte may be anything.
        let mut sample = [0.0];
        SampleFormat::S24In4.decode(&[0, 0, 0xC0, 0x5A], &mut sample);
        assert_eq!(sample, [-0.5]);
    }

    #[test]
    fn channels_are_mixed_for_the_card() {
        let mut mono = [0.0; 2];
        to_mono(&[0.2, 0.4, 0.6, 0.8], 2, &mut mono);
        assert!((mono[0] - 0.3).abs() < 1e-6 && (mono[1] - 0.7).abs() < 1e-6);
        to_mono(&[0.1, 9.0, 9.0, 0.2, 9.0, 9.0], 3, &mut mono);
        assert_eq!(mono, [0.1, 0.2]);
        let mut frames = [9.0; 8];
        from_stereo(&[[0.1, 0.2], [0.3, 0.4]], 4, &mut frames);
        assert_eq!(frames, [0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.0, 0.0]);
        let mut frames = [9.0; 2];
        from_stereo(&[[0.1, 0.2], [0.3, 0.4]], 1, &mut frames);
        assert!((frames[0] - 0.15).abs() < 1e-6 && (frames[1] - 0.35).abs() < 1e-6);
    }
}
