//! The encoding loop: the camera's newest picture, coded within what the line gives.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::coder::Coder;
use super::encoder::Spec;
use super::error::Error;
use super::failures::Failures;
use super::jpeg::JpegDecoder;
use super::steer::Plan;
use crate::media::clock::now_us;
use crate::media::encoder_command::CommandMailbox;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::picture::{AccessUnit, Sample};

/// How long a picture is waited for before `stop` is looked at, in ms.
const POLL_INTERVAL_MS: u16 = 100;
/// After so many failures in a row the encoder is given up, and with it this run of the booth: the next one
/// tries them all again.
const FAILURES: u32 = 100;

/// What the encoding loop reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// Pictures are coded like this from now on.
    Planned {
        /// How.
        plan: Plan,
        /// Pictures per second, of those that are coded.
        fps: f64,
    },
    /// A picture was left out: the plan does without it, or the line is congested.
    Thinned,
    /// An access unit found no room.
    Dropped,
}

/// The handles of the encoding loop.
#[derive(Clone, Copy)]
pub struct Handles<'a> {
    /// What the camera gives.
    pub samples: &'a Mailbox<Sample>,
    /// Where access units are put, in order.
    pub outgoing: &'a Mailbox<AccessUnit>,
    /// What the link asks for.
    pub commands: &'a CommandMailbox,
    /// That the loop makes progress.
    pub heartbeat: &'a Heartbeat,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// Encodes with the encoder called `name`, at most at the rate of `base`, until it is stopped.
///
/// # Errors
/// When the encoder works no more.
pub fn encode(
    name: &str,
    base: &Spec,
    handles: Handles<'_>,
    mut on_event: impl FnMut(Event),
) -> Result<(), Error> {
    let Handles { samples, outgoing, commands, heartbeat, stop } = handles;
    let mut coder = Coder::new(name, base);
    let mut jpeg = JpegDecoder::new()?;
    let (mut failures, mut jpeg_failures) = (Failures::default(), Failures::default());
    let mut reported = None;
    let mut sequence = 0u32;
    // What was coded last got lost on the way to the link.
    let mut dropped = false;
    while !stop.load(Relaxed) {
        heartbeat.beat();
        let Some(sample) = samples.wait(POLL_INTERVAL_MS) else { continue };
        let command = commands.get();
        if !command.connected && coder.is_open() {
            continue;
        }
        if command.connected && (!coder.due(sample.picture.number) || command.congested) {
            on_event(Event::Thinned);
            continue;
        }
        let picture = if sample.jpeg {
            match jpeg.decode(&sample.picture) {
                Ok(picture) => {
                    jpeg_failures.over();
                    picture
                }
                Err(e) => {
                    jpeg_failures.count("the camera's JPEG", &e);
                    continue;
                }
            }
        } else {
            sample.picture
        };
        let plan = coder.plan(&picture, sample.fps, command.target_kbps, now_us());
        let coded = if command.connected {
            let keyframe = commands.take_keyframe() || dropped;
            coder.encode(picture, keyframe).map(Some)
        } else {
            // Only to have it open when somebody comes.
            coder.fit(picture).map(|_| None)
        };
        let planned = Event::Planned { plan, fps: sample.fps / f64::from(plan.every) };
        if reported != Some(planned) {
            reported = Some(planned);
            on_event(planned);
        }
        match coded {
            Ok(None) => {}
            Ok(Some(mut unit)) => {
                failures.over();
                unit.number = sequence;
                sequence = sequence.wrapping_add(1);
                dropped = outgoing.put(unit).is_some();
                if dropped {
                    on_event(Event::Dropped);
                }
            }
            Err(e) => {
                coder.close();
                if failures.count(name, &e) == FAILURES {
                    return Err(e);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{error::init, film::Film};
    use crate::media::encoder_command::EncoderCommand;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const SIZE: (u32, u32) = (320, 240);
    const LIMIT: Duration = Duration::from_secs(60);

    struct Loop<'a> {
        handles: Handles<'a>,
        events: Receiver<Event>,
        film: Film,
        number: u32,
    }

    impl Loop<'_> {
        /// The camera's next picture.
        fn picture(&mut self) {
            let picture = self.film.picture(self.number, SIZE.0, SIZE.1);
            self.number += 1;
            self.handles.samples.put(Sample { picture, jpeg: false, fps: 30.0 });
        }

        fn event(&self) -> Event {
            self.events.recv_timeout(LIMIT).unwrap()
        }

        fn unit(&self) -> AccessUnit {
            self.handles.outgoing.wait(LIMIT.as_millis() as u16).unwrap()
        }
    }

    /// Runs the loop, with room for one access unit behind it, as long as `test` runs.
    fn run(test: impl FnOnce(&mut Loop<'_>)) {
        init().unwrap();
        let (samples, outgoing) = (Mailbox::latest("test").unwrap(), Mailbox::bounded("test", 1).unwrap());
        let (commands, heartbeat, stop) =
            (CommandMailbox::default(), Heartbeat::new("test"), AtomicBool::new(false));
        let handles = Handles {
            samples: &samples,
            outgoing: &outgoing,
            commands: &commands,
            heartbeat: &heartbeat,
            stop: &stop,
        };
        let base = Spec::for_tests(SIZE, 8_000);
        let (report, events) = channel();
        std::thread::scope(|scope| {
            let running = scope
                .spawn(move || encode("libx265", &base, handles, |event| report.send(event).unwrap_or(())));
            let film = Film::new(1.0, 4);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                test(&mut Loop { handles, events, film, number: 0 });
            }));
            stop.store(true, Relaxed);
            running.join().unwrap().unwrap();
            result.unwrap();
        });
    }

    #[test]
    fn nothing_is_coded_while_nobody_receives_it() {
        run(|encoder| {
            encoder.picture();
            assert!(matches!(encoder.event(), Event::Planned { .. }), "opened all the same");
            encoder.handles.commands.put(EncoderCommand { connected: true, ..Default::default() });
            encoder.picture();
            let unit = encoder.unit();
            assert!(unit.keyframe && unit.number == 0);
            encoder.picture();
            let unit = encoder.unit();
            assert!(!unit.keyframe && unit.number == 1);
        });
    }

    #[test]
    fn what_finds_no_room_is_followed_by_a_keyframe() {
        run(|encoder| {
            encoder.handles.commands.put(EncoderCommand { connected: true, ..Default::default() });
            encoder.picture();
            assert!(matches!(encoder.event(), Event::Planned { .. }));
            encoder.picture();
            assert_eq!(encoder.event(), Event::Dropped);
            assert_eq!(encoder.unit().number, 0);
            encoder.picture();
            let unit = encoder.unit();
            assert!(unit.keyframe && unit.number == 2);
        });
    }

    #[test]
    fn a_congested_line_gets_no_more_until_it_is_free_and_then_what_was_asked_for() {
        run(|encoder| {
            let command = EncoderCommand { connected: true, ..Default::default() };
            encoder.handles.commands.put(command);
            encoder.picture();
            assert!(encoder.unit().keyframe);
            encoder.event();
            encoder.handles.commands.put(EncoderCommand { congested: true, keyframe: true, ..command });
            encoder.picture();
            assert_eq!(encoder.event(), Event::Thinned);
            encoder.handles.commands.put(command);
            encoder.picture();
            assert!(encoder.unit().keyframe, "the request outlives the congestion");
            encoder.picture();
            assert!(!encoder.unit().keyframe);
        });
    }
}
