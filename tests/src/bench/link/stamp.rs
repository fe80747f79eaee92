//! The number of a frame inside its access unit, so that whatever carries it need not say which it is.
//!
//! In front of the unit stands a prefix SEI message `user_data_unregistered` (ITU-T H.265, 7.3.5 and D.2.7)
//! with the number and a checksum over the coded slices. Carriers may write start codes of another length,
//! and add or repeat parameter sets; none may touch a slice. Number and checksum are written in hexadecimal
//! digits: no byte of them needs emulation prevention.

use bytes::Bytes;
use crc32fast::Hasher;

/// Tells our message from others.
const UUID: [u8; 16] = *b"holobooth-link-1";
const START: [u8; 4] = [0, 0, 0, 1];
/// Header of a NAL unit of type 39, PREFIX_SEI_NUT, on the lowest temporal layer.
const PREFIX_SEI: [u8; 2] = [39 << 1, 1];
const USER_DATA_UNREGISTERED: u8 = 5;
const DIGITS: usize = 8;
const PAYLOAD: usize = UUID.len() + 2 * DIGITS;
const STOP_BIT: u8 = 0x80;

/// What an access unit says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The number it was given.
    pub number: u32,
    /// Whether its slices are those that the number was given to.
    pub intact: bool,
    /// Whether decoding can begin here.
    pub keyframe: bool,
}

/// `unit` (Annex B) with `number` in front.
pub fn put(number: u32, unit: &[u8]) -> Bytes {
    let checksum = slices(unit).checksum;
    let mut stamped = Vec::with_capacity(START.len() + 4 + PAYLOAD + 1 + unit.len());
    stamped.extend_from_slice(&START);
    stamped.extend_from_slice(&PREFIX_SEI);
    stamped.extend_from_slice(&[USER_DATA_UNREGISTERED, PAYLOAD as u8]);
    stamped.extend_from_slice(&UUID);
    stamped.extend_from_slice(format!("{number:08x}{checksum:08x}").as_bytes());
    stamped.push(STOP_BIT);
    stamped.extend_from_slice(unit);
    stamped.into()
}

/// What is written in front of `unit`; `None` when nothing is.
pub fn read(unit: &[u8]) -> Option<Stamp> {
    let message = nals(unit).find(|nal| {
        nal.starts_with(&PREFIX_SEI)
            && nal.get(2) == Some(&USER_DATA_UNREGISTERED)
            && nal.get(4..).is_some_and(|payload| payload.starts_with(&UUID))
    })?;
    let digits = message.get(4 + UUID.len()..4 + PAYLOAD)?;
    let number = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let (of_frame, checksum) = digits.split_at(DIGITS);
    let slices = slices(unit);
    Some(Stamp {
        number: number(of_frame)?,
        intact: slices.any && number(checksum)? == slices.checksum,
        keyframe: slices.keyframe,
    })
}

struct Slices {
    any: bool,
    keyframe: bool,
    checksum: u32,
}

fn slices(unit: &[u8]) -> Slices {
    let (mut any, mut keyframe, mut hasher) = (false, false, Hasher::new());
    for nal in nals(unit) {
        // nal_unit_type, table 7-1: below 32 slices, of these 16 to 23 pictures at which decoding can begin.
        let kind = nal.first().map_or(63, |byte| (byte >> 1) & 63);
        if kind < 32 {
            any = true;
            keyframe |= (16..24).contains(&kind);
            hasher.update(nal);
        }
    }
    Slices { any, keyframe, checksum: hasher.finalize() }
}

/// The NAL units of a byte stream (annex B), without start codes and the zeros around them.
fn nals(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start(unit);
    std::iter::from_fn(move || {
        let from = rest?;
        let end = start_code(from).unwrap_or(from.len());
        rest = after_start(&from[end..]);
        let nal = &from[..end];
        let zeros = nal.iter().rev().take_while(|&&byte| byte == 0).count();
        Some(&nal[..nal.len() - zeros])
    })
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn after_start(bytes: &[u8]) -> Option<&[u8]> {
    start_code(bytes).map(|at| &bytes[at + 3..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const VPS: [u8; 4] = [32 << 1, 1, 0x0c, 0x01];
    const IDR: [u8; 5] = [20 << 1, 1, 0xaf, 0x00, 0x77];
    const P: [u8; 5] = [1 << 1, 1, 0xd0, 0x12, 0x34];

    fn unit(start: &[u8], nals: &[&[u8]]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [start, nal].concat()).collect()
    }

    #[test]
    fn a_number_survives_other_start_codes_and_parameter_sets() {
        let stamped = put(0x1234, &unit(&START, &[&VPS, &IDR]));
        assert_eq!(read(&stamped), Some(Stamp { number: 0x1234, intact: true, keyframe: true }));
        let stamp = nals(&stamped).next().unwrap();
        let rewritten = unit(&[0, 0, 1], &[&VPS, &VPS, stamp, &IDR]);
        assert_eq!(read(&rewritten), read(&stamped));
        let stamped = put(7, &unit(&START, &[&P]));
        assert_eq!(read(&stamped), Some(Stamp { number: 7, intact: true, keyframe: false }));
    }

    #[test]
    fn damage_shows() {
        let stamped = put(1, &unit(&START, &[&P, &P])).to_vec();
        for shorter in [stamped.len() - 1, stamped.len() - P.len() - 4, stamped.len() - 2 * (P.len() + 4)] {
            assert!(!read(&stamped[..shorter]).unwrap().intact, "{shorter}");
        }
        let mut changed = stamped;
        *changed.last_mut().unwrap() ^= 1;
        assert!(!read(&changed).unwrap().intact);
    }

    #[test]
    fn nothing_is_read_where_nothing_was_written() {
        assert_eq!(read(&unit(&START, &[&VPS, &IDR])), None);
        assert_eq!(read(&[]), None);
        let stamped = put(1, &unit(&START, &[&P]));
        for end in 0..30 {
            assert_eq!(read(&stamped[..end]), None);
        }
    }
}
