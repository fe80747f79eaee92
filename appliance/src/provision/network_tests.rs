//! What is rendered, word for word; and that no value gets a line of its own.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn files(text: &str) -> Vec<(String, String)> {
    let config = Config::parse(Path::new("b.toml"), text).unwrap();
    let bare = |file: Rendered| (file.path, file.text.split_once('\n').unwrap().1.to_owned());
    render(&config).into_iter().map(bare).collect()
}

fn is(rendered: &[(String, String)], wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    assert_eq!(rendered, wanted);
}

#[test]
fn nothing_is_dhcp_on_every_port() {
    is(
        &files(""),
        &[(
            "run/systemd/network/50-holobooth-port.network",
            "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\nLinkLocalAddressing=yes\n\
             MulticastDNS=no\n\n[DHCPv4]\nUseHostname=no\n",
        )],
    );
}

#[test]
fn a_fixed_address_on_one_port() {
    let text = "[network]\ninterface = \"enp1s0\"\naddress = \"192.0.2.7/24\"\ngateway = \"192.0.2.1\"\n\
                dns = [\"192.0.2.1\", \"2001:db8::1\"]\n[time]\nservers = [\"ntp.example.org\", \
                \"192.0.2.1\"]";
    is(
        &files(text),
        &[
            (
                "run/systemd/network/50-holobooth-port.network",
                "[Match]\nName=enp1s0\n\n[Network]\nAddress=192.0.2.7/24\nGateway=192.0.2.1\nDNS=192.0.2.1\n\
             DNS=2001:db8::1\n\
                 MulticastDNS=no\n\n[DHCPv4]\nUseHostname=no\nUseDNS=no\n\n[DHCPv6]\nUseDNS=no\n\n\
             [IPv6AcceptRA]\nUseDNS=no\n",
            ),
            ("run/systemd/timesyncd.conf.d/50-holobooth.conf", "[Time]\nNTP=ntp.example.org 192.0.2.1\n"),
        ],
    );
}

#[test]
fn a_vlan_is_a_device_of_its_own() {
    is(
        &files("[network]\ninterface = \"enp1s0\"\nvlan = 7\naddress = \"2001:db8::7/64\""),
        &[
            (
                "run/systemd/network/50-holobooth-port.network",
                "[Match]\nName=enp1s0\n\n[Network]\nVLAN=vlan7\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            ),
            (
                "run/systemd/network/50-holobooth-vlan.netdev",
                "[NetDev]\nName=vlan7\nKind=vlan\n\n[VLAN]\nId=7\n",
            ),
            (
                "run/systemd/network/50-holobooth-vlan.network",
                "[Match]\nName=vlan7\nKind=vlan\n\n[Network]\nAddress=2001:db8::7/64\nMulticastDNS=no\n\n\
             [DHCPv4]\nUseHostname=no\n",
            ),
        ],
    );
}

#[test]
fn wifi_is_joined() {
    let rendered =
        files("[network.wifi]\nssid = \"Stage 1\"\npassword = \" a\\\\b=\\\"cd\"\ncountry = \"DE\"");
    is(
        &rendered[1..],
        &[
            (
                "run/systemd/network/50-holobooth-wifi.network",
                "[Match]\nType=wlan\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nRouteMetric=2048\n\n\
             [IPv6AcceptRA]\nRouteMetric=2048\n",
            ),
            (
                "var/lib/iwd/Stage 1.psk",
                "[Security]\nPassphrase=\\sa\\\\b=\"cd\n\n[Settings]\nAutoConnect=true\n",
            ),
            ("run/iwd/main.conf", "[General]\nCountry=DE\n"),
        ],
    );
    let open = files("[network.wifi]\nssid = \"../x\\nBühne\"");
    assert_eq!(open[2].0, "var/lib/iwd/=2e2e2f780a42c3bc686e65.open");
}

#[test]
fn what_is_no_longer_wanted_is_removed_and_nothing_else() {
    let root = std::env::temp_dir().join(format!("holobooth-network-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    let config = |text: &str| render(&Config::parse(Path::new("b.toml"), text).unwrap());
    let wifi = config("[network.wifi]\nssid = \"w\"\npassword = \"hush hush\"\n[time]\nservers = [\"a\"]");
    fs::create_dir_all(root.join(IWD)).unwrap();
    fs::write(root.join(IWD).join("others.psk"), "").unwrap();
    assert!(write(&root, &wifi).unwrap());
    assert!(!write(&root, &wifi).unwrap(), "the same again changes nothing");
    let known = root.join(IWD).join("w.psk");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&known).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&known, "iwd added something").unwrap();
    assert!(!write(&root, &wifi).unwrap(), "what iwd added stays");
    assert!(write(&root, &config("[network.wifi]\nssid = \"w\"\npassword = \"hush hash\"")).unwrap());
    assert!(fs::read_to_string(&known).unwrap().contains("hush hash"));
    assert!(write(&root, &config("")).unwrap());
    assert!(!known.exists() && root.join(IWD).join("others.psk").exists());
    let names: Vec<_> =
        fs::read_dir(root.join(NETWORKD)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["50-holobooth-port.network"]);
    assert!(!root.join(TIMESYNCD).exists());
    fs::remove_dir_all(root).unwrap();
}

proptest! {
    /// Whatever passes the configuration's limits, each file has the lines that it has for harmless values,
    /// and no more.
    #[test]
    fn no_value_gets_a_line_of_its_own(
        interface in "[ -~\n\r\u{85}]{0,16}",
        ssid in "[ -~\n\r\u{85}ü/]{1,32}",
        password in "[ -~\n\\\\]{8,63}",
        server in "[ -~\n]{1,20}",
    ) {
        let table = |interface: &str, ssid: &str, password: &str, server: &str| {
            let quoted = |text: &str| toml::Value::from(text).to_string();
            format!(
                "[network]\ninterface = {}\nvlan = 7\n[network.wifi]\nssid = {}\npassword = {}\ncountry = \
                 \"DE\"\n[time]\nservers = [{}]",
                quoted(interface), quoted(ssid), quoted(password), quoted(server)
            )
        };
        let shape = |text: &str| {
            Config::parse(Path::new("b.toml"), text).ok().map(|config| {
                let files = render(&config);
                let key = |line: &str| line.split('=').next().unwrap_or("").to_owned();
            let keys = |file: &Rendered| file.text.lines().map(key).collect::<Vec<_>>();
                files.iter().map(keys).collect::<Vec<_>>()
            })
        };
        let harmless = shape(&table("enp1s0", "w", "password", "a")).unwrap();
        // One odd value at a time: together they would seldom pass.
        for text in [
            table(&interface, "w", "password", "a"),
            table("enp1s0", &ssid, "password", "a"),
            table("enp1s0", "w", &password, "a"),
            table("enp1s0", "w", "password", &server),
        ] {
            if let Some(odd) = shape(&text) {
                prop_assert_eq!(&odd, &harmless);
            }
        }
        let name = file_name(&ssid);
        prop_assert!(!name.contains('/') && !name.contains('\n') && name != ".." && !name.is_empty());
    }
}
