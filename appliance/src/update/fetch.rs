//! An update from a server: a folder of what `cargo xtask image` made, over HTTPS.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::bundle::{FILES, LARGEST, fits, move_in, room_for};
use super::{Error, Folders, INCOMING, Outcome, REFUSED, Record, SUMS, running, system};

/// The largest list of sums, in bytes.
const SUMS_LARGEST: u64 = 65536;
/// Slower than this, in bytes a second, for half a minute is a line that is down.
const SLOWEST: &str = "2048";

impl Folders {
    /// Downloads what the server at `url` has, if it is newer than what runs, did not go back and was not
    /// refused already; gives its version. From then on it waits to be installed.
    ///
    /// # Errors
    /// When the server does not answer, or the data partition is full. Nothing is left then.
    pub fn fetch(&self, url: &str) -> Result<Option<String>, Error> {
        if self.incoming().exists() {
            return Ok(None);
        }
        let new = self.data.join(format!("{INCOMING}.server"));
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).map_err(system(new.display().to_string()))?;
        let result = self.download(url.trim_end_matches('/'), &new);
        if !matches!(result, Ok(Some(_))) {
            let _ = fs::remove_dir_all(&new);
        }
        result
    }

    fn download(&self, url: &str, new: &Path) -> Result<Option<String>, Error> {
        get(url, SUMS, new, SUMS_LARGEST)?;
        let sums = new.join(SUMS);
        let text = fs::read_to_string(&sums).map_err(system(sums.display().to_string()))?;
        if fs::read(self.data.join(REFUSED)).is_ok_and(|refused| refused == text.as_bytes()) {
            return Ok(None);
        }
        let went_back = Record::read(&self.data).filter(|record| record.outcome == Outcome::WentBack);
        let running = running().unwrap_or_default();
        let newer = |version: &String| {
            went_back.as_ref().is_none_or(|record| record.to != *version) && is_newer(version, &running)
        };
        // Of several, the newest goes first; there are seldom two.
        let newest =
            versions(&text).into_iter().filter(newer).reduce(|a, b| if is_newer(&b, &a) { b } else { a });
        let Some(version) = newest else { return Ok(None) };
        get(url, "SHA256SUMS.gpg", new, SUMS_LARGEST)?;
        let mut left = LARGEST;
        for name in files(&text, &version).into_iter().take(FILES) {
            get(url, &name, new, left)?;
            let size = fs::metadata(new.join(&name)).map_err(system(name))?.len();
            left = left.saturating_sub(size);
            room_for(0, new)?;
        }
        move_in(new, &self.incoming())?;
        Ok(Some(version))
    }
}

/// The names in a list of sums (sha256sum(1)) that a bundle may hold.
fn names(sums: &str) -> impl Iterator<Item = &str> {
    sums.lines()
        .filter_map(|line| Some(line.split_once(' ')?.1.trim_start_matches([' ', '*'])))
        .filter(|name| fits(name))
}

/// The versions that have a kernel image in the list.
fn versions(sums: &str) -> BTreeSet<String> {
    names(sums)
        .filter_map(|name| Some(name.strip_prefix("holobooth_")?.strip_suffix(".efi")?.to_owned()))
        .collect()
}

/// The files of a version.
fn files(sums: &str, version: &str) -> Vec<String> {
    let stem = format!("holobooth_{version}.");
    let of_it =
        |name: &&str| name.strip_prefix(&stem).is_some_and(|rest| rest == "efi" || rest.starts_with("root-"));
    names(sums).filter(of_it).map(str::to_owned).collect()
}

/// Whether `a` comes after `b`, as systemd orders versions (UAPI.10).
fn is_newer(a: &str, b: &str) -> bool {
    let asked = Command::new("systemd-analyze").args(["compare-versions", a, "gt", b]).output();
    asked.is_ok_and(|out| out.status.success())
}

/// Downloads one file.
fn get(url: &str, name: &str, to: &Path, largest: u64) -> Result<(), Error> {
    let out = Command::new("curl")
        .args([
            "--fail",
            "--silent",
            "--show-error",
            "--proto",
            "=https",
            "--max-filesize",
            &largest.to_string(),
        ])
        .args(["--connect-timeout", "20", "--speed-time", "30", "--speed-limit", SLOWEST, "--output"])
        .arg(to.join(name))
        .arg(format!("{url}/{name}"))
        .output()
        .map_err(system("curl"))?;
    if out.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(Error::Server { what: format!("{url}/{name}"), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_sums_names_versions_and_their_files() {
        let sums = "aa  holobooth_2.efi\nbb *holobooth_2.root-x86-64.11.raw.gz\ncc  \
                    holobooth_2.root-x86-64-verity.22.raw.gz\n\
                    dd  holobooth_2.raw.zst\nee  holobooth_2.cdx.json\nff  ../holobooth_9.efi\ngg  \
                    holobooth_10.efi\n\n junk";
        assert_eq!(versions(sums).into_iter().collect::<Vec<_>>(), ["10", "2"]);
        assert_eq!(files(sums, "2").len(), 3);
        assert_eq!(files(sums, "10"), ["holobooth_10.efi"]);
    }
}
