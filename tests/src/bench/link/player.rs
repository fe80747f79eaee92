//! The sending end before every scheme: one clip, one beat.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::clip::{Clip, FPS, Playhead};
use super::measure::Sent;
use super::scheme::{Carrier, Frame};
use super::stamp;
use crate::child::Side;
use crate::clock::{now_us, sleep_until_us};
use crate::line;

/// Frames before counting begins: three seconds, for whoever must find out what the line can take.
pub const WARM_UP: u32 = 3 * FPS;
/// What is printed when counting begins.
pub const COUNTING: &str = "counting";
/// How long what was sent last may be under way, in µs.
const TAIL_US: i64 = 1_000_000;

/// Plays the warm-up and `frames` more, in real time, and writes down what was sent.
///
/// # Errors
/// When the carrier ends, or the file cannot be written.
pub fn play(clip: &Clip, frames: u32, carrier: &mut dyn Carrier, log: &Path) -> io::Result<()> {
    let mut head = Playhead::default();
    let mut sent = Vec::with_capacity(frames as usize);
    let mut bytes_before = 0;
    let start_us = now_us();
    for number in 0..WARM_UP + frames {
        let due_us = start_us + i64::from(number) * 1_000_000 / i64::from(FPS);
        let unit = head.next(clip, number, carrier.request());
        let unit = unit.ok_or_else(|| io::Error::other("the clip lacks a frame that is wished for"))?;
        let data = stamp::put(number, unit.data);
        let bytes = data.len() as u64;
        sleep_until_us(due_us);
        if number == WARM_UP {
            println!("{COUNTING}");
            bytes_before = line::sent_bytes(Side::A)?;
        }
        let capture_us = now_us();
        carrier.send(Frame { data, keyframe: unit.keyframe, number, capture_us })?;
        if number >= WARM_UP {
            sent.push(Sent { number, capture_us, bytes, kbps: unit.kbps });
        }
    }
    sleep_until_us(now_us() + TAIL_US);
    let mut text = format!("{}\n", line::sent_bytes(Side::A)?.saturating_sub(bytes_before));
    for Sent { number, capture_us, bytes, kbps } in sent {
        let _ = writeln!(text, "{number} {capture_us} {bytes} {kbps}");
    }
    fs::write(log, text)
}
