//! What the one encoder is told on behalf of all peers. No I/O.
//!
//! The encoder follows the slowest *participant*. A peer whose path carries far less than every other's would
//! take the picture from all of them: it is no participant while that lasts, is told so, and gets fewer
//! pictures.

use crate::link::sizes::MAX_PEERS;
use crate::media::encoder_command::EncoderCommand;

/// A peer is too slow for the meeting below this share of the next slowest peer's rate, and below
/// [`HOPELESS_KBPS`], for [`HOLD_US`]; it takes part again above [`BACK_SHARE`] of it for as long.
const HOPELESS_SHARE: f32 = 0.25;
const BACK_SHARE: f32 = 0.4;
/// A path that carries this is never hopeless: at this rate there is a picture worth looking at, in kbit/s.
const HOPELESS_KBPS: u32 = 1_500;
const HOLD_US: u64 = 5_000_000;
/// The least from one keyframe to the next, in µs: the one before must have had time to arrive.
const KEYFRAME_US: u64 = 150_000;
/// The same for what a peer asks that is too slow.
const SLOW_KEYFRAME_US: u64 = 3_000_000;

/// What one peer's path gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// What the video to it may take, in kbit/s.
    pub(crate) target_kbps: u32,
    /// What was coded has not left yet.
    pub(crate) congested: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    /// None while there is no session with it.
    offer: Option<Offer>,
    too_slow: bool,
    /// Since when it would change sides, in µs.
    changing_us: Option<u64>,
    keyframe_us: Option<u64>,
}

/// Gathers what the peers' paths give, and makes one command of it.
#[derive(Debug, Default)]
pub(crate) struct EncoderControl {
    peers: [Peer; MAX_PEERS],
    keyframe_wanted: bool,
    keyframe_us: Option<u64>,
}

impl EncoderControl {
    /// The path to peer `at` gives `offer` now.
    pub(crate) fn offer(&mut self, at: usize, offer: Offer, now_us: u64) {
        let Some(peer) = self.peers.get_mut(at) else { return };
        peer.offer = Some(offer);
        self.sort_out(now_us);
    }

    /// The session with peer `at` is over. One that is too slow is so in its next session too: a line that
    /// ends sessions would otherwise take the picture from all with each new one.
    pub(crate) fn withdraw(&mut self, at: usize) {
        if let Some(peer) = self.peers.get_mut(at) {
            (peer.offer, peer.changing_us) = (None, None);
        }
    }

    /// Place `at` is another peer's from now on.
    pub(crate) fn forget(&mut self, at: usize) {
        if let Some(peer) = self.peers.get_mut(at) {
            *peer = Peer::default();
        }
    }

    /// Peer `at` cannot go on without a keyframe.
    pub(crate) fn request_keyframe(&mut self, at: usize, now_us: u64) {
        if let Some(peer) = self.peers.get_mut(at)
            && peer.too_slow
        {
            if peer.keyframe_us.is_some_and(|us| now_us < us + SLOW_KEYFRAME_US) {
                return;
            }
            peer.keyframe_us = Some(now_us);
        }
        self.keyframe_wanted = true;
    }

    /// Whether peer `at` is too slow for the meeting.
    pub(crate) fn is_too_slow(&self, at: usize) -> bool {
        self.peers.get(at).is_some_and(|peer| peer.too_slow)
    }

    /// What the encoder is to do from now on.
    pub(crate) fn command(&mut self, now_us: u64) -> EncoderCommand {
        let any = self.peers.iter().any(|peer| peer.offer.is_some() && !peer.too_slow);
        let participants =
            || self.peers.iter().filter(|peer| !(any && peer.too_slow)).filter_map(|peer| peer.offer);
        let due = self.keyframe_us.is_none_or(|us| now_us >= us + KEYFRAME_US);
        let command = EncoderCommand {
            connected: self.peers.iter().any(|peer| peer.offer.is_some()),
            target_kbps: participants().map(|offer| offer.target_kbps).min().unwrap_or(0),
            congested: participants().any(|offer| offer.congested),
            keyframe: self.keyframe_wanted && due,
        };
        if command.keyframe {
            (self.keyframe_wanted, self.keyframe_us) = (false, Some(now_us));
        }
        command
    }

    /// Who takes part and who is too slow. The fastest always takes part.
    fn sort_out(&mut self, now_us: u64) {
        for at in 0..self.peers.len() {
            let others = self.peers.iter().enumerate().filter(|(other, _)| *other != at);
            let next = others
                .filter(|(_, peer)| !peer.too_slow)
                .filter_map(|(_, peer)| peer.offer)
                .map(|offer| offer.target_kbps)
                .min();
            let Some(peer) = self.peers.get_mut(at) else { continue };
            let Some(Offer { target_kbps, .. }) = peer.offer else { continue };
            let share = next.map_or(1.0, |kbps| target_kbps as f32 / kbps.max(1) as f32);
            let changes = if peer.too_slow {
                share > BACK_SHARE || target_kbps >= HOPELESS_KBPS
            } else {
                share < HOPELESS_SHARE && target_kbps < HOPELESS_KBPS
            };
            if !changes {
                peer.changing_us = None;
                continue;
            }
            if now_us >= *peer.changing_us.get_or_insert(now_us) + HOLD_US {
                (peer.too_slow, peer.changing_us) = (!peer.too_slow, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(target_kbps: u32) -> Offer {
        Offer { target_kbps, congested: false }
    }

    #[test]
    fn the_encoder_follows_the_slowest_participant() {
        let mut control = EncoderControl::default();
        assert_eq!(control.command(0), EncoderCommand::default());
        control.offer(0, offer(8_000), 0);
        control.offer(1, offer(3_000), 0);
        control.offer(2, Offer { congested: true, ..offer(5_000) }, 0);
        let command = control.command(0);
        assert_eq!((command.connected, command.target_kbps, command.congested), (true, 3_000, true));
        control.withdraw(2);
        control.withdraw(1);
        let command = control.command(0);
        assert_eq!((command.target_kbps, command.congested), (8_000, false));
    }

    #[test]
    fn a_hopelessly_slow_peer_takes_nothing_from_the_others_and_comes_back() {
        let mut control = EncoderControl::default();
        let at = |control: &mut EncoderControl, second: u64, slow_kbps| {
            let now_us = second * 1_000_000;
            control.offer(0, offer(8_000), now_us);
            control.offer(1, offer(slow_kbps), now_us);
            (control.command(now_us).target_kbps, control.is_too_slow(1))
        };
        assert_eq!(at(&mut control, 0, 400), (400, false), "for a while everybody waits for it");
        assert_eq!(at(&mut control, 4, 400), (400, false));
        assert_eq!(at(&mut control, 5, 400), (8_000, true));
        assert_eq!(at(&mut control, 6, 4_000), (8_000, true));
        assert_eq!(at(&mut control, 8, 400), (8_000, true), "once is not enough");
        assert_eq!(at(&mut control, 9, 4_000), (8_000, true));
        assert_eq!(at(&mut control, 14, 4_000), (4_000, false));
    }

    #[test]
    fn a_peer_that_was_too_slow_is_so_in_its_next_session_and_another_in_its_place_is_not() {
        let mut control = EncoderControl::default();
        let mut at = 0;
        let mut offers = |control: &mut EncoderControl, slow_kbps| {
            at += 1_000_000;
            control.offer(0, offer(8_000), at);
            control.offer(1, offer(slow_kbps), at);
            (control.command(at).target_kbps, control.is_too_slow(1))
        };
        for _ in 0..6 {
            offers(&mut control, 200);
        }
        assert_eq!(offers(&mut control, 200), (8_000, true));
        control.withdraw(1);
        assert_eq!(offers(&mut control, 4_000), (8_000, true), "it has to show first that it carries more");
        for _ in 0..4 {
            assert_eq!(offers(&mut control, 4_000), (8_000, true));
        }
        assert_eq!(offers(&mut control, 4_000), (4_000, false));
        for _ in 0..6 {
            offers(&mut control, 200);
        }
        control.withdraw(1);
        control.forget(1);
        assert_eq!(offers(&mut control, 4_000), (4_000, false));
    }

    #[test]
    fn a_slow_peer_that_stays_behind_alone_is_followed() {
        let mut control = EncoderControl::default();
        for second in 0..7 {
            control.offer(0, offer(8_000), second * 1_000_000);
            control.offer(1, offer(200), second * 1_000_000);
        }
        control.withdraw(0);
        // Nobody else is left: the encoder follows it at once, and soon it is no slower than any other.
        control.offer(1, offer(200), 7_000_000);
        assert_eq!((control.command(7_000_000).target_kbps, control.is_too_slow(1)), (200, true));
        control.offer(1, offer(200), 12_000_000);
        assert_eq!((control.command(12_000_000).target_kbps, control.is_too_slow(1)), (200, false));
    }

    #[test]
    fn a_slow_peer_that_is_alone_or_among_slow_ones_takes_part() {
        let mut control = EncoderControl::default();
        for second in 0..30 {
            control.offer(0, offer(200), second * 1_000_000);
        }
        assert!(!control.is_too_slow(0));
        for second in 30..60 {
            control.offer(0, offer(200), second * 1_000_000);
            control.offer(1, offer(300), second * 1_000_000);
        }
        assert!(!control.is_too_slow(0) && !control.is_too_slow(1));
        // What carries a picture worth looking at is never left out.
        for second in 60..90 {
            control.offer(0, offer(1_500), second * 1_000_000);
            control.offer(1, offer(50_000), second * 1_000_000);
        }
        assert!(!control.is_too_slow(0));
    }

    #[test]
    fn keyframes_are_spaced_and_none_is_forgotten() {
        let mut control = EncoderControl::default();
        control.offer(0, offer(8_000), 0);
        control.request_keyframe(0, 1_000_000);
        assert!(control.command(1_000_000).keyframe && !control.command(1_000_000).keyframe);
        control.request_keyframe(0, 1_010_000);
        assert!(!control.command(1_010_000).keyframe);
        assert!(control.command(1_000_000 + KEYFRAME_US).keyframe);
    }
}
