//! The camera: which, in which mode, and whether pictures come.

use std::time::{Duration, Instant};

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::camera::{Device, Stream};
use crate::health::{CameraState, Status};
use crate::units::{CameraRequest, Format};

/// How long pictures are waited for and counted.
const WATCHED: Duration = Duration::from_secs(3);
/// So many are enough to know how fast they come.
const ENOUGH: u64 = 15;
/// How long one is waited for at once, in ms.
const POLL_INTERVAL_MS: u16 = 100;
/// Fewer than this share of the pictures that the mode promises are too few.
const FEW: f64 = 0.7;

/// What was seen of it.
#[derive(Debug)]
enum Seen {
    Off,
    /// Device and mode; how many pictures came, in how many ms.
    Pictures {
        camera: String,
        mode: String,
        pictures: u64,
        ms: u64,
    },
    /// The booth that runs has none, and says why.
    Searching(String),
    Failed(String),
}

pub(super) fn check(subject: &Subject) -> Evaluation {
    let request = subject.config.camera.request();
    evaluate(&match &subject.booth {
        _ if request.device == "none" => Seen::Off,
        Ok([before, now]) => seen(before, now),
        Err(_) => own(&request),
    })
}

fn seen(before: &Status, now: &Status) -> Seen {
    let camera = &now.camera;
    match camera.state {
        CameraState::Off => Seen::Off,
        CameraState::Searching => Seen::Searching(camera.trouble.clone()),
        CameraState::Streaming => Seen::Pictures {
            camera: camera.device.clone(),
            mode: camera.mode.clone(),
            pictures: now.video.camera_frames.saturating_sub(before.video.camera_frames),
            ms: now.uptime_ms.saturating_sub(before.uptime_ms),
        },
    }
}

fn own(request: &CameraRequest) -> Seen {
    let watch = || {
        let mut stream = Stream::start(Device::find(&request.device)?, request, Format::Nv12, 0)?;
        let until = Instant::now() + WATCHED;
        let (mut pictures, mut first) = (0, None);
        while pictures < ENOUGH && Instant::now() < until {
            if stream.next(POLL_INTERVAL_MS)?.is_some() {
                // From the first on: how long that takes is no matter of the rate.
                match first {
                    None => first = Some(Instant::now()),
                    Some(_) => pictures += 1,
                }
            }
        }
        let ms = first.map_or(0, |first: Instant| first.elapsed().as_millis() as u64);
        Ok::<_, crate::camera::Error>(Seen::Pictures {
            camera: format!("{} ({})", stream.device().bus, stream.device().card),
            mode: stream.mode().to_string(),
            pictures,
            ms,
        })
    };
    watch().unwrap_or_else(|e| Seen::Failed(e.to_string()))
}

fn evaluate(seen: &Seen) -> Evaluation {
    let advice = "check its cable and that it is switched on";
    match seen {
        Seen::Off => Evaluation::ok("none is configured"),
        Seen::Searching(trouble) if trouble.is_empty() => Evaluation::wrong("not found yet", advice),
        Seen::Searching(trouble) | Seen::Failed(trouble) => Evaluation::failed("camera", trouble, advice),
        Seen::Pictures { camera, mode, pictures: 0, ms } if *ms > 0 && expected(mode, *ms) < 2.0 => {
            Evaluation::ok(format!("{camera} {mode}: too few pictures a second to be counted here"))
        }
        Seen::Pictures { camera, mode, pictures: 0, .. } => {
            Evaluation::wrong(format!("{camera} {mode}: no picture comes"), advice)
        }
        Seen::Pictures { camera, mode, pictures, ms } => {
            let fps = *pictures as f64 * 1000.0 / (*ms).max(1) as f64;
            let found = format!("{camera} {mode}: {fps:.1} pictures a second come");
            if promised(mode).is_some_and(|promised| fps < FEW * promised) {
                Evaluation::warning(found, "give it more light, and a USB port of its own")
            } else {
                Evaluation::ok(found)
            }
        }
    }
}

/// How many pictures a mode promises in so many ms.
fn expected(mode: &str, ms: u64) -> f64 {
    promised(mode).unwrap_or(f64::INFINITY) * ms as f64 / 1e3
}

/// Pictures a second, from a mode such as `640x480 NV12 30.000 fps`.
fn promised(mode: &str) -> Option<f64> {
    mode.strip_suffix(" fps")?.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok, Warning, Wrong};
    use super::*;

    fn pictures(pictures: u64, ms: u64) -> Seen {
        Seen::Pictures { camera: "usb-1".into(), mode: "640x480 NV12 30.000 fps".into(), pictures, ms }
    }

    #[test]
    fn pictures_must_come_and_as_many_as_promised() {
        let cases = [
            (Seen::Off, Ok),
            (pictures(15, 500), Ok),
            (pictures(7, 500), Warning),
            (pictures(0, 3000), Wrong),
            (pictures(0, 0), Wrong),
            (Seen::Searching(String::new()), Wrong),
            (Seen::Failed("camera: no capture device `auto`; plug it in".into()), Wrong),
        ];
        for (seen, verdict) in cases {
            let evaluation = evaluate(&seen);
            assert_eq!(evaluation.verdict, verdict, "{seen:?}");
            assert_eq!(evaluation.advice.is_empty(), verdict == Ok, "{seen:?}");
        }
    }

    #[test]
    fn a_booth_that_runs_is_believed() {
        let mut before = Status { uptime_ms: 1_000, ..Status::default() };
        let mut now = Status { uptime_ms: 2_000, ..Status::default() };
        assert_eq!(evaluate(&seen(&before, &now)).verdict, Ok);
        now.camera.state = CameraState::Searching;
        now.camera.trouble = "camera: gone; plug it in".into();
        assert_eq!(evaluate(&seen(&before, &now)).advice, "plug it in");
        now.camera.state = CameraState::Streaming;
        now.camera.mode = "640x480 NV12 30.000 fps".into();
        (before.video.camera_frames, now.video.camera_frames) = (100, 130);
        assert_eq!(evaluate(&seen(&before, &now)).verdict, Ok);
        now.video.camera_frames = 100;
        now.camera.mode = "640x480 NV12 1.000 fps".into();
        assert_eq!(evaluate(&seen(&before, &now)).verdict, Ok, "the next is not due yet");
        now.camera.mode = "640x480 NV12 30.000 fps".into();
        assert_eq!(evaluate(&seen(&before, &now)).verdict, Wrong);
    }

    #[test]
    fn a_mode_is_read() {
        assert_eq!(promised("640x480 NV12 30.000 fps"), Some(30.0));
        assert_eq!((promised("640x480"), promised(""), promised(" fps")), (None, None, None));
    }
}
