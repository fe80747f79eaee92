//! What stands between two threads: room for one, or for very few, and a file descriptor to wait on.
//!
//! A queue is latency, so there are just two kinds. A *mailbox* ([`Mailbox::latest`]) holds one thing
//! and a newer one takes its place: pictures. A *hand-over* ([`Mailbox::bounded`]) keeps the order and
//! refuses what does not fit: access units, each of which refers to the one before, so that losing any means
//! starting afresh.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Room for one or few between a thread that puts and a thread that takes.
pub struct Mailbox<T> {
    name: &'static str,
    capacity: usize,
    overwrite: bool,
    inside: Mutex<VecDeque<T>>,
    wake: EventFd,
    high_water: AtomicU64,
    replaced: AtomicU64,
}

/// The counters of a mailbox, for `holobooth status`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// `from→to`
    pub name: String,
    /// The most that ever lay in it at once.
    pub high_water: u64,
    /// How many were replaced or refused before anybody took them.
    pub replaced: u64,
}

impl<T> Mailbox<T> {
    /// Room for one; a newer thing replaces the one that nobody took.
    pub fn latest(name: &'static str) -> nix::Result<Self> {
        Self::new(name, 1, true)
    }

    /// Room for `capacity`, in order; what does not fit comes back to the sender.
    pub fn bounded(name: &'static str, capacity: usize) -> nix::Result<Self> {
        Self::new(name, capacity, false)
    }

    fn new(name: &'static str, capacity: usize, overwrite: bool) -> nix::Result<Self> {
        Ok(Self {
            name,
            capacity,
            overwrite,
            inside: Mutex::new(VecDeque::with_capacity(capacity)),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            high_water: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        // A thread that panicked while holding the lock left a whole queue behind: every operation on it is
        // one step.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `item` in. Gives back what had to leave for it: the older one ([`Mailbox::latest`]) or `item`
    /// itself ([`Mailbox::bounded`]). Never blocks.
    pub fn put(&self, item: T) -> Option<T> {
        let mut inside = self.lock();
        let out = if inside.len() < self.capacity {
            None
        } else if self.overwrite {
            inside.pop_front()
        } else {
            self.replaced.fetch_add(1, Relaxed);
            return Some(item);
        };
        inside.push_back(item);
        let depth = inside.len() as u64;
        // Under the lock, so that the descriptor is readable exactly while something waits. Fails only when
        // the counter is at its limit, and then the reader is awake already.
        let _ = self.wake.write(1);
        drop(inside);
        self.high_water.fetch_max(depth, Relaxed);
        if out.is_some() {
            self.replaced.fetch_add(1, Relaxed);
        }
        out
    }

    /// Takes what waits, oldest first, without blocking.
    pub fn take(&self) -> Option<T> {
        let mut inside = self.lock();
        let item = inside.pop_front()?;
        if inside.is_empty() {
            let _ = self.wake.read();
        }
        Some(item)
    }

    /// Waits up to `timeout_ms` for something and takes it.
    pub fn wait(&self, timeout_ms: u16) -> Option<T> {
        if let Some(item) = self.take() {
            return Some(item);
        }
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(timeout_ms));
        self.take()
    }

    /// Throws away what waits.
    pub fn clear(&self) {
        while self.take().is_some() {}
    }

    /// Numbers for `holobooth status`.
    pub fn report(&self) -> Report {
        Report {
            name: self.name.to_owned(),
            high_water: self.high_water.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
        }
    }
}

impl<T> AsFd for Mailbox<T> {
    /// Readable while something waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_wins_and_is_counted() {
        let m = Mailbox::latest("a→b").unwrap();
        assert!(m.put(1).is_none());
        assert_eq!(m.put(2), Some(1));
        assert_eq!(m.wait(0), Some(2));
        assert_eq!(m.take(), None);
        let r = m.report();
        assert_eq!((r.high_water, r.replaced), (1, 1));
    }

    #[test]
    fn bounded_keeps_order_and_refuses_what_does_not_fit() {
        let m = Mailbox::bounded("a→b", 2).unwrap();
        assert!(m.put(1).is_none() && m.put(2).is_none());
        assert_eq!(m.put(3), Some(3));
        assert_eq!((m.take(), m.take(), m.take()), (Some(1), Some(2), None));
        assert_eq!(m.report().high_water, 2);
    }

    #[test]
    fn readable_exactly_while_something_waits() {
        let m = Mailbox::latest("a→b").unwrap();
        let readable = |m: &Mailbox<u8>| {
            let mut fds = [PollFd::new(m.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
        };
        assert!(!readable(&m));
        m.put(1);
        m.put(2);
        assert!(readable(&m));
        m.take();
        assert!(!readable(&m));
    }

    #[test]
    fn wakes_a_waiting_thread() {
        let m = std::sync::Arc::new(Mailbox::latest("a→b").unwrap());
        let n = m.clone();
        let t = std::thread::spawn(move || n.wait(5_000));
        m.put(7);
        assert_eq!(t.join().unwrap(), Some(7));
    }
}
