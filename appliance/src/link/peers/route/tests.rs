use super::*;

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;
const T0: u64 = 1_000 * S;

fn dials(route: &mut Route, now_us: u64) -> (bool, bool) {
    (route.dial(Way::Direct, now_us), route.dial(Way::Relay, now_us))
}

/// A route whose session on `way` was heard just now; its connection is 1.
fn carried(way: Way) -> Route {
    let mut route = Route::new(true, true, T0);
    dials(&mut route, T0);
    route.dial_failed(Way::Direct, T0);
    assert!(route.up(1, way, true, true, T0 + S) && route.met(1, T0 + S) && route.heard(T0 + S));
    assert!(route.way() == Some(way) && route.has_peer(T0 + S));
    route
}

#[test]
fn direct_has_a_head_start() {
    let mut route = Route::new(true, true, T0);
    assert_eq!(dials(&mut route, T0), (true, false));
    assert_eq!(dials(&mut route, T0 + GRACE_US - 1), (false, false), "under way");
    assert_eq!(dials(&mut route, T0 + GRACE_US), (false, true));
    assert_eq!(dials(&mut Route::new(false, true, T0), T0), (false, true), "nothing to wait for");
    assert_eq!(dials(&mut Route::new(true, false, T0), T0 + S), (true, false), "no relay");
}

#[test]
fn dials_that_fail_become_rarer() {
    let mut route = Route::new(true, false, T0);
    let mut times = vec![];
    for ms in 0..10_000 {
        let now = T0 + ms * MS;
        if route.dial(Way::Direct, now) {
            times.push(ms);
            route.dial_failed(Way::Direct, now);
        }
    }
    assert_eq!(&times[..6], [0, 50, 150, 350, 750, 1550]);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 1_000), "{times:?}");
}

#[test]
fn a_direct_session_is_left_alone() {
    let mut route = carried(Way::Direct);
    for ms in 0..60_000 {
        let now = T0 + S + ms * MS;
        if ms % 100 == 0 {
            route.heard(now);
        }
        assert_eq!(dials(&mut route, now), (false, false));
    }
    assert!(!route.up(2, Way::Relay, true, true, T0 + 61 * S), "nobody needs the relay");
}

#[test]
fn a_quiet_session_is_replaced_but_not_dropped() {
    let mut route = carried(Way::Direct);
    assert_eq!(dials(&mut route, T0 + S + 500 * MS), (false, false));
    let now = T0 + S + 601 * MS;
    assert_eq!(dials(&mut route, now), (true, true));
    assert!(route.up(2, Way::Relay, true, true, now + 20 * MS));
    assert!(!route.dial(Way::Relay, now + 2 * S), "one that is up is waited for");
    assert!(route.keeps(1, now) && route.way() == Some(Way::Direct), "it may yet come back");
    assert!(route.met(2, now + 40 * MS));
    assert!(
        !route.keeps(1, now + 40 * MS),
        "and is then dialled, for nothing more comes on a given-up connection"
    );
    route.dial_failed(Way::Direct, now + S);
    assert!(route.dial(Way::Direct, now + 7 * S));
}

#[test]
fn a_session_that_is_heard_again_stays() {
    let mut route = carried(Way::Direct);
    let now = T0 + S + 601 * MS;
    assert_eq!(dials(&mut route, now), (true, true));
    assert!(route.up(2, Way::Relay, true, true, now + MS));
    route.heard(now + 2 * MS);
    assert!(!route.met(2, now + 3 * MS) && !route.keeps(2, now + 3 * MS) && route.keeps(1, now + 3 * MS));
}

#[test]
fn a_machine_that_stood_still_has_not_listened() {
    let mut route = carried(Way::Direct);
    route.look(T0 + S);
    route.look(T0 + 3 * S);
    assert_eq!(dials(&mut route, T0 + 3 * S), (false, false), "what came meanwhile is still to be read");
    for ms in (0..=601).step_by(25) {
        route.look(T0 + 3 * S + ms * MS);
    }
    assert_eq!(dials(&mut route, T0 + 3 * S + 601 * MS), (true, true));
}

#[test]
fn direct_takes_the_relays_place() {
    let mut route = carried(Way::Relay);
    let tries = (0..20_000).filter(|ms| {
        let now = T0 + S + ms * MS;
        route.heard(now);
        let tried = route.dial(Way::Direct, now);
        if tried {
            route.dial_failed(Way::Direct, now);
        }
        tried
    });
    assert!((5..=8).contains(&tries.count()));
    let now = T0 + 21 * S;
    assert!(route.up(2, Way::Direct, false, false, now) && route.keeps(1, now), "not before it carries");
    assert!(route.met(2, now) && !route.keeps(1, now));
    assert!(route.has_peer(now), "a switch is no farewell");
}

#[test]
fn of_two_that_cross_both_booths_keep_the_same() {
    for first_stays in [true, false] {
        let mut route = Route::new(true, false, T0);
        assert!(route.up(1, Way::Direct, true, first_stays, T0));
        assert_eq!(route.up(2, Way::Direct, false, !first_stays, T0 + 10 * MS), !first_stays);
        assert_eq!(route.keeps(1, T0), first_stays);
        assert!(
            route.up(3, Way::Direct, false, !first_stays, T0 + 2 * S),
            "a later one has a reason to come"
        );
    }
}

#[test]
fn a_direct_connection_that_meets_nobody_is_not_waited_for() {
    let mut route = Route::new(true, false, T0);
    assert!(route.up(1, Way::Direct, false, true, T0));
    assert!(!route.dial(Way::Direct, T0 + 900 * MS) && route.dial(Way::Direct, T0 + S));
    assert!(route.up(2, Way::Direct, true, false, T0 + S + 40 * MS) && !route.keeps(1, T0 + 2 * S));
}

#[test]
fn a_change_of_the_network_hurries() {
    let mut route = carried(Way::Relay);
    for _ in 0..4 {
        route.dial_failed(Way::Direct, T0 + S);
    }
    route.heard(T0 + 2 * S);
    assert_eq!(dials(&mut route, T0 + 2 * S), (false, false));
    route.network_changed(T0 + 2 * S);
    assert_eq!(dials(&mut route, T0 + 2 * S), (true, false));
    let mut route = carried(Way::Direct);
    route.network_changed(T0 + S);
    assert_eq!(dials(&mut route, T0 + S + 200 * MS), (false, false), "reports may still come");
    assert_eq!(dials(&mut route, T0 + S + 300 * MS), (true, true));
}

#[test]
fn a_direct_way_that_never_lasts_is_tried_seldom() {
    let mut route = carried(Way::Relay);
    let (mut now, mut id, mut switches) = (T0 + S, 10, 0);
    while now < T0 + 600 * S {
        now += 10 * MS;
        route.heard(now);
        if route.dial(Way::Direct, now) {
            assert!(route.up(id, Way::Direct, true, true, now) && route.met(id, now) && route.heard(now));
            route.gone(id, now);
            assert!(
                route.up(id + 1, Way::Relay, true, true, now) && route.met(id + 1, now) && route.heard(now)
            );
            (id, switches) = (id + 2, switches + 1);
        }
    }
    assert!((8..20).contains(&switches), "{switches} switches in ten minutes");
}

/// Two booths, one network, both directions of a way alike.
struct World {
    now_us: u64,
    /// Whether each of [`WAYS`] works.
    works: [bool; 2],
    booths: [Booth; 2],
    wires: Vec<Wire>,
}

struct Booth {
    route: Route,
    session: Option<Id>,
    dials: Vec<(Way, u64)>,
}

/// A connection: of both booths, or of one with the relay.
struct Wire {
    way: Way,
    dialler: usize,
    dead_us: u64,
    /// For each booth: none before it is up; then since when, and whether it met.
    ends: [Option<(u64, bool)>; 2],
    closed: [bool; 2],
}

const LATENCY_US: u64 = 20 * MS;
const IDLE_US: u64 = 2 * S;

impl World {
    fn new() -> Self {
        let booth = || Booth { route: Route::new(true, true, T0), session: None, dials: vec![] };
        Self { now_us: T0, works: [true, true], booths: [booth(), booth()], wires: vec![] }
    }

    /// One millisecond. The number of a wire is its id at both booths.
    fn step(&mut self) {
        self.now_us += MS;
        let now = self.now_us;
        for n in 0..2 {
            for way in WAYS {
                if self.booths[n].route.dial(way, now) {
                    self.booths[n].dials.push((way, now));
                }
            }
            for (way, since) in std::mem::take(&mut self.booths[n].dials) {
                if self.works[way as usize] && now >= since + 2 * LATENCY_US {
                    let wire = Wire { way, dialler: n, dead_us: 0, ends: [None; 2], closed: [false; 2] };
                    self.wires.push(wire);
                    self.rise(self.wires.len() - 1, n);
                } else if now >= since + S {
                    self.booths[n].route.dial_failed(way, now);
                } else {
                    self.booths[n].dials.push((way, since));
                }
            }
        }
        for id in 0..self.wires.len() {
            self.wire(id);
        }
        for n in 0..2 {
            self.hear(n);
            self.tidy(n);
        }
    }

    fn rise(&mut self, id: usize, n: usize) {
        let wire = &mut self.wires[id];
        // The dials of booth 0 are those that stay.
        let accepted =
            self.booths[n].route.up(id as Id, wire.way, wire.dialler == n, wire.dialler == 0, self.now_us);
        wire.ends[n] = Some((self.now_us, false));
        wire.closed[n] = !accepted;
    }

    fn wire(&mut self, id: usize) {
        let now = self.now_us;
        let works = self.works[self.wires[id].way as usize];
        let wire = &mut self.wires[id];
        wire.dead_us = if works { 0 } else { wire.dead_us + MS };
        let (way, dialler, dead) = (wire.way, wire.dialler, wire.dead_us > IDLE_US);
        if way == Way::Direct && wire.ends[1 - dialler].is_none() && works && !dead {
            let up = wire.ends[dialler].is_some_and(|(since, _)| now >= since + LATENCY_US);
            if up && !wire.closed[dialler] {
                self.rise(id, 1 - dialler);
            }
        }
        for n in 0..2 {
            let Some((since, met)) = self.wires[id].ends[n] else { continue };
            let wire = &self.wires[id];
            let closed_there = way == Way::Direct && wire.closed[1 - n] && works;
            if !wire.closed[n] && (dead || closed_there) {
                self.wires[id].closed[n] = true;
                self.booths[n].route.gone(id as Id, now);
                if self.booths[n].session == Some(id as Id) {
                    self.booths[n].session = None;
                }
                continue;
            }
            let peer_is_there = match way {
                Way::Direct => wire.ends[1 - n].is_some(),
                Way::Relay => self.wires.iter().any(|other| {
                    other.way == Way::Relay
                        && other.dialler == 1 - n
                        && !other.closed[1 - n]
                        && other.dead_us == 0
                }),
            };
            if !wire.closed[n] && !met && works && peer_is_there && now >= since + 3 * LATENCY_US {
                self.wires[id].ends[n] = Some((since, true));
                if self.booths[n].route.met(id as Id, now) {
                    self.booths[n].session = Some(id as Id);
                }
            }
        }
    }

    /// A report comes through when both booths' sessions are on the same way.
    fn hear(&mut self, n: usize) {
        let (Some(own), Some(other)) = (self.booths[n].session, self.booths[1 - n].session) else { return };
        let (a, b) = (&self.wires[own as usize], &self.wires[other as usize]);
        let same = a.way == b.way && (a.way == Way::Relay || own == other);
        if same && self.works[a.way as usize] && (self.now_us / MS).is_multiple_of(100) {
            self.booths[n].route.heard(self.now_us);
        }
    }

    fn tidy(&mut self, n: usize) {
        for (id, wire) in self.wires.iter_mut().enumerate() {
            if wire.ends[n].is_some() && !wire.closed[n] && !self.booths[n].route.keeps(id as Id, self.now_us)
            {
                wire.closed[n] = true;
                // What the connection manager is told as well.
                self.booths[n].route.gone(id as Id, self.now_us);
            }
        }
    }

    fn agreed(&self) -> Option<Way> {
        let [a, b] = [0, 1].map(|n| {
            let booth = &self.booths[n];
            booth.route.way().filter(|_| booth.route.has_peer(self.now_us))
        });
        a.filter(|_| a == b)
    }
}

#[test]
fn both_booths_always_come_to_the_best_way_that_works() {
    for seed in 1..=20u64 {
        let mut random = seed;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut world = World::new();
        for _ in 0..12 {
            world.works = [next(2) == 0, next(3) > 0];
            for _ in 0..next(8_000) {
                world.step();
            }
        }
        for (works, best) in
            [([false, true], Way::Relay), ([true, true], Way::Direct), ([true, false], Way::Direct)]
        {
            world.works = works;
            let mut steps = 0;
            // Direct, when it often failed, is given a rest first.
            while world.agreed() != Some(best) || steps < 5_000 {
                world.step();
                steps += 1;
                assert!(steps < 80_000, "seed {seed}: {best:?} never carried with {works:?}");
            }
            if best == Way::Relay {
                assert!(steps < 8_000, "seed {seed}: {steps} ms to the relay");
            }
        }
        assert!(world.wires.len() < 300, "seed {seed}: {} connections", world.wires.len());
    }
}
