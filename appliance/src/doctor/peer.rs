//! The booth that runs here, and the other booth as it sees it.

use std::io;

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::health::Status;

pub(super) fn check(subject: &Subject) -> Evaluation {
    evaluate(subject.booth.as_ref().map(|[_, now]| now), &subject.config.health.socket.display().to_string())
}

fn evaluate(booth: Result<&Status, &io::Error>, socket: &str) -> Evaluation {
    let status = match booth {
        Ok(status) => status,
        Err(e) => return unanswered(e, socket),
    };
    let peer = &status.peer;
    if peer.connected {
        let through = if peer.route == "relay" { "through the relay" } else { "directly" };
        return Evaluation::ok(format!(
            "{} {through}, round trip {:.1} ms",
            peer.name,
            peer.rtt_us as f64 / 1e3
        ));
    }
    if !peer.trouble.is_empty() {
        let (found, advice) =
            peer.trouble.split_once("; ").unwrap_or((&peer.trouble, "see to it at both booths"));
        return Evaluation::warning(found, advice);
    }
    if !peer.code.is_empty() {
        return Evaluation::warning(
            "this booth belongs to no room",
            format!("enter its code {} at the other booth", peer.code),
        );
    }
    let name = if peer.name.is_empty() { "the other booth" } else { &peer.name };
    let place = if peer.address.is_empty() { "nowhere" } else { &peer.address };
    Evaluation::warning(
        format!("{name} is not there, looked for: {place}"),
        "switch the other booth on; do both have the same room key?",
    )
}

fn unanswered(error: &io::Error, socket: &str) -> Evaluation {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Evaluation::warning(
            format!("no booth runs here (nobody answers on {socket})"),
            "start it: systemctl start holobooth",
        ),
        io::ErrorKind::PermissionDenied => Evaluation::warning(
            format!("the booth cannot be asked: {socket}: {error}"),
            "run this as root; what the booth holds looks taken until then",
        ),
        _ => Evaluation::wrong(
            format!("a booth runs here and does not answer on {socket}: {error}"),
            "read its log: journalctl -u holobooth",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn connected_is_fine_alone_is_a_warning_and_silence_is_wrong() {
        let mut status = Status::default();
        let evaluated = |status: &Status| evaluate(Ok(status), "s");
        assert_eq!(evaluated(&status).verdict, Warning);
        status.peer.code = "12345678".into();
        assert!(evaluated(&status).advice.contains("12345678"));
        status.peer.trouble = "south is of another room; give both the same key".into();
        assert_eq!(evaluated(&status).advice, "give both the same key");
        (status.peer.connected, status.peer.name) = (true, "south".into());
        assert!(evaluated(&status).verdict == Fine && evaluated(&status).found.starts_with("south directly"));
        for (kind, verdict) in [
            (io::ErrorKind::NotFound, Warning),
            (io::ErrorKind::ConnectionRefused, Warning),
            (io::ErrorKind::PermissionDenied, Warning),
            (io::ErrorKind::WouldBlock, Wrong),
        ] {
            assert_eq!(evaluate(Err(&kind.into()), "s").verdict, verdict, "{kind:?}");
        }
    }
}
