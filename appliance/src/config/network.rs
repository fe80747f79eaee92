//! The keys that say how a booth is connected: `[network]`, `[update]` and `[time]`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;

/// `[network]`: nothing in it means DHCP on every wired port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The port's name as `ip link` prints it; without it, every wired port.
    pub interface: Option<Spanned<String>>,
    /// The booth's own address with the length of its network's prefix; without it, DHCP gives one.
    pub address: Option<Spanned<Cidr>>,
    /// The router's address; only beside `address`, for DHCP brings it itself.
    pub gateway: Option<Spanned<IpAddr>>,
    /// Name servers, at most 8; with DHCP, in the place of those that it gives.
    pub dns: Vec<Spanned<IpAddr>>,
    /// The VLAN (IEEE 802.1Q) in which the booth is, 1 to 4094: its frames carry this tag. Needs `interface`.
    pub vlan: Option<Spanned<u32>>,
    /// The wireless network to join.
    pub wifi: Option<Wifi>,
}

/// `[network.wifi]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wifi {
    /// The network's name: 1 to 32 bytes.
    pub ssid: Spanned<String>,
    /// Its password (WPA2 or WPA3), 8 to 63 characters; a secret. Without it the network is an open one.
    pub password: Option<Spanned<Password>>,
    /// The country, whose rules say on which channels and how strongly a radio may send (ISO 3166-1), such as
    /// `DE`.
    pub country: Option<Spanned<String>>,
}

/// `[update]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Where new versions lie: an `https://` address.
    pub url: Spanned<String>,
}

/// `[time]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// NTP servers by name or address, at most 8; without any, the system's own.
    pub servers: Vec<Spanned<String>>,
}

/// An address and the length of its network's prefix (RFC 4632, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The booth's own address.
    pub address: IpAddr,
    /// Bits of it that are the network's.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `192.0.2.7/24` or `2001:db8::7/64`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        // No sign and no leading zero: what is written is what is meant.
        let plain = prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix: u8 = prefix.parse().ok().filter(|&prefix| plain && prefix <= bits(address))?;
        Some(Self { address, prefix })
    }

    /// Whether `other` is in the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        let head = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()).checked_shr(u32::from(32 - self.prefix.min(32))),
            IpAddr::V6(ip) => ip.to_bits().checked_shr(u32::from(128 - self.prefix)),
        };
        self.address.is_ipv4() == other.is_ipv4() && head(self.address) == head(other)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no address with the length of its prefix; write it such as \"192.0.2.7/24\" or \"2001:db8::7/64\""
            ))
        })
    }
}

/// A password: told to nobody but the file of the service that needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not a string at once: the refusal of a number would tell it.
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a password is text; write it in quotes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_prefix_that_fits_it() {
        for good in ["192.0.2.7/24", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::7/64", "::1/128"] {
            assert_eq!(Cidr::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "192.0.2.7",
            "192.0.2.7/33",
            "::1/129",
            "/24",
            "a/24",
            "192.0.2.7/+4",
            "192.0.2.7/024",
            "1.2.3.4/",
        ] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_network_contains_its_own() {
        let holds = |cidr: &str, ip: &str| Cidr::parse(cidr).unwrap().contains(ip.parse().unwrap());
        assert!(holds("192.0.2.7/24", "192.0.2.254") && !holds("192.0.2.7/24", "192.0.3.1"));
        assert!(holds("192.0.2.7/0", "8.8.8.8") && !holds("192.0.2.7/32", "192.0.2.8"));
        assert!(holds("2001:db8::7/64", "2001:db8::ffff") && !holds("2001:db8::7/64", "2001:db9::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "1.2.3.4"));
    }

    #[test]
    fn a_password_is_not_told() {
        let wifi: Wifi = toml::from_str("ssid = \"a\"\npassword = \"hush hush\"").unwrap();
        assert!(!format!("{wifi:?}").contains("hush"));
        let refused = toml::from_str::<Wifi>("ssid = \"a\"\npassword = 12345678").unwrap_err().to_string();
        assert!(
            refused.contains("in quotes")
                && !toml::from_str::<Wifi>("ssid = \"a\"\npassword = 12345678")
                    .unwrap_err()
                    .message()
                    .contains("1234"),
            "{refused}"
        );
    }
}
