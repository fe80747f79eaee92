//! What the booth says of itself: in a word, on a card, in numbers.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Counts, Shared};
use crate::codec::Choice;
use crate::config::Config;
use crate::health::{
    CameraState, CodecStatus, Line, MemberStatus, Notices, PeerStatus, Received, Sent, State, Status,
};
use crate::link::Order;
use crate::media::clock::now_us;
use crate::pairing::{Code, Member};
use crate::screen::{Card, Kind};
use crate::update::{self, Record};
use crate::{health, link};

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
}

impl Watch {
    pub(super) fn new(config: &Config) -> Self {
        Self { notices: Notices::in_folder(&config.health.notices), card: None, rates: None }
    }

    pub(super) fn tick(&mut self, shared: &Shared) {
        let now_us = now_us();
        if self.notices.look(now_us) {
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
        let card = match self.notices.shown(now_us) {
            Some(notice) => Card::notice(&shared.name, &notice.title, &notice.lines, notice.trouble),
            None => card(shared),
        };
        if self.card.as_ref() != Some(&card) {
            shared.cards.put(card.clone());
            self.card = Some(card);
        }
        let state = state(shared);
        let mut live = shared.live();
        if live.state != state {
            log::info!("booth {}: {state:?}", shared.name);
            live.state = state;
        }
        drop(live);
        self.rates(shared);
    }

    fn rates(&mut self, shared: &Shared) {
        let sent = shared.link.counters.sent_bytes.load(Relaxed);
        let received = shared.link.counters.received_bytes.load(Relaxed);
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

fn camera_missing(shared: &Shared) -> bool {
    shared.config.camera.device != "none" && !shared.link.signals.camera.load(Relaxed)
}

fn state(shared: &Shared) -> State {
    let connected = shared.link.signals.connected.load(Relaxed);
    // Whoever came to pair two booths comes back for the camera.
    if shared.link.peer_list().open {
        return State::Pairing;
    }
    if camera_missing(shared) {
        let young = shared.started.elapsed() < STARTING && shared.counts.camera_frames.load(Relaxed) == 0;
        if young { State::Starting } else { State::NoCamera }
    } else if connected {
        State::Live
    } else if shared.link.counters.connects.load(Relaxed) > 0 {
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
        let peer_list = shared.link.peer_list();
        if !peer_list.trouble.is_empty() {
            return peer_list.trouble.clone();
        }
        let place = whereabouts(&shared.config, peer_list.sealed);
        if peer_list.peer_name.is_empty() { place } else { format!("{}: {place}", peer_list.peer_name) }
    };
    let (kind, detail) = match state(shared) {
        State::Starting => (Kind::Starting, String::new()),
        State::NoCamera => (Kind::NoCamera, shared.live().camera.trouble.clone()),
        State::Pairing => (Kind::Pairing, shared.link.peer_list().code.clone()),
        State::Looking => (Kind::Looking, at_peer()),
        State::Reconnecting => (Kind::Reconnecting, at_peer()),
        State::Live if shared.link.signals.peer_has_camera.load(Relaxed) => (Kind::Reconnecting, at_peer()),
        State::Live => (Kind::NoPicture, "its camera gives nothing".to_owned()),
    };
    Card { kind, name: shared.name.clone(), detail, lines: Vec::new() }
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
    let link::Counters {
        connects,
        refused,
        records_refused,
        guesses_refused,
        rejected_busy,
        malformed,
        decrypt_failed,
        rtt_us,
        clock_offset_us,
        sent_frames,
        sent_keyframes,
        sent_bytes,
        dropped_frames,
        received_frames,
        received_bytes,
        lost_frames,
        keyframe_requests,
        repeated,
        nacks,
        repairs,
        loss_permille,
        queue_us,
        line_kbps,
        datagram_bytes,
        mtu_drops,
    } = &shared.link.counters;
    let Counts { camera_frames, send_dropped, thinned, decode_errors, decode_skipped, shown, out_of_order } =
        &shared.counts;
    let choice = choice.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let codec = |pick: fn(Choice) -> (&'static str, Vec<String>)| {
        choice
            .clone()
            .map(pick)
            .map_or_else(CodecStatus::default, |(name, tried)| CodecStatus { name: name.to_owned(), tried })
    };
    let pictures = shared.pictures.report();
    let peer_list = shared.link.peer_list().clone();
    let live = shared.live();
    let mut camera = live.camera.clone();
    camera.frames = camera_frames.load(Relaxed);
    if shared.config.camera.device == "none" {
        camera.state = CameraState::Off;
    }
    let mut screen = live.screen.clone();
    screen.shown = shown.load(Relaxed);
    screen.replaced = pictures.replaced;
    Status {
        name: shared.name.clone(),
        state: live.state,
        uptime_ms: shared.started.elapsed().as_millis() as u64,
        image: update::running().unwrap_or_default(),
        update: Record::read(Path::new(update::FOLDER)).map(|record| record.line()).unwrap_or_default(),
        camera,
        encoder: codec(|c| (c.encoder, c.encoders_tried)),
        decoder: codec(|c| (c.decoder, c.decoders_tried)),
        peer: PeerStatus {
            connected: shared.link.signals.connected.load(Relaxed),
            name: peer_list.peer_name,
            fingerprint: peer_list.peer.map(|who| who.to_string()).unwrap_or_default(),
            address: whereabouts(&shared.config, peer_list.sealed),
            trouble: peer_list.trouble,
            code: peer_list.code,
            route: shared.link.signals.route().to_owned(),
            rtt_us: rtt_us.load(Relaxed),
            clock_offset_us: clock_offset_us.load(Relaxed) as i64,
            connects: connects.load(Relaxed),
            refused: refused.load(Relaxed),
            records_refused: records_refused.load(Relaxed),
            guesses_refused: guesses_refused.load(Relaxed),
            rejected_busy: rejected_busy.load(Relaxed),
            malformed: malformed.load(Relaxed),
            decrypt_failed: decrypt_failed.load(Relaxed),
            sealed: peer_list.sealed,
            repeated: repeated.load(Relaxed),
        },
        room: peer_list.members.iter().map(member).collect(),
        line: Line {
            rate_kbps: line_kbps.load(Relaxed),
            queue_us: queue_us.load(Relaxed),
            loss_permille: loss_permille.load(Relaxed),
            datagram_bytes: datagram_bytes.load(Relaxed),
            mtu_drops: mtu_drops.load(Relaxed),
            repairs: repairs.load(Relaxed),
            nacks: nacks.load(Relaxed),
        },
        sent: Sent {
            frames: sent_frames.load(Relaxed),
            keyframes: sent_keyframes.load(Relaxed),
            bytes: sent_bytes.load(Relaxed),
            bitrate_kbps: live.sent_kbps,
            target_kbps: shared.link.signals.target_kbps.load(Relaxed),
            size: live.plan.map_or_else(String::new, |(p, _)| format!("{}x{}", p.size.0, p.size.1)),
            fps: live.plan.map_or(0.0, |(_, fps)| fps),
            thinned: thinned.load(Relaxed),
            dropped: send_dropped.load(Relaxed) + dropped_frames.load(Relaxed),
        },
        received: Received {
            frames: received_frames.load(Relaxed),
            lost: lost_frames.load(Relaxed),
            bytes: received_bytes.load(Relaxed),
            bitrate_kbps: live.received_kbps,
            keyframe_requests: keyframe_requests.load(Relaxed),
            decode_errors: decode_errors.load(Relaxed),
            skipped: decode_skipped.load(Relaxed),
            last_frame: live.last_shown.map_or(0, |(_, number)| number),
            out_of_order: out_of_order.load(Relaxed),
        },
        screen,
        mailboxes: vec![
            shared.samples.report(),
            shared.link.outgoing.report(),
            shared.link.incoming.report(),
            pictures,
        ],
        stages: live.stages.report(),
        notice: live.notice.clone(),
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
