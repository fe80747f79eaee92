//! The receiving end behind every scheme: one evaluate, one decoder.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holobooth::codec::{self, Decoder};
use holobooth::media::picture::{AccessUnit, Stamps};

use super::stamp;
use crate::child::Side;
use crate::clock::now_us;
use crate::line;

/// What became of an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It gave a picture.
    Decoded,
    /// It is of a frame that was passed before, or a second time the same.
    Old,
    /// It is damaged, or what it refers to is missing: nothing can be decoded before the next keyframe.
    Broken,
}

/// Decodes what comes, in the order in which it comes, and notes when.
pub struct Viewer {
    decoder: Decoder,
    /// The number that decoding can go on with; none before a keyframe.
    next: Option<u32>,
    seen: Vec<(u32, i64)>,
    damaged: u64,
    skipped: u64,
    /// From this number on bytes are counted.
    first: u32,
    sent_before: Option<u64>,
    log: PathBuf,
}

impl Viewer {
    /// A viewer for whom counting begins with frame `first`, and who writes to the file `log`.
    ///
    /// # Errors
    /// When there is no decoder.
    pub fn new(first: u32, log: &Path) -> Result<Self, codec::Error> {
        Ok(Self {
            decoder: Decoder::open("hevc", 1)?,
            next: None,
            seen: Vec::new(),
            damaged: 0,
            skipped: 0,
            first,
            sent_before: None,
            log: log.to_owned(),
        })
    }

    /// Takes one access unit.
    ///
    /// A frame counts as decoded when its slices are whole, the frame before it was decoded or it is a
    /// keyframe, and the decoder gives a picture without complaint. What a decoder makes of anything else is
    /// not what was sent.
    pub fn arrived(&mut self, data: Bytes) -> Verdict {
        let Some(stamp) = stamp::read(&data) else {
            self.damaged += 1;
            self.next = None;
            return Verdict::Broken;
        };
        if stamp.number >= self.first && self.sent_before.is_none() {
            self.sent_before = line::sent_bytes(Side::B).ok();
        }
        if self.next.is_some_and(|next| stamp.number < next) {
            return Verdict::Old;
        }
        if !stamp.intact || (!stamp.keyframe && self.next != Some(stamp.number)) {
            *(if stamp.intact { &mut self.skipped } else { &mut self.damaged }) += 1;
            self.next = None;
            return Verdict::Broken;
        }
        let unit =
            AccessUnit { data, keyframe: stamp.keyframe, number: stamp.number, stamps: Stamps::default() };
        match self.decoder.decode(&unit) {
            Ok(Some(_)) => {
                self.seen.push((stamp.number, now_us()));
                self.next = Some(stamp.number + 1);
                Verdict::Decoded
            }
            Ok(None) | Err(_) => {
                self.decoder.reset();
                self.damaged += 1;
                self.next = None;
                Verdict::Broken
            }
        }
    }

    /// Writes down what was seen, for [`super::cell`].
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let now = line::sent_bytes(Side::B).unwrap_or(0);
        let back = self.sent_before.map_or(0, |before| now.saturating_sub(before));
        let mut text = format!("{back} {} {}\n", self.damaged, self.skipped);
        for (number, decoded_us) in &self.seen {
            let _ = writeln!(text, "{number} {decoded_us}");
        }
        fs::write(&self.log, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::link::clip::{Clip, Extent, Playhead, Request, TURN};

    #[test]
    fn only_whole_frames_whose_references_were_seen_count() {
        codec::init().unwrap();
        let clip = Clip::make(Extent { keyframes: false, renditions: false }).unwrap();
        let mut head = Playhead::default();
        let frames: Vec<Bytes> = (0..TURN + 4)
            .map(|number| stamp::put(number, head.next(&clip, number, Request::default()).unwrap().data))
            .collect();
        let mut viewer = Viewer::new(0, Path::new("")).unwrap();
        let mut show = |number: u32| viewer.arrived(frames[number as usize].clone());
        assert_eq!([show(0), show(1), show(1)], [Verdict::Decoded, Verdict::Decoded, Verdict::Old]);
        // Without 2, nothing before the next keyframe.
        assert_eq!([show(3), show(4)], [Verdict::Broken; 2]);
        assert_eq!([show(TURN), show(TURN + 1)], [Verdict::Decoded; 2]);
        let whole = &frames[TURN as usize + 2];
        assert_eq!(viewer.arrived(whole.slice(..whole.len() - 1)), Verdict::Broken);
        assert_eq!(viewer.arrived(frames[TURN as usize + 3].clone()), Verdict::Broken);
        assert_eq!(viewer.seen.iter().map(|seen| seen.0).collect::<Vec<_>>(), [0, 1, TURN, TURN + 1]);
    }
}
