//! Announcements: which instances of which booths are there, and which of a booth's is the newest. No I/O.
//!
//! An instance's path is `<room>/<fingerprint>/<epoch>-<public key>`, and in a room with a key `-<tag>` after
//! that, a MAC over the rest: at a relay where others may announce too, nobody outside the room makes an
//! instance of ours.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::link::crypto::instance::{Instance, OwnInstance};
use crate::pairing::{Fingerprint, RoomKey};

/// Instances of one booth that are remembered. More than a few at once is nonsense.
const INSTANCES: usize = 16;
/// Booths that are.
const BOOTHS: usize = 64;

/// Where the instances of a room's booths are announced.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    room: String,
    tag: Option<hmac::Key>,
}

impl Place {
    /// The room that holds `key`, or `unsealed` where booths meet that have none.
    pub(crate) fn new(unsealed: &str, key: Option<&RoomKey>) -> Self {
        let tag = key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key.derive::<32>(&[b"instance"])));
        Self { room: key.map_or(unsealed.to_owned(), RoomKey::id), tag }
    }

    /// What all its instances' paths begin with.
    pub(crate) fn room(&self) -> &str {
        &self.room
    }

    /// What the paths of all instances of `who` begin with.
    pub(crate) fn booth(&self, who: Fingerprint) -> String {
        format!("{}/{who}", self.room)
    }

    /// The path of an instance of ours, who are `who`.
    pub(crate) fn own_path(&self, who: Fingerprint, own: &OwnInstance) -> String {
        self.path(who, own.instance())
    }

    fn untagged(&self, who: Fingerprint, instance: Instance) -> String {
        format!("{}/{who}/{}-{}", self.room, instance.epoch, HEXLOWER.encode(&instance.public))
    }

    fn path(&self, who: Fingerprint, instance: Instance) -> String {
        let path = self.untagged(who, instance);
        match &self.tag {
            Some(key) => format!("{path}-{}", HEXLOWER.encode(hmac::sign(key, path.as_bytes()).as_ref())),
            None => path,
        }
    }

    fn parse(&self, path: &str) -> Option<(Fingerprint, Instance)> {
        let (rest, tag) = match self.tag {
            Some(_) => path.rsplit_once('-').map(|(rest, tag)| (rest, Some(tag)))?,
            None => (path, None),
        };
        let (who, instance) = rest.strip_prefix(&self.room)?.strip_prefix('/')?.split_once('/')?;
        let who = Fingerprint::parse(who)?;
        let (epoch, public) = instance.split_once('-')?;
        let public = HEXLOWER.decode(public.as_bytes()).ok()?.try_into().ok()?;
        let instance = Instance { epoch: epoch.parse().ok()?, public };
        // The same numbers in other digits would be another path.
        if self.untagged(who, instance) != rest {
            return None;
        }
        if let (Some(key), Some(tag)) = (&self.tag, tag) {
            hmac::verify(key, rest.as_bytes(), &HEXLOWER.decode(tag.as_bytes()).ok()?).ok()?;
        }
        Some((who, instance))
    }
}

/// The announced instances of a room.
#[derive(Debug)]
pub(crate) struct Instances {
    place: Place,
    announced: BTreeMap<Fingerprint, BTreeSet<Instance>>,
    met: BTreeMap<Fingerprint, Instance>,
}

impl Instances {
    pub(crate) fn at(place: Place) -> Self {
        Self { place, announced: BTreeMap::new(), met: BTreeMap::new() }
    }

    /// `path` was announced or withdrawn. The booth whose newest instance is another one now.
    pub(crate) fn update(&mut self, path: &str, announced: bool) -> Option<Fingerprint> {
        let (who, instance) = self.place.parse(path)?;
        if !self.announced.contains_key(&who) && (!announced || self.announced.len() >= BOOTHS) {
            return None;
        }
        let instances = self.announced.entry(who).or_default();
        let before = instances.last().copied();
        if announced {
            instances.insert(instance);
            if instances.len() > INSTANCES {
                instances.pop_first();
            }
        } else {
            instances.remove(&instance);
            if self.met.get(&who) == Some(&instance) {
                self.met.remove(&who);
            }
        }
        let after = instances.last().copied();
        if after.is_none() {
            self.announced.remove(&who);
        }
        (before != after).then_some(who)
    }

    /// Whether `who` is there.
    pub(crate) fn has(&self, who: Fingerprint) -> bool {
        self.announced.contains_key(&who)
    }

    /// The newest instance of `who` and its path, unless it was met already.
    pub(crate) fn newest(&self, who: Fingerprint) -> Option<(Instance, String)> {
        let instance = *self.announced.get(&who)?.last()?;
        (self.met.get(&who) != Some(&instance)).then(|| (instance, self.place.path(who, instance)))
    }

    /// The newest instance of `who` is met, or was not there to be met.
    pub(crate) fn met(&mut self, who: Fingerprint) {
        if let Some(&instance) = self.announced.get(&who).and_then(BTreeSet::last) {
            self.met.insert(who, instance);
        }
    }

    /// Whether any was met.
    pub(crate) fn have_met(&self) -> bool {
        !self.met.is_empty()
    }

    /// Of the booths met, only `wanted` stay so: the newest instance of any other may be met again.
    pub(crate) fn part_all_but(&mut self, wanted: &BTreeSet<Fingerprint>) {
        self.met.retain(|who, _| wanted.contains(who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Fingerprint = Fingerprint([0xbb; 32]);
    const C: Fingerprint = Fingerprint([0xcc; 32]);

    fn place(key: Option<u8>) -> Place {
        Place::new("room", key.map(|byte| RoomKey::of([byte; 32])).as_ref())
    }

    fn instance(epoch: u64) -> Instance {
        Instance { epoch, public: [7; 32] }
    }

    #[test]
    fn the_newest_run_of_each_booth_counts() {
        for place in [place(None), place(Some(1))] {
            let path = |epoch| place.path(B, instance(epoch));
            let newest = |instances: &Instances| instances.newest(B).map(|(_, path)| path);
            let mut instances = Instances::at(place.clone());
            assert_eq!(instances.update(&path(10), true), Some(B));
            assert_eq!(newest(&instances), Some(path(10)));
            instances.met(B);
            assert_eq!(newest(&instances), None, "once met, only a newer one is news");
            assert_eq!(instances.update(&path(9), true), None, "a dead instance that is still announced");
            assert!(instances.update(&path(10), true).is_none() && instances.newest(B).is_none());
            assert_eq!(instances.update(&place.path(C, instance(99)), true), Some(C), "another booth");
            assert_eq!((newest(&instances), instances.newest(C).is_some()), (None, true));
            assert_eq!(instances.update(&path(11), true), Some(B));
            assert_eq!(newest(&instances), Some(path(11)));
        }
    }

    #[test]
    fn a_run_that_comes_back_is_met_again() {
        let place = place(Some(1));
        let path = place.path(B, instance(10));
        let mut instances = Instances::at(place);
        instances.update(&path, true);
        instances.met(B);
        assert!(instances.have_met() && instances.has(B));
        assert_eq!(instances.update(&path, false), Some(B));
        assert!(instances.newest(B).is_none() && !instances.have_met() && !instances.has(B));
        assert_eq!(instances.update(&path, true), Some(B));
        assert_eq!(instances.newest(B), Some((instance(10), path)));
    }

    #[test]
    fn what_others_announce_is_none_of_our_business() {
        for (key, place) in [(None, place(None)), (Some(1), place(Some(1)))] {
            let mut instances = Instances::at(place.clone());
            let good = place.path(B, instance(1));
            let at = good.find('-').unwrap();
            let spellings = ["/01", "/+1", "/-1", "b/1", "/1/2", "/99999999999999999999", "/"];
            let booth = place.booth(B);
            let odd = spellings.map(|epoch| format!("{booth}{epoch}{}", &good[at..]));
            let cut = (0..good.len()).map(|end| good[..end].to_owned());
            let others = [
                good.to_uppercase(),
                good.replace("bb", "BB"),
                format!("{good}0"),
                format!("{good}-00"),
                format!("x{good}"),
                "é".repeat(90),
            ];
            for path in odd.into_iter().chain(cut).chain(others) {
                assert_eq!(instances.update(&path, true), None, "{key:?}: {path}");
            }
            assert!(instances.announced.is_empty());
            (0..1_000).for_each(|epoch| {
                instances.update(&place.path(B, instance(epoch)), true);
            });
            assert!(instances.announced[&B].len() <= INSTANCES);
            assert_eq!(instances.newest(B).map(|(instance, _)| instance), Some(instance(999)));
            (0..255).for_each(|byte| {
                instances.update(&place.path(Fingerprint([byte; 32]), instance(1)), true);
                instances.update(&place.path(Fingerprint([byte; 32]), instance(2)), false);
            });
            assert!(instances.announced.len() <= BOOTHS);
        }
    }

    #[test]
    fn nobody_outside_the_room_makes_a_run() {
        let ours = place(Some(1));
        let mut instances = Instances::at(ours.clone());
        let stranger = Place { room: ours.room.clone(), ..place(Some(2)) }.path(B, instance(u64::MAX));
        assert_eq!(instances.update(&stranger, true), None);
        let untagged = Place { room: ours.room.clone(), ..place(None) }.path(B, instance(u64::MAX));
        assert_eq!(instances.update(&untagged, true), None);
        let good = ours.path(B, instance(10));
        for altered in [good.replacen("/10-", "/11-", 1), good.replace("bb", "cc")] {
            assert_eq!(instances.update(&altered, true), None, "a real one, made newer or another booth's");
        }
        assert_eq!(instances.update(&good, true), Some(B));
    }
}
