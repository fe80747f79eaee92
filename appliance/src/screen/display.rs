//! The display thread: shows the newest picture at the next vblank, and a card when there is none.
//!
//! One commit is in flight at most. A picture that comes meanwhile waits in the mailbox, where a newer one
//! replaces it; nothing else is waited for, so what is on the screen is never older than one refresh behind
//! what has arrived.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use drm::buffer::DrmFourcc;
use drm::control::{Device as _, Event as DrmEvent};
use holobooth_card::{Card, Kind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::buffer::Buffer;
use super::error::Error;
use super::mark::Marks;
use super::output::{Output, Placement};
use super::paint::Painter;
use super::route::Route;
use super::show::Show;
use crate::media::clock::now_us;
use crate::media::heartbeat::Heartbeat;
use crate::media::mailbox::Mailbox;
use crate::media::picture::{Picture, Stamps};
use crate::sys::Uevents;
use crate::units::ScreenRequest;

/// Whose events are about screens.
const SUBSYSTEMS: [&str; 1] = ["drm"];
/// How long a commit may take to reach the screen, in µs: many refreshes of the slowest mode.
const FLIP_LIMIT_US: u64 = 500_000;
/// How often a missing screen is looked for when no event reports it, and `stop` is looked at, in ms.
const POLL_INTERVAL_MS: u64 = 250;
/// What finding and lighting a screen may take: the kernel waits 10 s for each of the commits before and for
/// this one (drm_atomic_helper.c), and a cable that is hard to read takes its time.
const MODE_SETTING: Duration = Duration::from_secs(30);

/// What the display thread reports to the booth.
#[derive(Debug)]
pub enum Event {
    /// The screen is lit.
    On {
        /// Device and connector.
        device: String,
        /// Size and refresh rate.
        mode: String,
        /// What the screen calls itself in its EDID.
        monitor: Option<String>,
    },
    /// There is no screen, and why.
    Off(Error),
    /// Pictures go onto the screen this way from now on.
    Route(String),
    /// A picture is on the screen.
    Shown {
        /// The session that it came by.
        session: u64,
        /// Its number in that session.
        number: u32,
        /// All of them are set.
        stamps: Stamps,
    },
    /// A card is on the screen, or no card any more.
    Card(Option<Kind>),
    /// A picture could not be drawn.
    Undrawable(String),
}

/// The handles of the screen. The mailboxes are of one: the newest of each is what counts.
#[derive(Clone, Copy)]
pub struct Handles<'a> {
    /// What to show.
    pub pictures: &'a Mailbox<Picture>,
    /// What to show instead while there is none.
    pub cards: &'a Mailbox<Card>,
    /// What to draw over pictures.
    pub marks: &'a Marks,
    /// That the screen's thread makes progress.
    pub heartbeat: &'a Heartbeat,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

/// Runs the screen until it is stopped; survives every unplugging.
pub fn run(request: &ScreenRequest, handles: Handles<'_>, mut report: impl FnMut(Event)) {
    let Handles { pictures, cards, heartbeat, stop, .. } = handles;
    let hotplug = Uevents::new().ok();
    let mut card = Card::starting();
    while !stop.load(Relaxed) {
        heartbeat.extend_deadline(MODE_SETTING);
        if let Some(newer) = cards.take() {
            card = newer;
        }
        let gone = Output::find(request).and_then(|output| {
            let on = Event::On {
                device: format!("{}/{}", output.device.name, output.connector_name),
                mode: output.mode_name(),
                monitor: output.monitor(),
            };
            let mut session = Session::light(output, card.clone())?;
            report(on);
            report(Event::Card(Some(session.card.kind)));
            let result = session.run(handles, hotplug.as_ref(), &mut report);
            card = session.card;
            result
        });
        let Err(error) = gone else { break };
        report(Event::Off(error));
        pictures.clear();
        heartbeat.beat();
        match &hotplug {
            Some(hotplug) => {
                let mut fds = [PollFd::new(hotplug.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, timeout(POLL_INTERVAL_MS * 1000));
                hotplug.drain(&SUBSYSTEMS);
            }
            None => std::thread::sleep(Duration::from_millis(POLL_INTERVAL_MS)),
        }
    }
}

fn timeout(us: u64) -> PollTimeout {
    // Rounded up: waking before the time would spin.
    PollTimeout::from(us.div_ceil(1000).min(POLL_INTERVAL_MS) as u16)
}

/// A commit on its way to the screen.
struct InFlight {
    since_us: u64,
    /// The picture; none for a card or a step of the fade.
    picture: Option<Shown>,
}

/// What is remembered of a picture until it is on the screen.
struct Shown {
    session: u64,
    number: u32,
    stamps: Stamps,
}

/// A lit screen.
struct Session {
    output: Rc<Output>,
    card: Card,
    card_buffers: [Buffer; 2],
    next_card_buffer: usize,
    route: Option<Route>,
    painter: Painter,
    show: Show,
    /// The picture on the screen, kept for the fade.
    last: Option<Picture>,
    in_flight: Option<InFlight>,
    /// The way of the pictures before these, while one of its framebuffers is still on the screen.
    retired: Option<Route>,
    /// What was last committed.
    placement: Placement,
    /// The card's words changed since it was drawn.
    card_changed: bool,
}

impl Session {
    fn light(output: Output, card: Card) -> Result<Self, Error> {
        let output = Rc::new(output);
        let buffer = || Buffer::new(&output, DrmFourcc::Xrgb8888, output.size());
        let card_buffers = [buffer()?, buffer()?];
        let size = output.size();
        let placement =
            Placement { fb: card_buffers[0].fb, source: size, target: (0, 0, size.0, size.1), colour: None };
        let mut session = Self {
            output: output.clone(),
            card,
            card_buffers,
            next_card_buffer: 0,
            route: None,
            painter: Painter::default(),
            show: Show::Card,
            last: None,
            in_flight: None,
            retired: None,
            placement,
            card_changed: false,
        };
        session.placement = session.draw_card();
        output.light(&session.placement)?;
        Ok(session)
    }

    fn draw_card(&mut self) -> Placement {
        let index = self.next_card_buffer;
        self.next_card_buffer = 1 - index;
        let (width, height) = self.output.size();
        let buffer = &mut self.card_buffers[index];
        let (rows, plane) = buffer.plane(0);
        self.card.draw(rows, plane.stride, width, height);
        Placement { fb: buffer.fb, source: (width, height), target: (0, 0, width, height), colour: None }
    }

    fn flip(&mut self, placement: Placement, picture: Option<Shown>) -> Result<(), Error> {
        self.output.flip(&placement)?;
        self.placement = placement;
        self.in_flight = Some(InFlight { since_us: now_us(), picture });
        Ok(())
    }

    /// Draws and commits a picture, `level` of 256 bright; false when it cannot be drawn, and what was there
    /// stays.
    fn show_picture(
        &mut self,
        picture: Picture,
        level: u16,
        marks: &Marks,
        report: &mut impl FnMut(Event),
    ) -> Result<bool, Error> {
        if !self.route.as_ref().is_some_and(|r| r.suits(&picture.frame)) {
            let route = match Route::plan(&self.output, &picture.frame) {
                Ok(route) => route,
                Err(e) => {
                    report(Event::Undrawable(e.to_string()));
                    return Ok(false);
                }
            };
            report(Event::Route(route.describe()));
            // A framebuffer that is destroyed while it is shown takes the picture with it: keep it until the
            // flip. What was never flipped to is on no screen.
            let before = self.route.replace(route);
            self.retired = self.retired.take().or(before);
        }
        let Some(route) = &mut self.route else { return Ok(false) };
        match route.draw(&mut self.painter, &picture.frame, level, marks) {
            Ok(placement) => {
                let Picture { session, number, stamps, .. } = picture;
                let shown = (level == 256).then_some(Shown { session, number, stamps });
                self.flip(placement, shown)?;
                self.last = Some(picture);
                Ok(true)
            }
            Err(e) => {
                report(Event::Undrawable(e.to_string()));
                Ok(false)
            }
        }
    }

    /// Runs until `stop` (`Ok`) or until the screen is gone (`Err`).
    fn run(
        &mut self,
        handles: Handles<'_>,
        hotplug: Option<&Uevents>,
        report: &mut impl FnMut(Event),
    ) -> Result<(), Error> {
        let Handles { pictures, cards, marks, heartbeat, stop } = handles;
        while !stop.load(Relaxed) {
            heartbeat.beat();
            let [flipped, plugged] = self.wait(pictures, cards, hotplug);
            if plugged && hotplug.is_some_and(|hotplug| hotplug.drain(&SUBSYSTEMS)) {
                heartbeat.extend_deadline(MODE_SETTING);
                if !self.output.connected() {
                    return Err(Error::Unplugged(self.output.connector_name.clone()));
                }
                // Pulled and put back between two looks, perhaps: a screen that is lit already does not
                // notice.
                self.output.light(&self.placement)?;
            }
            if flipped {
                self.flips(report)?;
            }
            if let Some(card) = cards.take() {
                self.card_changed |= card != self.card;
                self.card = card;
            }
            if let Some(flight) = &self.in_flight {
                let waited_us = now_us().saturating_sub(flight.since_us);
                if waited_us > FLIP_LIMIT_US {
                    return Err(Error::Stuck(self.output.connector_name.clone(), waited_us / 1000));
                }
                continue;
            }
            let now = now_us();
            let was = self.show;
            if self.card.kind.over_pictures() {
                self.show.card();
            }
            // What comes under such a card is thrown away: afterwards the newest counts.
            if let Some(picture) = pictures.take().filter(|_| !self.card.kind.over_pictures()) {
                let from_card = self.show == Show::Card;
                if self.show_picture(picture, 256, marks, report)? {
                    self.show.picture(now);
                    if from_card {
                        report(Event::Card(None));
                    }
                    continue;
                }
                // The one before grows old like any other.
            }
            match self.show.tick(now) {
                Some(level) if level > 0 => {
                    if let Some(picture) = self.last.take() {
                        self.show_picture(picture, level, marks, report)?;
                    }
                }
                _ if self.show == Show::Card && (was != Show::Card || self.card_changed) => {
                    self.last = None;
                    self.card_changed = false;
                    let placement = self.draw_card();
                    self.flip(placement, None)?;
                    report(Event::Card(Some(self.card.kind)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for whatever comes next; whether the device and the hot-plug events have something to say.
    fn wait(
        &self,
        pictures: &Mailbox<Picture>,
        cards: &Mailbox<Card>,
        hotplug: Option<&Uevents>,
    ) -> [bool; 2] {
        let next_us = match &self.in_flight {
            Some(_) => FLIP_LIMIT_US,
            None => self.show.next_tick_us(now_us(), self.output.refresh_us()).unwrap_or(u64::MAX),
        };
        // A place that has nothing to say now holds the device a second time.
        let device = self.output.device.as_fd();
        let hotplug = hotplug.map_or(device, AsFd::as_fd);
        let pictures = if self.in_flight.is_none() { pictures.as_fd() } else { device };
        let mut fds = [device, hotplug, cards.as_fd(), pictures].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut fds, timeout(next_us));
        [0, 1].map(|i| fds[i].any().unwrap_or(false))
    }

    /// Takes the driver's word for what is on the screen now.
    fn flips(&mut self, report: &mut impl FnMut(Event)) -> Result<(), Error> {
        let events = match self.output.device.receive_events() {
            // Woken for something else.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            events => events.map_err(self.output.device.fail("read events"))?,
        };
        for event in events {
            let DrmEvent::PageFlip(flip) = event else { continue };
            self.retired = None;
            if let Some(Shown { session, number, mut stamps }) = self.in_flight.take().and_then(|f| f.picture)
            {
                // A driver that stamps flips with another clock than ours would put them before the decoder.
                stamps.flipped_us = (flip.duration.as_micros() as u64)
                    .clamp(stamps.released_us, now_us().max(stamps.released_us));
                report(Event::Shown { session, number, stamps });
            }
        }
        Ok(())
    }
}
