//! How pictures of one kind get onto the screen: straight to the plane when TEST_ONLY says that the hardware
//! takes them, else composed by us.

use std::rc::Rc;

use drm::buffer::DrmFourcc;
use ffmpeg_next::{format::Pixel, frame};

use super::buffer::Buffer;
use super::error::Error;
use super::mark::{Marker, Marks};
use super::output::{Output, Placement};
use super::paint::{self, Painter, Rect};

/// One on the screen, one on its way there, one to write into.
const BUFFERS: usize = 3;

/// What a picture is, as far as its way matters.
#[derive(PartialEq, Clone, Copy)]
struct Picture {
    format: Pixel,
    size: (u32, u32),
    colour: (&'static str, &'static str),
}

impl Picture {
    fn of(frame: &frame::Video) -> Self {
        Self { format: frame.format(), size: (frame.width(), frame.height()), colour: paint::colour(frame) }
    }
}

/// The way of pictures of one kind, with its framebuffers.
pub(super) struct Route {
    picture: Picture,
    buffers: Vec<Buffer>,
    next: usize,
    /// Where in the framebuffer the picture is drawn.
    inner: Rect,
    /// Where on the screen the framebuffer is shown.
    target: Rect,
    scaled_by_us: bool,
    marker: Marker,
}

impl Route {
    /// Finds the cheapest way for pictures like `frame`.
    ///
    /// # Errors
    /// What the driver says when not even RGB works.
    pub(super) fn plan(output: &Rc<Output>, frame: &frame::Video) -> Result<Self, Error> {
        let picture = Picture::of(frame);
        let screen = output.size();
        let fitted = paint::fit(picture.size, screen);
        let whole = (0, 0, screen.0, screen.1);
        let native = paint::fourcc(picture.format);
        let yuv = native.into_iter().chain([DrmFourcc::Nv12]);
        // The plane scales; else we scale into Y'CbCr; else we convert too.
        let straight = yuv.clone().map(|f| (f, picture.size, (0, 0, picture.size.0, picture.size.1), fitted));
        let composed = yuv.chain([DrmFourcc::Xrgb8888]).map(|f| (f, screen, fitted, whole));
        let mut refusal = None;
        for (fourcc, size, inner, target) in straight.chain(composed) {
            let first = match Buffer::new(output, fourcc, size) {
                Ok(buffer) => buffer,
                Err(e) => {
                    refusal = Some(e);
                    continue;
                }
            };
            let scaled_by_us = (inner.2, inner.3) != picture.size;
            let mut route = Self {
                picture,
                buffers: vec![first],
                next: 0,
                inner,
                target,
                scaled_by_us,
                marker: Marker::default(),
            };
            if output.accepts(&route.placement(0)) {
                let more: Result<Vec<_>, _> =
                    (1..BUFFERS).map(|_| Buffer::new(output, fourcc, size)).collect();
                match more {
                    Ok(more) => {
                        route.buffers.extend(more);
                        return Ok(route);
                    }
                    Err(e) => refusal = Some(e),
                }
            }
        }
        Err(refusal.unwrap_or(Error::Unfit {
            device: output.device.name.clone(),
            what: format!("no way to show {:?} {}x{}", picture.format, picture.size.0, picture.size.1),
        }))
    }

    /// Whether pictures like `frame` go this way.
    pub(super) fn suits(&self, frame: &frame::Video) -> bool {
        self.picture == Picture::of(frame)
    }

    /// `NV12`, for status.
    pub(super) fn describe(&self) -> String {
        let format = self.buffers.first().map_or(DrmFourcc::Xrgb8888, |b| b.fourcc);
        let by = if self.scaled_by_us { ", scaled in software" } else { "" };
        format!("{format}{by}")
    }

    /// Draws `frame`, `level` of 256 bright, and `marks` over it into the next framebuffer, ready to be flipped to.
    ///
    /// # Errors
    /// When the picture cannot be converted.
    pub(super) fn draw(
        &mut self,
        painter: &mut Painter,
        frame: &frame::Video,
        level: u16,
        marks: &Marks,
    ) -> Result<Placement, ffmpeg_next::Error> {
        let index = self.next;
        self.next = (self.next + 1) % self.buffers.len();
        if let Some(buffer) = self.buffers.get_mut(index) {
            painter.paint(frame, buffer, self.inner)?;
            if level < 256 {
                paint::dim(buffer, level);
            }
            self.marker.draw(marks, buffer, self.inner);
        }
        Ok(self.placement(index))
    }

    fn placement(&self, index: usize) -> Placement {
        let buffer = &self.buffers[index];
        let colour = (buffer.fourcc != DrmFourcc::Xrgb8888).then_some(self.picture.colour);
        Placement { fb: buffer.fb, source: buffer.size, target: self.target, colour }
    }
}
