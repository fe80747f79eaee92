//! What the ends of a cell tell each other and leave behind, in files.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::measure::{self, Figures, Sent, Step, Wire};
use crate::line;

/// What the ends of a cell leave behind.
pub struct Files {
    /// The folder of all.
    pub dir: PathBuf,
    /// The coded clip.
    pub clip: PathBuf,
    /// What was sent.
    pub sent: PathBuf,
    /// What was seen.
    pub seen: PathBuf,
    /// The fingerprint of a relay's certificate.
    pub relay: PathBuf,
    /// What the sending end printed.
    pub sender_log: PathBuf,
    /// What the receiving end printed.
    pub receiver_log: PathBuf,
    /// What the relay printed.
    pub relay_log: PathBuf,
}

impl Files {
    /// Those in `dir`.
    pub fn new(dir: &Path) -> Self {
        let at = |name| dir.join(name);
        Self {
            dir: dir.to_owned(),
            clip: at("clip"),
            sent: at("sent"),
            seen: at("seen"),
            relay: at("relay.fingerprint"),
            sender_log: at("sender.log"),
            receiver_log: at("receiver.log"),
            relay_log: dir.join(line::RELAY).with_extension("log"),
        }
    }

    /// Removes what an earlier cell left.
    pub fn clear(&self) {
        for path in [&self.sent, &self.seen, &self.sender_log, &self.receiver_log] {
            let _ = fs::remove_file(path);
        }
    }

    /// What follows from what was sent and seen.
    ///
    /// # Errors
    /// When an end left nothing, or something else than it should.
    pub fn read(&self, step: Option<Step>) -> io::Result<Figures> {
        let (sent, seen) = (fs::read_to_string(&self.sent)?, fs::read_to_string(&self.seen)?);
        parse(&sent, &seen)
            .map(|(sent, seen, wire)| measure::evaluate(&sent, &seen, wire, step))
            .ok_or_else(|| io::Error::other("an end wrote something else than it should"))
    }
}

fn parse(sent: &str, seen: &str) -> Option<(Vec<Sent>, HashMap<u32, i64>, Wire)> {
    let numbers = |line: &str| line.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>();
    let (mut sent, mut seen) = (sent.lines(), seen.lines());
    let wire = Wire { out: *numbers(sent.next()?)?.first()?, back: *numbers(seen.next()?)?.first()? };
    let frame = |line| match numbers(line)?[..] {
        [number, capture_us, bytes, kbps] => Some(Sent {
            number: u32::try_from(number).ok()?,
            capture_us: i64::try_from(capture_us).ok()?,
            bytes,
            kbps: u32::try_from(kbps).ok()?,
        }),
        _ => None,
    };
    let decoded = |line| match numbers(line)?[..] {
        [number, decoded_us] => Some((u32::try_from(number).ok()?, i64::try_from(decoded_us).ok()?)),
        _ => None,
    };
    Some((sent.map(frame).collect::<Option<_>>()?, seen.map(decoded).collect::<Option<_>>()?, wire))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ends_write_is_read() {
        let (sent, seen, wire) = parse("900\n90 5 10 8000\n91 6 11 8000\n", "7 0 0\n90 9\n").unwrap();
        assert_eq!(sent[1], Sent { number: 91, capture_us: 6, bytes: 11, kbps: 8_000 });
        assert_eq!((seen.get(&90), seen.len(), wire), (Some(&9), 1, Wire { out: 900, back: 7 }));
        assert!(parse("900\n90 5 10\n", "7 0 0\n").is_none());
        assert!(parse("", "").is_none());
    }
}
