//! What this Edge is called and where it listens, so that mail is not sent to itself in a circle.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Names and addresses of this Edge.
#[derive(Debug, Clone)]
pub(super) struct OwnPlaces {
    name: String,
    listening: Vec<SocketAddr>,
}

impl OwnPlaces {
    /// An Edge that calls itself `name` and takes mail at `listening`.
    pub(super) fn new(name: &str, listening: &[SocketAddr]) -> Self {
        Self { name: name.trim_end_matches('.').to_ascii_lowercase(), listening: listening.to_vec() }
    }

    /// Whether a mail host's name is Edge's.
    pub(super) fn has_name(&self, host: &str) -> bool {
        host.trim_end_matches('.').eq_ignore_ascii_case(&self.name)
    }

    /// Whether a connection to the address would come back to Edge's own listener.
    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.listening.iter().any(|own| {
            let any = own.ip().is_unspecified() && own.is_ipv4() == address.is_ipv4();
            own.port() == address.port()
                && (own.ip() == address.ip() || any && is_of_this_machine(address.ip()))
        })
    }
}

/// Only an address of this machine can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_name_is_known_however_it_is_written() {
        let own = OwnPlaces::new("MX.example.org.", &[]);
        assert!(own.has_name("mx.Example.org") && own.has_name("mx.example.org."));
        assert!(!own.has_name("mx2.example.org") && !own.has_name("example.org"));
    }

    #[test]
    fn an_address_is_own_only_with_the_port_that_is_listened_on() {
        let own = OwnPlaces::new("mx.example.org", &[at("192.0.2.1:25"), at("0.0.0.0:2525")]);
        assert!(own.has_address(at("192.0.2.1:25")));
        assert!(!own.has_address(at("192.0.2.1:26")) && !own.has_address(at("192.0.2.2:25")));
        assert!(own.has_address(at("127.0.0.1:2525")), "every address of this machine is listened on");
        assert!(!own.has_address(at("192.0.2.7:2525")) && !own.has_address(at("[::1]:2525")));
    }
}
