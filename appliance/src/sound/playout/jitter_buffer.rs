//! Voice frames of one peer, sorted by number, until they are played. No I/O.

use crate::media::voice::VoiceFrame;

/// Frames that wait at most: 640 ms of them.
const ROOM: usize = 64;
/// A number so far from the one expected belongs to a microphone that has started again.
const RESTART: i64 = 500;

/// What became of a frame that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It waits, at this place of the peer's stream, counted in frames.
    Waits(i64),
    /// Its place has been played already.
    Late(i64),
    /// It is there already, or so far ahead that there is no room.
    Dropped,
    /// The stream has begun anew, and so must whoever plays it.
    Restarted,
}

/// The frames that wait.
#[derive(Debug)]
pub(super) struct JitterBuffer {
    frames: Box<[Option<VoiceFrame>]>,
    /// The next place to be played; its frame has this number, in the low 32 bits.
    next: i64,
    waiting: usize,
}

impl JitterBuffer {
    pub(super) fn new() -> Self {
        Self { frames: (0..ROOM).map(|_| None).collect(), next: 0, waiting: 0 }
    }

    /// Empty, and the frame `number` will be the next.
    pub(super) fn restart(&mut self, number: u32) {
        self.frames.fill(None);
        self.waiting = 0;
        self.next = i64::from(number);
    }

    /// The next place to be played.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Frames that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether the next frame has come.
    pub(super) fn has_next(&self) -> bool {
        self.frames[self.next.rem_euclid(ROOM as i64) as usize].is_some()
    }

    /// Puts a frame where it belongs.
    pub(super) fn insert(&mut self, frame: VoiceFrame) -> Inserted {
        // Serial number arithmetic (RFC 1982), so that 2³² frames are no end.
        let ahead = i64::from(frame.number.wrapping_sub(self.next as u32) as i32);
        let place = self.next + ahead;
        match ahead {
            _ if ahead.abs() >= RESTART => Inserted::Restarted,
            ..0 => Inserted::Late(place),
            _ if ahead >= ROOM as i64 => Inserted::Dropped,
            _ => {
                let slot = &mut self.frames[place.rem_euclid(ROOM as i64) as usize];
                if slot.is_some() {
                    return Inserted::Dropped;
                }
                *slot = Some(frame);
                self.waiting += 1;
                Inserted::Waits(place)
            }
        }
    }

    /// The frame that was taken in vain is not given up: it is the next again.
    pub(super) fn wait(&mut self) {
        self.next -= 1;
    }

    /// Takes the next frame; none when it has not come, and is given up by this.
    pub(super) fn take(&mut self) -> Option<VoiceFrame> {
        let frame = self.frames[self.next.rem_euclid(ROOM as i64) as usize].take();
        self.waiting -= usize::from(frame.is_some());
        self.next += 1;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u32) -> VoiceFrame {
        VoiceFrame { number, capture_us: u64::from(number) * 10_000, data: vec![1].into() }
    }

    #[test]
    fn sorts_drops_doubles_and_gives_up_what_is_missing() {
        let mut buffer = JitterBuffer::new();
        buffer.restart(10);
        for number in [11, 10, 13] {
            assert_eq!(buffer.insert(frame(number)), Inserted::Waits(i64::from(number)));
        }
        assert_eq!(buffer.insert(frame(11)), Inserted::Dropped);
        assert!(buffer.has_next());
        let taken: Vec<_> = (0..4).map(|_| buffer.take().map(|frame| frame.number)).collect();
        assert_eq!(taken, [Some(10), Some(11), None, Some(13)]);
        assert_eq!(buffer.insert(frame(12)), Inserted::Late(12));
        assert_eq!((buffer.waiting(), buffer.next(), buffer.has_next()), (0, 14, false));
    }

    #[test]
    fn a_number_far_off_means_a_new_beginning_and_one_too_far_ahead_has_no_room() {
        let mut buffer = JitterBuffer::new();
        buffer.restart(1_000);
        assert_eq!(buffer.insert(frame(1_064)), Inserted::Dropped);
        assert_eq!(buffer.insert(frame(1_500)), Inserted::Restarted);
        assert_eq!(buffer.insert(frame(500)), Inserted::Restarted);
        assert_eq!(buffer.insert(frame(u32::MAX / 2)), Inserted::Restarted);
    }

    #[test]
    fn numbers_wrap() {
        let mut buffer = JitterBuffer::new();
        buffer.restart(u32::MAX);
        for number in [u32::MAX, 0, 1] {
            assert!(matches!(buffer.insert(frame(number)), Inserted::Waits(_)));
        }
        assert_eq!([0; 3].map(|_| buffer.take().unwrap().number), [u32::MAX, 0, 1]);
    }
}
