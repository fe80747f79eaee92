//! What a stick's bytes mean: is it the operator's, is it a configuration, and what would it change. No I/O,
//! and called in the sandbox alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::read::{CONFIG, RESET_SIGNATURE, SIGNATURE};
use crate::config::{Config, OperatorKey, SECRETS, Source, tables};

/// The longest value or reason that is shown, in characters.
const LONGEST: usize = 600;
/// The longest value in a change.
const LONGEST_VALUE: usize = 80;

/// The section that asks for something, and is nothing that a booth is.
const CHECK: &str = "check";

/// What a stick's bytes are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meaning {
    /// A configuration.
    Config,
    /// The request to be as flashed. What it says is looked at outside; here, whether the operator says it.
    Reset,
}

/// What is in force, and what a stick brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What it is to be.
    pub meaning: Meaning,
    /// Where the image's file is, for errors.
    pub image_path: String,
    /// The image's file.
    pub image: String,
    /// The store's file.
    pub store: Option<String>,
    /// The stick's file.
    pub file: Vec<u8>,
    /// The signature beside it.
    pub signature: Option<Vec<u8>>,
}

/// A key whose value changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name from the top: `camera.fps`.
    pub key: String,
    /// Before and after, or that they are secret.
    pub what: String,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It counts.
    Good {
        /// What it changes.
        changes: Vec<Change>,
        /// Whether of the network.
        network: bool,
        /// Whether it is a configuration: one with nothing but `[check]` only asks for something.
        applies: bool,
        /// Whether it asks for a sound check.
        checks_sound: bool,
    },
    /// It does not, with file, line and column where there are any.
    Refused(String),
}

/// Judges.
pub(super) fn evaluate(question: &Question) -> Verdict {
    match weigh(question) {
        Ok(Weighed { changes, applies, checks_sound }) => {
            let network =
                changes.iter().any(|change| change.key == "network" || change.key.starts_with("network."));
            Verdict::Good { changes, network, applies, checks_sound }
        }
        Err(reason) => Verdict::Refused(cut(&reason, LONGEST)),
    }
}

/// A file that counts.
#[derive(Default)]
struct Weighed {
    changes: Vec<Change>,
    applies: bool,
    checks_sound: bool,
}

fn weigh(question: &Question) -> Result<Weighed, String> {
    let Question { meaning, image_path, image, store, file, signature } = question;
    let before = tables(image, store.as_deref()).map_err(|e| {
        format!(
            "the configuration in force is damaged ({}); `holobooth revert` puts the one before back",
            e.message()
        )
    })?;
    // Before anything else is made of the bytes.
    signed(&before, *meaning, file, signature.as_deref())?;
    if *meaning == Meaning::Reset {
        return Ok(Weighed::default());
    }
    let text = std::str::from_utf8(file).map_err(|e| not_text(file, e.valid_up_to()))?;
    let image_source = Source { path: Path::new(image_path), text: image };
    Config::in_force(image_source, Some(Source { path: Path::new(CONFIG), text }))
        .map_err(|e| e.to_string().trim_start_matches("config: ").to_owned())?;
    // A copy that was cut off, a damaged stick: most likely nobody means that every section be as it was
    // flashed.
    let table = text.parse::<toml::Table>().unwrap_or_default();
    if table.is_empty() {
        return Err(format!(
            "{CONFIG} is empty: it has no section; write it again, or have it put back with `holobooth \
             revert`"
        ));
    }
    let check = table.get(CHECK);
    let checks_sound = check.and_then(|check| check.get("sound")?.as_bool()) == Some(true);
    if check.is_some() && table.len() == 1 {
        return Ok(Weighed { checks_sound, ..Weighed::default() });
    }
    let after = tables(image, Some(text)).map_err(|e| e.message().to_owned())?;
    Ok(Weighed { changes: changes(&before, &after), applies: true, checks_sound })
}

fn signed(
    before: &toml::Table,
    meaning: Meaning,
    file: &[u8],
    signature: Option<&[u8]>,
) -> Result<(), String> {
    let Some(operator) = before.get("operator") else { return Ok(()) };
    let key = operator.get("key").and_then(toml::Value::as_str).and_then(OperatorKey::parse);
    let key =
        key.ok_or("the operator's key in force is damaged; `holobooth revert` puts the one before back")?;
    let (name, signature_name) = match meaning {
        Meaning::Config => (CONFIG, SIGNATURE),
        Meaning::Reset => ("factory-reset", RESET_SIGNATURE),
    };
    let Some(signature) = signature else {
        return Err(format!(
            "{signature_name} is missing: this booth has an operator, who must sign {name} with `minisign \
             -S -m {name}`"
        ));
    };
    let text = std::str::from_utf8(signature)
        .map_err(|_| format!("{signature_name} is not text; sign {name} once more"))?;
    key.signed(file, text).map_err(|e| {
        format!("{signature_name} is not the operator's signature of this {name} ({e}); sign it once more")
    })
}

fn not_text(file: &[u8], at: usize) -> String {
    let before = String::from_utf8_lossy(file.get(..at).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("{CONFIG}:{line}:{column}: this is not UTF-8 text; save the file as UTF-8")
}

fn changes(before: &toml::Table, after: &toml::Table) -> Vec<Change> {
    let flat = |table: &toml::Table| {
        let mut table = table.clone();
        table.remove(CHECK);
        flat(&table)
    };
    let (before, after) = (flat(before), flat(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let shown = |value: Option<&toml::Value>| {
        value.map_or("(default)".to_owned(), |value| cut(&value.to_string(), LONGEST_VALUE))
    };
    changed
        .map(|key| {
            let secret = SECRETS.iter().any(|secret| key == secret || key.starts_with(&format!("{secret}.")));
            let what = match (secret, before.get(key), after.get(key)) {
                (true, None, _) => "(secret, new)".to_owned(),
                (true, _, None) => "(secret, taken out)".to_owned(),
                (true, _, _) => "(secret, changed)".to_owned(),
                (false, old, new) => format!("{} → {}", shown(old), shown(new)),
            };
            Change { key: key.clone(), what }
        })
        .collect()
}

/// Each key with its name from the top.
fn flat(table: &toml::Table) -> BTreeMap<String, toml::Value> {
    let mut keys = BTreeMap::new();
    let mut left: Vec<(String, &toml::Value)> =
        table.iter().map(|(key, value)| (key.clone(), value)).collect();
    while let Some((name, value)) = left.pop() {
        match value {
            toml::Value::Table(table) => {
                left.extend(table.iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            value => {
                keys.insert(name, value.clone());
            }
        }
    }
    keys
}

/// No longer than `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::RoomKey;
    use proptest::prelude::*;

    fn question(image: &str, file: &[u8]) -> Question {
        Question {
            meaning: Meaning::Config,
            image_path: "/etc/holobooth/holobooth.toml".into(),
            image: image.into(),
            store: None,
            file: file.into(),
            signature: None,
        }
    }

    fn refusal(question: &Question) -> String {
        let Verdict::Refused(why) = evaluate(question) else { panic!("taken: {question:?}") };
        why
    }

    #[test]
    fn what_changes_is_shown_but_no_secret() {
        let (old, new) = (RoomKey::of([1; 32]).text(), RoomKey::of([2; 32]).text());
        let image = format!("[room]\nkey = \"{old}\"\n[camera]\nfps = 25\n");
        let file = format!(
            "[room]\nkey = \"{new}\"\n[camera]\nfps = 30\nwidth = 640\n[network]\ndns = \
             [\"192.0.2.1\"]\n[network.wifi]\nssid = \"w\"\n\
             password = \"hush hush\""
        );
        let Verdict::Good { changes, network, applies: true, checks_sound: false } =
            evaluate(&question(&image, file.as_bytes()))
        else {
            panic!()
        };
        assert!(network);
        let shown: Vec<String> =
            changes.iter().map(|change| format!("{}: {}", change.key, change.what)).collect();
        assert_eq!(
            shown,
            [
                "camera.fps: 25 → 30",
                "camera.width: (default) → 640",
                "network.dns: (default) → [\"192.0.2.1\"]",
                "network.wifi.password: (secret, new)",
                "network.wifi.ssid: (default) → \"w\"",
                "room.key: (secret, changed)",
            ]
        );
        let same = evaluate(&question(&image, b"[camera]\nfps = 25 # nothing but a comment"));
        let unchanged =
            Verdict::Good { changes: Vec::new(), network: false, applies: true, checks_sound: false };
        assert_eq!(same, unchanged);
        for nothing in [&b""[..], b"\n", b"# nothing but a comment"] {
            assert!(refusal(&question(&image, nothing)).starts_with("holobooth.toml is empty"));
        }
    }

    #[test]
    fn a_check_is_asked_for_and_is_no_change() {
        let asked = |file: &str| evaluate(&question("[camera]\nfps = 25\n", file.as_bytes()));
        let alone = |checks_sound| Verdict::Good {
            changes: Vec::new(),
            network: false,
            applies: false,
            checks_sound,
        };
        assert_eq!(asked("[check]\nsound = true\n"), alone(true));
        assert_eq!(asked("check.sound = false\n"), alone(false));
        let Verdict::Good { changes, applies: true, checks_sound: true, .. } =
            asked("[camera]\nfps = 30\n[check]\nsound = true\n")
        else {
            panic!()
        };
        assert_eq!((changes.len(), changes[0].key.as_str()), (1, "camera.fps"));
        // The image's section asks for nothing.
        let image = question("[check]\nsound = true\n", b"[camera]\nfps = 30\n");
        assert!(matches!(evaluate(&image), Verdict::Good { checks_sound: false, applies: true, .. }));
        for (file, says) in [
            (
                "[check]\nsound = \"yes\"\n",
                "holobooth.toml:2:9: invalid type: string \"yes\", expected a boolean",
            ),
            ("[check]\nsounds = true\n", "holobooth.toml:2:1: unknown field `sounds`"),
            ("check = true\n", "holobooth.toml:1:9: invalid type: boolean `true`, expected struct Check"),
        ] {
            let why = refusal(&question("", file.as_bytes()));
            assert!(why.starts_with(says), "{file}: {why}");
        }
        let image = "[operator]\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n";
        let unsigned = refusal(&question(image, b"[check]\nsound = true\n"));
        assert!(unsigned.starts_with("holobooth.toml.minisig is missing"), "{unsigned}");
    }

    #[test]
    fn a_mistake_is_shown_with_its_place() {
        let why = refusal(&question("", b"[camera]\nwidht = 640\n"));
        assert!(
            why.starts_with("holobooth.toml:2:1: unknown field `widht`") && why.contains("mean `width`"),
            "{why}"
        );
        let why = refusal(&question("", b"[camera]\n# \xff\n"));
        assert!(why.starts_with("holobooth.toml:2:3: this is not UTF-8"), "{why}");
        let why = refusal(&question("", format!("[camera]\ndevice = {}", "[".repeat(60_000)).as_bytes()));
        assert!(why.starts_with("holobooth.toml:2:") && why.chars().count() <= LONGEST + 1, "{why}");
        let why = refusal(&question("[camera", b""));
        assert!(why.contains("in force is damaged"), "{why}");
        let hush = refusal(&question("", b"[network.wifi]\nssid = \"w\"\npassword = 123456789\n"));
        assert!(hush.contains(":3:12:") && !hush.contains("1234567"), "{hush}");
    }

    #[test]
    fn an_operator_s_booth_wants_a_signature() {
        let image = "[operator]\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n";
        let mut question = question(image, b"test");
        assert!(
            refusal(&question).starts_with("holobooth.toml.minisig is missing"),
            "{}",
            refusal(&question)
        );
        question.signature = Some(
            b"untrusted comment: signature from minisign secret \
              key\nRUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/\
              z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\ntrusted comment: \
              timestamp:1633700835\tfile:test\tprehashed\n\
              wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ=="
                .to_vec(),
        );
        // It is the operator's; that it is no configuration is the next thing.
        assert!(refusal(&question).starts_with("holobooth.toml:1:"), "{}", refusal(&question));
        question.meaning = Meaning::Reset;
        assert!(matches!(evaluate(&question), Verdict::Good { .. }));
        question.file = b"tess".to_vec();
        assert!(refusal(&question).starts_with("factory-reset.minisig is not the operator's"));
        question.signature = None;
        // A store that takes no notice of the operator is not in force over the image's section; one that
        // takes the key out would be.
        question.store = Some("[camera]\nfps = 25".into());
        assert!(refusal(&question).starts_with("factory-reset.minisig is missing"));
        question.store = Some("[operator]\nkey = \"rubbish\"".into());
        assert!(refusal(&question).contains("key in force is damaged"));
    }

    /// Sections, and keys with a number, a text, a list or a boolean.
    const LINES: &str =
        "(\\[[a-z.]{0,9}\\]\n|[a-z]{1,9} ?= ?([0-9]{1,22}|\"[^\"]{0,9}\"|\\[\\]|true)\n){0,8}";

    proptest! {
        #[test]
        fn no_bytes_are_too_much(file in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = evaluate(&question("", &file));
        }

        #[test]
        fn no_text_is_too_much(file in LINES) {
            let _ = evaluate(&question("[camera]\nfps = 25\n", file.as_bytes()));
        }
    }
}
