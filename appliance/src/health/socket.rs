//! The Unix socket on which the booth is asked: one line comes, such as `status`, and the answer goes back.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::status::Status;
use crate::media::heartbeat::Heartbeat;

/// Who is slow to ask or to read is left after this.
const TIMEOUT: Duration = Duration::from_secs(1);
/// An order may take this long to be carried out.
const ORDER_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest line, in bytes.
const LONGEST: usize = 512;
/// The order to check the sound; the answer is JSON.
pub const CHECK_SOUND: &str = "check sound";
/// The line that asks for the status.
const STATUS: &str = "status";

/// Answers on `path` until `stop`: the word `status` with what `status` gives, all else with what `order`
/// makes of the line.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(
    path: &Path,
    heartbeat: &Heartbeat,
    stop: &AtomicBool,
    status: impl Fn() -> Status,
    order: impl Fn(&str) -> Result<String, String>,
) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // One that has no time to answer is there all the same.
    if dial(path).map_or_else(|e| e.kind() == io::ErrorKind::WouldBlock, |_| true) {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another holobooth answers there"));
    }
    // Left behind by a booth that was killed.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    while !stop.load(Relaxed) {
        heartbeat.beat();
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(200u16));
        let accepted = listener.accept();
        if accepted.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock) {
            std::thread::sleep(TIMEOUT);
        }
        if let Ok((stream, _)) = accepted {
            heartbeat.extend_deadline(ORDER_TIMEOUT + 2 * TIMEOUT);
            // Who asks badly gets nothing.
            let _ = answer(stream, &status, &order);
        }
    }
    let _ = fs::remove_file(path);
    Ok(())
}

fn answer(
    mut stream: UnixStream,
    status: &impl Fn() -> Status,
    order: &impl Fn(&str) -> Result<String, String>,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let line = line_of(&stream)?;
    let text = match line.trim_end() {
        STATUS => serde_json::to_string(&status()),
        line => serde_json::to_string(&order(line)),
    };
    stream.write_all(text.map_err(io::Error::other)?.as_bytes())
}

/// The line that comes within [`TIMEOUT`], however it is cut.
fn line_of(mut stream: &UnixStream) -> io::Result<String> {
    let until = Instant::now() + TIMEOUT;
    let (mut bytes, mut length) = ([0; LONGEST], 0);
    while length < LONGEST && !bytes[..length].contains(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes[length..])? {
            0 => break,
            more => length += more,
        }
    }
    let line = bytes[..length].split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8(line.to_vec()).map_err(io::Error::other)
}

/// Connects to whoever listens on `path`, unless too many wait there already.
fn dial(path: &Path) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // unix(7): connecting waits for room in the queue of callers, and no longer than this.
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(TIMEOUT.as_secs().cast_signed()))?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd.into())
}

fn converse(path: &Path, line: &str, timeout: Duration) -> io::Result<String> {
    let mut stream = dial(path)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Asks the booth that answers on `path`.
///
/// # Errors
/// When none does.
pub fn ask(path: &Path) -> io::Result<Status> {
    serde_json::from_str(&converse(path, STATUS, TIMEOUT)?).map_err(io::Error::other)
}

/// Gives the booth that answers on `path` an order, such as `forget NAME`: what it did, or why it did not.
///
/// # Errors
/// When none answers.
pub fn order(path: &Path, line: &str) -> io::Result<Result<String, String>> {
    serde_json::from_str(&converse(path, line, ORDER_TIMEOUT)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered_and_nonsense_disturbs_nobody() {
        let path = std::env::temp_dir().join(format!("holobooth-socket-{}", std::process::id()));
        let (heartbeat, stop) = (Heartbeat::new("status"), AtomicBool::new(false));
        let status = || Status { name: "A".into(), ..Status::default() };
        let order =
            |line: &str| line.strip_prefix("do ").map(str::to_owned).ok_or("no such order".to_owned());
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&path, &heartbeat, &stop, status, order).unwrap());
            while !path.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(ask(&path).unwrap().name, "A");
            for nonsense in [&b"\xff\xff\n"[..], &[b'x'; 4096], b""] {
                let mut stream = UnixStream::connect(&path).unwrap();
                let _ = stream.write_all(nonsense);
            }
            assert!(heartbeat.runs());
            // Who sends a line bit by bit is left, and keeps nobody waiting.
            let mut slow = UnixStream::connect(&path).unwrap();
            let since = Instant::now();
            while slow.write_all(b"x").is_ok() && since.elapsed() < 5 * TIMEOUT {
                std::thread::sleep(TIMEOUT / 10);
            }
            assert!(since.elapsed() < 2 * TIMEOUT, "{:?}", since.elapsed());
            assert_eq!(super::order(&path, "do it").unwrap(), Ok("it".to_owned()));
            assert_eq!(super::order(&path, "dance").unwrap(), Err("no such order".to_owned()));
            assert_eq!(ask(&path).unwrap().name, "A");
            stop.store(true, Relaxed);
        });
        assert!(!path.exists());
    }
}
