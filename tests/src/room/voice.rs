//! Voices that are made on the spot: espeak-ng, two people who tell each other about a party.

use super::error::Error;
use super::track::RATE_HZ;
use crate::espeak::say;

/// Loudness of a voice while it speaks, in dB of full scale (RMS).
pub const LEVEL_DB: f32 = -26.0;
/// How much louder it is than the noise at its microphone, in dB.
pub const OVER_NOISE_DB: f32 = 30.0;
/// Parts of 20 ms quieter than this under the loudest belong to pauses, in dB.
const PAUSE_DB: f32 = 30.0;
const PART: usize = RATE_HZ as usize / 50;

/// Somebody who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// A higher voice.
    Anna,
    /// A lower voice.
    Bert,
}

impl Speaker {
    fn voice(self) -> &'static str {
        match self {
            Self::Anna => "en-us+f3",
            Self::Bert => "en-gb+m3",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Anna => {
                "Good morning! I can see you standing there, and you look as if you had just come in from the \
                 rain. We have put up seven tables in the garden, and the children are painting paper lanterns. \
                 My brother wants to know whether the big kettle is still at your place. If it is, please bring \
                 it along on Thursday, together with the blue cups. The baker says that forty rolls are no \
                 trouble, but he would like to be told two days before. I think we should ask for fifty, just to \
                 be safe. How is the new floor? Does it still squeak when somebody walks to the window? I \
                 dreamed that we danced on it all night, and nobody wanted to go home. Please give my love to \
                 your mother, and tell her that her roses are doing very well on the south side."
            }
            Self::Bert => {
                "Yes, thank you, I got thoroughly wet on the way, but now I am warm and dry. The kettle is on \
                 the shelf above the stove, and I shall not forget it. For the music, two friends of mine would \
                 come with a fiddle and an old accordion. They ask for nothing but supper and a bed. About the \
                 floor, the joiner came back on Monday, took out three boards, and found a forgotten hammer \
                 underneath. It has been quiet ever since. Fifty rolls sound right to me, and perhaps a large \
                 cheese from the market as well. My mother is going to be delighted about the roses. She often \
                 talks about your garden, and about the evening when the goat ate the tablecloth. Shall we meet \
                 at four, or is it better to begin when the shadows are longer?"
            }
        }
    }

    /// What this one has to say, at 48 kHz, as loud as [`LEVEL_DB`] while there is no pause; under a minute.
    ///
    /// # Errors
    /// When espeak-ng is not there or does not do it.
    pub fn speaks(self) -> Result<Vec<f32>, Error> {
        Ok(at_level(say(self.voice(), "165", self.text()).map_err(Error::Voice)?, LEVEL_DB))
    }
}

/// As loud as asked for while somebody speaks.
fn at_level(mut samples: Vec<f32>, db: f32) -> Vec<f32> {
    let powers: Vec<f32> = samples.chunks(PART).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let limit = loudest * 10_f32.powf(-PAUSE_DB / 10.0);
    let spoken: Vec<f32> = powers.into_iter().filter(|&power| power > limit).collect();
    let mean = spoken.iter().sum::<f32>() / spoken.len().max(1) as f32;
    let scale = if mean > 0.0 { 10_f32.powf(db / 20.0) / mean.sqrt() } else { 0.0 };
    samples.iter_mut().for_each(|sample| *sample *= scale);
    samples
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_do_not_count_for_the_level() {
        let mut samples: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.1).sin()).collect();
        samples.extend([0.0; 48_000]);
        let samples = at_level(samples, -26.0);
        assert!((10.0 * power(&samples[..48_000]).log10() + 26.0).abs() < 0.1);
    }
}
