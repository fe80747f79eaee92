//! The last logs, for a stick with a folder `logs`.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::read::LOGS;
use crate::sys::wait_timeout;

/// The most of each that goes onto a stick, in bytes; of more, the beginning.
const MOST: u64 = 4 * 1024 * 1024;
/// How long a program may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A file for the stick: its path there, and what stands in it.
pub(super) type Log = (String, Vec<u8>);

/// All of them.
pub(super) fn collect() -> Vec<Log> {
    let own = std::env::current_exe().unwrap_or_else(|_| "holobooth".into());
    vec![
        (
            format!("{LOGS}/journal.txt"),
            printed(Command::new("journalctl").args(["-b", "-n", "5000", "-o", "short-iso", "--no-pager"])),
        ),
        (format!("{LOGS}/doctor.json"), printed(Command::new(own).args(["doctor", "--json"]))),
    ]
}

/// What a program prints, and where it failed, why.
pub(super) fn printed(command: &mut Command) -> Vec<u8> {
    let name = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(e) => return format!("{name}: {e}\n").into_bytes(),
    };
    let take = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.by_ref().take(MOST).read_to_end(&mut bytes);
                // So that it is not stopped by a full pipe.
                let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            }
            bytes
        })
    };
    let out = take(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let err = take(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    match wait_timeout(&mut child, TIMEOUT) {
        Ok(Some(_)) => {}
        Ok(None) => return format!("{name}: took longer than {} s\n", TIMEOUT.as_secs()).into_bytes(),
        Err(e) => return format!("{name}: {e}\n").into_bytes(),
    }
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if out.is_empty() { err } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_bounded() {
        assert_eq!(printed(Command::new("echo").arg("hello")), b"hello\n");
        assert!(printed(&mut Command::new("/nonexistent/program")).starts_with(b"/nonexistent/program: "));
        let much = printed(Command::new("head").args(["-c", "6000000", "/dev/zero"]));
        assert_eq!(much.len() as u64, MOST);
        assert_ne!(printed(Command::new("ls").arg("/nonexistent")), b"");
    }
}
