use super::*;
use crate::link::{Order, Peer, Relay};
use crate::media::picture::{AccessUnit, Stamps};
use crate::pairing::{Code, Identity, Pins, RoomKey, Sighting};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;

/// One end of a link, and what stops it.
struct End {
    handles: Handles,
    stop: AtomicBool,
}

impl End {
    fn new() -> Arc<Self> {
        Arc::new(Self { handles: Handles::new().unwrap(), stop: AtomicBool::new(false) })
    }

    /// Whether peer `who` answers.
    fn meets(&self, who: &Identity) -> bool {
        let who = who.fingerprint();
        self.list().peers.iter().any(|peer| peer.fingerprint == who && peer.connected)
    }

    /// The way to the first peer that answers.
    fn way(&self) -> Option<Way> {
        self.list().peers.iter().find(|peer| peer.connected).and_then(|peer| peer.way)
    }

    /// The next frame of any peer.
    fn frame(&self) -> Option<AccessUnit> {
        (0..500).find_map(|_| self.peers.iter().find_map(|peer| peer.incoming.wait(5))).map(|i| i.unit)
    }
}

impl Deref for End {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.handles
    }
}

/// A booth of the usual room.
fn config(identity: &Identity, listen: SocketAddr, peer: Peer, relay: Option<Relay>) -> Config {
    Config {
        listen,
        room: Some(RoomKey::of([7; 32])),
        name: identity.fingerprint().name(),
        pins: Pins::default(),
        folder: std::env::temp_dir().join(format!("holobooth-link-{}", identity.fingerprint().short())),
        identity: Identity { certificate: identity.certificate.clone(), key: identity.key.clone_key() },
        peer,
        relay,
        max_kbps: 8_000,
        // On a busy machine a frame may take its time, and is repaired meanwhile.
        deadline: Duration::from_secs(5),
        most: 4,
    }
}

impl End {
    fn start(
        self: &Arc<Self>,
        identity: &Identity,
        listen: SocketAddr,
        peer: Peer,
        relay: Option<Relay>,
    ) -> std::thread::JoinHandle<()> {
        self.start_as(config(identity, listen, peer, relay)).0
    }

    /// The same with any configuration; what is found on its networks goes through the second value.
    fn start_as(self: &Arc<Self>, config: Config) -> (std::thread::JoinHandle<()>, mpsc::Sender<Sighting>) {
        let end = self.clone();
        let (found, sightings) = mpsc::channel(4);
        let thread = std::thread::spawn(move || {
            run(config, &mut Inbox { sightings, ..Inbox::default() }, &end.handles, &end.stop).unwrap();
        });
        (thread, found)
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "{what} never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn identity(name: &str) -> Identity {
    let folder = std::env::temp_dir().join(format!("holobooth-link-{}-{name}", std::process::id()));
    let identity = Identity::load_or_make(&folder).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    identity
}

/// A port that nobody uses.
fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn unit(number: u32, size: usize) -> AccessUnit {
    let stamps = Stamps { capture_us: now_us(), ..Stamps::default() };
    AccessUnit { data: vec![number as u8; size].into(), keyframe: true, number, stamps }
}

#[test]
fn two_booths_meet_and_exchange_frames_of_any_size() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib) = (identity("meet-a"), identity("meet-b"));
    let (fa, fb) = (ia.fingerprint(), ib.fingerprint());
    let (pa, pb) = (free(), free());
    let threads = [
        a.start(&ia, pa, Peer { address: Some(pb), fingerprint: Some(fb) }, None),
        b.start(&ib, pb, Peer { address: Some(pa), fingerprint: Some(fa) }, None),
    ];
    // Until both have settled on one of their two connections, frames may be lost with the other.
    for end in [&a, &b] {
        end.wait("the session", |e| e.connected());
    }
    std::thread::sleep(Duration::from_secs(1));
    let mut number = 0;
    for size in [40_000, 300_000, 1, 0, 900] {
        for (from, to) in [(&a, &b), (&b, &a)] {
            number += 1;
            from.wait("somebody who receives", |e| e.encoder.get().connected);
            assert!(from.outgoing.put(unit(number, size)).is_none());
            let got = to.frame().unwrap_or_else(|| {
                let counts = |end: &End| end.handles.peers[0].counters.snapshot();
                panic!("{number} of {size} bytes: {:?} {:?}", counts(from), counts(to))
            });
            assert_eq!(got.data, unit(number, size).data);
        }
    }
    a.wait("a round trip", |e| e.handles.peers[0].counters.rtt_us.load(Relaxed) > 0);
    for end in [&a, &b] {
        end.stop.store(true, Relaxed);
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// Padding may go only while nothing waits in QUIC, and finds the rest of a line that video leaves free.
#[test]
fn padding_finds_a_rate_that_video_alone_does_not() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib) = (identity("padding-a"), identity("padding-b"));
    let (pa, pb) = (free(), free());
    let (ta, found) = a.start_as(config(&ia, pa, Peer::default(), None));
    let (tb, _nothing) = b.start_as(config(&ib, pb, Peer::default(), None));
    found.blocking_send(sighting(&ib, pb)).unwrap();
    a.wait("somebody who receives", |e| e.encoder.get().connected);
    let number = std::cell::Cell::new(0);
    // A frame of 2 kB every 5 ms and its parity are at most 8 Mbit/s.
    a.wait("a rate that padding found", |e| {
        number.set(number.get() + 1);
        e.outgoing.put(unit(number.get(), 2_000));
        e.handles.peers[0].counters.path_kbps.load(Relaxed) > 14_000
    });
    stop(&[&a, &b], vec![ta, tb]);
}

/// Ends all of them.
fn stop(ends: &[&Arc<End>], threads: Vec<std::thread::JoinHandle<()>>) {
    ends.iter().for_each(|end| end.stop.store(true, Relaxed));
    threads.into_iter().for_each(|t| t.join().unwrap());
}

fn sighting(identity: &Identity, address: SocketAddr) -> Sighting {
    let fingerprint = identity.fingerprint();
    Sighting { fingerprint, name: fingerprint.name(), addresses: vec![address], open: false }
}

#[test]
fn booths_of_one_room_meet_without_knowing_each_other_before() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib) = (identity("room-a"), identity("room-b"));
    let (pa, pb) = (free(), free());
    let (ta, found) = a.start_as(config(&ia, pa, Peer::default(), None));
    // B is called, and knows of A nothing but the call.
    let (tb, _nothing) = b.start_as(config(&ib, pb, Peer::default(), None));
    found.blocking_send(sighting(&ib, pb)).unwrap();
    for (end, other) in [(&a, &ib), (&b, &ia)] {
        end.wait("the session", |e| e.connected());
        let list = end.list().clone();
        assert!(end.meets(other) && list.peers.len() == 1, "{list:?}");
        assert_eq!(list.peers[0].name, other.fingerprint().name());
        assert_eq!(list.members.len(), 1);
    }
    stop(&[&a, &b], vec![ta, tb]);
}

#[test]
fn a_booth_of_another_room_proves_nothing() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib) = (identity("other-a"), identity("other-b"));
    let (pa, pb) = (free(), free());
    let (ta, found) = a.start_as(config(&ia, pa, Peer::default(), None));
    let elsewhere = Config { room: Some(RoomKey::of([8; 32])), ..config(&ib, pb, Peer::default(), None) };
    let (tb, _nothing) = b.start_as(elsewhere);
    found.blocking_send(sighting(&ib, pb)).unwrap();
    for end in [&a, &b] {
        end.wait("a refusal", |e| e.counters.refused.load(Relaxed) > 0);
        end.wait("word of it", |e| !e.list().trouble.is_empty());
        assert!(!end.connected());
        assert!(end.list().trouble.contains("room.key"), "{}", end.list().trouble);
    }
    assert_eq!(b.list().members, vec![]);
    stop(&[&a, &b], vec![ta, tb]);
}

#[test]
fn a_name_that_belongs_to_another_booth_is_refused_and_shown() {
    let (a, b, c) = (End::new(), End::new(), End::new());
    let (ia, ib, ic) = (identity("name-a"), identity("name-b"), identity("name-c"));
    let (pa, pb, pc) = (free(), free(), free());
    let named = |identity, listen, name: &str| {
        let config = config(identity, listen, Peer { address: Some(pa), fingerprint: None }, None);
        Config { name: name.to_owned(), ..config }
    };
    let (ta, _nothing) = a.start_as(config(&ia, pa, Peer::default(), None));
    let (tb, _nothing) = b.start_as(named(&ib, pb, "stage left"));
    a.wait("the session", |e| e.connected());
    assert_eq!(a.list().peers[0].name, "stage left");
    stop(&[&b], vec![tb]);
    a.wait("B to be gone", |e| !e.connected());
    let (tc, _nothing) = c.start_as(named(&ic, pc, "stage left"));
    a.wait("a refusal", |e| e.counters.refused.load(Relaxed) > 0);
    a.wait("word of it", |e| !e.list().trouble.is_empty());
    let trouble = a.list().trouble.clone();
    assert!(trouble.contains("stage left") && trouble.contains(&ic.fingerprint().short()), "{trouble}");
    c.wait("word of it", |e| e.list().trouble.contains("booth.name"));
    assert!(!a.connected() && !c.connected());
    stop(&[&a, &c], vec![ta, tc]);
}

#[test]
fn a_booth_with_our_own_name_is_refused_and_shown() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib) = (identity("own-a"), identity("own-b"));
    let (pa, pb) = (free(), free());
    let named = |identity, listen| Config {
        name: "stage left".to_owned(),
        ..config(identity, listen, Peer::default(), None)
    };
    let (ta, found) = a.start_as(named(&ia, pa));
    let (tb, _nothing) = b.start_as(named(&ib, pb));
    found.blocking_send(sighting(&ib, pb)).unwrap();
    // Which of the two sees it first closes the connection; the other is told why.
    for end in [&a, &b] {
        end.wait("word of it", |e| {
            let trouble = e.list().trouble.clone();
            trouble.contains("`stage left`") && trouble.contains("change booth.name")
        });
    }
    let refused = [&a, &b].map(|end| end.counters.refused.load(Relaxed));
    assert!(refused != [0, 0], "nobody refused");
    assert!(!a.connected() && !b.connected());
    stop(&[&a, &b], vec![ta, tb]);
}

/// A code, but not this one.
fn other_than(code: &str) -> &'static str {
    if code == "00000000" { "00000001" } else { "00000000" }
}

/// Has a code entered at a booth; what came of it.
fn enter(orders: &mpsc::Sender<Order>, code: &str) -> Result<String, String> {
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let code = Code::parse(code).unwrap();
    orders.blocking_send(Order::Pair { code, name: None, answer }).unwrap();
    answered.recv_timeout(Duration::from_secs(20)).unwrap()
}

#[test]
fn who_enters_the_code_gives_a_room_key_and_a_wrong_one_gives_nothing() {
    let (ia, ib) = (identity("code-a"), identity("code-b"));
    let (pa, pb) = (free(), free());
    let without_room = |identity: &Identity, listen| {
        let config = Config { room: None, ..config(identity, listen, Peer::default(), None) };
        std::fs::create_dir_all(&config.folder).unwrap();
        config
    };
    let (configs, ends) = ([without_room(&ia, pa), without_room(&ib, pb)], [End::new(), End::new()]);
    let folders = configs.each_ref().map(|config| config.folder.clone());
    let (found, sightings) = mpsc::channel(4);
    let (ordered, orders) = mpsc::channel(4);
    let inboxes = [Inbox { sightings, orders }, Inbox::default()];
    let threads: Vec<_> = (configs.into_iter().zip(inboxes))
        .zip(ends.clone())
        .map(|((config, mut inbox), end)| {
            std::thread::spawn(move || run(config, &mut inbox, &end.handles, &end.stop).unwrap())
        })
        .collect();
    let [a, b] = &ends;
    b.wait("a code", |e| !e.list().code.is_empty());
    let code = b.list().code.clone();
    let open = Sighting { open: true, ..sighting(&ib, pb) };
    found.blocking_send(open.clone()).unwrap();

    let wrong = other_than(&code);
    let refusal = enter(&ordered, wrong).unwrap_err();
    assert!(refusal.contains("read it again"), "{refusal}");
    assert_eq!(b.counters.guesses_refused.load(Relaxed), 1);
    assert!(folders.iter().all(|folder| RoomKey::kept(folder).unwrap().is_none()));

    enter(&ordered, &code).unwrap();
    let done: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let kept = folders.each_ref().map(|folder| RoomKey::kept(folder).unwrap().unwrap());
    assert!(kept[0] == kept[1] && done.iter().all(|done| *done == Done::Paired(kept[0].clone())));
    assert!(!a.connected());
    folders.iter().for_each(|folder| std::fs::remove_dir_all(folder).unwrap());
}

#[test]
fn five_wrong_guesses_end_a_code() {
    let (ia, ib) = (identity("guess-a"), identity("guess-b"));
    let pb = free();
    let showing = End::new();
    let (tb, _nothing) = showing.start_as(Config { room: None, ..config(&ib, pb, Peer::default(), None) });
    showing.wait("a code", |e| !e.list().code.is_empty());
    let code = showing.list().code.clone();
    let wrong = other_than(&code);
    let guesser = End::new();
    let (found, sightings) = mpsc::channel(4);
    let (ordered, orders) = mpsc::channel(4);
    let end = guesser.clone();
    let own = config(&ia, free(), Peer::default(), None);
    let ta = std::thread::spawn(move || {
        run(own, &mut Inbox { sightings, orders }, &end.handles, &end.stop).unwrap();
    });
    found.blocking_send(Sighting { open: true, ..sighting(&ib, pb) }).unwrap();
    for guess in 1..=5 {
        let (answer, _answered) = std::sync::mpsc::sync_channel(1);
        let code = Code::parse(wrong).unwrap();
        ordered.blocking_send(Order::Pair { code, name: None, answer }).unwrap();
        showing.wait("the guess", |e| e.counters.guesses_refused.load(Relaxed) >= guess);
    }
    showing.wait("the code to go", |e| e.list().code.is_empty());
    assert!(enter(&ordered, &code).is_err(), "the right one comes too late");
    stop(&[&showing, &guesser], vec![tb, ta]);
}

/// A thread for each end; none once it is joined.
type Threads = Vec<Option<std::thread::JoinHandle<()>>>;

/// Booths of one room, each told where the others are.
fn room_of(names: &[&str], most: usize) -> (Vec<Arc<End>>, Vec<Identity>, Threads) {
    let ends: Vec<_> = names.iter().map(|_| End::new()).collect();
    let identities: Vec<_> = names.iter().map(|name| identity(name)).collect();
    let addresses: Vec<_> = names.iter().map(|_| free()).collect();
    let mut threads = Vec::new();
    for n in 0..names.len() {
        let own = Config { most, ..config(&identities[n], addresses[n], Peer::default(), None) };
        let (thread, found) = ends[n].start_as(own);
        threads.push(Some(thread));
        for other in (0..names.len()).filter(|&other| other != n) {
            found.blocking_send(sighting(&identities[other], addresses[other])).unwrap();
        }
    }
    (ends, identities, threads)
}

/// The frames of each peer that come while all others send `count`, one after another.
fn exchange(ends: &[Arc<End>], identities: &[Identity], count: u32) {
    for number in 0..count {
        for (from, identity) in ends.iter().zip(identities) {
            let who = identity.fingerprint();
            assert!(from.outgoing.put(unit(number, 5_000)).is_none());
            for to in ends.iter().filter(|to| !Arc::ptr_eq(to, from)) {
                let slot = to.list().peers.iter().find(|peer| peer.fingerprint == who).unwrap().slot;
                let got = to.handles.peers[slot].incoming.wait(5_000).expect("a frame");
                assert_eq!(got.unit.data, unit(number, 5_000).data, "from {}", who.name());
            }
        }
    }
}

#[test]
fn all_booths_of_a_room_meet_and_one_that_goes_and_comes_disturbs_nobody() {
    let (ends, identities, mut threads) = room_of(&["three-a", "three-b", "three-c"], 4);
    let all = |of: &[usize]| {
        for &n in of {
            let others = of.iter().filter(|&&m| m != n);
            ends[n].wait("all others", |e| others.clone().all(|&m| e.meets(&identities[m])));
        }
    };
    all(&[0, 1, 2]);
    // Until all have settled on one of their two connections, frames may be lost with the other.
    std::thread::sleep(Duration::from_secs(1));
    exchange(&ends, &identities, 10);
    let sessions = |n: usize| {
        let other = identities[1 - n].fingerprint();
        let slot = ends[n].list().peers.iter().find(|peer| peer.fingerprint == other).unwrap().slot;
        ends[n].handles.peers[slot].counters.connects.load(Relaxed)
    };
    let before = [0, 1].map(sessions);
    stop(&[&ends[2]], vec![threads[2].take().unwrap()]);
    ends[0].wait("the third to be gone", |e| !e.meets(&identities[2]));
    exchange(&ends[..2], &identities[..2], 10);
    assert_eq!([0, 1].map(sessions), before, "the other two never lost each other");
    stop(&[&ends[0], &ends[1]], threads.into_iter().flatten().collect());
}

#[test]
fn where_there_is_a_place_for_one_the_third_waits_for_one_to_go() {
    let (ends, identities, mut threads) = room_of(&["most-a", "most-b", "most-c"], 1);
    let together = |a: usize, b: usize| ends[a].meets(&identities[b]) && ends[b].meets(&identities[a]);
    let pairs = [(0, 1, 2), (1, 2, 0), (0, 2, 1)];
    let start = Instant::now();
    let (a, b, c) = loop {
        if let Some(pair) = pairs.into_iter().find(|&(a, b, _)| together(a, b)) {
            break pair;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody met");
        std::thread::sleep(Duration::from_millis(5));
    };
    // The third calls, and disturbs nobody.
    ends[c].wait("word of the meeting", |e| e.list().trouble.contains("in a meeting"));
    assert!(together(a, b) && !ends[c].connected());
    assert!((0..3).all(|n| ends[n].list().members.len() == 2), "all see each other");
    stop(&[&ends[b]], vec![threads[b].take().unwrap()]);
    let start = Instant::now();
    while !together(a, c) {
        assert!(start.elapsed() < Duration::from_secs(20), "the third was not met");
        std::thread::sleep(Duration::from_millis(5));
    }
    stop(&[&ends[a], &ends[c]], threads.into_iter().flatten().collect());
}

#[test]
fn a_stranger_is_refused_and_counted() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib) = (identity("stranger-a"), identity("stranger-b"));
    let fa = ia.fingerprint();
    let (pa, pb) = (free(), free());
    let threads = [
        a.start(&ia, pa, Peer { address: Some(pb), fingerprint: Some(Fingerprint([7; 32])) }, None),
        b.start(&ib, pb, Peer { address: Some(pa), fingerprint: Some(fa) }, None),
    ];
    a.wait("a refusal", |e| e.counters.refused.load(Relaxed) > 0);
    // Both go on trying, ever more slowly.
    let start = Instant::now();
    a.wait("ten more refusals", |e| e.counters.refused.load(Relaxed) > 10);
    assert!(start.elapsed() > Duration::from_millis(400), "ten refusals in {:?}", start.elapsed());
    assert!(!a.connected() && !b.connected());
    for end in [&a, &b] {
        end.stop.store(true, Relaxed);
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// A relay as small as can be: what one connection publishes, all others find. Ends with the runtime it runs
/// in.
async fn relay(identity: &Identity, listen: SocketAddr) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .unwrap();
    tls.alpn_protocols = vec![b"moq-lite-06".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, listen).unwrap();
    let (origin, driver) = moq_net::origin::Producer::new(Default::default());
    tokio::spawn(moq_net::time::run(driver));
    while let Some(incoming) = endpoint.accept().await {
        let origin = origin.clone();
        tokio::spawn(async move {
            let transport = web_transport_quinn::Session::raw(incoming.await.unwrap());
            let server = moq_net::Server::new().with_origin(origin);
            let (session, driver) = server.accept(Instant::now(), transport).await.unwrap();
            tokio::spawn(moq_net::time::run(driver));
            session.closed().await;
        });
    }
}

/// Runs a relay until the flag is set.
fn relay_thread(
    identity: Identity,
    listen: SocketAddr,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(async move { relay(&identity, listen).await });
            while !stop.load(Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    })
}

#[test]
fn booths_that_cannot_reach_each_other_meet_at_a_relay() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib, ir) = (identity("relay-a"), identity("relay-b"), identity("relay-r"));
    let fb = ib.fingerprint();
    let (pa, pb, pr) = (free(), free(), free());
    let relay = |fingerprint| {
        Some(Relay { host: "127.0.0.1".into(), port: pr.port(), fingerprint: Some(fingerprint) })
    };
    let at = relay(ir.fingerprint());
    let stop = Arc::new(AtomicBool::new(false));
    let relay = relay_thread(ir, pr, stop.clone());
    let threads =
        [a.start(&ia, pa, Peer::default(), at.clone()), b.start(&ib, pb, Peer::default(), at.clone())];
    for (from, to) in [(&a, &b), (&b, &a)] {
        to.wait("the relay", |e| e.way() == Some(Way::Relay));
        from.wait("somebody who receives", |e| e.encoder.get().connected);
        assert!(from.outgoing.put(unit(1, 20_000)).is_none());
        assert_eq!(to.frame().expect("a frame").data.len(), 20_000);
    }
    // One of them starts again and is told of a direct way: both take it.
    a.stop.store(true, Relaxed);
    let [ta, tb] = threads;
    ta.join().unwrap();
    b.wait("an empty relay", |e| !e.connected());
    let again = End::new();
    let ta = again.start(&ia, pa, Peer { address: Some(pb), fingerprint: Some(fb) }, at);
    for end in [&again, &b] {
        end.wait("the direct way", |e| e.way() == Some(Way::Direct));
    }
    for end in [&again, &b] {
        end.stop.store(true, Relaxed);
    }
    stop.store(true, Relaxed);
    [ta, tb, relay].into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_relay_with_another_certificate_is_not_used() {
    let (a, b) = (End::new(), End::new());
    let (ia, ib, ir) = (identity("false-a"), identity("false-b"), identity("false-r"));
    let (fa, fb) = (ia.fingerprint(), ib.fingerprint());
    let pr = free();
    let at = |fingerprint| {
        Some(Relay { host: "127.0.0.1".into(), port: pr.port(), fingerprint: Some(fingerprint) })
    };
    let (right, wrong) = (at(ir.fingerprint()), at(Fingerprint([7; 32])));
    let stop = Arc::new(AtomicBool::new(false));
    let relay = relay_thread(ir, pr, stop.clone());
    let threads = [
        a.start(&ia, free(), Peer { address: None, fingerprint: Some(fb) }, wrong),
        b.start(&ib, free(), Peer { address: None, fingerprint: Some(fa) }, right),
    ];
    a.wait("word of the relay", |e| e.list().trouble.contains("relay.fingerprint"));
    b.wait("the relay", |e| e.list().at_relay);
    for end in [&a, &b] {
        assert!(!end.connected());
        end.stop.store(true, Relaxed);
    }
    stop.store(true, Relaxed);
    threads.into_iter().chain([relay]).for_each(|t| t.join().unwrap());
}
