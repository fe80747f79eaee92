//! Wires the rooms into a booth: a thread for each device and each codec, one for the network, and what
//! stands between them.

mod error;
mod heartbeats;
mod mute;
mod report;
mod shared;
mod sound;
mod sound_check;
mod supervisor;
mod threads;

pub use error::Error;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::heartbeats::Heartbeats;
use self::shared::{Live, Shared};
use self::supervisor::Supervisor;
use tokio::sync::mpsc::error::TrySendError;

use crate::codec::{self, Choice, Encoder, Spec};
use crate::config::Config;
use crate::health::VideoCounters;
use crate::link::{self, MAX_PEERS};
use crate::media::mailbox::Mailbox;
use crate::pairing::{self, Announcement, Code, Identity, Pins, RoomKey};
use crate::realtime;
use crate::units::{Format, SoundDeviceRequest};

/// From one try of the configuration's code to the next.
const CODE_PAUSE: Duration = Duration::from_secs(20);
/// What discovery has found and the link has not looked at yet.
const SIGHTINGS: usize = 64;
/// How often the booth looks at itself.
const TICK: Duration = Duration::from_millis(50);
/// What trying every codec may take: large pictures, in software, on a machine that does much else.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

fn system(what: &'static str) -> impl Fn(nix::Error) -> Error {
    move |e| Error::System { what, source: e.into() }
}

/// What the link is made of, at a booth that belongs to `room` or to none.
fn link_config(config: &Config, identity: &Identity, name: &str, room: Option<&RoomKey>) -> link::Config {
    let peer = config.peer.as_ref();
    link::Config {
        listen: config.link.listen,
        pins: Pins::load(&config.booth.data, &room.map_or(String::new(), RoomKey::id)),
        folder: config.booth.data.clone(),
        room: room.cloned(),
        identity: identity.copy(),
        name: name.to_owned(),
        peer: link::Peer {
            address: peer.and_then(|peer| peer.address.as_ref()).map(|address| *address.get_ref()),
            fingerprint: peer
                .and_then(|peer| peer.fingerprint.as_ref())
                .map(|fingerprint| *fingerprint.get_ref()),
        },
        relay: config.relay.as_ref().map(|relay| link::Relay {
            host: relay.address.get_ref().host.clone(),
            port: relay.address.get_ref().port,
            fingerprint: relay.fingerprint,
        }),
        max_kbps: *config.codec.bitrate_kbps.get_ref(),
        deadline: Duration::from_millis((*config.link.deadline_ms.get_ref()).into()),
        most: config.room.as_ref().map_or(MAX_PEERS, |room| *room.most.get_ref() as usize),
    }
}

/// Enters the code of the configuration until another booth has taken it. A booth that has a room gives that
/// one, and needs no code.
fn enter(code: &Code, orders: &tokio::sync::mpsc::Sender<link::Order>, shared: &Shared) {
    let heartbeat = &shared.heartbeats.code;
    while !shared.stopping() {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let order = link::Order::Pair { code: code.clone(), name: None, answer };
        heartbeat.beat();
        match orders.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                std::thread::sleep(TICK);
                continue;
            }
            Err(TrySendError::Closed(_)) => return,
        }
        let mut outcome = Err(RecvTimeoutError::Timeout);
        while outcome == Err(RecvTimeoutError::Timeout) && !shared.stopping() {
            heartbeat.beat();
            outcome = answered.recv_timeout(TICK);
        }
        match outcome {
            Ok(Ok(done)) => {
                log::info!("pairing: {done}");
                return;
            }
            Ok(Err(why)) => log::warn!("pairing: room.code: {why}"),
            Err(_) => {}
        }
        // Every wrong one counts at the other booth.
        let until = Instant::now() + CODE_PAUSE;
        while Instant::now() < until && !shared.stopping() {
            heartbeat.beat();
            std::thread::sleep(TICK);
        }
    }
}

/// What the booth's networks are told of it; nothing when it knows its peer and needs not be found.
fn announcement(link: &link::Config) -> Option<Announcement> {
    let found = link.room.is_some() || link.peer.fingerprint.is_none();
    found.then(|| Announcement {
        fingerprint: link.identity.fingerprint(),
        name: link.name.clone(),
        listen: link.listen,
        room: link.room.clone(),
    })
}

/// Runs a booth until `stop`. Whatever can be unplugged may be: this returns early only when the booth could
/// not start, or after a bug.
///
/// # Errors
/// What kept it from starting.
pub fn run(config: Config, stop: Arc<AtomicBool>) -> Result<(), Error> {
    codec::init()?;
    let identity = Identity::load_or_make(&config.booth.data)?;
    let configured = config.booth.name.as_ref().map(|name| name.get_ref().clone());
    let name = configured.unwrap_or_else(|| identity.fingerprint().name());
    log::info!("booth {name}: I am {}", identity.fingerprint());
    let configured = config.room.as_ref().and_then(|room| room.key.as_ref());
    let room = match configured {
        Some(key) => Some(key.get_ref().clone()),
        // Who names a peer and no room has no use for one that came by code.
        None if config.peer.is_some() => None,
        None => RoomKey::kept(&config.booth.data)?,
    };
    let shared = Shared {
        samples: Mailbox::latest("camera→encoder").map_err(system("a mailbox"))?,
        link: link::Handles::new().map_err(system("a mailbox"))?,
        sound: Default::default(),
        pictures: Mailbox::latest("decoder→screen").map_err(system("a mailbox"))?,
        cards: Mailbox::latest("booth→screen").map_err(system("a mailbox"))?,
        marks: Default::default(),
        presentations: Default::default(),
        shown: Default::default(),
        counts: VideoCounters::default(),
        live: Mutex::new(Live::default()),
        heartbeats: Heartbeats::new(),
        started: Instant::now(),
        stop,
        name,
        config,
    };
    let choice = Mutex::new(None);
    let failure = Mutex::new(None);
    mute::set(&shared, shared.config.sound.muted);
    std::thread::scope(|scope| {
        let supervisor = Supervisor { scope, stop: &shared.stop, failure: &failure };
        let (shared, choice) = (&shared, &choice);
        // The screen first: a person on site sees within a moment that the booth lives.
        if shared.config.screen.device != "none" {
            supervisor.start_realtime(&shared.heartbeats.display, realtime::DISPLAY, move || {
                threads::display(shared);
                Ok(())
            });
        }
        start_sound(&supervisor, shared);
        let (ordered, orders) = tokio::sync::mpsc::channel(1);
        if let Some(code) = shared.config.room.as_ref().and_then(|room| room.code.as_ref()) {
            let (ordered, code) = (ordered.clone(), code.get_ref().clone());
            supervisor.start(&shared.heartbeats.code, move || {
                enter(&code, &ordered, shared);
                Ok(())
            });
        }
        supervisor.start(&shared.heartbeats.status, move || {
            report::answer(shared, choice, &ordered);
            Ok(())
        });
        supervisor.start(&shared.heartbeats.encode, move || {
            shared.heartbeats.encode.extend_deadline(PROBE_TIMEOUT);
            let spec = Spec::requested(&shared.config.codec_request());
            let found = probe_codecs(&shared.config)?;
            log_choice(&found);
            let (encoder, decoder) = (found.encoder, found.decoder);
            *choice.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            let nv12 = Encoder::input_of(encoder) == ffmpeg_next::format::Pixel::NV12;
            let cheapest = if nv12 { Format::Nv12 } else { Format::Yu12 };
            // Not before the probe is over: it would keep the camera's first frames waiting.
            if shared.config.camera.device != "none" {
                supervisor.start_realtime(&shared.heartbeats.capture, realtime::CAPTURE, move || {
                    threads::capture(shared, cheapest);
                    Ok(())
                });
            }
            for (slot, heartbeat) in shared.heartbeats.decode.iter().enumerate() {
                supervisor.start_realtime(heartbeat, realtime::DECODE, move || {
                    threads::decode(shared, slot, decoder, spec.threads);
                    Ok(())
                });
            }
            threads::encode(shared, encoder, &spec)
        });
        let (found, sightings) = tokio::sync::mpsc::channel(SIGHTINGS);
        let (announce, announcements) = std::sync::mpsc::channel();
        // Not from the link's thread: what it starts is as urgent as itself, and this is not.
        supervisor.start(&shared.heartbeats.discovery, move || {
            let refused = &shared.link.counters.records_refused;
            pairing::discover(&announcements, &found, refused, &shared.heartbeats.discovery, &shared.stop);
            Ok(())
        });
        supervisor.start_realtime(&shared.link.heartbeat, realtime::LINK, move || {
            let mut inbox = link::Inbox { sightings, orders };
            let mut room = room;
            loop {
                let link = link_config(&shared.config, &identity, &shared.name, room.as_ref());
                if let Some(announcement) = announcement(&link) {
                    let _ = announce.send(announcement);
                }
                match link::run(link, &mut inbox, &shared.link, &shared.stop)? {
                    link::Done::Stopped => return Ok(()),
                    link::Done::Paired(new) => room = Some(new),
                }
            }
        });
        if let Err(source) = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn_scoped(scope, || supervisor::watch_over(shared))
        {
            // Without it the booth works, and whoever runs it will think that it does not.
            log::error!("booth: no thread to watch over the others: {source}");
        }
        let mut watch = report::Watch::new(&shared.config);
        while !shared.stopping() {
            shared.heartbeats.booth.beat();
            watch.tick(shared);
            std::thread::sleep(TICK);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Starts the microphone with its key and the loudspeaker, as far as they are wanted.
fn start_sound<'scope>(supervisor: &Supervisor<'scope, '_>, shared: &'scope Shared) {
    let (writer, reader) = match crate::sound::reference() {
        Ok(ends) => ends,
        Err(e) => {
            // The meeting goes on without sound.
            log::error!("{e}");
            return;
        }
    };
    if shared.config.sound.microphone != SoundDeviceRequest::None {
        supervisor.start_realtime(&shared.heartbeats.microphone, realtime::SOUND, move || {
            sound::microphone(shared, reader)
        });
        if !shared.config.sound.mute_key.codes().is_empty() {
            supervisor.start(&shared.heartbeats.input, move || {
                mute::listen(shared);
                Ok(())
            });
        }
    }
    if shared.config.sound.loudspeaker != SoundDeviceRequest::None {
        supervisor.start_realtime(&shared.heartbeats.loudspeaker, realtime::SOUND, move || {
            sound::loudspeaker(shared, writer)
        });
    }
}

/// Finds the encoder and the decoder that work on this machine, of those that `config` allows. Takes seconds.
///
/// # Errors
/// [`codec::Error::NoneUsable`] with the reason of every candidate.
pub fn probe_codecs(config: &Config) -> Result<Choice, codec::Error> {
    codec::init()?;
    let request = config.codec_request();
    codec::choose(&request.encoder, &request.decoder, &Spec::requested(&request))
}

fn log_choice(choice: &Choice) {
    for reason in choice.encoders_tried.iter().chain(&choice.decoders_tried) {
        log::debug!("codec: not {reason}");
    }
    log::info!("codec: encoder {}, decoder {}", choice.encoder, choice.decoder);
    if choice.encoder.starts_with("lib") {
        log::warn!("codec: no encoder in hardware ({}); the CPU does it", choice.encoders_tried.join("; "));
    }
    if choice.decoder == "hevc" {
        log::warn!("codec: no decoder in hardware ({}); the CPU does it", choice.decoders_tried.join("; "));
    }
}
