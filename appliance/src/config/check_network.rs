//! Limits of `[network]`, `[update]` and `[time]`. What passes here can stand in a line of another program's
//! configuration: it has no line breaks, no blanks and nothing that means something there.

use std::net::IpAddr;

use toml::Spanned;

use super::limit::{Refusal, within};
use super::network::{Cidr, Wifi};
use super::schema::Config;

/// The longest name of an interface (IFNAMSIZ in linux/if.h, less its end).
const LONGEST_INTERFACE: usize = 15;
/// The longest SSID in bytes (IEEE 802.11, 9.4.2.2).
const LONGEST_SSID: usize = 32;
/// Characters of a password (IEEE 802.11, annex J.4.1).
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=63;
/// Name servers and time servers: more are of no use.
const MOST_SERVERS: usize = 8;
/// The longest address of updates, in bytes.
const LONGEST_URL: usize = 1024;

pub(super) fn limits(config: &Config) -> Result<(), Refusal> {
    let network = &config.network;
    if let Some(interface) = &network.interface {
        let name = interface.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty()
            || name.len() > LONGEST_INTERFACE
            || !name.chars().all(plain)
            || name.starts_with('.')
        {
            let reason = format!(
                "`network.interface` is {name:?}; allowed is a port's name as `ip link` prints it, up to \
                 {LONGEST_INTERFACE} letters, \
                 digits, dots and dashes, such as \"enp1s0\""
            );
            return Err((interface.span(), reason));
        }
    }
    if let Some(vlan) = &network.vlan {
        within("network.vlan", vlan, 1..=4094, "(IEEE 802.1Q)")?;
        if network.interface.is_none() {
            let reason = "`network.vlan` is on one port: say on which, with `interface = \"enp1s0\"`";
            return Err((vlan.span(), reason.into()));
        }
    }
    if let Some(address) = &network.address {
        own_address(address)?;
    }
    if let Some(gateway) = &network.gateway {
        router(gateway, network.address.as_ref())?;
    }
    few("network.dns", &network.dns)?;
    for server in &network.dns {
        let ip = server.get_ref();
        if ip.is_unspecified() || ip.is_multicast() {
            return Err((
                server.span(),
                format!("`network.dns` has {ip}; it must be a name server's own address"),
            ));
        }
    }
    if let Some(joined) = &network.wifi {
        wifi(joined)?;
    }
    if let Some(update) = &config.update {
        url(&update.url)?;
    }
    few("time.servers", &config.time.servers)?;
    for server in &config.time.servers {
        if !is_host(server.get_ref()) {
            let reason = format!(
                "`time.servers` has {:?}; allowed is a server's DNS name or address, such as \
                 \"ntp.example.org\"",
                server.get_ref()
            );
            return Err((server.span(), reason));
        }
    }
    Ok(())
}

fn few<T>(key: &str, servers: &[Spanned<T>]) -> Result<(), Refusal> {
    match servers.get(MOST_SERVERS) {
        Some(surplus) => {
            Err((surplus.span(), format!("`{key}` has {} servers; allowed is {MOST_SERVERS}", servers.len())))
        }
        None => Ok(()),
    }
}

fn own_address(address: &Spanned<Cidr>) -> Result<(), Refusal> {
    let cidr = address.get_ref();
    let refuse = |why: &str| Err((address.span(), format!("`network.address` is {cidr}; {why}")));
    let ip = cidr.0.addr();
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || cidr.0.prefix_len() == 0 {
        return refuse("it must be this booth's own address, such as \"192.0.2.7/24\"");
    }
    if ip.is_ipv4() && cidr.0.prefix_len() < 31 && (ip == cidr.0.network() || ip == cidr.0.broadcast()) {
        return refuse("the first and the last address of a network belong to nobody: take one between them");
    }
    Ok(())
}

fn router(gateway: &Spanned<IpAddr>, address: Option<&Spanned<Cidr>>) -> Result<(), Refusal> {
    let ip = *gateway.get_ref();
    let refuse = |why: &str| Err((gateway.span(), format!("`network.gateway` is {ip}; {why}")));
    let Some(Cidr(network)) = address.map(Spanned::get_ref) else {
        return refuse(
            "DHCP brings the router's address itself: take it out, or add `address = \"192.0.2.7/24\"`",
        );
    };
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local() && network.addr().is_ipv6());
    if ip == network.addr() {
        return refuse("that is the booth's own address");
    }
    if !network.contains(&ip) && !link_local {
        return refuse(&format!("it is not in the booth's network, {network}: one of the two has a slip"));
    }
    Ok(())
}

fn wifi(wifi: &Wifi) -> Result<(), Refusal> {
    let ssid = wifi.ssid.get_ref();
    if ssid.is_empty() || ssid.len() > LONGEST_SSID {
        let reason = format!("`network.wifi.ssid` has {} bytes; allowed is 1 to {LONGEST_SSID}", ssid.len());
        return Err((wifi.ssid.span(), reason));
    }
    if let Some(password) = &wifi.password {
        let text = password.get_ref().text();
        if !PASSWORD.contains(&text.len()) || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            let reason = format!(
                "`network.wifi.password` must have {} to {} letters, digits and signs of ASCII",
                PASSWORD.start(),
                PASSWORD.end()
            );
            return Err((password.span(), reason));
        }
    }
    if let Some(country) = &wifi.country
        && !(country.get_ref().len() == 2 && country.get_ref().bytes().all(|b| b.is_ascii_uppercase()))
    {
        let reason = format!(
            "`network.wifi.country` is {:?}; allowed is a country's two letters, such as \"DE\"",
            country.get_ref()
        );
        return Err((country.span(), reason));
    }
    Ok(())
}

fn url(url: &Spanned<String>) -> Result<(), Refusal> {
    let text = url.get_ref();
    let host =
        text.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host = host.map(|host| {
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(host, _)| host)
    });
    // What RFC 3986 (section 2) lets stand in an address.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    if host.is_some_and(is_host) && text.len() <= LONGEST_URL && text.chars().all(plain) {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    let reason = format!(
        "`update.url` is {shown:?}; allowed is an address that begins with \"https://\" and the server's name"
    );
    Err((url.span(), reason))
}

/// A DNS name or an address.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(plain) && !label.starts_with('-')
    };
    text.parse::<IpAddr>().is_ok()
        || (text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    fn outcome(text: &str) -> String {
        Config::parse(Path::new("b.toml"), text).map_or_else(|e| e.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn what_a_network_needs_is_said() {
        let network = |text: &str| outcome(&format!("[network]\n{text}"));
        for good in [
            "",
            "interface = \"enp1s0\"\nvlan = 4094",
            "address = \"192.0.2.7/24\"\ngateway = \"192.0.2.1\"\ndns = [\"192.0.2.1\", \"2001:db8::1\"]",
            "address = \"2001:db8::7/64\"\ngateway = \"fe80::1\"",
            "[network.wifi]\nssid = \"a\\nb\"\npassword = \"hush hush\"\ncountry = \"DE\"",
        ] {
            assert_eq!(network(good), "fine", "{good}");
        }
        for (bad, says) in [
            ("interface = \"eth0 eth1\"", ":2:13: `network.interface` is \"eth0 eth1\"; allowed is"),
            ("interface = \"e*\"", ":2:13:"),
            ("interface = \"a\\n[Match]\"", ":2:13: `network.interface` is \"a\\n[Match]\""),
            ("interface = \"enp1s0\"\nvlan = 4095", ":3:8: `network.vlan` is 4095; allowed is 1 to 4094"),
            ("vlan = 7", ":2:8: `network.vlan` is on one port"),
            ("address = \"192.0.2.7\"", ":2:11: `192.0.2.7` is no address with"),
            (
                "address = \"192.0.2.0/24\"",
                ":2:11: `network.address` is 192.0.2.0/24; the first and the last",
            ),
            ("address = \"192.0.2.255/24\"", "the first and the last"),
            ("address = \"127.0.0.1/8\"", "this booth's own address"),
            ("gateway = \"192.0.2.1\"", ":2:11: `network.gateway` is 192.0.2.1; DHCP brings"),
            (
                "address = \"192.0.2.7/24\"\ngateway = \"192.0.3.1\"",
                ":3:11: `network.gateway` is 192.0.3.1; it is not in",
            ),
            ("address = \"192.0.2.7/24\"\ngateway = \"192.0.2.7\"", "own address"),
            ("dns = [\"0.0.0.0\"]", ":2:8: `network.dns` has 0.0.0.0"),
            ("dns = [\"1.1.1.1\\nDNS=2\"]", ":2:8:"),
            ("[network.wifi]\nssid = \"\"", ":3:8: `network.wifi.ssid` has 0 bytes"),
            (
                "[network.wifi]\nssid = \"a\"\npassword = \"short\"",
                ":4:12: `network.wifi.password` must have 8 to 63",
            ),
            (
                "[network.wifi]\nssid = \"a\"\npassword = \"line\\nbreak\"",
                ":4:12: `network.wifi.password` must",
            ),
            ("[network.wifi]\nssid = \"a\"\ncountry = \"de\"", ":4:11: `network.wifi.country` is \"de\""),
            ("[network.wifi]\npassword = \"hush hush\"", "missing field `ssid`"),
        ] {
            let said = network(bad);
            assert!(said.contains(says) && !said.contains("short"), "{bad}: {said}");
        }
        let many = "\"192.0.2.1\", ".repeat(9);
        assert!(network(&format!("dns = [{many}]")).contains("`network.dns` has 9 servers; allowed is 8"));
    }

    #[test]
    fn updates_and_time_come_from_servers() {
        for good in ["https://updates.example.org/holobooth", "https://192.0.2.1:8443/a?b=c", "https://x"] {
            assert_eq!(outcome(&format!("[update]\nurl = \"{good}\"")), "fine", "{good}");
        }
        for bad in [
            "http://example.org",
            "https://",
            "https:///x",
            "https://a b",
            "https://a\\nb",
            "ftp://x",
            "https://a;b/",
        ] {
            let said = outcome(&format!("[update]\nurl = \"{bad}\""));
            assert!(said.contains(":2:7: `update.url` is") && said.contains("https://"), "{bad}: {said}");
        }
        assert_eq!(
            outcome("[time]\nservers = [\"ntp.example.org\", \"192.0.2.1\", \"2001:db8::1\"]"),
            "fine"
        );
        for bad in ["", "a b", "a\\nNTP=b", "-a", "a..b"] {
            let said = outcome(&format!("[time]\nservers = [\"{bad}\"]"));
            assert!(said.contains(":2:12: `time.servers` has"), "{bad}: {said}");
        }
    }

    #[test]
    fn an_operator_has_a_key() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(outcome(&format!("[operator]\nkey = \"{key}\"")), "fine");
        let said = outcome(&format!("[operator]\nkey = \"{}\"", &key[1..]));
        assert!(said.contains(":2:7: not a minisign public key"), "{said}");
        assert!(outcome("[operator]").contains("missing field `key`"));
    }
}
