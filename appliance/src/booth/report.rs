//! What the booth says of itself: in a word, on a card, in numbers.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::mute;
use super::shared::Shared;
use super::sound::KeptRates;
use super::sound_check;
use crate::codec::Choice;
use crate::config::Config;
use crate::health;
use crate::health::{
    CameraState, CodecStatus, LinkStatus, MemberStatus, Notices, PeerStatus, Received, Sent, SoundStatus,
    State, Status, VoiceStatus,
};
use crate::link::{MAX_PEERS, Order, PeerCounts, PeerEntry};
use crate::media::clock::now_us;
use crate::pairing::{Code, Member};
use crate::screen::{Card, Kind};
use crate::sound::VoiceHandles;
use crate::update::{self, Record};

/// How long a booth may be coming up before what is missing counts as missing.
const STARTING: Duration = Duration::from_secs(2);

/// How long an order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a status socket that could not be made is tried again.
const SOCKET_RETRY: Duration = Duration::from_secs(1);

/// Looks at the booth from time to time, and keeps its card right.
pub(super) struct Watch {
    notices: Notices,
    card: Option<Card>,
    /// When bytes were last counted: sent, received.
    rates: Option<(Instant, u64, u64)>,
    kept_rates: KeptRates,
    check: sound_check::Cards,
}

impl Watch {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            notices: Notices::in_folder(&config.health.notices),
            card: None,
            rates: None,
            kept_rates: KeptRates::default(),
            check: sound_check::Cards::default(),
        }
    }

    pub(super) fn tick(&mut self, shared: &Shared) {
        let now_us = now_us();
        let is_news = self.notices.look(now_us);
        if is_news {
            shared.live().notice = self.notices.last().cloned();
            if let Some(notice) = self.notices.shown(now_us) {
                log::info!(
                    "booth {}: the screen says for {} s: {}",
                    shared.name,
                    notice.shown_s,
                    notice.title
                );
            }
        }
        let check = self.check.card(shared, now_us, is_news);
        let card = match (check, self.notices.shown(now_us)) {
            (Some(check), _) => check,
            (None, Some(notice)) => Card::notice(&shared.name, &notice.title, &notice.lines, notice.trouble),
            (None, None) => card(shared),
        };
        if self.card.as_ref() != Some(&card) {
            shared.cards.put(card.clone());
            self.card = Some(card);
        }
        choose_shown(shared);
        let peer_muted =
            shown_peer(shared).is_some_and(|peer| shared.link.peers[peer.slot].muted.load(Relaxed));
        shared.marks.peer_muted.store(peer_muted, Relaxed);
        let state = state(shared);
        let mut live = shared.live();
        if live.state != state {
            log::info!("booth {}: {state:?}", shared.name);
            live.state = state;
        }
        drop(live);
        self.rates(shared);
        self.kept_rates.tick(shared);
    }

    fn rates(&mut self, shared: &Shared) {
        let total = total(shared);
        let (sent, received) = (total.sent_bytes, total.received_bytes);
        if let Some((since, old_sent, old_received)) = self.rates {
            let ms = since.elapsed().as_millis() as u64;
            if ms < 1000 {
                return;
            }
            let mut live = shared.live();
            live.sent_kbps = (sent - old_sent) * 8 / ms;
            live.received_kbps = (received - old_received) * 8 / ms;
        }
        self.rates = Some((Instant::now(), sent, received));
    }
}

/// What was counted for all peers together.
fn total(shared: &Shared) -> PeerCounts {
    shared.link.peers.iter().fold(PeerCounts::default(), |sum, peer| sum.plus(&peer.counters.snapshot()))
}

/// Has the screen show one peer: of those that answer, the one that has been there longest; the one it shows
/// already stays.
fn choose_shown(shared: &Shared) {
    let list = shared.link.list();
    let answers = |slot: usize| list.peers.iter().any(|peer| peer.slot == slot && peer.connected);
    let current = (0..MAX_PEERS).find(|&slot| shared.shown[slot].load(Relaxed));
    if current.is_some_and(answers) {
        return;
    }
    let next = list.peers.iter().find(|peer| peer.connected).map(|peer| peer.slot);
    // Whoever is gone may come back: until somebody else answers, its place stays the one that is shown.
    if let Some(next) = next.or(current) {
        for (slot, shown) in shared.shown.iter().enumerate() {
            shown.store(slot == next, Relaxed);
        }
    }
}

/// The peer on the screen, or the first there is.
fn shown_peer(shared: &Shared) -> Option<PeerEntry> {
    let list = shared.link.list();
    let shown = list.peers.iter().find(|peer| shared.shown[peer.slot].load(Relaxed));
    shown.or(list.peers.first()).cloned()
}

fn camera_missing(shared: &Shared) -> bool {
    shared.config.camera.device != "none" && !shared.link.camera.load(Relaxed)
}

fn state(shared: &Shared) -> State {
    let connected = shared.link.connected();
    // Whoever came to pair two booths comes back for the camera.
    if shared.link.list().open {
        return State::Pairing;
    }
    if camera_missing(shared) {
        let young = shared.started.elapsed() < STARTING && shared.counts.camera_frames.load(Relaxed) == 0;
        if young { State::Starting } else { State::NoCamera }
    } else if connected {
        State::Live
    } else if total(shared).connects > 0 {
        State::Reconnecting
    } else {
        State::Looking
    }
}

/// Where the other booth is looked for.
fn whereabouts(config: &Config, sealed: bool) -> String {
    let peer = config.peer.as_ref().and_then(|peer| peer.address.as_ref()).map(|a| a.get_ref().to_string());
    let nearby = || sealed.then(|| "on this network".to_owned());
    let relay = config.relay.as_ref().map(|relay| format!("at the relay {}", relay.address.get_ref()));
    let places: Vec<_> = peer.or_else(nearby).into_iter().chain(relay).collect();
    places.join(", ")
}

/// The card to show when there is no picture.
fn card(shared: &Shared) -> Card {
    let at_peer = || {
        let (trouble, sealed) = {
            let list = shared.link.list();
            (list.trouble.clone(), list.sealed)
        };
        if !trouble.is_empty() {
            return trouble;
        }
        let place = whereabouts(&shared.config, sealed);
        shown_peer(shared).map_or(place.clone(), |peer| format!("{}: {place}", peer.name))
    };
    let has_camera =
        || shown_peer(shared).is_some_and(|peer| shared.link.peers[peer.slot].has_camera.load(Relaxed));
    let (kind, detail) = match state(shared) {
        State::Starting => (Kind::Starting, String::new()),
        State::NoCamera => (Kind::NoCamera, shared.live().camera.trouble.clone()),
        State::Pairing => (Kind::Pairing, shared.link.list().code.clone()),
        State::Looking => (Kind::Looking, at_peer()),
        State::Reconnecting => (Kind::Reconnecting, at_peer()),
        State::Live if has_camera() => (Kind::Reconnecting, at_peer()),
        State::Live => (Kind::NoPicture, "its camera gives nothing".to_owned()),
    };
    Card { kind, name: shared.name.clone(), detail, lines: Vec::new(), levels: Vec::new() }
}

/// Answers `holobooth status`, and passes on orders, until the booth stops. A meeting goes on without it.
pub(super) fn answer(shared: &Shared, choice: &Mutex<Option<Choice>>, orders: &mpsc::Sender<Order>) {
    let socket = &shared.config.health.socket;
    let mut told = false;
    let status = || status(shared, choice);
    while let Err(e) = health::serve(socket, &shared.heartbeats.status, &shared.stop, status, |line| {
        order(line, shared, orders)
    }) {
        if !told {
            log::error!("health: no status on {}: {e}; change health.socket", socket.display());
            told = true;
        }
        shared.heartbeats.status.beat();
        std::thread::sleep(SOCKET_RETRY);
        if shared.stopping() {
            break;
        }
    }
}

/// What the booth answers before it ends.
const RELOADING: &str =
    "this booth ends now, and whoever runs it starts it again, with the configuration as it is then";

/// Has an order carried out.
fn order(line: &str, shared: &Shared, orders: &mpsc::Sender<Order>) -> Result<String, String> {
    if line == "reload" {
        log::info!("booth {}: ends, to be started again with a new configuration", shared.name);
        shared.stop.store(true, Relaxed);
        return Ok(RELOADING.to_owned());
    }
    if let Some(muted) = [("mute", true), ("unmute", false)].iter().find(|(word, _)| *word == line) {
        return Ok(mute::set(shared, muted.1));
    }
    if line == health::CHECK_SOUND {
        return sound_check::run(shared);
    }
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let order = match line.split_once(' ') {
        Some(("pair", rest)) => {
            let (code, name) = rest.split_once(' ').unwrap_or((rest, ""));
            let code = Code::parse(code).map_err(|e| e.to_string())?;
            let name = Some(name.to_owned()).filter(|name| !name.is_empty());
            Order::Pair { code, name, answer }
        }
        Some(("forget", name)) => Order::Forget { name: name.to_owned(), answer },
        _ => return Err(format!("this booth knows no order `{line}`; is it of the same version?")),
    };
    orders.try_send(order).map_err(|_| "the link is busy with another order".to_owned())?;
    answered.recv_timeout(ORDER_TIMEOUT).unwrap_or_else(|_| Err("the link does not answer".to_owned()))
}

/// The answer to `holobooth status`.
fn status(shared: &Shared, choice: &Mutex<Option<Choice>>) -> Status {
    let choice = choice.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let codec = |pick: fn(Choice) -> (&'static str, Vec<String>)| {
        choice
            .clone()
            .map(pick)
            .map_or_else(CodecStatus::default, |(name, tried)| CodecStatus { name: name.to_owned(), tried })
    };
    let pictures = shared.pictures.report();
    let list = shared.link.list().clone();
    let live = shared.live();
    let mut camera = live.camera.clone();
    if shared.config.camera.device == "none" {
        camera.state = CameraState::Off;
    }
    let mut screen = live.screen.clone();
    screen.replaced = pictures.replaced;
    let incoming = shared.link.peers.iter().map(|peer| peer.incoming.report());
    Status {
        name: shared.name.clone(),
        state: live.state,
        uptime_ms: shared.started.elapsed().as_millis() as u64,
        image: update::running().unwrap_or_default(),
        update: Record::read(Path::new(update::FOLDER)).map(|record| record.line()).unwrap_or_default(),
        camera,
        encoder: codec(|c| (c.encoder, c.encoders_tried)),
        decoder: codec(|c| (c.decoder, c.decoders_tried)),
        link: LinkStatus {
            looking: whereabouts(&shared.config, list.sealed),
            trouble: list.trouble,
            code: list.code,
            sealed: list.sealed,
            counts: shared.link.counters.snapshot(),
        },
        peers: list.peers.iter().map(|peer| peer_status(shared, peer)).collect(),
        room: list.members.iter().map(member).collect(),
        total: total(shared),
        video: shared.counts.snapshot(),
        sent: Sent {
            bitrate_kbps: live.sent_kbps,
            target_kbps: shared.link.encoder.get().target_kbps.into(),
            size: live.plan.map_or_else(String::new, |(p, _)| format!("{}x{}", p.size.0, p.size.1)),
            fps: live.plan.map_or(0.0, |(_, fps)| fps),
        },
        received: Received {
            bitrate_kbps: live.received_kbps,
            last_frame: live.last_shown.map_or(0, |(_, number)| number),
        },
        screen,
        sound: SoundStatus {
            microphone: live.microphone.card.clone(),
            loudspeaker: live.loudspeaker.card.clone(),
            muted: shared.sound.muted.load(Relaxed),
            counts: shared.sound.counters.snapshot(),
        },
        mailboxes: [shared.samples.report(), shared.link.outgoing.report()]
            .into_iter()
            .chain(incoming.zip(&list.peers).map(|(report, _)| report))
            .chain([pictures])
            .collect(),
        stages: live.stages.report(),
        notice: live.notice.clone(),
    }
}

fn peer_status(shared: &Shared, peer: &PeerEntry) -> PeerStatus {
    let handles = &shared.link.peers[peer.slot];
    PeerStatus {
        name: peer.name.clone(),
        fingerprint: peer.fingerprint.to_string(),
        connected: peer.connected,
        route: peer.way.map_or(String::new(), |way| way.word().to_owned()),
        has_camera: peer.connected && handles.has_camera.load(Relaxed),
        shown: shared.shown[peer.slot].load(Relaxed),
        too_slow: peer.connected && handles.too_slow.load(Relaxed),
        gets_fewer_pictures: peer.connected && handles.gets_fewer_pictures.load(Relaxed),
        clock_offset_us: handles.clock_offset_us.load(Relaxed),
        muted: peer.connected && handles.muted.load(Relaxed),
        voice: voice(&shared.sound.peers[peer.slot]),
        counts: handles.counters.snapshot().since(&peer.before),
    }
}

fn voice(handles: &VoiceHandles) -> VoiceStatus {
    let (picture_us, voice_us) =
        (handles.picture_delay_us.load(Relaxed), handles.voice_delay_us.load(Relaxed));
    VoiceStatus {
        drift_ppm: handles.drift_ppb.load(Relaxed) as f64 / 1e3,
        lip_offset_us: if picture_us == 0 || voice_us == 0 { 0 } else { picture_us - voice_us },
        counts: handles.counters.snapshot(),
    }
}

fn member(member: &Member) -> MemberStatus {
    MemberStatus {
        name: member.name.clone(),
        fingerprint: member.fingerprint.to_string(),
        nearby: member.nearby,
        at_relay: member.at_relay,
    }
}
