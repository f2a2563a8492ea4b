//! Who lives where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use testkit::chasquid::Chasquid;
use testkit::exim::Exim;
use testkit::opensmtpd::OpenSmtpd;
use testkit::postfix::Postfix;
use testkit::remote_mta::{RemoteMta, Site};

/// The backbone itself, where the relay is that spoils the link.
pub(crate) const INTERNET: Ipv4Addr = public(1);
/// The MTA of the chaos, which takes numbered mail or hangs.
pub(crate) const SINK: Ipv4Addr = public(30);
/// The edge, which the lab has made.
pub(crate) const EDGE: Ipv4Addr = public(2);
/// A second edge.
pub(crate) const SECOND_EDGE: Ipv4Addr = public(3);
/// An edge that is a Postfix, of a domain of its own.
pub(crate) const POSTFIX_EDGE: Ipv4Addr = public(4);
/// The two ends of a tunnel between a house and its edge.
pub(crate) const TUNNEL: [&str; 2] = ["10.8.0.1", "10.8.0.2"];
/// The port at which the tunnel is dialled.
pub(crate) const TUNNEL_PORT: u16 = 51820;
/// The router of the house, as long as its provider lets it have this address.
pub(crate) const NAT: Ipv4Addr = public(9);
/// Authoritative name server.
pub(crate) const NAMES: Ipv4Addr = public(53);
/// Resolver.
pub(crate) const RESOLVER: Ipv4Addr = public(54);
/// Somebody who sends what nobody wants; he is on the list `dnsbl.test`.
pub(crate) const SPAMMER: Ipv4Addr = public(66);
/// The computer with the mail program.
pub(crate) const MUA: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 3);

const fn public(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

/// A port of an address.
pub(crate) const fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}

/// The MTAs of other people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Neighbour {
    /// It heeds DANE.
    Postfix,
    /// It speaks everything that we do.
    Exim,
    /// Its TLS is broken.
    OpenSmtpd,
    /// It speaks SMTPUTF8.
    Chasquid,
}

impl Neighbour {
    /// All neighbours.
    pub(crate) const ALL: [Self; 4] = [Self::Postfix, Self::Exim, Self::OpenSmtpd, Self::Chasquid];

    /// Its host's name in the lab.
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Postfix => "pfx",
            Self::Exim => "exim",
            Self::OpenSmtpd => "osmtp",
            Self::Chasquid => "chas",
        }
    }

    /// Its domain.
    pub(crate) const fn domain(self) -> &'static str {
        match self {
            Self::Postfix => "postfix.test",
            Self::Exim => "exim.test",
            Self::OpenSmtpd => "opensmtpd.test",
            Self::Chasquid => "chasquid.test",
        }
    }

    /// Its address.
    pub(crate) const fn address(self) -> Ipv4Addr {
        match self {
            Self::Postfix => public(21),
            Self::Exim => public(22),
            Self::OpenSmtpd => public(23),
            Self::Chasquid => public(24),
        }
    }

    /// The address of the user that each of them has.
    pub(crate) fn you(self) -> String {
        format!("you@{}", self.domain())
    }

    /// Starts it on its host.
    pub(crate) fn start(self, namespace: &str) -> Box<dyn RemoteMta> {
        let site = Site {
            namespace: namespace.to_owned(),
            address: IpAddr::V4(self.address()),
            name_server: IpAddr::V4(RESOLVER),
        };
        match self {
            Self::Postfix => Box::new(Postfix::remote(&site)),
            Self::Exim => Box::new(Exim::start(&site)),
            Self::OpenSmtpd => Box::new(OpenSmtpd::start(&site)),
            Self::Chasquid => Box::new(Chasquid::start(&site)),
        }
    }
}
