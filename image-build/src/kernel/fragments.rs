//! Kernel options by reason: the fragments of `kernel-config/`, and whether they survived.
//!
//! A line is `CONFIG_NAME=value  # why`; `=n` asks for the option's absence. Kconfig drops, without a word,
//! whatever lacks a dependency: [`check`] says which line that was.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use thiserror::Error;

/// One line of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `CONFIG_NAME`.
    pub(crate) option: String,
    /// `y`, `n`, a number, or a string in quotes.
    pub(crate) value: String,
    /// Where it stands.
    pub(crate) place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, relative to the checkout.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is wrong with the fragments.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A file that cannot be read.
    #[error("kernel config: cannot read {file}: {why}")]
    Unreadable {
        /// The file or folder.
        file: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// A line that is neither empty, nor a comment, nor an option with its reason.
    #[error("kernel config: {place}: write `CONFIG_NAME=value  # why it is needed`, not `{text}`")]
    Malformed {
        /// Where.
        place: Place,
        /// What stands there.
        text: String,
    },
    /// Two lines about one option.
    #[error("kernel config: {second}: {option} was set already in {first}; keep one of the two")]
    Twice {
        /// The option.
        option: String,
        /// The line that came first.
        first: Place,
        /// The line that is too much.
        second: Place,
    },
    /// Options that the kernel's own rules overruled.
    #[error("kernel config: these lines did not survive (a dependency is missing, or another option forces it):{}", list(.0))]
    Lost(Vec<Lost>),
}

/// A line that did not survive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// What was asked for.
    pub(crate) wanted: Wanted,
    /// What the kernel's configuration says instead; `n` for absent.
    pub(crate) found: String,
}

fn list(lost: &[Lost]) -> String {
    lost.iter()
        .map(|Lost { wanted, found }| {
            format!("\n  {}: {}={} became {found}", wanted.place, wanted.option, wanted.value)
        })
        .collect()
}

/// Reads all `*.config` files of a folder, in the order of their names; `shown` is the folder's name in errors.
pub(crate) fn read(folder: &Path, shown: &str) -> Result<Vec<Wanted>, Error> {
    let unreadable = |file: &str, why| Error::Unreadable { file: file.to_owned(), why };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map_err(|why| unreadable(shown, why))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".config"))
        .collect();
    names.sort();
    let mut all = Vec::new();
    for name in names {
        let file = format!("{shown}/{name}");
        let text = std::fs::read_to_string(folder.join(name)).map_err(|why| unreadable(&file, why))?;
        all.extend(parse(&file, &text)?);
    }
    refuse_repeats(&all)?;
    Ok(all)
}

/// The options of one fragment.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place { file: file.to_owned(), line: index + 1 };
        match option(line) {
            Some((option, value)) => wanted.push(Wanted { option, value, place }),
            None => return Err(Error::Malformed { place, text: line.to_owned() }),
        }
    }
    Ok(wanted)
}

fn option(line: &str) -> Option<(String, String)> {
    let (option, rest) = line.split_once('=')?;
    let name = option.strip_prefix("CONFIG_")?;
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let end = match rest.strip_prefix('"') {
        Some(quoted) => quoted.find('"')? + 2,
        None => rest.find(char::is_whitespace)?,
    };
    let (value, reason) = rest.split_at(end);
    let reason = reason.trim_start().strip_prefix('#')?.trim();
    (!value.is_empty() && !reason.is_empty()).then(|| (option.to_owned(), value.to_owned()))
}

fn refuse_repeats(wanted: &[Wanted]) -> Result<(), Error> {
    let mut seen: BTreeMap<&str, &Place> = BTreeMap::new();
    for Wanted { option, place, .. } in wanted {
        if let Some(first) = seen.insert(option, place) {
            return Err(Error::Twice { option: option.clone(), first: first.clone(), second: place.clone() });
        }
    }
    Ok(())
}

/// The lines as the kernel's own tools read them.
pub(crate) fn plain(wanted: &[Wanted]) -> String {
    wanted.iter().map(|line| format!("{}={}\n", line.option, line.value)).collect()
}

/// Holds every line against the finished `.config`.
pub(crate) fn check(wanted: &[Wanted], config: &str) -> Result<(), Error> {
    let made: BTreeMap<&str, &str> = config
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.split_once('='))
        .collect();
    let lost: Vec<_> = wanted
        .iter()
        .filter_map(|wanted| {
            let found = made.get(wanted.option.as_str()).copied().unwrap_or("n");
            (found != wanted.value).then(|| Lost { wanted: wanted.clone(), found: found.to_owned() })
        })
        .collect();
    if lost.is_empty() { Ok(()) } else { Err(Error::Lost(lost)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# heading\n\nCONFIG_A=y   # why\nCONFIG_B=\"a # b\"  # why\nCONFIG_C=n # why\nCONFIG_D=8 # why\n";

    #[test]
    fn lines_become_options() {
        let wanted = parse("f", TEXT).unwrap();
        assert_eq!(plain(&wanted), "CONFIG_A=y\nCONFIG_B=\"a # b\"\nCONFIG_C=n\nCONFIG_D=8\n");
        assert_eq!(wanted[2].place.to_string(), "f:5");
    }

    #[test]
    fn a_line_needs_its_reason() {
        for line in [
            "CONFIG_A=y",
            "CONFIG_A=y #",
            "CONFIG_A= # why",
            "A=y # why",
            "CONFIG_A-B=y # x",
            "CONFIG_A=\"x # y",
        ] {
            let error = parse("f", line).unwrap_err().to_string();
            assert!(error.contains("f:1") && error.contains(line), "{error}");
        }
    }

    #[test]
    fn one_option_one_line() {
        let error =
            refuse_repeats(&parse("f", "CONFIG_A=y # x\nCONFIG_A=n # y\n").unwrap()).unwrap_err().to_string();
        assert!(error.contains("f:2") && error.contains("f:1") && error.contains("CONFIG_A"), "{error}");
    }

    #[test]
    fn lost_lines_are_named() {
        let wanted = parse("f", TEXT).unwrap();
        assert!(
            check(&wanted, "CONFIG_A=y\nCONFIG_B=\"a # b\"\n# CONFIG_C is not set\nCONFIG_D=8\n").is_ok()
        );
        let error = check(&wanted, "CONFIG_A=m\nCONFIG_B=\"a # b\"\nCONFIG_C=y\nCONFIG_D=8\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("f:3: CONFIG_A=y became m") && error.contains("f:5: CONFIG_C=n became y"),
            "{error}"
        );
        assert!(!error.contains("CONFIG_D"), "{error}");
    }

    #[test]
    fn the_fragments_in_the_checkout_are_well_formed() {
        let wanted =
            read(&crate::folders::checkout().join("kernel-config/rig"), "kernel-config/rig").unwrap();
        assert!(wanted.iter().any(|line| line.option == "CONFIG_DRM_VKMS"));
    }
}
