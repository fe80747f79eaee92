//! The keys that say how a booth is connected: `[network]`, `[update]` and `[time]`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
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

/// An address and the length of its network's prefix (RFC 4632, section 3.1), such as `192.0.2.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(pub IpNet);

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is no address with the length of its prefix; write it such as \"192.0.2.7/24\" or \
                 \"2001:db8::7/64\""
            ))
        })
    }
}

/// A password: written to nothing but the file of the service that needs it.
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
        // Not a string at once: the error message for a number would show it.
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
        let parse = |text: &str| toml::from_str::<Network>(&format!("address = \"{text}\""));
        for good in ["192.0.2.7/24", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::7/64", "::1/128"] {
            assert_eq!(parse(good).unwrap().address.unwrap().get_ref().to_string(), good);
        }
        for bad in ["192.0.2.7", "192.0.2.7/33", "::1/129", "/24", "a/24", "192.0.2.7/+4", "1.2.3.4/"] {
            let refused = parse(bad).unwrap_err().to_string();
            assert!(refused.contains("write it such as \"192.0.2.7/24\""), "{bad}: {refused}");
        }
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
