//! All peers' voices, as they are played: from the link's mailboxes to a period of samples. No I/O.

use std::sync::atomic::Ordering::Relaxed;

use super::clock_line::ClockLine;
use super::error::Error;
use super::handles::Handles;
use super::lip_sync;
use super::mixer::{Mixer, PeakGain};
use super::playout::{Arrived, Playout};
use super::rate::{PERIOD, RATE_HZ};
use super::voice_codec::DECODER_DELAY;
use crate::media::mailbox::Mailbox;
use crate::media::voice::VoiceFrame;
use crate::units::{LipSync, MAX_PEERS};

/// A delay for the sake of the picture is set anew when it is off by this much, in samples: 2 ms. What is less
/// is not seen, and following it would have the voice steered all the time.
const LIP_GRAIN: f64 = 96.0;
/// Periods of which the least that waits is told: 100 ms. From one to the next it changes by a frame.
const TOLD_EVERY: u32 = 20;
/// Frames taken from one peer in one period, at most: whoever sends more is not heard faster.
const TAKEN: usize = 16;

/// The voices of all peers.
pub(crate) struct Voices<'a> {
    handles: &'a Handles,
    mailboxes: [&'a Mailbox<VoiceFrame>; MAX_PEERS],
    playouts: [Playout; MAX_PEERS],
    /// What the picture asks for, as it was last set.
    waits: [Option<i64>; MAX_PEERS],
    /// The least that waited to be played, in samples, and the periods that this is of.
    least_waiting: [(usize, u32); MAX_PEERS],
    mixer: Mixer,
    peak: PeakGain,
    lip_sync: LipSync,
}

impl<'a> Voices<'a> {
    /// Nobody speaks.
    ///
    /// # Errors
    /// When there are no decoders to be had.
    pub(crate) fn new(
        handles: &'a Handles,
        mailboxes: [&'a Mailbox<VoiceFrame>; MAX_PEERS],
        lip_sync: LipSync,
    ) -> Result<Self, Error> {
        Ok(Self {
            handles,
            mailboxes,
            playouts: [Playout::new()?, Playout::new()?, Playout::new()?, Playout::new()?],
            waits: [None; MAX_PEERS],
            least_waiting: [(usize::MAX, 0); MAX_PEERS],
            mixer: Mixer::new(),
            peak: PeakGain::new(),
            lip_sync,
        })
    }

    /// Nothing is played: what came meanwhile is too old.
    pub(crate) fn discard(&mut self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.clear());
        self.playouts.iter_mut().for_each(Playout::stop);
    }

    /// The samples that are to be played from sample `output` of the loudspeaker on, whose clock is `line`;
    /// returns their peak.
    pub(crate) fn render(&mut self, output: i64, line: &ClockLine, out: &mut [[f32; 2]; PERIOD]) -> f32 {
        out.fill([0.0; 2]);
        for slot in 0..MAX_PEERS {
            let (playout, handles) = (&mut self.playouts[slot], &self.handles.peers[slot]);
            let counters = &handles.counters;
            let mut arrived = Arrived::default();
            for _ in 0..TAKEN {
                let Some(frame) = self.mailboxes[slot].take() else { break };
                playout.arrived(frame, output, &mut arrived);
            }
            counters.late.fetch_add(arrived.late.into(), Relaxed);
            counters.dropped.fetch_add(arrived.dropped.into(), Relaxed);
            counters.restarts.fetch_add(arrived.begun.into(), Relaxed);
            if !playout.is_playing() {
                for delay in [&handles.voice_delay_us, &handles.voice_least_us] {
                    delay.store(0, Relaxed);
                }
                counters.mouth_to_ear_us.store(0, Relaxed);
                self.least_waiting[slot] = (usize::MAX, 0);
                continue;
            }
            if let Some(capture_us) = playout.captured_us(DECODER_DELAY) {
                let delay_us = line.time_us(output as f64) - capture_us;
                // What the delay would be without the picture.
                let waits = playout.delay(output) - playout.least_delay() as f64;
                let least_us = delay_us - waits * 1e6 / RATE_HZ;
                handles.voice_delay_us.store(delay_us as i64, Relaxed);
                handles.voice_least_us.store(least_us as i64, Relaxed);
                counters.mouth_to_ear_us.store(delay_us.max(0.0) as u64, Relaxed);
                let picture_us = handles.picture_least_us.load(Relaxed);
                let wanted_us = lip_sync::wanted_us(self.lip_sync, picture_us, least_us);
                self.waits[slot] = wanted_us.map(|wanted_us| {
                    let wait = (wanted_us - least_us) * RATE_HZ * 1e-6;
                    let wanted = playout.least_delay() as f64 + wait;
                    let kept = self.waits[slot].filter(|&kept| (kept as f64 - wanted).abs() < LIP_GRAIN);
                    kept.unwrap_or(wanted as i64)
                });
                playout.wait_for_picture(self.waits[slot]);
            }
            let mut voice = [0.0; PERIOD];
            let played = playout.render(output, &mut voice);
            counters.played.fetch_add(played.decoded.into(), Relaxed);
            counters.concealed.fetch_add(played.concealed.into(), Relaxed);
            counters.malformed.fetch_add(played.malformed.into(), Relaxed);
            counters.jumps.fetch_add(played.jumps.into(), Relaxed);
            let (least, periods) = self.least_waiting[slot];
            let least = least.min(playout.waiting());
            self.least_waiting[slot] = (least, periods + 1);
            if periods + 1 >= TOLD_EVERY {
                counters.buffer_us.store((least as f64 * 1e6 / RATE_HZ) as u64, Relaxed);
                self.least_waiting[slot] = (usize::MAX, 0);
            }
            handles.drift_ppb.store((playout.drift_ppm(line.rate_hz) * 1e3) as i64, Relaxed);
            self.mixer.add(slot, handles.place.load(Relaxed), &voice, out);
        }
        self.peak.apply(out)
    }
}
