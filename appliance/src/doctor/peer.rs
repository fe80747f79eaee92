//! The booth that runs here, and the other booth as it sees it.

use std::io;

use super::evaluation::Evaluation;
use super::subject::Subject;
use crate::health::{PeerStatus, Status};

pub(super) fn check(subject: &Subject) -> Evaluation {
    evaluate(subject.booth.as_ref().map(|[_, now]| now), &subject.config.health.socket.display().to_string())
}

fn evaluate(booth: Result<&Status, &io::Error>, socket: &str) -> Evaluation {
    let status = match booth {
        Ok(status) => status,
        Err(e) => return unanswered(e, socket),
    };
    let met: Vec<_> = status.peers.iter().filter(|peer| peer.connected).collect();
    let slow = met.iter().find(|peer| peer.too_slow || peer.gets_fewer_pictures);
    if let Some(peer) = slow {
        let whose = if peer.too_slow { "its line" } else { "the line of this booth" };
        return Evaluation::warning(
            format!("{}: {whose} is too slow for the meeting, so it gets fewer pictures", peer.name),
            "see what else uses that line, or give it a faster one",
        );
    }
    if !met.is_empty() {
        let one = |peer: &&PeerStatus| {
            let through = if peer.route == "relay" { "through the relay" } else { "directly" };
            let rtt_ms = peer.counts.rtt_us as f64 / 1e3;
            format!("{} {through}, round trip {rtt_ms:.1} ms", peer.name)
        };
        return Evaluation::ok(met.iter().map(one).collect::<Vec<_>>().join("; "));
    }
    let link = &status.link;
    if !link.trouble.is_empty() {
        let (found, advice) =
            link.trouble.split_once("; ").unwrap_or((&link.trouble, "see to it at both booths"));
        return Evaluation::warning(found, advice);
    }
    if !link.code.is_empty() {
        return Evaluation::warning(
            "this booth belongs to no room",
            format!("enter its code {} at the other booth", link.code),
        );
    }
    let name = status.peers.first().map_or("the other booth", |peer| &peer.name);
    let place = if link.looking.is_empty() { "nowhere" } else { &link.looking };
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
        status.link.code = "12345678".into();
        assert!(evaluated(&status).advice.contains("12345678"));
        status.link.trouble = "south is of another room; give both the same key".into();
        assert_eq!(evaluated(&status).advice, "give both the same key");
        status.peers = vec![PeerStatus { connected: true, name: "south".into(), ..PeerStatus::default() }];
        assert!(evaluated(&status).verdict == Fine && evaluated(&status).found.starts_with("south directly"));
        status.peers[0].gets_fewer_pictures = true;
        assert!(
            evaluated(&status).verdict == Warning
                && evaluated(&status).found.contains("this booth is too slow")
        );
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
