//! From the camera's pictures to access units, within what the line gives.

use super::converter::Converter;
use super::encoder::{Encoder, Spec, Steering};
use super::error::Error;
use super::steer::{Hysteresis, Plan, Steer};
use crate::media::clock::now_us;
use crate::media::picture::{AccessUnit, Picture};

/// An encoder, with what it was opened for and the rate that it was last given: kbit/s, pictures a second.
struct Open {
    encoder: Encoder,
    spec: Spec,
    rate: (u32, f64),
}

/// Scales, converts and codes pictures as planned; opens the encoder for it, and reopens it when necessary.
pub(super) struct Coder<'a> {
    name: &'a str,
    base: &'a Spec,
    steering: Steering,
    steer: Steer,
    hysteresis: Hysteresis,
    converter: Converter,
    open: Option<Open>,
    plan: Plan,
    /// Pictures per second, of those that are coded.
    fps: f64,
    /// Number of the picture last coded.
    last: Option<u32>,
}

impl<'a> Coder<'a> {
    /// For the encoder called `name`, at most at the rate of `base`.
    pub(super) fn new(name: &'a str, base: &'a Spec) -> Self {
        Self {
            name,
            base,
            steering: Encoder::steering_of(name),
            steer: Steer::new(base.bitrate_kbps),
            hysteresis: Hysteresis::default(),
            converter: Converter::to(Encoder::input_of(name)),
            open: None,
            plan: Plan { kbps: base.bitrate_kbps, every: 1, size: (base.width, base.height) },
            fps: base.fps,
            last: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The next picture begins with a new encoder.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Whether the camera's picture `number` is one of those to code.
    pub(super) fn due(&self, number: u32) -> bool {
        self.last.is_none_or(|last| number.wrapping_sub(last) >= self.plan.every)
    }

    /// Plans for pictures like `picture`, `camera_fps` a second, when the line gives `target_kbps` (0: not
    /// known) at `now_us`.
    pub(super) fn plan(&mut self, picture: &Picture, camera_fps: f64, target_kbps: u32, now_us: u64) -> Plan {
        let size = (picture.frame.width(), picture.frame.height());
        self.plan = self.steer.plan(target_kbps, size, camera_fps, now_us);
        if self.steering != Steering::Seamless {
            self.plan.kbps = self.hysteresis.settle(self.plan.kbps, now_us);
        }
        self.fps = camera_fps / f64::from(self.plan.every);
        self.plan
    }

    /// Brings `picture` into the planned shape, and has the encoder open for it. The encoder, the picture,
    /// and whether the encoder is new.
    ///
    /// # Errors
    /// When the picture cannot be converted or the encoder not opened.
    pub(super) fn fit(&mut self, picture: Picture) -> Result<(&mut Encoder, Picture, bool), Error> {
        let own_size = (picture.frame.width(), picture.frame.height());
        let picture = self
            .converter
            .scale(picture, self.plan.size)
            .map_err(|source| Error::Ffmpeg { call: "convert", source })?;
        let rate = (self.plan.kbps, self.fps);
        let wanted = match (self.steering, &self.open) {
            (Steering::Reopening, _) => Spec { bitrate_kbps: rate.0, ..self.base.fitted(&picture, self.fps) },
            (_, Some(open)) => self.base.fitted(&picture, open.spec.fps),
            (_, None) => self.base.fitted(&picture, self.fps),
        };
        if self.open.as_ref().is_some_and(|open| open.spec != wanted) {
            self.open = None;
        }
        let fresh = self.open.is_none();
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let opened = Encoder::open(self.name, &wanted);
                if opened.is_err() && self.plan.size != own_size {
                    self.steer.keep_size();
                }
                let rate = (wanted.bitrate_kbps, wanted.fps);
                none.insert(Open { encoder: opened?, spec: wanted, rate })
            }
        };
        if open.rate != rate {
            open.rate = rate;
            // One that takes no new rate was opened for this one.
            open.encoder.set_rate(rate.0, rate.1);
        }
        Ok((&mut open.encoder, picture, fresh))
    }

    /// Codes `picture`; with `keyframe`, or after opening, so that decoding can begin at it.
    ///
    /// # Errors
    /// As [`Coder::fit`] and [`Encoder::encode`].
    pub(super) fn encode(&mut self, picture: Picture, keyframe: bool) -> Result<AccessUnit, Error> {
        self.last = Some(picture.number);
        let (encoder, mut picture, fresh) = self.fit(picture)?;
        picture.stamps.staged_us = now_us();
        encoder.encode(&mut picture, keyframe || fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decoder::Decoder;
    use crate::codec::error::init;
    use crate::media::picture::Stamps;
    use ffmpeg_next::{color, format::Pixel, frame};

    const SIZE: (u32, u32) = (640, 480);

    /// A ramp that moves, of `level` brightness on average.
    fn picture(number: u32) -> Picture {
        let mut frame = frame::Video::new(Pixel::NV12, SIZE.0, SIZE.1);
        let stride = frame.stride(0);
        for (y, row) in frame.data_mut(0).chunks_mut(stride).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = 32 + ((x + y + 4 * number as usize) % 128) as u8;
            }
        }
        frame.data_mut(1).fill(128);
        Picture { frame, number, session: 0, stamps: Stamps::default() }
    }

    fn base() -> Spec {
        let (space, range) = (color::Space::Unspecified, color::Range::Unspecified);
        Spec { space, range, ..Spec::for_tests(SIZE, 8_000) }
    }

    /// A line that collapses and comes back: what is coded, and what one decoder makes of all of it.
    #[test]
    fn size_and_frame_rate_follow_the_line_and_the_decoder_follows_them() {
        init().unwrap();
        let base = base();
        let mut coder = Coder::new("libx265", &base);
        let mut decoder = Decoder::open("hevc", 1).unwrap();
        let (mut shapes, mut coded, mut keyframes, mut now) = (Vec::new(), 0, 0, 0);
        for number in 0..240u32 {
            now += 33_333;
            if !coder.due(number) {
                continue;
            }
            let picture = picture(number);
            let kbps = if (60..120).contains(&number) { 60 } else { 0 };
            let plan = coder.plan(&picture, 30.0, kbps, now);
            let unit = coder.encode(picture, false).unwrap();
            coded += 1;
            keyframes += u32::from(unit.keyframe);
            let shown = decoder.decode(&unit).unwrap().expect("a picture for every unit").frame;
            assert_eq!((shown.width(), shown.height()), plan.size);
            let mean = shown.data(0)[..shown.width() as usize].iter().map(|&v| u32::from(v)).sum::<u32>()
                / shown.width();
            assert!((70..120).contains(&mean), "{number}: {mean}");
            if shapes.last() != Some(&(plan.every, plan.size)) {
                shapes.push((plan.every, plan.size));
            }
        }
        assert_eq!(shapes, [(1, SIZE), (2, (320, 240)), (1, SIZE)]);
        assert_eq!(keyframes, 3, "one for each size");
        // Every second one while the line is narrow, and for two seconds more.
        assert!((175..185).contains(&coded), "{coded}");
    }

    #[test]
    fn another_rate_alone_reopens_nothing() {
        init().unwrap();
        let base = base();
        let mut coder = Coder::new("libx265", &base);
        for (number, kbps) in [8_000, 3_000, 700, 2_000, 9_000].into_iter().enumerate() {
            let picture = picture(number as u32);
            coder.plan(&picture, 30.0, kbps, number as u64 * 33_333);
            let unit = coder.encode(picture, false).unwrap();
            assert_eq!(unit.keyframe, number == 0);
        }
    }

    #[test]
    fn an_encoder_that_takes_no_rate_is_reopened_for_large_changes_only() {
        init().unwrap();
        let base = base();
        let mut coder = Coder::new("libx265", &base);
        coder.steering = Steering::Reopening;
        let mut keyframes = Vec::new();
        for number in 0..90u32 {
            let picture = picture(number);
            let kbps = if number < 40 { 8_000 - number * 10 } else { 2_000 };
            coder.plan(&picture, 30.0, kbps, u64::from(number) * 33_333);
            if coder.encode(picture, false).unwrap().keyframe {
                keyframes.push(number);
            }
        }
        assert_eq!(keyframes, [0, 40]);
    }
}
