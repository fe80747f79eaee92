//! The line between both ends: a namespace of its own in the middle, where packets are delayed, lost and held
//! up.
//!
//! In the middle rather than at the ends, for two reasons. A program may hand the kernel many datagrams at
//! once, and a fault at its own interface would then hit all of them as one; here they have been taken apart,
//! as by a network card. And what the ends' interfaces count is what was sent, whatever became of it.

use std::fmt;
use std::io;
use std::process::Command;

use crate::child::Side;
use crate::network::{ip, tc};

/// Packets that wait in the line, those under way included.
const LIMIT: u32 = 1000;
/// The namespace of the line itself: its interfaces are `la` towards A and `lb` towards B.
pub const LINE: &str = "line";

/// How packets are lost, in each direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Each by itself, so many per cent.
    Random(f64),
    /// In bursts (Gilbert's model).
    Bursts {
        /// Of all packets, so many per cent.
        percent: f64,
        /// So many in a row on average.
        length: f64,
    },
}

impl Loss {
    /// Whether nothing is lost.
    pub fn is_none(self) -> bool {
        self == Self::Random(0.0)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(percent) => write!(f, "loss-{percent}"),
            Self::Bursts { percent, .. } => write!(f, "burst-{percent}"),
        }
    }
}

/// A state of the line; the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// Round trip in ms.
    pub rtt_ms: u32,
    /// What is lost.
    pub loss: Loss,
    /// Capacity in Mbit/s.
    pub rate_mbit: u32,
}

impl Faults {
    /// In the words of `tc … netem`.
    fn netem(&self) -> String {
        let delay_ms = f64::from(self.rtt_ms) / 2.0;
        let loss = match self.loss {
            Loss::Random(percent) if percent > 0.0 => format!("loss random {percent}% "),
            Loss::Random(_) => String::new(),
            Loss::Bursts { percent, length } => {
                // A burst of mean length L ends with chance 1/L at each packet; the share of time in one is
                // begin / (begin + end).
                let end = 100.0 / length;
                format!("loss gemodel {:.4}% {end:.4}% ", end * percent / (100.0 - percent))
            }
        };
        format!("limit {LIMIT} delay {delay_ms}ms {loss}rate {}mbit", self.rate_mbit)
    }
}

/// Namespaces on the line: name, interface, its partner in the middle, address, last byte of the hardware
/// address.
const ENDS: [(&str, &str, &str, &str, &str); 3] = [
    ("a", "va", "la", "10.9.0.1", "0a"),
    ("b", "vb", "lb", "10.9.0.2", "0b"),
    (RELAY, "vr", "lr", RELAY_ADDRESS, "0c"),
];
/// The namespace of a relay, half way: what passes it meets the same faults, once, on its way to either
/// booth.
pub const RELAY: &str = "r";
/// A relay's address.
pub const RELAY_ADDRESS: &str = "10.9.0.3";

/// Puts the line in place of the cable that the rig has laid: the same names and addresses at the ends. Once.
///
/// # Errors
/// When `ip` or `tc` refuses.
pub fn lay() -> io::Result<()> {
    ip("-n a link del va")?;
    for namespace in [LINE, RELAY] {
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
    }
    for (end, outer, inner, address, byte) in ENDS {
        let (mac, middle_mac) = (format!("02:00:00:00:00:{byte}"), format!("02:00:00:00:01:{byte}"));
        let partner = format!("type veth peer name {inner} netns {LINE} address {middle_mac}");
        ip(&format!("link add {outer} netns {end} address {mac} {partner}"))?;
        ip(&format!("-n {end} addr add {address}/24 dev {outer}"))?;
        // Batches of datagrams are taken apart before they leave.
        ip(&format!("-n {end} link set {outer} gso_max_segs 1 up"))?;
        ip(&format!("-n {LINE} link set {inner} up"))?;
        ip(&format!("-n {LINE} route add {address} dev {inner}"))?;
        // Nobody asks for hardware addresses: such a question may be lost.
        ip(&format!("-n {LINE} neigh add {address} lladdr {mac} dev {inner} nud permanent"))?;
        for (.., other, _) in ENDS.iter().filter(|(other, ..)| *other != end) {
            ip(&format!("-n {end} neigh add {other} lladdr {middle_mac} dev {outer} nud permanent"))?;
        }
    }
    // Not sysctl(8), which a small system lacks.
    let forward = ["netns", "exec", LINE, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
    if Command::new("ip").args(forward).status()?.success() {
        return Ok(());
    }
    Err(io::Error::other("the kernel forwards no packets"))
}

/// Makes the line so, and empties it.
///
/// # Errors
/// When `tc` refuses.
pub fn set(faults: &Faults) -> io::Result<()> {
    each(|inner| {
        // There is none at first.
        let _ = tc(&format!("-n {LINE} qdisc del dev {inner} root"));
        tc(&format!("-n {LINE} qdisc add dev {inner} root netem {}", faults.netem()))
    })
}

/// Makes the line so from here on; what waits in it stays.
///
/// # Errors
/// When `tc` refuses.
pub fn change(faults: &Faults) -> io::Result<()> {
    each(|inner| tc(&format!("-n {LINE} qdisc change dev {inner} root netem {}", faults.netem())))
}

/// The interfaces towards both booths.
fn each(act: impl Fn(&str) -> io::Result<()>) -> io::Result<()> {
    ["la", "lb"].into_iter().try_for_each(act)
}

/// Bytes that the interface of this side has sent so far; for a program in the side's own namespace.
///
/// # Errors
/// When the counter cannot be read.
pub fn sent_bytes(side: Side) -> io::Result<u64> {
    let path = format!("/sys/class/net/v{}/statistics/tx_bytes", side.name());
    std::fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_spelt_as_tc_wants_them() {
        let faults = Faults { rtt_ms: 25, loss: Loss::Random(0.5), rate_mbit: 30 };
        assert_eq!(faults.netem(), "limit 1000 delay 12.5ms loss random 0.5% rate 30mbit");
        let faults = Faults { loss: Loss::Random(0.0), rate_mbit: 5, ..faults };
        assert_eq!(faults.netem(), "limit 1000 delay 12.5ms rate 5mbit");
        let faults = Faults { loss: Loss::Bursts { percent: 3.0, length: 6.0 }, ..faults };
        assert_eq!(faults.netem(), "limit 1000 delay 12.5ms loss gemodel 0.5155% 16.6667% rate 5mbit");
    }
}
