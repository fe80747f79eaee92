//! The sound check that a stick asks for: made by the booth, answered on card and stick.

use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::answer::Answer;
use super::logs::{Log, printed};
use super::places::Places;
use crate::health::{CardState, ask};

/// The file on the stick with all numbers.
const FILE: &str = "sound-check.json";
/// How long a booth that starts again is waited for, until both its cards run.
const START: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// What is read of what `holobooth doctor sound --json` prints.
#[derive(Deserialize)]
struct Printed {
    wrong: u32,
    warnings: u32,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    layer: String,
    verdict: String,
    found: String,
    advice: String,
}

/// Makes it; the answer, and the file for the stick.
pub(super) fn check(places: &Places) -> (Answer, Log) {
    let Places { image, store, .. } = places;
    wait_for_booth(places);
    let own = std::env::current_exe().unwrap_or_else(|_| "holobooth".into());
    let mut command = Command::new(own);
    command.args(["doctor", "sound", "--json", "--image"]).arg(image).arg("--store").arg(store);
    let json = printed(&mut command);
    (answer(&json), (FILE.to_owned(), json))
}

/// Until the booth that was told to start again has its cards; one that has none says so itself.
fn wait_for_booth(places: &Places) {
    let Ok(config) = places.in_force() else { return };
    let until = Instant::now() + START;
    while Instant::now() < until {
        if let Ok(status) = ask(&config.health.socket)
            && [&status.sound.microphone, &status.sound.loudspeaker]
                .iter()
                .all(|card| card.state != CardState::Searching)
        {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn answer(json: &[u8]) -> Answer {
    let Ok(Printed { wrong, warnings, layers }) = serde_json::from_slice(json) else {
        return Answer::refused("Sound check not made", &String::from_utf8_lossy(json));
    };
    let is_well = wrong + warnings == 0;
    let shown = layers.iter().filter(|layer| is_well || layer.verdict != "ok");
    let lines = shown.map(|Layer { layer, found, advice, .. }| {
        let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
        format!("{layer}: {found}{advice}")
    });
    let title = if is_well { "Sound check: all is well" } else { "Sound check: please look at this" };
    Answer { trouble: !is_well, ..Answer::good(title, lines.collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_leads_and_what_cannot_be_read_is_shown() {
        let json = |verdict: &str, wrong: u32| {
            format!(
                r#"{{"measured": null, "wrong": {wrong}, "warnings": 0, "layers": [{{"layer": "delay", "verdict": "ok",
                "found": "60 ms", "advice": ""}}, {{"layer": "echo", "verdict": "{verdict}", "found": "loud", "advice":
                "turn it down"}}]}}"#
            )
        };
        let good = answer(json("ok", 0).as_bytes());
        assert!(!good.trouble && good.lines == ["delay: 60 ms", "echo: loud; turn it down"], "{good:?}");
        let bad = answer(json("wrong", 1).as_bytes());
        assert!(bad.trouble && bad.news && bad.lines == ["echo: loud; turn it down"], "{bad:?}");
        let none = answer(b"holobooth: no such card");
        assert!(none.trouble && none.lines == ["holobooth: no such card"], "{none:?}");
    }
}
