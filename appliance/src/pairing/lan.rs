//! Booths on the same network find each other: DNS-SD (RFC 6763) over multicast DNS (RFC 6762), on every
//! network of this machine.
//!
//! A booth's record holds its fingerprint, its name, and in a room a MAC over both and the port under a key
//! that follows from the room key: it shows to the room that the booth belongs there, and to everybody else
//! nothing. Whoever repeats the record elsewhere only has others dial somebody who cannot prove to be that
//! booth.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use data_encoding::BASE32_NOPAD;
use mdns_sd::{DaemonEvent, IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use ring::hmac;
use tokio::sync::mpsc;

use super::proof::readable;
use super::{Fingerprint, RoomKey, Sighting};
use crate::media::heartbeat::Heartbeat;

const SERVICE: &str = "_holobooth._udp.local.";
/// Keys of the record's strings (RFC 6763, section 6).
const FINGERPRINT: &str = "fp";
const NAME: &str = "name";
const MEMBER: &str = "member";
/// How often this machine's addresses are looked at, in s.
const ADDRESSES_S: u32 = 1;
/// How long the thread waits before it looks at what else there is to do.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// More names than this on one network are a flood: what has been heard is forgotten, and nobody listens for
/// a while.
const MOST_NAMES: usize = 256;
/// That while, doubling with every flood that follows soon, to the longest.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// What a booth says of itself on its networks.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Who it is.
    pub fingerprint: Fingerprint,
    /// What it calls itself.
    pub name: String,
    /// Where it receives; the address may be unspecified.
    pub listen: SocketAddr,
    /// The room that it belongs to; without one it is open to be paired by code.
    pub room: Option<RoomKey>,
}

/// Announces what `orders` says last, and reports to `found` booths of the same room and of open ones, until
/// `stop` or until nobody gives orders any more. Records that claim to be of the room and are not are counted
/// in `refused`.
pub fn discover(
    orders: &Receiver<Announcement>,
    found: &mpsc::Sender<Sighting>,
    refused: &AtomicU64,
    heartbeat: &Heartbeat,
    stop: &AtomicBool,
) {
    let mut rest = REST.0;
    let Some(mut own) = first(orders, heartbeat, stop) else { return };
    while !stop.load(Relaxed) {
        let since = Instant::now();
        match Lan::start(&own).map(|mut lan| lan.run(orders, found, refused, heartbeat, stop)) {
            Ok(Ended::Ordered(new)) => {
                own = *new;
                continue;
            }
            Ok(Ended::Stopped) => return,
            Ok(Ended::Flooded) => log::warn!(
                "pairing: more booths than can be are announced on this network; looking again in {} s",
                rest.as_secs()
            ),
            Err(e) => log::warn!("pairing: booths cannot be found on this network: {e}; trying again"),
        }
        rest = if since.elapsed() > REST.1 { REST.0 } else { rest };
        let until = Instant::now() + rest;
        while Instant::now() < until && !stop.load(Relaxed) {
            heartbeat.beat();
            std::thread::sleep(POLL_INTERVAL);
        }
        rest = (rest * 2).min(REST.1);
    }
}

fn first(orders: &Receiver<Announcement>, heartbeat: &Heartbeat, stop: &AtomicBool) -> Option<Announcement> {
    while !stop.load(Relaxed) {
        heartbeat.beat();
        match orders.try_recv() {
            Ok(own) => return Some(own),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => std::thread::sleep(POLL_INTERVAL),
        }
    }
    None
}

/// Why one [`Lan`] is over.
enum Ended {
    Ordered(Box<Announcement>),
    Stopped,
    Flooded,
}

/// One announcement, and what is heard meanwhile.
struct Lan {
    own: Announcement,
    daemon: ServiceDaemon,
    /// Whose record has which name.
    names: HashMap<String, Sighting>,
    strangers: HashSet<String>,
}

impl Lan {
    fn start(own: &Announcement) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let lan = Self { own: own.clone(), daemon, names: HashMap::new(), strangers: HashSet::new() };
        lan.daemon.set_ip_check_interval(ADDRESSES_S)?;
        lan.daemon.disable_interface(unusable(own.listen))?;
        lan.daemon.register(record(own)?)?;
        Ok(lan)
    }

    fn run(
        &mut self,
        orders: &Receiver<Announcement>,
        found: &mpsc::Sender<Sighting>,
        refused: &AtomicU64,
        heartbeat: &Heartbeat,
        stop: &AtomicBool,
    ) -> Ended {
        let (Ok(events), Ok(daemon)) = (self.daemon.browse(SERVICE), self.daemon.monitor()) else {
            return Ended::Flooded;
        };
        while !stop.load(Relaxed) {
            heartbeat.beat();
            match orders.try_recv() {
                Ok(own) => return Ended::Ordered(Box::new(own)),
                Err(TryRecvError::Disconnected) => return Ended::Stopped,
                Err(TryRecvError::Empty) => {}
            }
            while let Ok(event) = daemon.try_recv() {
                if let DaemonEvent::Error(e) = event {
                    log::debug!("pairing: mDNS: {e}");
                }
            }
            let sighting = match events.recv_timeout(POLL_INTERVAL) {
                Ok(ServiceEvent::ServiceFound(_, name)) => {
                    self.strangers.insert(name);
                    None
                }
                Ok(ServiceEvent::ServiceResolved(service)) => self.resolved(&service, refused),
                Ok(ServiceEvent::ServiceRemoved(_, name)) => self.removed(&name),
                Ok(_) => None,
                // It is over when more came than could be listened to.
                Err(_) if events.is_disconnected() => return Ended::Flooded,
                Err(_) => None,
            };
            if self.strangers.len() > MOST_NAMES {
                return Ended::Flooded;
            }
            // What does not fit is reported again.
            if let Some(sighting) = sighting
                && found.try_send(sighting).is_err()
            {
                log::debug!("pairing: nobody looks at what was found");
            }
        }
        Ended::Stopped
    }

    /// A record is gone. The same booth may have another: one that it made since.
    fn removed(&mut self, name: &str) -> Option<Sighting> {
        self.strangers.remove(name);
        let seen = self.names.remove(name)?;
        let other = self.names.values().find(|other| other.fingerprint == seen.fingerprint).cloned();
        Some(other.unwrap_or(Sighting { addresses: Vec::new(), ..seen }))
    }

    /// What a record says, when it is one to be heeded.
    fn resolved(&mut self, service: &ResolvedService, refused: &AtomicU64) -> Option<Sighting> {
        let value = |key| service.get_property_val(key).flatten();
        let listens = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), service.get_port());
        let fingerprint =
            value(FINGERPRINT).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(Fingerprint::parse);
        let name = value(NAME).and_then(readable);
        let (Some(fingerprint), Some(name)) = (fingerprint, name) else {
            refused.fetch_add(1, Relaxed);
            return None;
        };
        if fingerprint == self.own.fingerprint {
            return None;
        }
        let open = match (value(MEMBER), &self.own.room) {
            (None, _) => true,
            // Of some room, and we are of none.
            (Some(_), None) => return None,
            (Some(tag), Some(room)) => {
                let text = text(fingerprint, listens.port(), &name);
                let tag = BASE32_NOPAD.decode(tag).unwrap_or_default();
                if hmac::verify(&mac_key(room), &text, &tag).is_err() {
                    refused.fetch_add(1, Relaxed);
                    return None;
                }
                false
            }
        };
        let usable = |ip: &IpAddr| ip.is_ipv4() == self.own.listen.is_ipv4() && !ip.is_loopback();
        let addresses = service.get_addresses().iter().map(mdns_sd::ScopedIp::to_ip_addr).filter(usable);
        let addresses = addresses.map(|ip| SocketAddr::new(ip, listens.port())).collect();
        let sighting = Sighting { fingerprint, name, addresses, open };
        self.strangers.remove(service.get_fullname());
        self.names.insert(service.get_fullname().to_owned(), sighting.clone());
        Some(sighting)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // It says good-bye before it ends.
        if let Ok(done) = self.daemon.shutdown() {
            let _ = done.recv_timeout(Duration::from_millis(500));
        }
    }
}

/// Where nothing is to be asked or answered: what comes from there holds no address that a booth could dial,
/// and whoever has heard it once asks for nothing more (RFC 6762, section 7.1).
fn unusable(listen: SocketAddr) -> Vec<IfKind> {
    let other = if listen.is_ipv4() { IfKind::IPv6 } else { IfKind::IPv4 };
    vec![IfKind::LoopbackV4, IfKind::LoopbackV6, other]
}

fn record(own: &Announcement) -> Result<ServiceInfo, mdns_sd::Error> {
    // Of every start another: a good-bye that is still on its way must not end what has just begun.
    let instance = format!("{}-{:04x}", own.fingerprint.short(), fastrand::u16(..));
    let host = format!("{instance}.local.");
    let mut strings = vec![(FINGERPRINT, own.fingerprint.to_string()), (NAME, own.name.clone())];
    if let Some(room) = &own.room {
        let text = text(own.fingerprint, own.listen.port(), &own.name);
        strings.push((MEMBER, BASE32_NOPAD.encode(hmac::sign(&mac_key(room), &text).as_ref())));
    }
    let (ip, auto) = match own.listen.ip() {
        ip if ip.is_unspecified() => (String::new(), true),
        ip => (ip.to_string(), false),
    };
    let info = ServiceInfo::new(SERVICE, &instance, &host, ip.as_str(), own.listen.port(), &strings[..])?;
    let mut info = if auto { info.enable_addr_auto() } else { info };
    // Nobody else has this name, but for somebody who would not mind a probe either.
    info.set_requires_probe(false);
    Ok(info)
}

fn mac_key(room: &RoomKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &room.derive::<32>(&[b"announcement"]))
}

fn text(fingerprint: Fingerprint, port: u16, name: &str) -> Vec<u8> {
    [&fingerprint.0[..], &port.to_be_bytes(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(byte: u8, room: Option<u8>) -> Announcement {
        Announcement {
            fingerprint: Fingerprint([byte; 32]),
            name: format!("booth {byte}"),
            listen: "0.0.0.0:4433".parse().unwrap(),
            room: room.map(|byte| RoomKey::of([byte; 32])),
        }
    }

    /// What a booth that is `own` makes of the record of `other`, and how often it refused.
    fn heard(own: &Announcement, other: ServiceInfo) -> (Option<Sighting>, u64) {
        let daemon = ServiceDaemon::new_with_port(15353).unwrap();
        let mut lan = Lan { own: own.clone(), daemon, names: HashMap::new(), strangers: HashSet::new() };
        let refused = AtomicU64::new(0);
        let sighting = lan.resolved(&other.as_resolved_service(), &refused);
        (sighting, refused.into_inner())
    }

    #[test]
    fn members_know_each_other_and_nobody_else() {
        let (a, b) = (announcement(1, Some(7)), announcement(2, Some(7)));
        let (seen, refused) = heard(&a, record(&b).unwrap());
        assert_eq!((seen.map(|s| (s.name, s.open)), refused), (Some(("booth 2".into(), false)), 0));
        assert_eq!(heard(&a, record(&a).unwrap()), (None, 0), "our own");
        let (seen, refused) = heard(&a, record(&announcement(2, Some(8))).unwrap());
        assert_eq!((seen, refused), (None, 1), "another room");
        let (seen, refused) = heard(&announcement(3, None), record(&b).unwrap());
        assert_eq!((seen, refused), (None, 0), "of a room, and we are of none");
        let (seen, _) = heard(&a, record(&announcement(4, None)).unwrap());
        assert!(seen.is_some_and(|s| s.open), "one that waits for its code");
    }

    #[test]
    fn a_booth_that_started_again_is_not_gone_when_its_old_record_is() {
        let (a, b) = (announcement(1, Some(7)), announcement(2, Some(7)));
        let daemon = ServiceDaemon::new_with_port(15353).unwrap();
        let mut lan = Lan { own: a, daemon, names: HashMap::new(), strangers: HashSet::new() };
        let [old, new] = [record(&b).unwrap(), record(&b).unwrap()].map(ServiceInfo::as_resolved_service);
        for record in [&old, &new] {
            lan.resolved(record, &AtomicU64::new(0)).unwrap();
        }
        let still = lan.resolved(&new, &AtomicU64::new(0));
        assert_eq!(lan.removed(old.get_fullname()), still);
        assert!(lan.removed(old.get_fullname()).is_none());
        assert_eq!(lan.removed(new.get_fullname()).unwrap().addresses, vec![]);
    }

    #[test]
    fn a_record_that_was_changed_is_refused() {
        let (a, b) = (announcement(1, Some(7)), announcement(2, Some(7)));
        let good = record(&b).unwrap();
        let value = |key: &str| good.get_property_val_str(key).unwrap().to_owned();
        let altered = |fp: &str, name: &str, member: &str, port: u16| {
            let strings = [(FINGERPRINT, fp), (NAME, name), (MEMBER, member)];
            ServiceInfo::new(SERVICE, "x", "x.local.", "10.9.0.2", port, &strings[..]).unwrap()
        };
        let (fp, name, member) = (value(FINGERPRINT), value(NAME), value(MEMBER));
        let same = heard(&a, altered(&fp, &name, &member, 4433));
        assert_eq!(same.0.unwrap().addresses, vec!["10.9.0.2:4433".parse().unwrap()]);
        let other = Fingerprint([9; 32]).to_string();
        for bad in [
            altered(&other, &name, &member, 4433),
            altered(&fp, "other", &member, 4433),
            altered(&fp, &name, &member[1..], 4433),
            altered(&fp, &name, &member, 4434),
            altered("", &name, &member, 4433),
            altered(&fp, "\n", &member, 4433),
        ] {
            assert_eq!(heard(&a, bad), (None, 1));
        }
    }
}
