//! MoQ on one connection: our broadcast out, the other booth's in.
//!
//! A booth publishes `<room>/<booth>/<run>`, with a new instance for each connection (see [`crate::link::crypto::instance`]). At a relay a dead instance stays
//! announced until the relay's time-out, so the newest counts, and a newer one is followed as soon as it is announced. All booths of
//! the room are seen there; the tracks of one are taken, whose it is says a [`watch`].

use std::future::pending;
use std::time::{Duration, Instant};

use moq_net::{Pattern, Patterns, Timescale, announce, broadcast, cache, origin, track};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::link::crypto::instance::{Instances, OwnInstance, Place};
use crate::link::crypto::sealing::{self, Seals};
use crate::link::error::{Ended, SETUP_LIMIT};
use crate::link::track::Track;
use crate::pairing::{Fingerprint, RoomKey};

/// What the other side may make us keep: nothing here lives longer than a datagram.
const CACHE_BYTES: u64 = 1 << 20;
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// What stands at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The other booth, which we dialled.
    Dialled,
    /// The other booth, which dialled us.
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

/// The booth whose tracks are wanted.
pub(crate) type Target = watch::Receiver<Option<Fingerprint>>;

/// What happens on a connection.
pub(crate) enum Happened {
    /// The tracks of this booth flow.
    Met(Fingerprint, Box<Tracks>),
    /// This booth is at the relay, or is there no longer.
    Seen(Fingerprint, bool),
}

/// A track of ours and the same track of the other booth.
pub(crate) struct Lane {
    pub(crate) ours: track::Producer,
    pub(crate) theirs: track::Subscriber,
}

/// The tracks of one session.
pub(crate) struct Tracks {
    pub(crate) hologram: Lane,
    pub(crate) feedback: Lane,
    /// The connection leads to the other booth itself, so that what fits it fits the whole way.
    pub(crate) direct: bool,
    /// What they are sealed with.
    pub(crate) seal: Option<sealing::Shared>,
    /// What the incoming tracks hang on: they end when it is dropped.
    _broadcast: broadcast::Consumer,
}

/// A connection on which MoQ is spoken. Tracks of it end when it is dropped.
pub(crate) struct Meeting {
    role: Role,
    session: moq_net::Session,
    hologram_out: track::Producer,
    feedback_out: track::Producer,
    theirs: origin::Producer,
    announced: announce::Consumer,
    own: Fingerprint,
    target: Target,
    instances: Instances,
    seals: Option<Seals>,
    /// What our tracks hang on.
    _ours: (origin::Producer, broadcast::Producer),
    _drivers: JoinSet<moq_net::Error>,
}

impl Meeting {
    /// Sets MoQ up on `connection`.
    ///
    /// # Errors
    /// When the other side does not speak it, takes no datagrams, or takes too long.
    pub(crate) async fn enter(
        connection: &quinn::Connection,
        role: Role,
        names: &Names,
        target: Target,
    ) -> Result<Self, Ended> {
        timeout(SETUP_LIMIT, Self::set_up(connection, role, names, target))
            .await
            .unwrap_or(Err(Ended::Silent))
    }

    async fn set_up(
        connection: &quinn::Connection,
        role: Role,
        names: &Names,
        target: Target,
    ) -> Result<Self, Ended> {
        if connection.max_datagram_size().is_none() {
            return Err(Ended::NoDatagrams);
        }
        let mut drivers = JoinSet::new();
        let ours = new_origin(&mut drivers);
        let run = OwnInstance::new()?;
        let path = names.place.own_path(names.own, &run);
        let broadcast = ours.create_broadcast(path.as_str())?;
        let info = || track::Info::default().with_timescale(Timescale::MICRO);
        let hologram_out = broadcast.create_track(Track::Hologram.name(), info())?;
        let feedback_out = broadcast.create_track(Track::Feedback.name(), info())?;
        broadcast.announce(Default::default())?;

        // Whatever else is announced, at a relay of many for example, is not even asked for.
        let known = target.borrow().filter(|_| role != Role::Relay);
        let wanted = known.map_or_else(|| names.place.room().to_owned(), |who| names.place.booth(who));
        let wanted = Pattern::subtree(&wanted).map_err(|_| Ended::Name)?;
        let theirs = new_origin(&mut drivers).scope("", &Patterns::from(wanted))?;
        let announced = theirs.consume().announced();
        let transport = web_transport_quinn::Session::raw(connection.clone());
        let (session, driver) = if role == Role::Accepted {
            let server = moq_net::Server::new().with_publisher(&ours).with_subscriber(theirs.clone());
            server.accept(Instant::now(), transport).await?
        } else {
            let client = moq_net::Client::new().with_publisher(&ours).with_subscriber(theirs.clone());
            client.connect(Instant::now(), transport).await?
        };
        drivers.spawn(moq_net::time::run(driver));
        Ok(Self {
            role,
            session,
            hologram_out,
            feedback_out,
            theirs,
            announced,
            own: names.own,
            target,
            instances: Instances::at(names.place.clone()),
            seals: names.key.clone().map(|key| Seals::new(key, run, path)),
            _ours: (ours, broadcast),
            _drivers: drivers,
        })
    }

    /// What happens next. The tracks of an instance are met once.
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
            let target = *self.target.borrow_and_update();
            let newest = target.and_then(|who| Some((who, self.instances.newest(who)?)));
            let joining = async {
                match &newest {
                    Some((_, (_, path))) => join(&self.theirs, path).await,
                    None => pending().await,
                }
            };
            let joined = tokio::select! {
                joined = joining => joined,
                update = self.announced.next() => {
                    let update = update.ok_or(Ended::Closed)?;
                    match self.instances.update(update.prefix.as_ref(), update.kind.is_active()) {
                        Some(who) if self.role == Role::Relay && who != self.own => {
                            return Ok(Happened::Seen(who, self.instances.has(who)));
                        }
                        _ => continue,
                    }
                }
                () = changed(&mut self.target) => continue,
                error = self.session.closed() => return Err(error.into()),
            };
            let Some((who, (run, path))) = newest else { continue };
            self.instances.met(who);
            match joined {
                Ok(([hologram, feedback], broadcast)) => {
                    let tracks = Tracks {
                        hologram: Lane { ours: self.hologram_out.clone(), theirs: hologram },
                        feedback: Lane { ours: self.feedback_out.clone(), theirs: feedback },
                        direct: self.role != Role::Relay,
                        seal: self.seals.as_mut().map(|seals| seals.with(&run, &path)).transpose()?,
                        _broadcast: broadcast,
                    };
                    return Ok(Happened::Met(who, Box::new(tracks)));
                }
                Err(e) if self.role == Role::Relay => log::debug!("link: nobody is at {path}: {e}"),
                Err(e) => return Err(e),
            }
        }
    }
}

/// Another booth is wanted.
async fn changed(target: &mut Target) {
    if target.changed().await.is_err() {
        pending().await
    }
}

/// Subscribes to the tracks `hologram` and `feedback` of the broadcast at `path`.
async fn join(
    theirs: &origin::Producer,
    path: &str,
) -> Result<([track::Subscriber; 2], broadcast::Consumer), Ended> {
    let broadcast = theirs.consume().request_broadcast(path).await?;
    let subscription = |priority| track::Subscription::default().with_priority(priority);
    let feedback = broadcast.track(Track::Feedback.name())?.subscribe(subscription(200)).await?;
    let hologram = broadcast.track(Track::Hologram.name())?.subscribe(subscription(100)).await?;
    Ok(([hologram, feedback], broadcast))
}

fn new_origin(drivers: &mut JoinSet<moq_net::Error>) -> origin::Producer {
    let mut config = origin::Config::default();
    config.pool = cache::Pool::new(cache::Config::default().with_capacity(CACHE_BYTES));
    config.cache_duration = CACHE_DURATION;
    let (producer, driver) = origin::Producer::new(config);
    drivers.spawn(moq_net::time::run(driver));
    producer
}
