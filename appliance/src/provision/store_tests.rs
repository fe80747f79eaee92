//! The store, with the power cut after every step, on a disk that forgets what was not synced.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::super::disk::Disk;
use super::{Previous, Reach, State, Store};

/// A file: its bytes, and whether they are sure to last.
#[derive(Debug, Clone, Default)]
struct Kept {
    bytes: Vec<u8>,
    synced: bool,
}

/// A disk whose power is cut before a given step. Then any of the names that were not synced may be as they
/// were before, each on its own, and bytes that were not synced are gone.
#[derive(Debug, Default)]
struct Fragile {
    files: RefCell<BTreeMap<String, Kept>>,
    /// The names as they last were synced.
    lasting: RefCell<BTreeMap<String, Kept>>,
    steps: Cell<u32>,
    cut_at: Cell<Option<u32>>,
}

impl Fragile {
    fn step(&self) -> io::Result<()> {
        if self.cut_at.get() == Some(self.steps.get()) {
            return Err(io::Error::other("power cut"));
        }
        self.steps.set(self.steps.get() + 1);
        Ok(())
    }

    /// What is there when the power comes back. `luck` decides, bit by bit, which names made it.
    fn reboot(&self, mut luck: u64) -> Self {
        let (files, lasting) = (self.files.borrow(), self.lasting.borrow());
        let mut left = BTreeMap::new();
        let names: std::collections::BTreeSet<_> = files.keys().chain(lasting.keys()).collect();
        for name in names {
            let made_it = luck & 1 == 1;
            luck = luck.rotate_right(1);
            if let Some(kept) = if made_it { files.get(name) } else { lasting.get(name) } {
                let bytes = if kept.synced { kept.bytes.clone() } else { Vec::new() };
                left.insert(name.clone(), Kept { bytes, synced: true });
            }
        }
        Self { files: RefCell::new(left.clone()), lasting: RefCell::new(left), ..Self::default() }
    }
}

impl Disk for &Fragile {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.borrow().get(name).map(|kept| kept.bytes.clone()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        self.files.borrow_mut().insert(name.to_owned(), Kept { bytes: bytes.to_owned(), synced: false });
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.step()?;
        self.files.borrow_mut().entry(name.to_owned()).and_modify(|kept| kept.synced = true);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let mut files = self.files.borrow_mut();
        let kept = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), kept);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step()?;
        self.files.borrow_mut().remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.step()?;
        self.lasting.replace(self.files.borrow().clone());
        Ok(())
    }
}

fn store(disk: &Fragile) -> Store<&Fragile> {
    Store { disk, path: "store".into() }
}

/// What is done to a store.
#[derive(Debug, Clone)]
enum Deed {
    Apply(String, Option<Reach>),
    Revert,
    Confirm,
    Clear,
}

fn done(state: &State, deed: &Deed) -> State {
    match deed {
        Deed::Apply(text, pending) => state.apply(text.clone(), format!("digest of {text}"), *pending),
        Deed::Revert => state.revert().unwrap_or_else(|_| state.clone()),
        Deed::Confirm => state.confirm(),
        Deed::Clear => State::default(),
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let text = "[a-z\"\n]{0,20}";
    let reach = (any::<bool>(), any::<bool>()).prop_map(|(peer, relay)| Reach { peer, relay });
    prop_oneof![
        3 => (text, proptest::option::of(reach)).prop_map(|(text, reach)| Deed::Apply(text, reach)),
        2 => Just(Deed::Revert),
        1 => Just(Deed::Confirm),
        1 => Just(Deed::Clear),
    ]
}

proptest! {
    /// Deed after deed, with the power cut before a step of each, and of the carrying on after it: what is
    /// read is the old state or the new, whole; once the deed had begun to be in force, it stays so; and
    /// after it the store works on.
    #[test]
    fn a_power_cut_leaves_old_or_new(
        deeds in proptest::collection::vec((deed(), 0u32..40, 0u32..40, any::<u64>(), any::<u64>()), 1..8)
    ) {
        let mut disk = Fragile::default();
        let mut state = State::default();
        for (deed, first_cut, second_cut, luck, more_luck) in deeds {
            let new = done(&state, &deed);
            disk.cut_at.set(Some(disk.steps.get() + first_cut));
            let finished = store(&disk).commit(&new).is_ok();
            prop_assert!(!finished || store(&disk).state().unwrap() == new);
            disk = disk.reboot(luck);
            let seen = store(&disk).state().unwrap();
            prop_assert!(seen == new || (!finished && seen == state), "{seen:?}: not {state:?}, not {new:?}");
            disk.cut_at.set(Some(disk.steps.get() + second_cut));
            let _ = store(&disk).recover();
            disk = disk.reboot(more_luck);
            prop_assert_eq!(&store(&disk).state().unwrap(), &seen);
            disk.cut_at.set(None);
            store(&disk).recover().unwrap();
            prop_assert_eq!(&store(&disk).state().unwrap(), &seen);
            prop_assert!(!disk.files.borrow().contains_key("journal"));
            state = seen;
        }
    }
}

/// Every step of one change, with everything unsynced lost, with everything kept, and with each half of it.
#[test]
fn every_step_can_be_the_last() {
    let before = State::default().apply("one".into(), "1".into(), None);
    let after = before.apply("two".into(), "2".into(), Some(Reach { peer: true, relay: false }));
    let mut steps = 0;
    let mut seen_old = 0;
    loop {
        let mut finished = false;
        for luck in [0, u64::MAX, 0xaaaa_aaaa_aaaa_aaaa, 0x5555_5555_5555_5555] {
            let disk = Fragile::default();
            store(&disk).commit(&before).unwrap();
            disk.cut_at.set(Some(disk.steps.get() + steps));
            finished = store(&disk).commit(&after).is_ok();
            let disk = disk.reboot(luck);
            let seen = store(&disk).state().unwrap();
            assert!(seen == before || seen == after, "step {steps}: {seen:?}");
            seen_old += u32::from(seen == before);
            // A reader that does not know of the journal.
            let plain = disk.files.borrow().get("holobooth.toml").map(|kept| kept.bytes.clone());
            assert!(matches!(plain.as_deref(), Some(b"one" | b"two")), "step {steps}: {plain:?}");
        }
        if finished {
            break;
        }
        steps += 1;
    }
    assert!(steps > 15 && seen_old >= 4, "{steps} steps, {seen_old} times the old state");
}

#[test]
fn back_and_forth() {
    let first = State::default().apply("one".into(), "1".into(), None);
    assert_eq!(first.previous, Previous::Image);
    let back = first.revert().unwrap();
    assert_eq!((back.current.as_deref(), &back.applied), (None, &Some("1".into())), "the stick stays known");
    assert_eq!(back.revert().unwrap(), first);
    let second = first.apply("two".into(), "2".into(), None);
    assert_eq!(second.revert().unwrap().current.as_deref(), Some("one"));
    assert_eq!(second.revert().unwrap().revert().unwrap(), second);
    assert!(State::default().revert().is_err());
}

#[test]
fn what_is_on_trial_is_not_what_is_gone_back_to() {
    let good = State::default().apply("good".into(), "1".into(), None);
    let peer = Reach { peer: true, relay: false };
    let trial = good.apply("trial".into(), "2".into(), Some(peer));
    let more = trial.apply("more".into(), "3".into(), None);
    assert_eq!((more.pending, more.revert().unwrap().current.as_deref()), (Some(peer), Some("good")));
    assert_eq!(
        trial.confirm().apply("next".into(), "4".into(), None).previous,
        Previous::Text("trial".into())
    );
}

#[test]
fn a_folder_keeps_it() {
    let path = std::env::temp_dir().join(format!("holobooth-store-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    assert_eq!(Store::at(&path).state().unwrap(), State::default());
    let state = State::default().apply("one".into(), "1".into(), Some(Reach { peer: false, relay: true }));
    Store::lock(&path).unwrap().commit(&state).unwrap();
    assert_eq!(Store::at(&path).state().unwrap(), state);
    let back = state.revert().unwrap();
    let locked = Store::lock(&path).unwrap();
    locked.commit(&back).unwrap();
    assert_eq!(locked.state().unwrap(), back);
    assert!(!path.join("pending").exists() && path.join("previous.toml").exists());
    assert!(!path.join("previous.image").exists() && !path.join("holobooth.toml").exists());
    std::fs::write(path.join("journal"), "rubbish").unwrap();
    let e = Store::at(&path).state().unwrap_err().to_string();
    assert!(e.contains("journal is damaged") && e.contains("remove it"), "{e}");
    std::fs::remove_dir_all(Path::new(&path)).unwrap();
}
