//! Sound beside video: who speaks and listens at the ends, and what becomes of it at the limit of a line.

use super::{Actor, CLOCK_US, START_US, Stage, VoiceOutcome, play};
use crate::link::handles::Handles;
use crate::link::session::Feed;
use crate::link::testkit::memory::Line;
use crate::media::voice::VoiceFrame;

/// A voice frame's size, in bytes, and when it is too late, in µs.
const VOICE_BYTES: usize = 100;
const VOICE_DEADLINE_US: u64 = 60_000;

impl Actor {
    /// A microphone's tick.
    pub(super) fn speak(&mut self, feed: &Feed, now_us: u64) {
        let number = self.voice_put_us.len() as u32;
        self.voice_put_us.push(now_us);
        self.voice.sent += 1;
        feed.put_voice(&VoiceFrame { number, capture_us: now_us, data: vec![7; VOICE_BYTES].into() });
    }

    /// Takes the sound that the link gives.
    pub(super) fn listen(&mut self, handles: &Handles, now_us: u64) {
        while let Some(frame) = handles.peers[0].voice.take() {
            self.voice.received += 1;
            self.voice.late += u64::from(now_us > frame.capture_us + VOICE_DEADLINE_US + CLOCK_US);
        }
    }
}

/// Sound beside video at the limit of a line of `kbps` with `loss` (0 to 1) and 20 ms each way, for
/// `seconds`; a keyframe is asked for every second. What became of one end's.
///
/// # Errors
/// As [`simulate`](super::simulate).
pub fn voice_first(seed: u64, seconds: u64, kbps: u64, loss: f32) -> nix::Result<VoiceOutcome> {
    let line = Line { delay_us: 20_000, kbps, loss, ..Line::CLEAN };
    let mut stage = Stage::new(seed, 50_000, [([line; 2], u64::MAX)]);
    // Once the rate has been found.
    stage.voice_us = START_US + 3_000_000;
    stage.keyframes_us = START_US;
    let (_, mut stage) = play(stage, seconds)?;
    let sent_us = std::mem::take(&mut stage.world.borrow_mut().voice_sent_us[0]);
    let mut delays: Vec<_> =
        sent_us.iter().zip(&stage.actors[0].voice_put_us).map(|(sent, put)| sent - put).collect();
    delays.sort_unstable();
    let mut outcome = std::mem::take(&mut stage.actors[0].voice);
    let end_us = START_US + seconds * 1_000_000;
    outcome.sent = stage.actors[0].voice_put_us.iter().filter(|&&us| us < end_us).count() as u64;
    (outcome.received, outcome.late) = (stage.actors[1].voice.received, stage.actors[1].voice.late);
    outcome.load *= 8_000.0 / (seconds * 1_000_000 * kbps) as f64;
    outcome.send_p99_us = delays.get(delays.len() * 99 / 100).copied().unwrap_or(u64::MAX);
    outcome.send_max_us = delays.last().copied().unwrap_or(u64::MAX);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sound put in while video fills the line, keyframes and all: it leaves at once, and none is late.
    #[test]
    fn voice_leaves_at_once_whatever_video_does() {
        for loss in [0.0, 0.02] {
            let outcome = voice_first(7, 13, 12_000, loss).unwrap();
            println!("{loss}: {outcome:?}");
            assert!(outcome.load > 0.5 && outcome.keyframes > 10, "{loss}: {outcome:?}");
            assert!(outcome.send_p99_us <= 5_000, "{loss}: {outcome:?}");
            // The last few are still under way.
            let missing = outcome.sent.saturating_sub(outcome.received + 8);
            assert_eq!((missing, outcome.late), (0, 0), "{loss}: {outcome:?}");
        }
    }
}
