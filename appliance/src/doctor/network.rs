//! The network of this machine: links, addresses, the way out.
//!
//! Source: getifaddrs(3); netdevice(7) for IFF_RUNNING; Linux net/ipv4/fib_trie.c and net/ipv6/route.c for
//! the tables of routes.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::evaluation::Evaluation;
use super::subject::{Subject, read};

/// A network interface that leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    /// Its cable, or its radio, is connected.
    linked: bool,
    /// Those that others can reach.
    addresses: Vec<IpAddr>,
}

pub(super) fn check(_: &Subject) -> Evaluation {
    let route = read("/proc/net/route").as_deref().is_some_and(leads_out)
        || read("/proc/net/ipv6_route").as_deref().is_some_and(leads_out_v6);
    match interfaces() {
        Ok(interfaces) => evaluate(&interfaces, route),
        Err(e) => Evaluation::warning(format!("the interfaces cannot be listed: {e}"), "run it as root"),
    }
}

fn interfaces() -> nix::Result<Vec<Interface>> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for entry in getifaddrs()? {
        if entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let known = interfaces.iter().position(|interface| interface.name == entry.interface_name);
        let at = known.unwrap_or_else(|| {
            interfaces.push(Interface {
                name: entry.interface_name.clone(),
                linked: entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
                addresses: Vec::new(),
            });
            interfaces.len() - 1
        });
        let address = entry.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        if let (Some(interface), Some(address)) = (interfaces.get_mut(at), address)
            && !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
        {
            interface.addresses.push(address);
        }
    }
    Ok(interfaces)
}

/// Whether `/proc/net/route` has a way to everywhere: destination and mask 0.
fn leads_out(table: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!((fields.get(1), fields.get(7)), (Some(&"00000000"), Some(&"00000000")))
    })
}

/// Whether `/proc/net/ipv6_route` has one, and not only the one that throws away (RTF_REJECT, on `lo`).
fn leads_out_v6(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let everywhere = fields.first().is_some_and(|to| to.bytes().all(|digit| digit == b'0'));
        everywhere && fields.get(1) == Some(&"00") && fields.last().is_some_and(|&device| device != "lo")
    })
}

fn evaluate(interfaces: &[Interface], route: bool) -> Evaluation {
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let linked: Vec<&Interface> = interfaces.iter().filter(|interface| interface.linked).collect();
    let described: Vec<String> = linked
        .iter()
        .filter(|interface| !interface.addresses.is_empty())
        .map(|interface| {
            let addresses: Vec<String> = interface.addresses.iter().map(IpAddr::to_string).collect();
            format!("{} {}", interface.name, addresses.join(" "))
        })
        .collect();
    if interfaces.is_empty() {
        Evaluation::wrong("no network interface", "put a network card in, or its driver into the kernel")
    } else if linked.is_empty() {
        Evaluation::wrong(format!("no link on {}", names.join(", ")), "plug the network cable in")
    } else if described.is_empty() {
        let names: Vec<&str> = linked.iter().map(|interface| interface.name.as_str()).collect();
        Evaluation::wrong(
            format!("no address on {}", names.join(", ")),
            "have the network give one (DHCP), or configure one",
        )
    } else if route {
        Evaluation::ok(format!("{}, with a way out", described.join(", ")))
    } else {
        Evaluation::warning(
            format!("{}, no way out", described.join(", ")),
            "only booths on this network can be met: have it give a default route",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    fn interface(linked: bool, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Interface { name: "eth0".into(), linked, addresses }
    }

    #[test]
    fn from_the_card_to_the_way_out() {
        let up = interface(true, &["192.0.2.7", "2001:db8::7"]);
        let cases = [
            (vec![], true, Wrong, "no network interface"),
            (vec![interface(false, &["192.0.2.7"])], true, Wrong, "no link on eth0"),
            (vec![interface(true, &[])], true, Wrong, "no address on eth0"),
            (vec![up.clone()], false, Warning, "eth0 192.0.2.7 2001:db8::7, no way out"),
            (vec![interface(false, &[]), up], true, Fine, "eth0 192.0.2.7 2001:db8::7, with a way out"),
        ];
        for (interfaces, route, verdict, found) in cases {
            let evaluation = evaluate(&interfaces, route);
            assert_eq!((evaluation.verdict, evaluation.found.as_str()), (verdict, found));
        }
    }

    #[test]
    fn tables_of_routes_are_read() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n";
        let local = "eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\n";
        assert!(!leads_out(head) && !leads_out(&format!("{head}{local}")) && !leads_out("\n\n"));
        assert!(leads_out(&format!("{head}{local}eth0\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\n")));
        let zeros = "0".repeat(32);
        let via = |prefix: &str, device: &str| {
            format!("{zeros} {prefix} {zeros} 00 {zeros} 00000400 00000001 00000000 00000003 {device}\n")
        };
        assert!(leads_out_v6(&via("00", "eth0")));
        assert!(!leads_out_v6(&via("00", "lo")) && !leads_out_v6(&via("40", "eth0")) && !leads_out_v6(""));
    }

    #[test]
    fn this_machine_is_looked_at() {
        assert!(interfaces().unwrap().iter().all(|interface| interface.name != "lo"));
    }
}
