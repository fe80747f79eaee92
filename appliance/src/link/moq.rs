//! MoQ on one connection: our broadcast out, the other booth's in, and which of its runs is the newest.
//!
//! A booth publishes `<room>/<booth>/<epoch>`, with a new epoch for each connection. At a relay a dead run stays announced until
//! the relay's time-out, so the newest epoch counts, and a newer one is followed as soon as it is announced.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use moq_net::{Pattern, Patterns, Timescale, announce, broadcast, cache, origin, track};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::session::Ended;

const HOLOGRAM: &str = "hologram";
const FEEDBACK: &str = "feedback";
/// What the other side may make us keep: nothing here lives longer than a datagram.
const CACHE_BYTES: u64 = 1 << 20;
const CACHE_DURATION: Duration = Duration::from_secs(1);
/// From a connection to flowing tracks; through a relay, from a connection to a place at the relay.
pub(super) const SETUP_LIMIT: Duration = Duration::from_secs(3);
/// Runs of the other booth that are remembered. More than a few at once is nonsense.
const RUNS: usize = 16;

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

/// Where broadcasts stand: `<room>/<booth>`, ours and the other booth's.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) ours: String,
    pub(super) theirs: String,
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
        let epoch = std::time::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_millis());
        let broadcast = ours.create_broadcast(format!("{}/{epoch}", names.ours).as_str())?;
        let info = || track::Info::default().with_timescale(Timescale::MICRO);
        let hologram_out = broadcast.create_track(HOLOGRAM, info())?;
        let feedback_out = broadcast.create_track(FEEDBACK, info())?;
        broadcast.announce(Default::default())?;

        // Whatever else is announced, at a relay of many for example, is not even asked for.
        let wanted = Pattern::subtree(&names.theirs).map_err(|_| Ended::Name)?;
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
            runs: Runs::of(&names.theirs),
            _ours: (ours, broadcast),
            _drivers: drivers,
        })
    }

    /// The tracks of the other booth's newest run; when it was met before, those of the next one, whenever that comes.
    ///
    /// # Errors
    /// When the connection is over, or a booth spoken to directly publishes nothing in time.
    pub(super) async fn next(&mut self) -> Result<Tracks, Ended> {
        let patient = self.role == Role::Relay || self.runs.met.is_some();
        let limit = if patient { Duration::MAX } else { SETUP_LIMIT };
        timeout(limit, self.follow()).await.unwrap_or(Err(Ended::Silent))
    }

    async fn follow(&mut self) -> Result<Tracks, Ended> {
        'run: loop {
            let Some(path) = self.runs.newest() else {
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
    let feedback = broadcast.track(FEEDBACK)?.subscribe(subscription(200)).await?;
    let hologram = broadcast.track(HOLOGRAM)?.subscribe(subscription(100)).await?;
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

/// The announced runs of one booth. Pure.
#[derive(Debug)]
pub(super) struct Runs {
    booth: String,
    epochs: BTreeSet<u64>,
    met: Option<u64>,
}

impl Runs {
    pub(super) fn of(booth: &str) -> Self {
        Self { booth: booth.to_owned(), epochs: BTreeSet::new(), met: None }
    }

    /// `path` was announced or withdrawn. Whether that changes which run is the newest.
    pub(super) fn update(&mut self, path: &str, announced: bool) -> bool {
        let before = self.epochs.last().copied();
        let epoch = path.strip_prefix(&self.booth).and_then(|rest| rest.strip_prefix('/')?.parse().ok());
        // The same number in other digits would be another path.
        let Some(epoch) = epoch.filter(|&epoch| self.path(epoch) == path) else { return false };
        if announced {
            self.epochs.insert(epoch);
            if self.epochs.len() > RUNS {
                self.epochs.pop_first();
            }
        } else {
            self.epochs.remove(&epoch);
            self.met = self.met.filter(|&met| met != epoch);
        }
        before != self.epochs.last().copied()
    }

    /// The path of the newest run, unless it was met already.
    pub(super) fn newest(&self) -> Option<String> {
        let epoch = self.epochs.last().copied().filter(|&epoch| self.met != Some(epoch))?;
        Some(self.path(epoch))
    }

    /// The newest run is met, or was not there to be met.
    pub(super) fn met(&mut self) {
        self.met = self.epochs.last().copied();
    }

    fn path(&self, epoch: u64) -> String {
        format!("{}/{epoch}", self.booth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_run_counts() {
        let mut runs = Runs::of("room/b");
        assert!(runs.update("room/b/10", true));
        assert_eq!(runs.newest().as_deref(), Some("room/b/10"));
        runs.met();
        assert_eq!(runs.newest(), None, "once met, only a newer one is news");
        assert!(!runs.update("room/b/9", true), "a dead run that is still announced");
        assert!(!runs.update("room/b/10", true) && runs.newest().is_none());
        assert!(runs.update("room/b/11", true));
        assert_eq!(runs.newest().as_deref(), Some("room/b/11"));
    }

    #[test]
    fn a_run_that_comes_back_is_met_again() {
        let mut runs = Runs::of("room/b");
        runs.update("room/b/10", true);
        runs.met();
        assert!(runs.update("room/b/10", false));
        assert_eq!(runs.newest(), None);
        assert!(runs.update("room/b/10", true));
        assert_eq!(runs.newest().as_deref(), Some("room/b/10"));
    }

    #[test]
    fn what_others_announce_is_none_of_our_business() {
        let mut runs = Runs::of("room/b");
        for path in [
            "",
            "room/b",
            "room/b/",
            "room/b/x",
            "room/b/1/2",
            "room/bb/1",
            "other/b/1",
            "room/b/01",
            "room/b/+1",
            "room/b/99999999999999999999",
            "room/b/-1",
        ] {
            assert!(!runs.update(path, true), "{path}");
        }
        for epoch in 0..1_000 {
            runs.update(&format!("room/b/{epoch}"), true);
        }
        assert!(runs.epochs.len() <= RUNS);
        assert_eq!(runs.newest().as_deref(), Some("room/b/999"));
    }
}
