//! Voices that are made on the spot, by espeak-ng.

use std::io;
use std::process::{Command, Stdio};

use crate::interpolate::Interpolator;

const RATE_HZ: f64 = 48_000.0;

/// What `voice` of espeak-ng makes of `text` at `words_a_minute`, at 48 kHz, full scale at 1.
///
/// # Errors
/// When espeak-ng is missing, or says nothing.
pub fn say(voice: &str, words_a_minute: &str, text: &str) -> io::Result<Vec<f32>> {
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
