//! The `Received` field of the hop from a client to Edge: Home writes it, and Edge for a home that is another program.

use std::net::IpAddr;

use crate::{Address, Client, Envelope, ItemId, UnixTime};

/// One hop of a message, as its trace field tells of it.
pub struct Hop<'a> {
    /// The client, the parameters and how many recipients there are.
    pub envelope: &'a Envelope,
    /// The host name of the Edge that took the message.
    pub by: &'a str,
    /// The id under which that Edge took it.
    pub item: ItemId,
    /// When that Edge took it.
    pub accepted: UnixTime,
}

/// The people for whom a trace field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// People of this house, who may see its addresses.
    House,
    /// Strangers, where an alias leads elsewhere: an address of the tunnel from which a foreign edge comes, or of the house,
    /// is nothing for them.
    World,
}

/// The trace field of the hop (RFC 5321 section 4.4), with its line end. `recipient` is told when it is the only one.
pub fn received(hop: &Hop<'_>, recipient: Option<&Address>, readers: Readers) -> String {
    let envelope = hop.envelope;
    let client = envelope.client.as_ref();
    let from = client.map_or_else(|| "unknown".to_owned(), |client| name_of(client, readers));
    let with = client.map_or("SMTP", |client| client.protocol(envelope.smtputf8));
    let tls = client.and_then(|client| client.tls.as_deref());
    let tls = tls.map_or_else(String::new, |tls| format!(" ({tls})"));
    let one = recipient.filter(|_| envelope.recipients.len() == 1);
    format!(
        "Received: from {from}\r\n\tby {edge} (Postern) with {with}{tls}\r\n\tid {id}{one};\r\n\t{date}\r\n",
        edge = hop.by,
        id = hop.item,
        one = one.map_or_else(String::new, |recipient| format!("\r\n\tfor <{recipient}>")),
        date = hop.accepted.rfc5322(),
    )
}

/// What a client called itself, and its address, as far as those readers may know it.
fn name_of(client: &Client, readers: Readers) -> String {
    let helo: String = client.helo.chars().map(|c| if is_helo_char(c) { c } else { '?' }).collect();
    let helo = if helo.is_empty() { "unknown".to_owned() } else { helo };
    match readers {
        // Who has no name calls itself by its address.
        Readers::World if is_of_a_private_network(client.ip) && helo.starts_with('[') => "unknown".to_owned(),
        Readers::World if is_of_a_private_network(client.ip) => helo,
        Readers::World | Readers::House => format!("{helo} ([{}])", client.ip),
    }
}

/// Whether no stranger has this address: it is of a house or a tunnel (RFC 1918, 4193, 6598).
fn is_of_a_private_network(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_link_local() || (ip.to_bits() >> 22) == (0x6440_0000 >> 22)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn is_helo_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".-_:[]".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: what an alias passed on to strangers named the address of the tunnel between Home and a foreign edge. Cause:
    /// the trace field of that hop is the same for those at home and for all others.
    #[test]
    fn strangers_read_no_address_of_a_private_network() {
        let called = |ip: &str, helo: &str, readers| {
            let (ip, helo) = (ip.parse().unwrap(), helo.to_owned());
            name_of(&Client { ip, helo, esmtp: true, tls: None, login: None }, readers)
        };
        let shown = |ip: &str, readers| called(ip, "mx.example.org", readers);
        for (ip, literal) in [("10.8.0.1", "[10.8.0.1]"), ("fd00::1", "[IPv6:fd00::1]")] {
            assert_eq!(called(ip, literal, Readers::World), "unknown");
            assert_eq!(called(ip, literal, Readers::House), format!("{literal} ([{ip}])"));
        }
        for ip in
            ["10.8.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.0", "100.127.255.255", "169.254.1.1"]
        {
            assert_eq!(shown(ip, Readers::World), "mx.example.org", "{ip}");
            assert_eq!(shown(ip, Readers::House), format!("mx.example.org ([{ip}])"));
        }
        for ip in ["fd00::1", "fe80::1", "::ffff:10.8.0.1"] {
            assert_eq!(shown(ip, Readers::World), "mx.example.org", "{ip}");
        }
        for ip in ["100.63.255.255", "100.128.0.0", "172.32.0.0", "203.0.113.4", "2001:db8::1"] {
            assert_eq!(shown(ip, Readers::World), format!("mx.example.org ([{ip}])"));
        }
    }
}
