//! Which Debian mirror this machine uses, from its own apt settings.

use std::path::Path;

use anyhow::{Context, Result};

/// Suites that a mirror of Debian proper has, and mirrors of updates, security or other makers have not.
const RELEASES: [&str; 10] =
    ["bullseye", "bookworm", "trixie", "forky", "duke", "sid", "oldstable", "stable", "testing", "unstable"];

/// The mirror's URI: the first in apt's settings whose suite is a Debian release.
///
/// # Errors
/// When no file below /etc/apt names one.
pub(crate) fn find() -> Result<String> {
    first(is_release).context(
        "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d: \
         add this machine's own release there (deb MIRROR bookworm main), then try again",
    )
}

/// The URI of security updates, where apt's settings name one.
pub(crate) fn find_security() -> Option<String> {
    first(|suite| suite.strip_suffix("-security").is_some_and(is_release))
}

/// The first URI in apt's settings with such a suite.
fn first(suite: impl Fn(&str) -> bool + Copy) -> Option<String> {
    let apt = Path::new("/etc/apt");
    let mut files = vec![apt.join("sources.list")];
    let mut parts: Vec<_> = std::fs::read_dir(apt.join("sources.list.d"))
        .map(|folder| folder.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    parts.sort();
    files.extend(parts);
    files.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "sources" => in_stanzas(&text, suite),
            "list" => in_lines(&text, suite),
            _ => None,
        }
    })
}

/// apt's sources of a release, as a file `*.sources` has them (sources.list(5), deb822 style).
pub(crate) fn sources(mirror: &str, security: Option<&str>, suite: &str) -> String {
    let stanza = |uri: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main non-free non-free-firmware\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        )
    };
    let mut text = stanza(mirror, &format!("{suite} {suite}-updates"));
    if let Some(security) = security {
        text = format!("{text}\n{}", stanza(security, &format!("{suite}-security")));
    }
    text
}

fn is_release(suite: &str) -> bool {
    RELEASES.contains(&suite)
}

/// One-line style: `deb [options] URI suite components…`.
fn in_lines(text: &str, wanted: impl Fn(&str) -> bool) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb")?;
        if !rest.starts_with([' ', '\t', '[']) {
            return None;
        }
        let rest = rest.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        wanted(suite).then(|| uri.to_owned())
    })
}

/// deb822 style: stanzas of `Key: value` lines; a value goes on in lines that begin with a blank.
fn in_stanzas(text: &str, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let words = |key: &str| -> Vec<&str> {
            let Some(start) =
                stanza.iter().position(|line| field(line).is_some_and(|(k, _)| k.eq_ignore_ascii_case(key)))
            else {
                return Vec::new();
            };
            let more = stanza[start + 1..].iter().take_while(|line| line.starts_with([' ', '\t'])).copied();
            let first = field(stanza[start]).map_or("", |(_, value)| value);
            std::iter::once(first).chain(more).flat_map(str::split_whitespace).collect()
        };
        let off = words("Enabled").first().is_some_and(|word| ["no", "false", "0", "off"].contains(word));
        let fits = !off && words("Types").contains(&"deb") && words("Suites").into_iter().any(&wanted);
        if fits { words("URIs").first().map(|&uri| uri.to_owned()) } else { None }
    })
}

fn field(line: &str) -> Option<(&str, &str)> {
    if line.starts_with([' ', '\t']) { None } else { line.split_once(':') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_style() {
        let text = "# deb http://no.example/ bookworm main\ndeb-src http://src.example/ bookworm main\n\
                    deb http://sec.example/ bookworm-security main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://yes.example/debian bookworm main contrib\n";
        assert_eq!(in_lines(text, is_release).as_deref(), Some("http://yes.example/debian"));
        assert_eq!(
            in_lines(text, |suite| suite.ends_with("-security")).as_deref(),
            Some("http://sec.example/")
        );
        assert_eq!(in_lines("deb http://other.example/ nodistro main\n", is_release), None);
    }

    #[test]
    fn security_updates_come_from_where_this_machine_has_them() {
        let text = sources("http://a.example/debian", Some("http://b.example/security"), "trixie");
        assert_eq!(text.matches("URIs:").count(), 2);
        assert!(text.contains(
            "URIs: http://b.example/security\nSuites: trixie-security\nComponents: main non-free "
        ));
        assert_eq!(sources("http://a.example/debian", None, "trixie").matches("Suites:").count(), 1);
        assert_eq!(in_stanzas(&text, is_release).as_deref(), Some("http://a.example/debian"));
    }

    #[test]
    fn deb822_style() {
        let text = "Types: deb\nURIs: http://sec.example/\nSuites: trixie-security\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: trixie\n\n\
                    Types: deb deb-src\n# a comment\nURIs:\n http://yes.example/debian\n http://second.example/\n\
                    Suites: trixie trixie-updates\nComponents: main\n";
        assert_eq!(in_stanzas(text, is_release).as_deref(), Some("http://yes.example/debian"));
        assert_eq!(in_stanzas("Types: deb-src\nURIs: http://x.example/\nSuites: trixie\n", is_release), None);
    }
}
