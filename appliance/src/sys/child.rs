//! Child processes with a time limit.

use std::io;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is checked whether a child has exited.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `child` exits; one that takes longer than `limit` is killed, and the result is `None`.
///
/// # Errors
/// The system's, when it cannot be waited for.
pub(crate) fn wait_timeout(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_that_takes_too_long_is_killed() {
        let mut child = Command::new("sleep").arg("20").spawn().unwrap();
        assert_eq!(wait_timeout(&mut child, Duration::from_millis(10)).unwrap(), None);
        let status = child.try_wait().unwrap().unwrap();
        assert!(!status.success(), "{status}");
        let mut child = Command::new("false").spawn().unwrap();
        assert_eq!(wait_timeout(&mut child, Duration::from_secs(60)).unwrap().unwrap().code(), Some(1));
    }
}
