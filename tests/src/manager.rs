//! A service manager as a booth sees it: a socket at which it says that it is ready, how it is, and that it
//! lives.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::now_us;

/// A line such as `READY=1`, and when it came, in microseconds of CLOCK_MONOTONIC.
type Heard = (i64, String);

/// Listens for as long as the program runs.
pub struct Manager {
    path: PathBuf,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Manager {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(path: &Path) -> io::Result<Self> {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path)?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (into, mut datagram) = (Arc::clone(&heard), [0; 4096]);
        std::thread::spawn(move || {
            while let Ok(length) = socket.recv(&mut datagram) {
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                lock(&into).extend(text.lines().map(|line| (now_us(), line.to_owned())));
            }
        });
        Ok(Self { path: path.to_owned(), heard })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When a line came first, in microseconds of CLOCK_MONOTONIC, after `since_us`.
    pub fn first(&self, line: &str, since_us: i64) -> Option<i64> {
        lock(&self.heard).iter().find(|(at_us, heard)| *at_us >= since_us && heard == line).map(|(at, _)| *at)
    }

    /// How often a line came after `since_us`, and the longest that it did not until now, in ms.
    pub fn rhythm(&self, line: &str, since_us: i64) -> (usize, i64) {
        let heard = lock(&self.heard);
        let times = heard.iter().filter(|(at_us, heard)| *at_us >= since_us && heard == line);
        let times: Vec<i64> = times.map(|(at_us, _)| *at_us).collect();
        let from = [since_us].into_iter().chain(times.iter().copied());
        let to = times.iter().copied().chain([now_us()]);
        (times.len(), from.zip(to).map(|(from, to)| to - from).max().unwrap_or(0) / 1000)
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::wait_until;

    #[test]
    fn lines_are_told_apart_and_timed() {
        let path = std::env::temp_dir().join(format!("holobooth-manager-{}", std::process::id()));
        let (manager, since_us) = (Manager::listen(&path).unwrap(), now_us());
        let booth = UnixDatagram::unbound().unwrap();
        booth.send_to(b"READY=1\nSTATUS=live\n", manager.path()).unwrap();
        booth.send_to(b"STATUS=live\n", manager.path()).unwrap();
        assert!(wait_until(5_000, 1, || manager.rhythm("STATUS=live", since_us).0 == 2).is_some());
        assert!(manager.first("READY=1", since_us).is_some_and(|at_us| at_us >= since_us));
        assert_eq!(manager.first("READY=1", now_us()), None);
        assert_eq!(manager.rhythm("WATCHDOG=1", now_us() - 50_000).0, 0);
        assert!(manager.rhythm("WATCHDOG=1", now_us() - 50_000).1 >= 50);
        fs::remove_file(path).unwrap();
    }
}
