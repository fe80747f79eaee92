//! Our presence on one connection: our broadcast out, the broadcasts of other booths in.
//!
//! A booth publishes `<room>/<booth>/<instance>`, with a new instance for each connection (see
//! [`super::announcement`]). At a relay a dead instance stays announced until the relay's timeout, so the
//! newest counts, and a newer one is followed as soon as it is announced. All booths of the room are seen
//! there; the tracks of those are taken that a [`watch`] names.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::{Duration, Instant};

use moq_net::{Pattern, Patterns, Timescale, announce, broadcast, cache, origin, track};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::link::carrier::moq::{OurTracks, PeerTracks, track_name};
use crate::link::crypto::instance::{Instance, OwnInstance};
use crate::link::crypto::sealing::{Seals, SharedPair, SharedSender};
use crate::link::error::{Ended, SETUP_LIMIT};
use crate::link::peers::announcement::{Instances, Place};
use crate::link::track::{TRACKS, Track};
use crate::pairing::{Fingerprint, RoomKey};

/// What the other side may make us keep: nothing here lives longer than a datagram.
const CACHE_BYTES: u64 = 1 << 20;
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// At a relay, from one try to take a booth's tracks to the next: it may not have made ours yet.
const REJOIN: Duration = Duration::from_millis(100);
/// Booths for which a feedback track is made. More is nonsense.
const BOOTHS: usize = 64;

/// What stands at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Another booth, which we dialled.
    Dialled,
    /// Another booth, which dialled us.
    Accepted,
    /// A relay, which we dialled.
    Relay,
}

/// Where broadcasts stand, and which is ours.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) own: Fingerprint,
    pub(crate) place: Place,
    /// What the room is sealed with.
    pub(crate) key: Option<RoomKey>,
}

/// The booths whose tracks are wanted.
pub(crate) type Targets = watch::Receiver<BTreeSet<Fingerprint>>;

/// A booth whose tracks flow.
pub(crate) struct Met {
    pub(crate) tracks: PeerTracks,
    /// What is for it alone is encrypted with this.
    pub(crate) pair: Option<SharedPair>,
    /// What goes to all on this connection, and what that is encrypted with.
    pub(crate) ours: OurTracks,
    pub(crate) sender: Option<SharedSender>,
}

/// What happens on a connection.
pub(crate) enum Happened {
    /// The tracks of this booth flow.
    Met(Fingerprint, Box<Met>),
    /// This booth is at the relay, or is there no longer.
    Seen(Fingerprint, bool),
}

/// The end of a try to take a booth's tracks.
type Joined = (Fingerprint, Instance, String, Result<(Vec<track::Subscriber>, broadcast::Consumer), Ended>);

/// A connection on which MoQ is spoken. Tracks of it end when it is dropped.
pub(crate) struct Presence {
    role: Role,
    session: moq_net::Session,
    ours: OurTracks,
    broadcast: broadcast::Producer,
    feedback: BTreeMap<Fingerprint, track::Producer>,
    theirs: origin::Producer,
    announced: announce::Consumer,
    own: Fingerprint,
    targets: Targets,
    instances: Instances,
    joins: JoinSet<Joined>,
    joining: BTreeSet<Fingerprint>,
    seals: Option<Seals>,
    /// What our broadcast hangs on.
    _origin: origin::Producer,
    _drivers: JoinSet<moq_net::Error>,
}

impl Presence {
    /// Sets MoQ up on `connection`.
    ///
    /// # Errors
    /// When the other side does not speak it, takes no datagrams, or takes too long.
    pub(crate) async fn enter(
        connection: &quinn::Connection,
        role: Role,
        names: &Names,
        targets: Targets,
    ) -> Result<Self, Ended> {
        timeout(SETUP_LIMIT, Self::set_up(connection, role, names, targets))
            .await
            .unwrap_or(Err(Ended::Silent))
    }

    async fn set_up(
        connection: &quinn::Connection,
        role: Role,
        names: &Names,
        targets: Targets,
    ) -> Result<Self, Ended> {
        if connection.max_datagram_size().is_none() {
            return Err(Ended::NoDatagrams);
        }
        let mut drivers = JoinSet::new();
        let origin = new_origin(&mut drivers);
        let instance = OwnInstance::new()?;
        let path = names.place.own_path(names.own, &instance);
        let broadcast = origin.create_broadcast(path.as_str())?;
        let create = |track| broadcast.create_track(track_name(track, names.own), track_info());
        let ours = OurTracks { voice: create(Track::Voice)?, hologram: create(Track::Hologram)? };
        let mut feedback = BTreeMap::new();
        for &peer in targets.borrow().iter() {
            feedback.insert(peer, broadcast.create_track(track_name(Track::Feedback, peer), track_info())?);
        }
        broadcast.announce(Default::default())?;

        // Whatever else is announced, at a relay of many for example, is not even asked for.
        let known = targets.borrow().first().copied().filter(|_| role != Role::Relay);
        let wanted = known.map_or_else(|| names.place.room().to_owned(), |who| names.place.booth(who));
        let wanted = Pattern::subtree(&wanted).map_err(|_| Ended::Name)?;
        let theirs = new_origin(&mut drivers).scope("", &Patterns::from(wanted))?;
        let announced = theirs.consume().announced();
        let transport = web_transport_quinn::Session::raw(connection.clone());
        let (session, driver) = if role == Role::Accepted {
            let server = moq_net::Server::new().with_publisher(&origin).with_subscriber(theirs.clone());
            server.accept(Instant::now(), transport).await?
        } else {
            let client = moq_net::Client::new().with_publisher(&origin).with_subscriber(theirs.clone());
            client.connect(Instant::now(), transport).await?
        };
        drivers.spawn(moq_net::time::run(driver));
        Ok(Self {
            role,
            session,
            ours,
            broadcast,
            feedback,
            theirs,
            announced,
            own: names.own,
            targets,
            instances: Instances::at(names.place.clone()),
            joins: JoinSet::new(),
            joining: BTreeSet::new(),
            seals: names.key.clone().map(|key| Seals::new(key, instance, path)).transpose()?,
            _origin: origin,
            _drivers: drivers,
        })
    }

    /// What happens next. The tracks of an instance are met once, unless it was not wanted for a while.
    ///
    /// # Errors
    /// When the connection is over, or a booth spoken to directly publishes nothing in time.
    pub(crate) async fn next(&mut self) -> Result<Happened, Ended> {
        let patient = self.role == Role::Relay || self.instances.have_met();
        let limit = if patient { Duration::MAX } else { SETUP_LIMIT };
        timeout(limit, self.follow()).await.unwrap_or(Err(Ended::Silent))
    }

    async fn follow(&mut self) -> Result<Happened, Ended> {
        loop {
            self.join_all()?;
            tokio::select! {
                Some(Ok(joined)) = self.joins.join_next() => {
                    if let Some(met) = self.joined(joined)? {
                        return Ok(met);
                    }
                }
                update = self.announced.next() => {
                    let update = update.ok_or(Ended::Closed)?;
                    match self.instances.update(update.prefix.as_ref(), update.kind.is_active()) {
                        Some(who) if self.role == Role::Relay && who != self.own => {
                            self.feedback_to(who)?;
                            return Ok(Happened::Seen(who, self.instances.has(who)));
                        }
                        _ => {}
                    }
                }
                () = changed(&mut self.targets) => {}
                error = self.session.closed() => return Err(error.into()),
            }
        }
    }

    /// Our feedback track for `who`.
    fn feedback_to(&mut self, who: Fingerprint) -> Result<Option<track::Producer>, Ended> {
        if let Some(track) = self.feedback.get(&who) {
            return Ok(Some(track.clone()));
        }
        if self.feedback.len() >= BOOTHS {
            return Ok(None);
        }
        let track = self.broadcast.create_track(track_name(Track::Feedback, who), track_info())?;
        Ok(Some(self.feedback.entry(who).or_insert(track).clone()))
    }

    /// Begins to take the tracks of all that are wanted, are here, and are not met.
    fn join_all(&mut self) -> Result<(), Ended> {
        let targets = self.targets.borrow_and_update().clone();
        self.instances.part_all_but(&targets);
        for who in targets {
            if self.joining.contains(&who) {
                continue;
            }
            let Some((instance, path)) = self.instances.newest(who) else { continue };
            if self.feedback_to(who)?.is_none() {
                continue;
            }
            self.joining.insert(who);
            let (theirs, own, patient) = (self.theirs.clone(), self.own, self.role == Role::Relay);
            self.joins.spawn(async move {
                let joined = timeout(SETUP_LIMIT, join(&theirs, &path, own)).await;
                let joined = joined.unwrap_or(Err(Ended::Silent));
                if joined.is_err() && patient {
                    sleep(REJOIN).await;
                }
                (who, instance, path, joined)
            });
        }
        Ok(())
    }

    fn joined(&mut self, (who, instance, path, joined): Joined) -> Result<Option<Happened>, Ended> {
        self.joining.remove(&who);
        // Meanwhile a newer instance came, or nobody wants it any more.
        let newest = self.instances.newest(who).is_some_and(|(newest, _)| newest == instance);
        if !newest || !self.targets.borrow().contains(&who) {
            return Ok(None);
        }
        let (theirs, broadcast) = match joined {
            Ok(joined) => joined,
            Err(e) if self.role == Role::Relay => {
                log::debug!("link: nobody is at {path}: {e}");
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let Ok(theirs) = theirs.try_into() else { return Ok(None) };
        let Some(feedback) = self.feedback_to(who)? else { return Ok(None) };
        self.instances.met(who);
        let pair = self.seals.as_mut().map(|seals| seals.with(&instance, &path)).transpose()?;
        Ok(Some(Happened::Met(
            who,
            Box::new(Met {
                tracks: PeerTracks { theirs, feedback, _broadcast: broadcast },
                pair,
                ours: self.ours.clone(),
                sender: self.seals.as_ref().map(Seals::sender),
            }),
        )))
    }
}

/// Other booths are wanted.
async fn changed(targets: &mut Targets) {
    if targets.changed().await.is_err() {
        pending().await
    }
}

/// Subscribes to the tracks of the broadcast at `path`, in the order of [`TRACKS`]; feedback to the one for
/// us, who are `own`.
async fn join(
    theirs: &origin::Producer,
    path: &str,
    own: Fingerprint,
) -> Result<(Vec<track::Subscriber>, broadcast::Consumer), Ended> {
    let broadcast = theirs.consume().request_broadcast(path).await?;
    let mut tracks = Vec::with_capacity(TRACKS.len());
    for info in &TRACKS {
        let subscription = track::Subscription::default().with_priority(info.priority);
        tracks.push(broadcast.track(&track_name(info.track, own))?.subscribe(subscription).await?);
    }
    Ok((tracks, broadcast))
}

fn track_info() -> track::Info {
    track::Info::default().with_timescale(Timescale::MICRO)
}

fn new_origin(drivers: &mut JoinSet<moq_net::Error>) -> origin::Producer {
    let mut config = origin::Config::default();
    config.pool = cache::Pool::new(cache::Config::default().with_capacity(CACHE_BYTES));
    config.cache_duration = CACHE_DURATION;
    let (producer, driver) = origin::Producer::new(config);
    drivers.spawn(moq_net::time::run(driver));
    producer
}
