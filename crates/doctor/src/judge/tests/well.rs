//! Two hosts that are well.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use link::Hello;
use mail::UnixTime;
use mailauth::spf::SpfResult;
use net::dns::{RootSigned, Validation};
use net::probe::Reply;

use crate::facts::{
    Certificate, Clock, DataDirectory, Disk, DkimKey, DomainFacts, EdgeFacts, EdgeSeen, HomeFacts, HomeSeen,
    HostFacts, House, LinkSeen, ListSeen, MailPort, Memory, NamesOf, OwnPorts, PortOutward, QueueSeen,
    Resolver, RoundTrip, Served,
};
use crate::told::OtherHalf;

/// Their clocks.
pub(super) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
/// A day.
pub(super) const DAY: u64 = 86_400;
/// Edge's addresses.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 25));
pub(super) const ADDRESS6: &str = "2001:db8::25";
/// Edge's name.
pub(super) const EDGE: &str = "mx.example.org";

pub(super) const fn days_ago(days: u64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() - days * DAY)
}

fn host() -> HostFacts {
    HostFacts {
        resolver: Resolver { answers: Ok(()), invents: Ok(Vec::new()), validation: Ok(Validation::Works) },
        clock: Clock {
            now: NOW,
            synchronised: Ok(true),
            root_signed: Ok(RootSigned { from: NOW.as_secs() - DAY, until: NOW.as_secs() + 12 * DAY }),
        },
        disk: Ok(Disk {
            free_octets: 30 << 30,
            octets: 40 << 30,
            free_inodes: 900,
            inodes: 1000,
            kind: "ext4".to_owned(),
        }),
        open_files: Ok(Some(65_536)),
        memory: Ok(Memory { available: 512 << 20, total: 1 << 30 }),
        data: Ok(DataDirectory { mode: 0o700, own: true, of_others: Vec::new() }),
        firewall: Ok(true),
    }
}

fn list(address: IpAddr) -> ListSeen {
    let code = Ipv4Addr::new(127, 0, 0, 2);
    ListSeen {
        zone: "bl.example".to_owned(),
        address,
        codes: Ok(Vec::new()),
        test_entry: Ok(vec![code]),
        never_entry: Ok(Vec::new()),
    }
}

pub(super) fn edge_that_is_well() -> EdgeFacts {
    let address6: IpAddr = ADDRESS6.parse().unwrap();
    let both = [ADDRESS, address6];
    let names = |address| NamesOf { address, names: Ok(vec![(EDGE.to_owned(), Ok(both.to_vec()))]) };
    let home = HomeSeen {
        name: "00ff00ff00ff00ff".to_owned(),
        linked: true,
        last_here: Some(NOW),
        recipients: Some(3),
        takes_everybody: false,
        sealed: 0,
        oldest: None,
        sealed_octets: 0,
        told: Some((NOW, Vec::new())),
    };
    EdgeFacts {
        host: host(),
        runs: Ok(()),
        hostname: EDGE.to_owned(),
        sends: true,
        sends_ipv6: true,
        routes: both.to_vec(),
        in_dns: Ok(both.to_vec()),
        names: both.map(names).to_vec(),
        ehlo_spf: both.map(|ip| (ip, SpfResult::Pass)).to_vec(),
        lists: both.map(list).to_vec(),
        port_outward: PortOutward::Tried("mx.example.net".to_owned(), Ok(())),
        strangers: Some(NOW),
        ports: vec![("port 25".to_owned(), Ok(())), ("port 443".to_owned(), Ok(()))],
        own_port: Some(Ok(mail_port())),
        homes: Ok(vec![home]),
        spool_octets_max: 10 << 30,
    }
}

pub(super) fn certificate() -> Certificate {
    Certificate {
        chain: vec![b"certificate".to_vec()],
        names_host: true,
        trusted: Ok(()),
        validity: Some((NOW.as_secs() - 30 * DAY, NOW.as_secs() + 60 * DAY)),
    }
}

pub(super) fn mail_port() -> MailPort {
    MailPort {
        greeting: reply(220),
        offers_starttls: true,
        certificate: Ok(certificate()),
        old_versions: Ok(false),
        weak_ciphers: Ok(false),
        relay: Ok(reply(550)),
        nobody: Ok(reply(550)),
    }
}

pub(super) fn reply(code: u16) -> Reply {
    Reply { code, lines: vec!["5.7.1 said".to_owned()] }
}

fn edge_seen() -> EdgeSeen {
    let port = mail_port();
    let link = LinkSeen { transport: "quic", up_secs: 3 * DAY, breaks: 0, other: Ok(()), asked_at: NOW };
    let software = Hello::ours(None).software;
    EdgeSeen {
        name: EDGE.to_owned(),
        addresses: Ok(vec![ADDRESS]),
        tlsa: Ok((Vec::new(), true)),
        port_25: Ok(port),
        link: Ok(link),
        half: Ok(OtherHalf { software, now: NOW, findings: Vec::new(), unknown_checks: 0 }),
        served: Some(vec![("example.org".to_owned(), Served::Here)]),
    }
}

fn domain() -> DomainFacts {
    let key = |selector: &str, record: String| DkimKey {
        selector: selector.to_owned(),
        signs: true,
        record,
        published: Ok(true),
        made: Some(days_ago(100)),
    };
    let rsa = format!("v=DKIM1; k=rsa; p={}", STANDARD.encode([7; 294]));
    DomainFacts {
        name: "example.org".to_owned(),
        mx: Ok(vec![(10, EDGE.to_owned())]),
        spf: Ok(vec!["v=spf1 a:mx.example.org -all".to_owned()]),
        spf_of: vec![(ADDRESS, SpfResult::Pass)],
        dkim: vec![key("20260101r", rsa), key("20260101e", "v=DKIM1; k=ed25519; p=AAAA".to_owned())],
        dmarc: Ok(vec!["v=DMARC1; p=quarantine".to_owned()]),
        mta_sts: Ok(None),
        tls_rpt: Ok(vec!["v=TLSRPTv1; rua=mailto:postmaster@example.org".to_owned()]),
        signed: Ok(true),
        postmaster: Ok(true),
        abuse: Ok(true),
    }
}

pub(super) fn home_that_is_well() -> HomeFacts {
    let trip = RoundTrip {
        sent_at: NOW,
        sent: b"From: you@example.org\r\n\r\n".to_vec(),
        returned: Some(b"Received: from mx.example.org\r\nFrom: you@example.org\r\n\r\n".to_vec()),
        authentication_results: Some("mx.example.org; dkim=pass header.d=example.org; dmarc=pass".to_owned()),
        house: House {
            host_names: vec!["nas".to_owned()],
            addresses: vec!["192.168.7.9".parse().unwrap()],
            logins: Vec::new(),
        },
    };
    HomeFacts {
        host: host(),
        runs: Ok(()),
        outbound: true,
        smarthost: false,
        domains: vec![domain()],
        edges: vec![edge_seen()],
        ports: OwnPorts { submission: Ok(()), imap: Some(Ok(())), smtp: Ok(false) },
        certificate: Ok(certificate()),
        accounts: Ok(2),
        queue: Ok(QueueSeen { waiting: 0, oldest: None, held: 0 }),
        quarantine: Ok(0),
        filters: vec![("rspamd".to_owned(), Ok(()))],
        backup: Some(days_ago(1)),
        takes_everybody: Ok(false),
        round_trip: Some(trip),
    }
}
