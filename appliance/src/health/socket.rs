//! The Unix socket on which `holobooth status` asks: whoever connects is told, once, as one JSON object.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

use super::status::Status;

/// A slow reader is left after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers on `path` until `stop`.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(path: &Path, stop: &AtomicBool, status: impl Fn() -> Status) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another holobooth answers there"));
    }
    // Left behind by a booth that was killed.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    while !stop.load(Relaxed) {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::from(200u16));
        let accepted = listener.accept();
        if accepted.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock) {
            std::thread::sleep(PATIENCE);
        }
        if let Ok((mut stream, _)) = accepted {
            let text = serde_json::to_string(&status()).unwrap_or_default();
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_write_timeout(Some(PATIENCE));
            let _ = stream.write_all(text.as_bytes());
        }
    }
    let _ = fs::remove_file(path);
    Ok(())
}

/// Asks the booth that answers on `path`.
///
/// # Errors
/// When none does.
pub fn ask(path: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(io::Error::other)
}
