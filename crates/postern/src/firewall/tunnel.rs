//! Tunnels that end on this host, and addresses that can only be reached through one.
//!
//! A rule for an address of a tunnel lets in what comes out of it. It does not let in what carries it: that has another
//! address and a port of its own, which stands in no configuration of ours, so the operator has to say it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use daemon::network::Network;
use serde::Deserialize;

/// Networks that houses and tunnels have, and the internet has not.
const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8", "fe80::/10"];
/// What `ip` calls an interface with a wire behind it, and loopback.
const WIRES: [&str; 2] = ["ether", "loopback"];

/// What carries a tunnel: `udp/51820`, for WireGuard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// `udp` or `tcp`.
    pub protocol: Protocol,
    /// The port of the end that is dialled.
    pub port: u16,
}

/// The protocol that carries a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// UDP, as WireGuard and OpenVPN.
    Udp,
    /// TCP, as a tunnel of ssh or OpenVPN.
    Tcp,
}

/// The text is no tunnel, such as `udp/51820`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write what carries it, such as udp/51820")]
pub(crate) struct TunnelError;

impl FromStr for Tunnel {
    type Err = TunnelError;

    fn from_str(text: &str) -> Result<Self, TunnelError> {
        let (protocol, port) = text.split_once('/').ok_or(TunnelError)?;
        let protocol = match protocol {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            _ => return Err(TunnelError),
        };
        let digits = port.bytes().all(|octet| octet.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or(TunnelError)?;
        Ok(Self { protocol, port })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    link_type: String,
    #[serde(default)]
    addr_info: Vec<AddressOf>,
}

#[derive(Deserialize)]
struct AddressOf {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
}

/// The networks that this host is in by a wire, from what `ip -json address` prints; `None` when that is something else.
pub(crate) fn wired(printed: &str) -> Option<Vec<Network>> {
    let interfaces: Vec<Interface> = serde_json::from_str(printed).ok()?;
    let wires = interfaces.iter().filter(|interface| WIRES.contains(&interface.link_type.as_str()));
    let all = wires.flat_map(|wire| &wire.addr_info);
    Some(all.filter_map(|own| Network::new(own.local?, own.prefixlen?)).collect())
}

/// Of these networks, those that are private and that this host has no wire to. Public ones come by the internet.
pub(crate) fn not_on_a_wire(networks: impl IntoIterator<Item = Network>, wired: &[Network]) -> Vec<Network> {
    let private: Vec<Network> = PRIVATE.iter().filter_map(|text| text.parse().ok()).collect();
    let meet =
        |one: &Network, other: &Network| one.contains(other.address()) || other.contains(one.address());
    let mut strange: Vec<Network> = Vec::new();
    for network in networks {
        let is_private = private.iter().any(|private| private.contains(network.address()));
        let is_here = wired.iter().any(|wire| meet(wire, &network));
        if is_private && !is_here && !strange.contains(&network) {
            strange.push(network);
        }
    }
    strange
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_a_protocol_and_a_port() {
        for (text, shown) in [
            ("udp/51820", "udp 51820"),
            ("tcp/1194", "tcp 1194"),
            ("udp/1", "udp 1"),
            ("tcp/65535", "tcp 65535"),
        ] {
            let tunnel: Tunnel = text.parse().unwrap();
            assert_eq!(format!("{} {}", tunnel.protocol, tunnel.port), shown);
        }
        for wrong in
            ["51820", "udp", "udp/", "udp/0", "udp/65536", "UDP/1", "udp/+1", "udp/1; accept", "esp/1", ""]
        {
            assert_eq!(wrong.parse::<Tunnel>(), Err(TunnelError), "{wrong}");
        }
    }

    /// As iproute2 6.1 prints it, cut to what counts.
    const PRINTED: &str = r#"[{"ifname":"lo","link_type":"loopback","addr_info":[{"local":"127.0.0.1","prefixlen":8},
        {"local":"::1","prefixlen":128}]},
        {"ifname":"eth0","link_type":"ether","addr_info":[{"local":"192.168.77.2","prefixlen":24},
        {"local":"fd00:77::2","prefixlen":64}]},
        {"ifname":"wg0","link_type":"none","addr_info":[{"local":"10.8.0.2","prefixlen":24}]},
        {"ifname":"ppp0","link_type":"ppp","addr_info":[{"local":"100.64.0.9","prefixlen":32}]},{}]"#;

    #[test]
    fn an_address_that_only_a_tunnel_leads_to_is_on_no_wire() {
        let wired = wired(PRINTED).unwrap();
        let strange = |texts: &[&str]| -> Vec<String> {
            let addresses = texts.iter().map(|text| text.parse().unwrap());
            not_on_a_wire(addresses, &wired).iter().map(ToString::to_string).collect()
        };
        assert_eq!(strange(&["10.8.0.2", "10.8.0.0/24", "10.8.0.2"]), ["10.8.0.2/32", "10.8.0.0/24"]);
        assert_eq!(strange(&["fd00:88::1", "100.64.0.1"]), ["fd00:88::1/128", "100.64.0.1/32"]);
        let here =
            ["192.168.77.2", "192.168.0.0/16", "fd00:77::9", "127.0.0.1", "203.0.113.4", "::", "0.0.0.0/0"];
        assert!(strange(&here).is_empty(), "{:?}", strange(&here));
        assert!(wired_is_unknown("not JSON") && wired_is_unknown("{}"));
    }

    fn wired_is_unknown(printed: &str) -> bool {
        wired(printed).is_none()
    }
}
