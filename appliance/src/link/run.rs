//! Runs: a booth's connections, as they are announced, and which of them is the newest. Pure.
//!
//! A run's path is `<room>/<booth>/<epoch>-<public key>`, and in a room with a key `-<tag>` after that, a MAC over the rest: at a relay
//! where others may announce too, nobody outside the room makes a run of ours. The public key (X25519, RFC 7748) is the run's own; see
//! [`super::seal`].

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use data_encoding::HEXLOWER;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use x25519_dalek::{PublicKey, StaticSecret};

use super::session::Ended;
use crate::pairing::RoomKey;

/// Runs of the other booth that are remembered. More than a few at once is nonsense.
const RUNS: usize = 16;

/// One connection's broadcast; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    /// When it began, in ms since 1970 by the booth's own clock.
    epoch: u64,
    /// No two are alike.
    public: [u8; 32],
}

/// A run of ours.
pub(super) struct OwnRun {
    run: Run,
    secret: StaticSecret,
}

impl OwnRun {
    /// One that begins now.
    ///
    /// # Errors
    /// [`Ended::Random`].
    pub(super) fn new() -> Result<Self, Ended> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| Ended::Random)?;
        let secret = StaticSecret::from(secret);
        let epoch = UNIX_EPOCH.elapsed().map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        Ok(Self { run: Run { epoch, public: PublicKey::from(&secret).to_bytes() }, secret })
    }

    /// As others see it.
    #[cfg(test)]
    pub(super) fn run(&self) -> Run {
        self.run
    }

    /// What only this run and `other` know.
    pub(super) fn agree(&self, other: &Run) -> [u8; 32] {
        self.secret.diffie_hellman(&PublicKey::from(other.public)).to_bytes()
    }
}

/// Where the runs of one booth are announced.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `<room>/<booth>`.
    booth: String,
    tag: Option<hmac::Key>,
}

impl Place {
    pub(super) fn new(booth: String, key: Option<&RoomKey>) -> Self {
        let tag = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key.derive::<32>(&[b"run"])));
        Self { booth, tag }
    }

    /// What all its runs' paths begin with.
    pub(super) fn booth(&self) -> &str {
        &self.booth
    }

    /// The path of a run of ours.
    pub(super) fn own_path(&self, own: &OwnRun) -> String {
        self.path(own.run)
    }

    fn untagged(&self, run: Run) -> String {
        format!("{}/{}-{}", self.booth, run.epoch, HEXLOWER.encode(&run.public))
    }

    fn path(&self, run: Run) -> String {
        let path = self.untagged(run);
        match &self.tag {
            Some(key) => format!("{path}-{}", HEXLOWER.encode(hmac::sign(key, path.as_bytes()).as_ref())),
            None => path,
        }
    }

    fn parse(&self, path: &str) -> Option<Run> {
        let (rest, tag) = match self.tag {
            Some(_) => path.rsplit_once('-').map(|(rest, tag)| (rest, Some(tag)))?,
            None => (path, None),
        };
        let (epoch, public) = rest.strip_prefix(&self.booth)?.strip_prefix('/')?.split_once('-')?;
        let public = HEXLOWER.decode(public.as_bytes()).ok()?.try_into().ok()?;
        let run = Run { epoch: epoch.parse().ok()?, public };
        // The same numbers in other digits would be another path.
        if self.untagged(run) != rest {
            return None;
        }
        if let (Some(key), Some(tag)) = (&self.tag, tag) {
            hmac::verify(key, rest.as_bytes(), &HEXLOWER.decode(tag.as_bytes()).ok()?).ok()?;
        }
        Some(run)
    }
}

/// The announced runs of one booth.
#[derive(Debug)]
pub(super) struct Runs {
    place: Place,
    announced: BTreeSet<Run>,
    met: Option<Run>,
}

impl Runs {
    pub(super) fn at(place: Place) -> Self {
        Self { place, announced: BTreeSet::new(), met: None }
    }

    /// `path` was announced or withdrawn. Whether that changes which run is the newest.
    pub(super) fn update(&mut self, path: &str, announced: bool) -> bool {
        let before = self.announced.last().copied();
        let Some(run) = self.place.parse(path) else { return false };
        if announced {
            self.announced.insert(run);
            if self.announced.len() > RUNS {
                self.announced.pop_first();
            }
        } else {
            self.announced.remove(&run);
            self.met = self.met.filter(|&met| met != run);
        }
        before != self.announced.last().copied()
    }

    /// The newest run and its path, unless it was met already.
    pub(super) fn newest(&self) -> Option<(Run, String)> {
        let run = self.announced.last().copied().filter(|&run| self.met != Some(run))?;
        Some((run, self.place.path(run)))
    }

    /// The newest run is met, or was not there to be met.
    pub(super) fn met(&mut self) {
        self.met = self.announced.last().copied();
    }

    /// Whether any was met.
    pub(super) fn have_met(&self) -> bool {
        self.met.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: Option<u8>) -> Place {
        Place::new("room/b".to_owned(), key.map(|byte| RoomKey::of([byte; 32])).as_ref())
    }

    fn run(epoch: u64) -> Run {
        Run { epoch, public: [7; 32] }
    }

    #[test]
    fn the_newest_run_counts() {
        for place in [place(None), place(Some(1))] {
            let path = |epoch| place.path(run(epoch));
            let newest = |runs: &Runs| runs.newest().map(|(_, path)| path);
            let mut runs = Runs::at(place.clone());
            assert!(runs.update(&path(10), true));
            assert_eq!(newest(&runs), Some(path(10)));
            runs.met();
            assert_eq!(newest(&runs), None, "once met, only a newer one is news");
            assert!(!runs.update(&path(9), true), "a dead run that is still announced");
            assert!(!runs.update(&path(10), true) && runs.newest().is_none());
            assert!(runs.update(&path(11), true));
            assert_eq!(newest(&runs), Some(path(11)));
        }
    }

    #[test]
    fn a_run_that_comes_back_is_met_again() {
        let place = place(Some(1));
        let path = place.path(run(10));
        let mut runs = Runs::at(place);
        runs.update(&path, true);
        runs.met();
        assert!(runs.have_met() && runs.update(&path, false));
        assert!(runs.newest().is_none() && !runs.have_met());
        assert!(runs.update(&path, true));
        assert_eq!(runs.newest(), Some((run(10), path)));
    }

    #[test]
    fn both_ends_of_two_runs_agree_and_nobody_else() {
        let [a, b, c] = [(); 3].map(|()| OwnRun::new().unwrap());
        assert_eq!(a.agree(&b.run), b.agree(&a.run));
        assert_ne!(a.agree(&b.run), a.agree(&c.run));
        assert!(a.run.epoch > 1_700_000_000_000);
        let place = place(Some(1));
        assert_eq!(place.parse(&place.own_path(&a)), Some(a.run));
    }

    #[test]
    fn what_others_announce_is_none_of_our_business() {
        for (key, place) in [(None, place(None)), (Some(1), place(Some(1)))] {
            let mut runs = Runs::at(place.clone());
            let good = place.path(run(1));
            let at = good.find('-').unwrap();
            let spellings = ["/01", "/+1", "/-1", "b/1", "/1/2", "/99999999999999999999", "/"];
            let odd = spellings.map(|epoch| format!("room/b{epoch}{}", &good[at..]));
            let cut = (0..good.len()).map(|end| good[..end].to_owned());
            let others = [
                good.to_uppercase(),
                format!("{good}0"),
                format!("{good}-00"),
                good.replace("room", "r"),
                "é".repeat(90),
            ];
            for path in odd.into_iter().chain(cut).chain(others) {
                assert!(!runs.update(&path, true), "{key:?}: {path}");
            }
            assert!(runs.announced.is_empty());
            (0..1_000).for_each(|epoch| {
                runs.update(&place.path(run(epoch)), true);
            });
            assert!(runs.announced.len() <= RUNS);
            assert_eq!(runs.newest().map(|(run, _)| run), Some(run(999)));
        }
    }

    #[test]
    fn nobody_outside_the_room_makes_a_run() {
        let ours = place(Some(1));
        let mut runs = Runs::at(ours.clone());
        let stranger = place(Some(2)).path(run(u64::MAX));
        assert!(!runs.update(&stranger, true));
        assert!(!runs.update(&place(None).path(run(u64::MAX)), true));
        let later = ours.path(run(10)).replacen("/10-", "/11-", 1);
        assert!(!runs.update(&later, true), "a real one, made newer");
        assert!(runs.update(&ours.path(run(10)), true));
    }
}
