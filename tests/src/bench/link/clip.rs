//! The clip that every scheme carries: two seconds of moving, noisy pictures, round and round, coded once, by
//! the booth's encoder.
//!
//! Each turn begins with a keyframe, for those who cannot ask for one. Who can ask gets one as an encoder
//! would give it: for every picture of the turn there is the same picture as a keyframe, and the rest of the
//! turn coded after it. So whatever way through the clip a sender takes, each frame refers to the one that
//! was sent before it, to the last bit. A rendition at a lower bit rate is entered the same way: at once,
//! with a keyframe, to go down; at the turn's own keyframe to go up.

use std::fs;
use std::io;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use ffmpeg_next::{color, format::Pixel, frame};
use holobooth::codec::{self, Encoder, Spec};
use holobooth::media::picture::{Picture, Stamps};

/// Pictures in one turn: two seconds.
pub const TURN: u32 = 60;
/// Pictures a second.
pub const FPS: u32 = 30;
/// Pixels of a picture.
pub const SIZE: (u32, u32) = (640, 480);
/// Bit rates of the renditions in kbit/s, highest first.
pub const KBPS: [u32; 5] = [8_000, 6_000, 4_500, 3_000, 2_000];
/// The largest change that noise makes to a pixel: enough that every rendition needs its bits.
const NOISE: u8 = 20;
const SEED: u64 = 11;
/// Turns that are coded before those that count.
const SETTLING: u32 = 3;

/// How much of the clip is made: what no scheme of a run will send need not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Keyframes at every picture.
    pub keyframes: bool,
    /// All renditions, not only the first.
    pub renditions: bool,
}

/// The coded clip.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    renditions: Vec<Rendition>,
}

#[derive(Debug, PartialEq, Eq)]
struct Rendition {
    kbps: u32,
    /// For each picture at which one can begin, in order: the units from there to the end of the turn.
    runs: Vec<Vec<Bytes>>,
}

impl Clip {
    /// Draws and codes it.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn make(extent: Extent) -> Result<Self, codec::Error> {
        let pictures = draw();
        let kbps = if extent.renditions { &KBPS[..] } else { &KBPS[..1] };
        let runs = if extent.keyframes { TURN } else { 1 };
        let renditions = kbps.iter().map(|&kbps| Rendition::make(&pictures, kbps, runs));
        Ok(Self { renditions: renditions.collect::<Result<_, _>>()? })
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.put_u32(self.renditions.len() as u32);
        for rendition in &self.renditions {
            bytes.put_u32(rendition.kbps);
            bytes.put_u32(rendition.runs.len() as u32);
            for unit in rendition.runs.iter().flatten() {
                bytes.put_u32(unit.len() as u32);
                bytes.put_slice(unit);
            }
        }
        fs::write(path, bytes)
    }

    /// Reads the file that [`Clip::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut bytes = Bytes::from(fs::read(path)?);
        let cut = |_| io::Error::new(io::ErrorKind::UnexpectedEof, "the clip is cut off");
        let mut renditions = Vec::new();
        for _ in 0..bytes.try_get_u32().map_err(cut)? {
            let kbps = bytes.try_get_u32().map_err(cut)?;
            let mut runs = Vec::new();
            for start in 0..bytes.try_get_u32().map_err(cut)? {
                let mut run = Vec::new();
                for _ in start..TURN {
                    let length = bytes.try_get_u32().map_err(cut)? as usize;
                    if bytes.len() < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    run.push(bytes.split_to(length));
                }
                runs.push(run);
            }
            renditions.push(Rendition { kbps, runs });
        }
        Ok(Self { renditions })
    }
}

impl Rendition {
    fn make(pictures: &[frame::Video], kbps: u32, runs: u32) -> Result<Self, codec::Error> {
        let spec = Spec {
            width: SIZE.0,
            height: SIZE.1,
            fps: f64::from(FPS),
            bitrate_kbps: kbps,
            threads: 1,
            space: color::Space::SMPTE170M,
            range: color::Range::MPEG,
        };
        let mut encoder = Encoder::open("libx265", &spec)?;
        let mut run = |start: usize| -> Result<Vec<Bytes>, codec::Error> {
            let coded = pictures[start..].iter().enumerate().map(|(at, frame)| {
                let mut picture = Picture {
                    frame: frame.clone(),
                    number: at as u32,
                    session: 0,
                    stamps: Stamps::default(),
                };
                Ok(encoder.encode(&mut picture, at == 0)?.data)
            });
            coded.collect()
        };
        // Keyframes often enough for the rate control to find their level.
        for _ in 0..SETTLING {
            run(0)?;
        }
        let runs = (0..runs as usize).map(run).collect::<Result<_, _>>()?;
        Ok(Self { kbps, runs })
    }
}

/// What a sender may request of the next frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// To be a keyframe.
    pub keyframe: bool,
    /// At most so many kbit/s.
    pub kbps: Option<u32>,
}

/// A way through the clip.
#[derive(Debug, Default)]
pub struct Playhead {
    rendition: usize,
    start: u32,
}

/// The next frame.
#[derive(Debug)]
pub struct Unit<'a> {
    /// Its access unit.
    pub data: &'a Bytes,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// The bit rate of its rendition, in kbit/s.
    pub kbps: u32,
}

impl Playhead {
    /// Frame `number`, as it is wished; numbers follow one another from 0. `None` when the clip lacks what is
    /// wished.
    pub fn next<'a>(&mut self, clip: &'a Clip, number: u32, request: Request) -> Option<Unit<'a>> {
        let at = number % TURN;
        let fits = |kbps: u32| clip.renditions.iter().position(|rendition| rendition.kbps <= kbps);
        let wanted =
            request.kbps.map_or(0, |kbps| fits(kbps).unwrap_or(clip.renditions.len().saturating_sub(1)));
        let lower = wanted > self.rendition;
        if at == 0 || request.keyframe || lower {
            self.start = at;
            // Going up in the middle of a turn would cost a large frame just when there is little room for
            // it.
            if at == 0 || lower {
                self.rendition = wanted;
            }
        }
        let rendition = clip.renditions.get(self.rendition)?;
        let data = rendition.runs.get(self.start as usize)?.get((at - self.start) as usize)?;
        Some(Unit { data, keyframe: at == self.start, kbps: rendition.kbps })
    }
}

/// Soft shapes that move, under noise that changes with every picture.
fn draw() -> Vec<frame::Video> {
    let mut random = fastrand::Rng::with_seed(SEED);
    (0..TURN).map(|at| draw_one(at, &mut random)).collect()
}

fn draw_one(at: u32, random: &mut fastrand::Rng) -> frame::Video {
    let (width, height) = SIZE;
    let mut picture = frame::Video::new(Pixel::YUV420P, width, height);
    picture.set_color_space(color::Space::SMPTE170M);
    picture.set_color_range(color::Range::MPEG);
    let turned = f64::from(at) / f64::from(TURN) * std::f64::consts::TAU;
    for plane in 0..3 {
        let scale = if plane == 0 { 1.0 } else { 2.0 };
        let (columns, stride) = (picture.plane_width(plane) as usize, picture.stride(plane));
        let across: Vec<f64> = (0..columns).map(|x| (x as f64 * scale / 60.0 + turned).sin()).collect();
        for (y, line) in picture.data_mut(plane).chunks_mut(stride).enumerate() {
            let down = (y as f64 * scale / 45.0 - turned).cos();
            for (value, across) in line.iter_mut().zip(&across) {
                *value = (120.0 + 80.0 * across * down) as u8 + random.u8(0..=NOISE);
            }
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::link::stamp;

    #[test]
    fn any_way_through_the_clip_is_whole() {
        let unit = |kbps: u32, start: u32, at: u32| Bytes::from(format!("{kbps} {start} {at}"));
        let run = |kbps, start| (start..TURN).map(|at| unit(kbps, start, at)).collect();
        let rendition = |kbps| Rendition { kbps, runs: (0..TURN).map(|start| run(kbps, start)).collect() };
        let clip = Clip { renditions: vec![rendition(8_000), rendition(3_000)] };
        let mut head = Playhead::default();
        let mut play = |number, keyframe, kbps| {
            let unit = head.next(&clip, number, Request { keyframe, kbps }).unwrap();
            (std::str::from_utf8(unit.data).unwrap().to_owned(), unit.keyframe)
        };
        assert_eq!(play(0, false, None), ("8000 0 0".into(), true));
        assert_eq!(play(1, false, None), ("8000 0 1".into(), false));
        assert_eq!(play(2, true, None), ("8000 2 2".into(), true));
        assert_eq!(play(3, false, Some(7_999)), ("3000 3 3".into(), true));
        assert_eq!(play(4, false, Some(1)), ("3000 3 4".into(), false));
        // Up again, but only with the turn.
        assert_eq!(play(5, true, Some(9_000)), ("3000 5 5".into(), true));
        assert_eq!(play(TURN, false, Some(9_000)), ("8000 0 0".into(), true));
    }

    #[test]
    fn a_saved_clip_is_loaded_as_it_was() {
        let runs = |count: u32| {
            (0..count).map(|start| (start..TURN).map(|at| vec![at as u8; 3].into()).collect()).collect()
        };
        let clip = Clip {
            renditions: vec![Rendition { kbps: 1, runs: runs(TURN) }, Rendition { kbps: 2, runs: runs(1) }],
        };
        let path = std::env::temp_dir().join(format!("holobooth-clip-{}", std::process::id()));
        clip.save(&path).unwrap();
        assert_eq!(Clip::load(&path).unwrap(), clip);
        let length = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, &fs::read(&path).unwrap()[..length - 1]).unwrap();
        assert!(Clip::load(&path).is_err());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_turn_is_coded_at_its_rate_and_begins_with_its_only_keyframe() {
        codec::init().unwrap();
        let clip = Clip::make(Extent { keyframes: false, renditions: false }).unwrap();
        let turn = &clip.renditions[0].runs[0];
        let keyframes: Vec<bool> =
            turn.iter().map(|unit| stamp::read(&stamp::put(0, unit)).unwrap().keyframe).collect();
        assert!(keyframes[0] && keyframes[1..].iter().all(|&keyframe| !keyframe));
        let kbps = turn.iter().map(|unit| unit.len() as u32 * 8).sum::<u32>() * FPS / TURN / 1000;
        assert!((KBPS[0] * 9 / 10..=KBPS[0] * 11 / 10).contains(&kbps), "{kbps} kbit/s");
        let worth = turn[0].len() as f64 / (f64::from(KBPS[0]) * 125.0 / f64::from(FPS));
        assert!((2.5..=4.0).contains(&worth), "a keyframe costs {worth} pictures");
    }
}
