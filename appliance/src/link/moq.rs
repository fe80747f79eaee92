//! MoQ on one connection: our broadcast out, the other booth's in.
//!
//! A booth publishes `<room>/<booth>/<run>`, with a new run for each connection (see [`super::run`]). At a relay a dead run stays
//! announced until the relay's time-out, so the newest counts, and a newer one is followed as soon as it is announced.

use std::pin::pin;
use std::time::{Duration, Instant};

use moq_net::{Pattern, Patterns, Timescale, announce, broadcast, cache, origin, track};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::run::{OwnRun, Place, Runs};
use super::seal::{self, Seals};
use super::session::Ended;
use super::wire::Track;
use crate::pairing::RoomKey;

/// What the other side may make us keep: nothing here lives longer than a datagram.
const CACHE_BYTES: u64 = 1 << 20;
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// From a connection to flowing tracks; through a relay, from a connection to a place at the relay.
pub(super) const SETUP_LIMIT: Duration = Duration::from_secs(3);

/// What stands at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The other booth, which we dialled.
    Dialled,
    /// The other booth, which dialled us.
    Accepted,
    /// A relay, which we dialled.
    Relay,
}

/// Where broadcasts stand, ours and the other booth's.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) ours: Place,
    pub(super) theirs: Place,
    /// What the room is sealed with.
    pub(super) key: Option<RoomKey>,
}

/// A track of ours and the same track of the other booth.
pub(super) struct Lane {
    pub(super) ours: track::Producer,
    pub(super) theirs: track::Subscriber,
}

/// The tracks of one session.
pub(super) struct Tracks {
    pub(super) hologram: Lane,
    pub(super) feedback: Lane,
    /// The connection leads to the other booth itself, so that what fits it fits the whole way.
    pub(super) direct: bool,
    /// What they are sealed with.
    pub(super) seal: Option<seal::Shared>,
    /// What the incoming tracks hang on: they end when it is dropped.
    _broadcast: broadcast::Consumer,
}

/// A connection on which MoQ is spoken. Tracks of it end when it is dropped.
pub(super) struct Meeting {
    role: Role,
    session: moq_net::Session,
    hologram_out: track::Producer,
    feedback_out: track::Producer,
    theirs: origin::Producer,
    announced: announce::Consumer,
    runs: Runs,
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
    pub(super) async fn enter(
        connection: &quinn::Connection,
        role: Role,
        names: &Names,
    ) -> Result<Self, Ended> {
        timeout(SETUP_LIMIT, Self::set_up(connection, role, names)).await.unwrap_or(Err(Ended::Silent))
    }

    async fn set_up(connection: &quinn::Connection, role: Role, names: &Names) -> Result<Self, Ended> {
        if connection.max_datagram_size().is_none() {
            return Err(Ended::NoDatagrams);
        }
        let mut drivers = JoinSet::new();
        let ours = new_origin(&mut drivers);
        let run = OwnRun::new()?;
        let path = names.ours.own_path(&run);
        let broadcast = ours.create_broadcast(path.as_str())?;
        let info = || track::Info::default().with_timescale(Timescale::MICRO);
        let hologram_out = broadcast.create_track(Track::Hologram.name(), info())?;
        let feedback_out = broadcast.create_track(Track::Feedback.name(), info())?;
        broadcast.announce(Default::default())?;

        // Whatever else is announced, at a relay of many for example, is not even asked for.
        let wanted = Pattern::subtree(names.theirs.booth()).map_err(|_| Ended::Name)?;
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
            runs: Runs::at(names.theirs.clone()),
            seals: names.key.clone().map(|key| Seals::new(key, run, path)),
            _ours: (ours, broadcast),
            _drivers: drivers,
        })
    }

    /// The tracks of the other booth's newest run; when it was met before, those of the next one, whenever that comes.
    ///
    /// # Errors
    /// When the connection is over, or a booth spoken to directly publishes nothing in time.
    pub(super) async fn next(&mut self) -> Result<Tracks, Ended> {
        let patient = self.role == Role::Relay || self.runs.have_met();
        let limit = if patient { Duration::MAX } else { SETUP_LIMIT };
        timeout(limit, self.follow()).await.unwrap_or(Err(Ended::Silent))
    }

    async fn follow(&mut self) -> Result<Tracks, Ended> {
        'run: loop {
            let Some((run, path)) = self.runs.newest() else {
                let update = tokio::select! {
                    update = self.announced.next() => update.ok_or(Ended::Closed)?,
                    error = self.session.closed() => return Err(error.into()),
                };
                self.runs.update(update.prefix.as_ref(), update.kind.is_active());
                continue;
            };
            let mut joining = pin!(join(&self.theirs, &path));
            let joined = loop {
                tokio::select! {
                    joined = &mut joining => break joined,
                    update = self.announced.next() => {
                        let update = update.ok_or(Ended::Closed)?;
                        if self.runs.update(update.prefix.as_ref(), update.kind.is_active()) {
                            continue 'run;
                        }
                    }
                    error = self.session.closed() => return Err(error.into()),
                }
            };
            self.runs.met();
            match joined {
                Ok(([hologram, feedback], broadcast)) => {
                    return Ok(Tracks {
                        hologram: Lane { ours: self.hologram_out.clone(), theirs: hologram },
                        feedback: Lane { ours: self.feedback_out.clone(), theirs: feedback },
                        direct: self.role != Role::Relay,
                        seal: self.seals.as_mut().map(|seals| seals.with(&run, &path)).transpose()?,
                        _broadcast: broadcast,
                    });
                }
                Err(e) if self.role == Role::Relay => log::debug!("link: nobody is at {path}: {e}"),
                Err(e) => return Err(e),
            }
        }
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
