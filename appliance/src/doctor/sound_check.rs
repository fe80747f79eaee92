//! `holobooth doctor sound`: what a sound check means for those who set a booth up.

use std::fmt;
use std::io::ErrorKind;

use serde::Serialize;

use super::evaluation::{Evaluation, Verdict};
use super::report::{Line, Report, configuration};
use crate::config::Config;
use crate::health::{CHECK_SOUND, Notice, ask, order};
use crate::sound::check::{EchoPath, Measured, alone};

/// How loud a voice is at a microphone that is set up well, and where it comes out at the other end, in dB of full
/// scale (RMS).
const VOICE_DB: f64 = -26.0;
/// The echo may be as loud as a voice: from there on the canceller takes part of the voice along. What is so much
/// louder it cannot cope with.
const DROWNED_DB: f64 = -12.0;
/// How late an echo may be that the canceller finds, in ms; a tenth of a second of what it searches is for the
/// buffers of both cards.
const LATEST_MS: f64 = 600.0;
/// Later than this, people begin to speak at once.
const LATE_MS: f64 = 300.0;
/// Longer reverberation than this the canceller's filter reaches only in part, in ms.
const REVERBERANT_MS: f64 = 600.0;
/// Of the samples of a second, so many clipped ones are a microphone that is overdriven all the time.
const OVERDRIVEN: u32 = 480;
/// How much louder than the noise a voice should be, in dB.
const OVER_NOISE_DB: f64 = 20.0;
/// Less noise than this no microphone has that is switched on, in dB of full scale.
const DIGITAL_SILENCE_DB: f64 = -100.0;
/// Seconds that a card with the result is shown: with something to do, and without.
const SHOWN_S: [u32; 2] = [60, 15];

const CHOICE: &str = "see `holobooth status` for which card was chosen, and name the right one under [sound]";

/// What a sound check has found, and what it means.
#[derive(Debug, Clone, Serialize)]
pub struct SoundReport {
    /// What was measured; none when the check could not be made.
    pub measured: Option<Measured>,
    /// How much louder a voice is than the echo at the microphone, in dB (SER): estimated for a voice that is as
    /// loud as one should be.
    pub ser_db: Option<f64>,
    /// What it means.
    #[serde(flatten)]
    pub report: Report,
}

impl fmt::Display for SoundReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)
    }
}

impl SoundReport {
    /// From what was measured, or why nothing was.
    pub fn of(measured: Result<Measured, String>) -> Self {
        match measured {
            Err(why) => Self::failed(&why),
            Ok(measured) => Self {
                measured: Some(measured),
                ser_db: measured.path.map(|path| ser_db(&path)),
                report: Report::of(evaluate(&measured)),
            },
        }
    }

    fn failed(why: &str) -> Self {
        let line = Line { layer: "sound", evaluation: Evaluation::failed("sound", why, "try once more") };
        Self { measured: None, ser_db: None, report: Report::of(vec![line]) }
    }

    /// For the screen: what is to be done, or that there is nothing.
    pub fn notice(&self) -> Notice {
        let Report { wrong, warnings, layers } = &self.report;
        let is_well = wrong + warnings == 0;
        let shown =
            layers.iter().map(|line| &line.evaluation).filter(|e| is_well || e.verdict != Verdict::Ok);
        let lines = shown.map(|e| {
            if e.advice.is_empty() { e.found.clone() } else { format!("{}: {}", e.found, e.advice) }
        });
        let title = match (&self.measured, is_well) {
            (None, _) => "Sound check not made",
            (_, true) => "Sound check: all is well",
            (_, false) => "Sound check: please look at this",
        };
        let shown_s = SHOWN_S[usize::from(is_well)];
        Notice { title: title.to_owned(), lines: lines.collect(), trouble: !is_well, shown_s }
    }
}

/// A voice comes out of the loudspeaker as loud as the near one is at the microphone.
fn ser_db(path: &EchoPath) -> f64 {
    -path.gain_db
}

fn evaluate(measured: &Measured) -> Vec<Line> {
    let Measured { path, noise_db, clipped } = *measured;
    let line = |layer, evaluation| Line { layer, evaluation };
    let Some(path) = path else {
        return vec![line("heard", unheard(noise_db))];
    };
    vec![
        line("heard", Evaluation::ok("the microphone hears the loudspeaker")),
        line("delay", delay(path.delay_ms)),
        line("level", level(clipped)),
        line("echo", echo(&path)),
        line("noise", noise(noise_db)),
        line("reverberation", reverberation(path.reverberation_ms)),
    ]
}

fn unheard(noise_db: f64) -> Evaluation {
    if noise_db < DIGITAL_SILENCE_DB {
        let advice = format!("check its mute button and its cable; {CHOICE}");
        return Evaluation::wrong("nothing was heard: the microphone gives digital silence", advice);
    }
    let found = format!(
        "nothing was heard: the microphone gives noise ({noise_db:.0} dB of full scale), and nothing of the \
         loudspeaker"
    );
    let advice = format!("check the loudspeaker's cable, power, volume and mute button; {CHOICE}");
    Evaluation::wrong(found, advice)
}

fn delay(delay_ms: f64) -> Evaluation {
    let found = format!("{delay_ms:.1} ms from loudspeaker to microphone");
    let advice = "switch the television's processing of sound and picture off (game mode), or take a \
                  loudspeaker of its own";
    if delay_ms > LATEST_MS {
        let found = format!("{found}; the echo canceller reaches {LATEST_MS:.0} ms");
        Evaluation::wrong(found, advice)
    } else if delay_ms > LATE_MS {
        Evaluation::warning(found, advice)
    } else {
        Evaluation::ok(found)
    }
}

fn level(clipped: u32) -> Evaluation {
    let found = format!("the microphone clips ({clipped} samples)");
    let advice = "turn the microphone's gain down, or the loudspeaker";
    match clipped {
        0 => Evaluation::ok("the microphone does not clip"),
        1..OVERDRIVEN => Evaluation::warning(found, advice),
        _ => Evaluation::wrong(found, advice),
    }
}

fn echo(path: &EchoPath) -> Evaluation {
    let ser_db = ser_db(path);
    let word = if ser_db < 0.0 { "louder" } else { "quieter" };
    let found = format!("the echo is {:.1} dB {word} than a voice at the microphone", ser_db.abs());
    let advice = "move the loudspeaker away from the microphone or turn it down";
    if ser_db < DROWNED_DB {
        Evaluation::wrong(found, advice)
    } else if ser_db < 0.0 {
        Evaluation::warning(found, advice)
    } else {
        Evaluation::ok(found)
    }
}

fn noise(noise_db: f64) -> Evaluation {
    let found = format!("noise of {noise_db:.0} dB of full scale");
    if noise_db > VOICE_DB - OVER_NOISE_DB {
        Evaluation::warning(found, "find what hums or blows, or put the microphone nearer to who speaks")
    } else {
        Evaluation::ok(found)
    }
}

fn reverberation(reverberation_ms: Option<f64>) -> Evaluation {
    match reverberation_ms {
        None => Evaluation::ok("reverberation is lost in the noise"),
        Some(ms) if ms > REVERBERANT_MS => {
            let found = format!("the room reverberates for {:.1} s", ms / 1e3);
            Evaluation::warning(found, "a carpet or a curtain makes it drier")
        }
        Some(ms) => Evaluation::ok(format!("the room reverberates for {:.2} s", ms / 1e3)),
    }
}

/// Checks the sound of the booth with this configuration, which was read from `place`: the booth that runs is asked
/// to, and without one the cards are opened here. Takes ten seconds.
pub fn check_sound(place: &str, config: Result<Config, String>) -> SoundReport {
    let evaluation = configuration(place, config.as_ref().err());
    let config = config.unwrap_or_default();
    let line = |layer, evaluation| Line { layer, evaluation };
    let mut cards = vec![line("configuration", evaluation)];
    let mut card = |layer, name: Option<String>| {
        cards.extend(name.map(|name| line(layer, Evaluation::ok(name))));
    };
    let mut report = match ask(&config.health.socket) {
        Ok(status) => {
            for (layer, of) in
                [("microphone", status.sound.microphone), ("loudspeaker", status.sound.loudspeaker)]
            {
                card(layer, Some(format!("{} {}", of.device, of.mode)).filter(|_| !of.device.is_empty()));
            }
            let answered = order(&config.health.socket, CHECK_SOUND).map_err(|e| unanswered(&e));
            let measured = answered.flatten().and_then(|text| {
                serde_json::from_str(&text).map_err(|_| format!("sound: the booth answers `{text}`; {OLD}"))
            });
            SoundReport::of(measured)
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            let found = alone(&config.sound.request());
            card("microphone", found.microphone);
            card("loudspeaker", found.loudspeaker);
            SoundReport::of(found.measured.map_err(|e| e.to_string()))
        }
        Err(e) => SoundReport::failed(&unanswered(&e)),
    };
    cards.append(&mut report.report.layers);
    SoundReport { report: Report::of(cards), ..report }
}

const OLD: &str =
    "the booth and this program are of different versions: `holobooth reload`, and try once more";

fn unanswered(error: &std::io::Error) -> String {
    format!("sound: the booth that runs does not answer: {error}; it is busy: try once more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::check::Error;

    const GOOD: Measured = Measured {
        path: Some(EchoPath { delay_ms: 63.2, gain_db: -12.0, reverberation_ms: Some(250.0) }),
        noise_db: -58.0,
        clipped: 0,
    };

    fn with(change: impl Fn(&mut EchoPath)) -> Measured {
        let mut path = GOOD.path.unwrap();
        change(&mut path);
        Measured { path: Some(path), ..GOOD }
    }

    /// Layer, verdict and advice of all that is not well.
    fn ill(measured: Measured) -> Vec<(&'static str, Verdict, String)> {
        let layers = SoundReport::of(Ok(measured)).report.layers;
        let ill = layers.into_iter().filter(|line| line.evaluation.verdict != Verdict::Ok);
        ill.map(|line| (line.layer, line.evaluation.verdict, line.evaluation.advice)).collect()
    }

    #[test]
    fn what_is_well_is_said_in_words_and_in_numbers() {
        let report = SoundReport::of(Ok(GOOD));
        assert_eq!((report.report.wrong, report.report.warnings, ill(GOOD).len()), (0, 0, 0));
        let text = report.to_string();
        assert!(text.contains("delay         ok       63.2 ms from loudspeaker to microphone\n"), "{text}");
        assert!(text.contains("12.0 dB quieter than a voice"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["measured"]["path"]["delay_ms"], 63.2);
        assert_eq!((&json["ser_db"], &json["wrong"]), (&12.0.into(), &0.into()));
        assert_eq!(json["layers"][0]["layer"], "heard");
        let notice = report.notice();
        assert!(!notice.trouble && notice.title.ends_with("all is well") && notice.lines.len() == 6);
    }

    #[test]
    fn what_is_not_well_comes_with_what_to_do() {
        for (measured, layer, verdict, advice) in [
            (with(|path| path.gain_db = 5.0), "echo", Verdict::Warning, "move the loudspeaker away"),
            (with(|path| path.gain_db = 20.0), "echo", Verdict::Wrong, "or turn it down"),
            (with(|path| path.delay_ms = 400.0), "delay", Verdict::Warning, "game mode"),
            (with(|path| path.delay_ms = 601.0), "delay", Verdict::Wrong, "game mode"),
            (with(|path| path.reverberation_ms = Some(900.0)), "reverberation", Verdict::Warning, "carpet"),
            (Measured { clipped: 1, ..GOOD }, "level", Verdict::Warning, "gain down"),
            (Measured { clipped: 5_000, ..GOOD }, "level", Verdict::Wrong, "gain down"),
            (Measured { noise_db: -40.0, ..GOOD }, "noise", Verdict::Warning, "nearer"),
            (Measured { path: None, ..GOOD }, "heard", Verdict::Wrong, "loudspeaker's cable"),
            (Measured { path: None, noise_db: -120.0, ..GOOD }, "heard", Verdict::Wrong, "mute button"),
        ] {
            let found = ill(measured);
            let [(of, is, says)] = &found[..] else { panic!("{measured:?}: {found:?}") };
            assert!((*of, *is) == (layer, verdict) && says.contains(advice), "{measured:?}: {found:?}");
            let notice = SoundReport::of(Ok(measured)).notice();
            assert!(notice.trouble && notice.lines.len() == 1 && notice.lines[0].contains(advice));
        }
        assert_eq!(ill(with(|path| path.reverberation_ms = None)), []);
    }

    #[test]
    fn a_check_that_was_not_made_is_wrong() {
        let report = SoundReport::of(Err(Error::Off { what: "microphone" }.to_string()));
        assert_eq!((report.report.wrong, report.measured), (1, None));
        let text = report.to_string();
        assert!(text.starts_with("sound         wrong    this booth has no microphone"), "{text}");
        assert!(report.notice().trouble);
    }
}
