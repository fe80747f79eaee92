//! The schemes that carry the clip, each with a sending and a receiving end. What carries frames is as urgent
//! as a booth's link ([`holobooth::realtime`]); the clip's player and the viewer are not.

mod gstreamer;
mod keyframe_request;
mod streams;
mod us;

use std::io;
use std::sync::atomic::AtomicBool;

use super::scheme::{Carrier, Scheme, Surroundings};
use super::viewer::Viewer;

/// Starts the sending end; returns when it is ready for the first frame.
///
/// # Errors
/// When it does not start or the receiving end does not answer.
pub fn sender(scheme: Scheme, around: Surroundings<'_>) -> io::Result<Box<dyn Carrier>> {
    Ok(match scheme {
        Scheme::Us | Scheme::UsBefore | Scheme::UsRelay => Box::new(us::Sender::start(scheme, around)?),
        Scheme::Streams => Box::new(streams::Sender::start(around)?),
        _ => Box::new(gstreamer::Sender::start(scheme, around)?),
    })
}

/// Runs the receiving end until `stop`.
///
/// # Errors
/// When it does not start.
pub fn receive(
    scheme: Scheme,
    around: Surroundings<'_>,
    viewer: &mut Viewer,
    stop: &'static AtomicBool,
) -> io::Result<()> {
    match scheme {
        Scheme::Us | Scheme::UsBefore | Scheme::UsRelay => us::receive(scheme, around, viewer, stop),
        Scheme::Streams => streams::receive(around, viewer, stop),
        _ => gstreamer::receive(scheme, around, viewer, stop),
    }
}
