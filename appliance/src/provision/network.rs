//! The network, as configuration files of systemd-networkd, iwd and systemd-timesyncd.
//!
//! Sources: systemd.network(5), systemd.netdev(5), timesyncd.conf(5), iwd.network(5), iwd.config(5). A value
//! is put into a line as it is, for [`crate::config`] lets through only what fits there; a name and a
//! password of Wi-Fi, which may be anything, are coded as iwd wants.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::Spanned;

use crate::config::{Config, Network, Wifi};
use crate::sys::replace_file;

/// systemd-networkd's folder, gone after a reboot.
const NETWORKD: &str = "run/systemd/network";
/// The file by which a unit (holobooth-reload.path) learns that others have changed.
const CHANGED: &str = "run/holobooth-config/network";
/// iwd's folder of known networks: it keeps what it learns there, so it lasts.
const IWD: &str = "var/lib/iwd";
/// iwd's own settings; its unit has to name this folder: `Environment=CONFIGURATION_DIRECTORY=/run/iwd`.
const IWD_MAIN: &str = "run/iwd/main.conf";
/// systemd-timesyncd's.
const TIMESYNCD: &str = "run/systemd/timesyncd.conf.d/50-holobooth.conf";
/// What files of ours in networkd's folder begin with; all of them are ours to remove.
const OURS: &str = "50-holobooth-";
/// Which of iwd's files is ours, and the SHA-256 of what we wrote into it: iwd adds to it, and that must not
/// be lost without need.
const IWD_OURS: &str = "var/lib/iwd/.holobooth";

/// What is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("network: {path}: {source}; run it as who owns that folder, on a system that is not full")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// A file to be written, by its path from the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Without the leading slash.
    pub path: String,
    /// What stands in it.
    pub text: String,
    /// Whether it holds a password.
    pub secret: bool,
}

fn rendered(path: String, text: String) -> Rendered {
    Rendered {
        path,
        text: format!("# Made from holobooth.toml; what is changed here is lost.\n{text}"),
        secret: false,
    }
}

/// The files that the configuration comes to.
pub fn render(config: &Config) -> Vec<Rendered> {
    let network = &config.network;
    let ours = |name: &str, text: String| rendered(format!("{NETWORKD}/{OURS}{name}"), text);
    let port = match &network.interface {
        Some(interface) => format!("[Match]\nName={}\n", interface.get_ref()),
        // Not what only looks like a port: bridges, veth, VLANs have a kind.
        None => "[Match]\nType=ether\nKind=!*\n".to_owned(),
    };
    let mut files = Vec::new();
    match &network.vlan {
        Some(vlan) => {
            let name = format!("vlan{}", vlan.get_ref());
            let below = format!("{port}\n[Network]\nVLAN={name}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n");
            files.push(ours("port.network", below));
            let device = format!("[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={}\n", vlan.get_ref());
            files.push(ours("vlan.netdev", device));
            files.push(ours(
                "vlan.network",
                format!("[Match]\nName={name}\nKind=vlan\n\n{}", addresses(network)),
            ));
        }
        None => files.push(ours("port.network", format!("{port}\n{}", addresses(network)))),
    }
    if let Some(wifi) = &network.wifi {
        // A cable is better than none: its routes come first (a metric of 1024 is networkd's own).
        let metric = "[DHCPv4]\nRouteMetric=2048\n\n[IPv6AcceptRA]\nRouteMetric=2048\n";
        files.push(ours("wifi.network", format!("[Match]\nType=wlan\n\n[Network]\nDHCP=yes\n\n{metric}")));
        files.push(known_network(wifi));
        if let Some(country) = &wifi.country {
            files.push(rendered(IWD_MAIN.into(), format!("[General]\nCountry={}\n", country.get_ref())));
        }
    }
    if !config.time.servers.is_empty() {
        let servers: Vec<&str> = config.time.servers.iter().map(|server| server.get_ref().as_str()).collect();
        files.push(rendered(TIMESYNCD.into(), format!("[Time]\nNTP={}\n", servers.join(" "))));
    }
    files
}

fn addresses(network: &Network) -> String {
    let mut text = String::from("[Network]\n");
    match &network.address {
        Some(address) => {
            let _ = writeln!(text, "Address={}", address.get_ref());
            if let Some(gateway) = &network.gateway {
                let _ = writeln!(text, "Gateway={}", gateway.get_ref());
            }
        }
        // Two booths on one cable have no DHCP, and meet all the same.
        None => text.push_str("DHCP=yes\nLinkLocalAddressing=yes\n"),
    }
    for server in network.dns.iter().map(Spanned::get_ref) {
        let _ = writeln!(text, "DNS={server}");
    }
    // The booth announces itself (pairing/lan.rs); two that answer for one name would disturb each other.
    text.push_str("MulticastDNS=no\n");
    // A venue does not name a booth.
    text.push_str("\n[DHCPv4]\nUseHostname=no\n");
    if !network.dns.is_empty() {
        text.push_str("UseDNS=no\n\n[DHCPv6]\nUseDNS=no\n\n[IPv6AcceptRA]\nUseDNS=no\n");
    }
    text
}

fn known_network(wifi: &Wifi) -> Rendered {
    let name = file_name(wifi.ssid.get_ref());
    match &wifi.password {
        Some(password) => {
            let text = format!(
                "[Security]\nPassphrase={}\n\n[Settings]\nAutoConnect=true\n",
                escaped(password.get_ref().text())
            );
            Rendered { secret: true, ..rendered(format!("{IWD}/{name}.psk"), text) }
        }
        None => rendered(format!("{IWD}/{name}.open"), "[Settings]\nAutoConnect=true\n".into()),
    }
}

/// A network's name as iwd names its file: as it is when it has letters, digits, blanks, `_` and `-` only,
/// else `=` and its bytes in hexadecimal (iwd.network(5), "NAMING").
fn file_name(ssid: &str) -> String {
    if ssid.bytes().all(|b| b.is_ascii_alphanumeric() || b" _-".contains(&b)) {
        return ssid.to_owned();
    }
    ssid.bytes().fold(String::from("="), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// A value as iwd reads it back: a backslash leads an escape, and a blank at the start would be skipped
/// (iwd.network(5), "FILE FORMAT").
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\");
    match value.strip_prefix(' ') {
        Some(rest) => format!("\\s{rest}"),
        None => value,
    }
}

/// Writes the files below `root`, and removes those of ours that are no longer wanted. Whether anything
/// changed: then [`CHANGED`] is written last of all, by which the services that read them are notified.
///
/// # Errors
/// [`Error`].
pub fn write(root: &Path, files: &[Rendered]) -> Result<bool, Error> {
    let mut changed = sweep(root, files)?;
    for file in files {
        changed |= put(root, file)?;
    }
    if changed {
        let mark = root.join(CHANGED);
        if let Some(folder) = mark.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(at(folder))?;
        }
        fs::write(&mark, "").map_err(at(&mark))?;
    }
    Ok(changed)
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error { path: path.to_owned(), source }
}

fn put(root: &Path, file: &Rendered) -> Result<bool, Error> {
    let path = root.join(&file.path);
    let is_iwd = file.path.starts_with(IWD);
    let mark = format!("{}\n{}\n", file.path, data_encoding::HEXLOWER.encode(&Sha256::digest(&file.text)));
    let same = if is_iwd {
        path.exists() && fs::read_to_string(root.join(IWD_OURS)).is_ok_and(|kept| kept == mark)
    } else {
        fs::read_to_string(&path).is_ok_and(|kept| kept == file.text)
    };
    if same {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        // iwd's holds passwords of others, too.
        let mode = if is_iwd { 0o700 } else { 0o755 };
        DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(at(folder))?;
    }
    if is_iwd {
        // First, so that it is known for ours and removed whatever happens next; a wrong sum only has it
        // written again.
        place(&root.join(IWD_OURS), &format!("{}\n\n", file.path), 0o600)?;
    }
    place(&path, &file.text, if file.secret { 0o600 } else { 0o644 })?;
    if is_iwd {
        place(&root.join(IWD_OURS), &mark, 0o600)?;
    }
    Ok(true)
}

/// Writes a file. None of its readers takes the name that it has until it is complete for one of theirs.
fn place(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    replace_file(path, text.as_bytes(), mode).map_err(at(path))
}

/// Removes files of ours that are not among `wanted`.
fn sweep(root: &Path, wanted: &[Rendered]) -> Result<bool, Error> {
    let mut left: Vec<PathBuf> = [IWD_MAIN, TIMESYNCD].map(PathBuf::from).to_vec();
    let names =
        fs::read_dir(root.join(NETWORKD)).into_iter().flatten().flatten().map(|entry| entry.file_name());
    left.extend(
        names
            .filter(|name| name.to_string_lossy().starts_with(OURS))
            .map(|name| Path::new(NETWORKD).join(name)),
    );
    if let Ok(kept) = fs::read_to_string(root.join(IWD_OURS)) {
        left.extend(kept.lines().next().filter(|line| line.starts_with(IWD)).map(PathBuf::from));
    }
    let mut changed = false;
    for path in left {
        if wanted.iter().any(|file| Path::new(&file.path) == path) {
            continue;
        }
        match fs::remove_file(root.join(&path)) {
            Ok(()) => changed = true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error { path, source }),
        }
    }
    Ok(changed)
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
