//! What is asked of a card: rate, format, channels, periods; candidates in order, the first that it takes.

use std::fmt;

use alsa::ValueOr;
use alsa::pcm::{Access, HwParams, PCM};

use super::candidates::Direction;
use super::error::Error;
use super::samples::SampleFormat;

/// The rate that the rest of a booth works at, in Hz.
pub const RATE_HZ: u32 = crate::media::voice::SAMPLE_RATE_HZ;
/// What a period should last, in ms; the first that the card takes.
pub(super) const PERIODS_MS: [u32; 2] = [5, 10];
/// Periods in a playback buffer. They are not all filled unless it has run dry before.
const PLAYBACK_PERIODS: u32 = 6;
/// Periods in a capture buffer, which adds no delay however long it is.
const CAPTURE_PERIODS: u32 = 8;
/// The rates of cards, ours first, then those that lose nothing, then the rest from the highest.
const RATES_HZ: [u32; 8] = [RATE_HZ, 96_000, 192_000, 88_200, 44_100, 32_000, 16_000, 8_000];
const PLAYBACK_CHANNELS: [u32; 5] = [2, 1, 4, 6, 8];
const CAPTURE_CHANNELS: [u32; 7] = [1, 2, 4, 6, 8, 3, 5];

/// What may be asked of a card in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Samples of a channel in a second.
    pub rate_hz: u32,
    /// The format of a sample.
    pub format: SampleFormat,
    /// Channels of a frame.
    pub channels: u32,
}

/// What a card was set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Rate, format and channels.
    pub layout: Layout,
    /// Frames between two signs of life of the card.
    pub period: u32,
    /// Frames that its buffer holds.
    pub buffer: u32,
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { rate_hz, format, channels } = self.layout;
        write!(f, "{rate_hz} Hz {} {channels} ch, {}/{}", format.to_alsa(), self.period, self.buffer)
    }
}

/// All candidates, the best first: the rate weighs most, for another than ours costs resampling and delay;
/// then the number of channels.
pub(super) fn layouts(direction: Direction) -> impl Iterator<Item = Layout> {
    let channels = match direction {
        Direction::Capture => &CAPTURE_CHANNELS[..],
        Direction::Playback => &PLAYBACK_CHANNELS[..],
    };
    RATES_HZ.into_iter().flat_map(move |rate_hz| {
        channels.iter().flat_map(move |&channels| {
            SampleFormat::ALL.into_iter().map(move |format| Layout { rate_hz, format, channels })
        })
    })
}

/// Sets the card to the first layout that it takes.
pub(super) fn set(pcm: &PCM, direction: Direction, device: &str) -> Result<Params, Error> {
    let mut refusal = alsa::Error::new("snd_pcm_hw_params", nix::libc::EINVAL);
    for layout in layouts(direction) {
        for period_ms in PERIODS_MS {
            match attempt(pcm, direction, layout, period_ms) {
                Ok(Some(params)) => return Ok(params),
                Ok(None) => break,
                Err(e) if e.errno() == nix::libc::ENODEV => return Err(Error::from_alsa(device, e)),
                Err(e) => refusal = e,
            }
        }
    }
    let source = std::io::Error::from_raw_os_error(refusal.errno());
    Err(Error::NoParameters { device: device.to_owned(), source })
}

/// One attempt; nothing when the card does not have the layout.
fn attempt(pcm: &PCM, direction: Direction, layout: Layout, period_ms: u32) -> alsa::Result<Option<Params>> {
    let hw = HwParams::any(pcm)?;
    hw.set_access(Access::RWInterleaved)?;
    let has = hw.set_format(layout.format.to_alsa()).is_ok()
        && hw.set_channels(layout.channels).is_ok()
        && hw.set_rate(layout.rate_hz, ValueOr::Nearest).is_ok();
    if !has {
        return Ok(None);
    }
    let periods = match direction {
        Direction::Capture => CAPTURE_PERIODS,
        Direction::Playback => PLAYBACK_PERIODS,
    };
    let frames = layout.rate_hz * period_ms / 1_000;
    // What the card makes of it is read back; not every card can split its buffer so.
    let period = hw.set_period_size_near(frames.into(), ValueOr::Nearest)?;
    let _ = hw.set_buffer_size_near(period * alsa::pcm::Frames::from(periods));
    pcm.hw_params(&hw)?;
    let frames = |frames: alsa::pcm::Frames| u32::try_from(frames).unwrap_or(u32::MAX);
    let (period, buffer) = (frames(hw.get_period_size()?), frames(hw.get_buffer_size()?));
    // Less than two of our blocks, and none could be written while another is heard.
    if period == 0 || buffer < 2 * period || buffer < layout.rate_hz / 100 {
        return Err(alsa::Error::new("snd_pcm_hw_params", nix::libc::EINVAL));
    }
    Ok(Some(Params { layout, period, buffer }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_rate_comes_first_and_nothing_twice() {
        for direction in [Direction::Capture, Direction::Playback] {
            let all: Vec<Layout> = layouts(direction).collect();
            let ours = all.iter().take_while(|c| c.rate_hz == RATE_HZ).count();
            assert!(all[ours..].iter().all(|c| c.rate_hz != RATE_HZ));
            for (index, layout) in all.iter().enumerate() {
                assert!(!all[..index].contains(layout), "{layout:?}");
            }
        }
        let first = |direction| layouts(direction).next().unwrap();
        assert_eq!(first(Direction::Capture).channels, 1);
        assert_eq!(first(Direction::Playback).channels, 2);
    }
}
