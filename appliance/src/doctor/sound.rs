//! Sound cards, as ALSA lists them.
//!
//! Source: Linux sound documentation, "Proc Files of ALSA Drivers".

use super::evaluation::Evaluation;
use super::subject::{Subject, read};

pub(super) fn check(_: &Subject) -> Evaluation {
    evaluate(read("/proc/asound/cards").as_deref(), read("/proc/asound/pcm").as_deref())
}

/// From `/proc/asound/cards` and `/proc/asound/pcm`, where they can be read.
fn evaluate(cards: Option<&str>, pcm: Option<&str>) -> Evaluation {
    let Some(cards) = cards else {
        return Evaluation::warning("this kernel has no sound", "a kernel with CONFIG_SND");
    };
    // ` 0 [PCH            ]: HDA-Intel - HDA Intel PCH`, and a line with more words after it.
    let names: Vec<&str> = cards
        .lines()
        .filter(|line| line.contains("]: "))
        .filter_map(|line| line.rsplit_once(" - ").map(|(_, name)| name.trim()))
        .collect();
    if names.is_empty() {
        return Evaluation::warning("no sound card", "plug in microphone and loudspeaker");
    }
    let found = names.join(", ");
    // `00-00: ALC887 : ALC887 : playback 1 : capture 1`
    // The id and the name, which come first, may be any words, such as the directions'.
    let streams =
        |line: &str, word: &str| line.split(':').skip(3).any(|field| field.trim().starts_with(word));
    let has = |word: &str| pcm.is_some_and(|pcm| pcm.lines().any(|line| streams(line, word)));
    match (has("playback"), has("capture")) {
        (true, true) => Evaluation::ok(found),
        (true, false) => Evaluation::warning(format!("{found}: no microphone"), "plug one in"),
        (false, true) => Evaluation::warning(format!("{found}: no loudspeaker"), "plug one in"),
        (false, false) => {
            Evaluation::warning(format!("{found}: neither microphone nor loudspeaker"), "plug them in")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning};
    use super::*;

    const CARDS: &str = " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n                      HDA Intel \
                         PCH at 0xf irq 1\n \
                         1 [Cam            ]: USB-Audio - A - B\n                      A - B at usb\n";

    #[test]
    fn both_ways_are_wanted() {
        let both = evaluate(Some(CARDS), Some("00-00: X : X : playback 1\n01-00: Y : Y : capture 1"));
        assert!(both.verdict == Fine && both.found == "HDA Intel PCH, B", "{both:?}");
        let misnamed = evaluate(Some(CARDS), Some("00-00: capture : X : playback 1 "));
        assert!(misnamed.verdict == Warning && misnamed.found.contains("no microphone"), "{misnamed:?}");
        for (pcm, word) in
            [("00-00: X : X : playback 1", "no microphone"), ("00-00: X : X : capture 1", "no loudspeaker")]
        {
            assert!(evaluate(Some(CARDS), Some(pcm)).found.contains(word));
        }
        for (cards, pcm) in [(None, None), (Some("--- no soundcards ---"), Some("")), (Some(CARDS), None)] {
            assert_eq!(evaluate(cards, pcm).verdict, Warning, "{cards:?}");
        }
    }
}
