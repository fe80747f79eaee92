//! Opus (RFC 6716) as the `voice` track carries it: 48 kHz, mono, 10 ms, restricted low delay (CELT alone),
//! 64 kbit/s. Losses are concealed by libopus' deep PLC, which wants a decoder complexity of at least 5.

use bytes::{Bytes, BytesMut};
use opusic_c::{Application, Bitrate, Channels, ErrorCode, SampleRate, Signal};

use super::error::Error;
use crate::media::voice::VOICE_FRAME;

const BITRATE: u32 = 64_000;
/// Of 10. At 9 and 10 the encoder takes twice the time for no difference that a listener hears at this rate.
const ENCODER_COMPLEXITY: u8 = 8;
/// The least at which lost frames are concealed by the neural vocoder (opus 1.5, release notes).
const DECODER_COMPLEXITY: u8 = 5;
/// Samples by which a decoder's output is behind the encoder's input: the look-ahead of CELT at 48 kHz
/// (RFC 6716, section 4.3.7: the window overlaps by 2.5 ms).
pub(crate) const DECODER_DELAY: usize = 120;
/// A coded frame is shorter: one byte of the datagram says how long it is.
const MAX_BYTES: usize = 255;
/// Coded frames are cut from one buffer of this size, so that it is a new one every few seconds.
const CHUNK: usize = 32 * 1024;

fn opus(what: &'static str) -> impl Fn(ErrorCode) -> Error {
    move |code| Error::Opus { what, why: code.message() }
}

/// Codes one microphone.
pub(crate) struct VoiceEncoder {
    encoder: opusic_c::Encoder,
    chunk: BytesMut,
}

impl VoiceEncoder {
    /// An encoder that has heard nothing.
    ///
    /// # Errors
    /// When libopus refuses its settings or has no memory.
    pub(crate) fn new() -> Result<Self, Error> {
        let failed = opus("the encoder");
        let mut encoder = opusic_c::Encoder::new(Channels::Mono, SampleRate::Hz48000, Application::LowDelay)
            .map_err(&failed)?;
        encoder.set_bitrate(Bitrate::Value(BITRATE)).map_err(&failed)?;
        encoder.set_vbr(true).map_err(&failed)?;
        encoder.set_vbr_constraint(true).map_err(&failed)?;
        encoder.set_complexity(ENCODER_COMPLEXITY).map_err(&failed)?;
        encoder.set_signal(Signal::Voice).map_err(&failed)?;
        Ok(Self { encoder, chunk: BytesMut::with_capacity(CHUNK) })
    }

    /// Codes a frame, full scale at ±1.
    ///
    /// # Errors
    /// When libopus fails, which a later frame need not do.
    pub(crate) fn encode(&mut self, samples: &[f32; VOICE_FRAME]) -> Result<Bytes, Error> {
        if self.chunk.capacity() < MAX_BYTES {
            self.chunk = BytesMut::with_capacity(CHUNK);
        }
        self.chunk.resize(MAX_BYTES, 0);
        let length =
            self.encoder.encode_float_to_slice(samples, &mut self.chunk[..]).map_err(opus("encoding"));
        match length {
            Ok(length) => {
                self.chunk.truncate(length.min(MAX_BYTES));
                Ok(self.chunk.split().freeze())
            }
            Err(e) => {
                self.chunk.clear();
                Err(e)
            }
        }
    }

    /// Forgets what it has coded: the next frame begins with silence before it.
    pub(crate) fn reset(&mut self) {
        // Fails only for an encoder that is none.
        let _ = self.encoder.reset();
    }
}

/// Decodes one peer's microphone.
pub(crate) struct VoiceDecoder {
    decoder: opusic_c::Decoder,
}

impl VoiceDecoder {
    /// A decoder that has heard nothing.
    ///
    /// # Errors
    /// When libopus has no memory.
    pub(crate) fn new() -> Result<Self, Error> {
        let failed = opus("the decoder");
        let mut decoder = opusic_c::Decoder::new(Channels::Mono, SampleRate::Hz48000).map_err(&failed)?;
        decoder.set_complexity(DECODER_COMPLEXITY).map_err(&failed)?;
        Ok(Self { decoder })
    }

    /// Decodes a frame.
    ///
    /// # Errors
    /// When the bytes are no Opus frame of 10 ms; `out` is then to be concealed.
    pub(crate) fn decode(&mut self, data: &[u8], out: &mut [f32; VOICE_FRAME]) -> Result<(), Error> {
        // No bytes would mean a lost frame to libopus, and a longer one does not fit.
        if data.is_empty() {
            return Err(Error::Opus { what: "decoding", why: "an empty frame" });
        }
        match self.decoder.decode_float_to_slice(data, out, false).map_err(opus("decoding"))? {
            VOICE_FRAME => Ok(()),
            _ => Err(Error::Opus { what: "decoding", why: "not 10 ms long" }),
        }
    }

    /// Invents a frame that was lost: what was heard goes on, and fades when it goes on for long.
    pub(crate) fn conceal(&mut self, out: &mut [f32; VOICE_FRAME]) {
        let done = self.decoder.decode_float_to_slice(&[], out, false);
        if !matches!(done, Ok(VOICE_FRAME)) {
            out.fill(0.0);
        }
    }

    /// Forgets what it has heard.
    pub(crate) fn reset(&mut self) {
        // Fails only for a decoder that is none.
        let _ = self.decoder.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: f32 = 330.0;
    const PEAK: f32 = 0.05;

    fn tone(frame: usize) -> [f32; VOICE_FRAME] {
        let sample = |n: usize| {
            let turn = (frame * VOICE_FRAME + n) as f32 / 48_000.0 * HZ;
            PEAK * (turn.fract() * std::f32::consts::TAU).sin()
        };
        std::array::from_fn(sample)
    }

    /// A tone, coded; the encoder forgets what was before frame `reset`.
    fn coded(frames: usize, reset: usize) -> Vec<Bytes> {
        let mut encoder = VoiceEncoder::new().unwrap();
        let code = |frame| {
            if frame == reset {
                encoder.reset();
            }
            encoder.encode(&tone(frame)).unwrap()
        };
        (0..frames).map(code).collect()
    }

    /// How far a decoder that joins at frame `first` is off the tone at most, in each of the next five frames.
    fn off(coded: &[Bytes], first: usize) -> [f32; 5] {
        let mut decoder = VoiceDecoder::new().unwrap();
        std::array::from_fn(|later| {
            let (frame, mut out) = (first + later, [0.0; VOICE_FRAME]);
            decoder.decode(&coded[frame], &mut out).unwrap();
            let pairs = out[DECODER_DELAY..].iter().zip(tone(frame));
            pairs.map(|(out, wanted)| (out - wanted).abs()).fold(0.0, f32::max)
        })
    }

    #[test]
    fn whoever_joins_in_the_middle_is_off_for_two_frames() {
        let off = off(&coded(60, usize::MAX), 50);
        assert!(off[0] > 0.2 * PEAK && off[0] < 1.5 * PEAK, "{off:?}");
        assert!(off[2..].iter().all(|&off| off < 0.2 * PEAK), "{off:?}");
    }

    #[test]
    fn whoever_joins_where_the_encoder_begins_is_not() {
        let off = off(&coded(60, 50), 50);
        assert!(off.iter().all(|&off| off < 0.1 * PEAK), "{off:?}");
    }
}
