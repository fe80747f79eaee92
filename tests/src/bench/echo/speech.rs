//! Who speaks: two voices of espeak-ng, saying what stands here.

use std::io;
use std::process::{Command, Stdio};

use super::interpolate::Interpolator;

const FAR: &str = "Good morning, everybody. I am glad that the two halls are finally connected, because there is \
    a lot to go through today. Last week we opened the crate with the new lenses, and, to be honest, I did \
    not expect them to be that heavy. Each of them weighs about as much as a bicycle. We put the first one \
    on the bench, switched off every lamp, and waited until nobody could see a thing. Then Peter lit a \
    single candle at the far end of the corridor. You should have been there! The flame looked as though \
    it burned right in front of us. Now, what about the schedule? The carpenters want to finish on \
    Thursday, the painters need another two days, and on Monday a school class comes to visit. Shall we \
    let the children try the microphones first, or would you rather show them the workshop? Please think \
    about the noise. Seventy excited pupils are louder than any machine that we own.";

const NEAR: &str = "Yes, I can hear you well, thank you. The picture is sharp, too; it feels as if you were \
    sitting across the table. Let me answer one thing after the other. We measured the floor yesterday, \
    and it is nearly two centimetres lower by the window than by the door. That sounds like little, but \
    a person who stands there seems to sink into the ground. Why did nobody notice? Well, the carpet \
    hides it. I would suggest a thin wooden platform, painted black, with a soft edge so that no one \
    stumbles. It costs less than a new floor, and it can be built in an afternoon. As for the visitors: \
    give them a short tour, then coffee and biscuits, and keep the workshop for the end. Jane has offered \
    to bring her violin. If the echo in the big hall bothers you, hang the heavy curtains across the back \
    wall; they swallow almost everything above a few hundred hertz.";

/// The far voice and the near voice.
const VOICES: [(&str, &str, &str); 2] = [("en-us+m3", "155", FAR), ("en-gb+f2", "165", NEAR)];
const RATE_HZ: f64 = 48_000.0;

/// Both voices at 48 kHz: far, near.
///
/// # Errors
/// When espeak-ng is missing, or says nothing.
pub fn voices() -> io::Result<[Vec<f32>; 2]> {
    let [far, near] = VOICES;
    Ok([say(far)?, say(near)?])
}

fn say((voice, words_a_minute, text): (&str, &str, &str)) -> io::Result<Vec<f32>> {
    let output = Command::new("espeak-ng")
        .args(["-v", voice, "-s", words_a_minute, "--stdout", text])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            let why = format!("espeak-ng: {error}; `cargo xtask setup` installs it");
            io::Error::new(error.kind(), why)
        })?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("espeak-ng failed: {}", why.trim())));
    }
    let (rate_hz, samples) = decode(&output.stdout)
        .ok_or_else(|| io::Error::other("espeak-ng gave no WAV file of 16 bits, one channel"))?;
    let ratio = RATE_HZ / f64::from(rate_hz);
    Ok(Interpolator::new(0.999f64.min(ratio)).resample(&samples, ratio))
}

/// Rate and samples of a WAV file of one channel, whose lengths may be wrong, for it went through a pipe.
fn decode(file: &[u8]) -> Option<(u32, Vec<f32>)> {
    let header = file.first_chunk::<44>()?;
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let simple = &header[..4] == b"RIFF" && &header[36..40] == b"data";
    if !simple || half(20) != 1 || half(22) != 1 || half(34) != 16 {
        return None;
    }
    let rate_hz = u32::from(half(24)) | u32::from(half(26)) << 16;
    let samples: Vec<f32> = file[44..]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&sample| f32::from(i16::from_le_bytes(sample)) / 32_768.0)
        .collect();
    (rate_hz >= 8_000 && samples.len() > rate_hz as usize).then_some((rate_hz, samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wav_from_a_pipe_is_understood() {
        let mut file = Vec::new();
        file.extend(b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0");
        file.extend(22_050u32.to_le_bytes());
        file.extend(44_100u32.to_le_bytes());
        file.extend(b"\x02\0\x10\0data\xff\xff\xff\x7f");
        assert_eq!(decode(&file), None);
        file.extend((0..30_000).flat_map(|at: i16| at.to_le_bytes()));
        let (rate_hz, samples) = decode(&file).unwrap();
        assert_eq!((rate_hz, samples.len()), (22_050, 30_000));
        assert_eq!(samples[16_384], 0.5);
        file[22] = 2;
        assert_eq!(decode(&file), None);
    }
}
