//! Cables and addresses of the rig, changed while booths run.

use std::io;
use std::process::Command;

/// Runs `ip` with these words, outside of all namespaces (`-n a …` names one).
///
/// # Errors
/// When it refuses, with what it said.
pub fn ip(words: &str) -> io::Result<()> {
    run("ip", words)
}

/// Runs `tc` with these words.
///
/// # Errors
/// As [`ip`].
pub fn tc(words: &str) -> io::Result<()> {
    run("tc", words)
}

/// Makes two namespaces, unless they are there, and lays a cable between them. An end is a namespace, a
/// device, and its address with the length of its prefix.
///
/// # Errors
/// As [`ip`].
pub fn cable(ends: [(&str, &str, &str); 2]) -> io::Result<()> {
    for (namespace, ..) in ends {
        if !std::path::Path::new("/run/netns").join(namespace).exists() {
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
    }
    let [(left, left_device, _), (right, right_device, _)] = ends;
    ip(&format!("link add {left_device} netns {left} type veth peer name {right_device} netns {right}"))?;
    for (namespace, device, address) in ends {
        ip(&format!("-n {namespace} addr add {address} dev {device}"))?;
        ip(&format!("-n {namespace} link set {device} up"))?;
    }
    Ok(())
}

fn run(program: &str, words: &str) -> io::Result<()> {
    let out = Command::new(program).args(words.split_whitespace()).output()?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(io::Error::other(format!("`{program} {words}`: {said}")))
}
