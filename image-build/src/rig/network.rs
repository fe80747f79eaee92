//! The network inside the rig: loopback, and for two booths a cable between two namespaces.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::rig::options::Line;

/// Largest socket buffer a program may ask for: a second of video at 100 Mbit/s.
const SOCKET_BUFFER_BYTES: &str = "12582912";

/// Brings loopback up, and lays the cable when there are two booths.
pub(crate) fn prepare(two_booths: Option<&Line>) -> Result<()> {
    for limit in ["rmem_max", "wmem_max"] {
        std::fs::write(format!("/proc/sys/net/core/{limit}"), SOCKET_BUFFER_BYTES)
            .with_context(|| format!("cannot raise net.core.{limit}"))?;
    }
    tool("ip", "link set lo up")?;
    let Some(line) = two_booths else { return Ok(()) };
    tool("ip", "netns add a")?;
    tool("ip", "netns add b")?;
    tool("ip", "link add va netns a type veth peer name vb netns b")?;
    for (booth, address) in [("a", "10.9.0.1/24"), ("b", "10.9.0.2/24")] {
        tool("ip", &format!("-n {booth} link set lo up"))?;
        tool("ip", &format!("-n {booth} addr add {address} dev v{booth}"))?;
        tool("ip", &format!("-n {booth} link set v{booth} up"))?;
        if let Some(faults) = netem(line) {
            tool("tc", &format!("-n {booth} qdisc add dev v{booth} root netem {faults}"))?;
        }
    }
    Ok(())
}

/// The line's faults in the words of `tc … netem`; nothing for a clean line.
fn netem(line: &Line) -> Option<String> {
    let mut faults = Vec::new();
    if let Some(delay_ms) = line.delay_ms {
        faults.push(format!("delay {delay_ms}ms"));
    }
    if let Some(percent) = line.loss_percent {
        faults.push(format!("loss random {percent}%"));
    }
    if let Some(burst) = line.burst_loss {
        let (begin, end) = burst.chances_percent();
        faults.push(format!("loss gemodel {begin:.4}% {end:.4}%"));
    }
    if let Some(rate_mbit) = line.rate_mbit {
        faults.push(format!("rate {rate_mbit}mbit"));
    }
    (!faults.is_empty()).then(|| faults.join(" "))
}

fn tool(program: &str, arguments: &str) -> Result<()> {
    let out = Command::new(program)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(arguments.split_whitespace())
        .output()
        .with_context(|| format!("cannot run {program}: `cargo xtask setup` installs it"))?;
    if !out.status.success() {
        bail!("`{program} {arguments}` failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::options::BurstLoss;

    #[test]
    fn a_clean_line_has_no_netem() {
        assert_eq!(netem(&Line::default()), None);
    }

    #[test]
    fn faults_are_spelt_as_tc_wants_them() {
        let line =
            Line { delay_ms: Some(20), loss_percent: Some(0.5), burst_loss: None, rate_mbit: Some(30) };
        assert_eq!(netem(&line).as_deref(), Some("delay 20ms loss random 0.5% rate 30mbit"));
        let line = Line { burst_loss: Some(BurstLoss { percent: 2.0, length: 5.0 }), ..Line::default() };
        assert_eq!(netem(&line).as_deref(), Some("loss gemodel 0.4082% 20.0000%"));
    }
}
