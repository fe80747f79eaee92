//! What a booth says of itself, read by path.

use serde_json::Value;

/// A status as the booth gave it.
#[derive(Debug, Clone, Default)]
pub struct Status(pub(super) Value);

/// Instead of a number that a status should hold and does not.
pub const MISSING: i64 = i64::MIN / 4;

impl Status {
    /// Whether the booth answered.
    pub fn answered(&self) -> bool {
        self.0.is_object()
    }

    /// The number at a path such as `/total/lost_frames`; [`MISSING`], which no check takes for an answer,
    /// when it is not there.
    pub fn number(&self, path: &str) -> i64 {
        self.0.pointer(path).and_then(Value::as_i64).unwrap_or(MISSING)
    }

    /// The word at a path; empty when it is not there.
    pub fn word(&self, path: &str) -> &str {
        self.0.pointer(path).and_then(Value::as_str).unwrap_or("")
    }

    /// Whether it is of the same booth as an earlier one.
    pub fn grown_from(&self, earlier: &Self) -> bool {
        let frames = |status: &Self| status.number("/total/received_frames");
        self.word("/name") == earlier.word("/name") && frames(self) >= frames(earlier) && frames(earlier) > 0
    }

    /// Whether it says that any peer is connected.
    pub fn connected(&self) -> bool {
        self.peers().any(|peer| peer["connected"] == true)
    }

    /// The booths that it meets, or tries to.
    pub fn peers(&self) -> impl Iterator<Item = &Value> {
        self.0.pointer("/peers").and_then(Value::as_array).into_iter().flatten()
    }

    /// What it says of the booth with this name or fingerprint; null when that is none of its peers. Names are
    /// known of booths that were met directly.
    pub fn peer(&self, who: &str) -> &Value {
        let is = |peer: &&Value| peer["name"] == who || peer["fingerprint"] == who;
        self.peers().find(is).unwrap_or(&Value::Null)
    }

    /// Whether it is connected with all of these, by `route` where that is not empty.
    pub fn meets(&self, others: &[&str], route: &str) -> bool {
        others.iter().all(|who| {
            let peer = self.peer(who);
            peer["connected"] == true && (route.is_empty() || peer["route"] == route)
        })
    }

    /// How many booths of the room it sees besides itself.
    pub fn members(&self) -> usize {
        self.0.pointer("/room").and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The way that carries the meeting: `direct`, `relay`, or nothing.
    pub fn route(&self) -> &str {
        let connected = self.peers().find(|peer| peer["connected"] == true);
        connected.and_then(|peer| peer["route"].as_str()).unwrap_or("")
    }

    /// Pictures shown since the start; an earlier build has the number elsewhere.
    pub fn pictures_shown(&self) -> i64 {
        self.number("/video/shown").max(self.number("/screen/shown"))
    }

    /// Whether its screen shows the peer's picture and no card.
    pub fn shows_picture(&self) -> bool {
        // What benches compare with may be of a build that has the number elsewhere.
        self.pictures_shown() > 0 && self.word("/screen/card").is_empty()
    }

    /// The most that ever waited in any mailbox, and its name.
    pub fn most_waiting(&self) -> (i64, String) {
        let boxes = self.0.pointer("/mailboxes").and_then(Value::as_array);
        let waiting = |mailbox: &Value| {
            let name = mailbox.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
            Some((mailbox.get("high_water").and_then(Value::as_i64)?, name))
        };
        boxes.into_iter().flatten().filter_map(waiting).max().unwrap_or((MISSING, String::new()))
    }

    /// A figure of a stage, such as `p50_us` of `encode`, in microseconds.
    pub fn stage_us(&self, stage: &str, figure: &str) -> Option<i64> {
        let stages = self.0.pointer("/stages")?.as_array()?;
        let found = stages.iter().find(|entry| entry.get("stage").and_then(Value::as_str) == Some(stage))?;
        found.get(figure)?.as_i64()
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_read_by_path() {
        let status = Status(json!({
            "peers": [{"connected": false}, {"connected": true, "route": "relay"}], "total": {"lost_frames": 3},
            "mailboxes": [{"high_water": 1}, {"high_water": 2}],
            "stages": [{"stage": "encode", "p50_us": 7}],
        }));
        assert!(status.connected() && status.route() == "relay");
        assert_eq!(status.number("/total/lost_frames"), 3);
        assert_eq!(status.number("/nothing/here"), MISSING);
        assert_eq!(status.most_waiting().0, 2);
        assert_eq!(status.stage_us("encode", "p50_us"), Some(7));
        assert_eq!(status.stage_us("decode", "p50_us"), None);
    }
}
