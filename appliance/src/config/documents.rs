//! What is written for people holds: the sample file and the README's examples are configurations, and the
//! sample's defaults are the schema's. (That the sample has every key with the schema's docs is checked by
//! `cargo xtask`, which makes it: `image-build/src/reference.rs`.)

use std::path::Path;

use super::{Config, SAMPLE};
use crate::pairing::RoomKey;

/// An example with something in the place of each `"…"`, which in our documents stands for a value of the
/// reader's own: a room key, a fingerprint, a password, a public key.
fn filled(text: &str) -> String {
    let mut section = "";
    let lines = text.lines().map(|line| {
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name;
        }
        let value = match (section, line.split(" = ").next().unwrap_or_default()) {
            ("room", "key") => RoomKey::of([7; 32]).text(),
            ("operator", "key") => "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned(),
            (_, "fingerprint") => "5a".repeat(32),
            (_, "password") => "hush hush".to_owned(),
            _ => "…".to_owned(),
        };
        line.replacen("\"…\"", &format!("\"{value}\""), 1)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The sample with the keys set that it shows as examples: a number sign right before a key or section is
/// taken away.
fn with_examples() -> String {
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => key,
        _ => line,
    });
    filled(&lines.collect::<Vec<_>>().join("\n"))
}

/// All values of a configuration, without the places in the file from which they come.
fn values(config: &Config) -> String {
    let text = format!("{config:?}");
    let mut parts = text.split("span: ");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    rest.fold(first, |all, part| all + part)
}

#[test]
fn the_sample_has_the_defaults() {
    let sample = Config::parse(Path::new("sample.toml"), SAMPLE).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(values(&sample), values(&Config::default()));
    assert_ne!(values(&sample), values(&Config::parse(Path::new("a"), "[camera]\nfps = 25").unwrap()));
}

#[test]
fn the_sample_s_examples_are_allowed() {
    let examples = with_examples();
    let read: Config = toml::from_str(&examples).unwrap_or_else(|e| panic!("{e}"));
    let room = read.room.unwrap();
    assert!(room.key.is_some() && room.code.is_some(), "every key is set");
    let default: Config = toml::from_str("[room]").unwrap();
    assert_eq!(room.most.get_ref(), default.room.unwrap().most.get_ref(), "which has a default");
    // A booth has a key or a code.
    let one_of_them: String =
        examples.lines().filter(|line| !line.starts_with("code = ")).collect::<Vec<_>>().join("\n");
    Config::parse(Path::new("sample.toml"), &one_of_them).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn every_example_of_the_readme_is_a_configuration() {
    let readme = include_str!("../../../README.md");
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2, "{blocks:?}");
    for block in blocks {
        let text = filled(block);
        assert!(!text.contains('…'), "what does this stand for? {text}");
        Config::parse(Path::new("README.md"), &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
}
