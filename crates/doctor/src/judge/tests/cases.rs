//! What may be wrong: a sentence, the change of the facts, and the check that has to say so.

use std::net::Ipv4Addr;

use mail::UnixTime;
use mailauth::spf::SpfResult;
use net::dns::{RootSigned, Validation};
use tlspolicy::tlsa::Tlsa;

use super::well::{ADDRESS, DAY, NOW, days_ago, reply};
use crate::check::Check;
use crate::facts::{
    DomainFacts, DomainPolicyFacts, EdgeFacts, HomeFacts, HomeSeen, LinkSeen, MailPort, PortOutward, Served,
};
use crate::finding::Verdict::{self, Fault, Notice, Unknown, Warning};

/// Whose facts are changed, and how.
pub(super) enum Change {
    Edge(fn(&mut EdgeFacts)),
    Home(fn(&mut HomeFacts)),
}

/// One thing that is wrong.
pub(super) struct Case {
    pub(super) when: &'static str,
    pub(super) check: Check,
    pub(super) verdict: Verdict,
    pub(super) change: Change,
    /// Other checks that may cry because of the same.
    pub(super) with: &'static [&'static str],
}

impl Case {
    fn and(self, with: &'static [&'static str]) -> Self {
        Self { with, ..self }
    }
}

/// The home of an edge.
fn home_of(facts: &mut EdgeFacts) -> &mut HomeSeen {
    facts.homes.as_mut().unwrap().first_mut().unwrap()
}

fn edge(check: Check, verdict: Verdict, when: &'static str, change: fn(&mut EdgeFacts)) -> Case {
    Case { when, check, verdict, change: Change::Edge(change), with: &[] }
}

fn home(check: Check, verdict: Verdict, when: &'static str, change: fn(&mut HomeFacts)) -> Case {
    Case { when, check, verdict, change: Change::Home(change), with: &[] }
}

fn domain(facts: &mut HomeFacts) -> &mut DomainFacts {
    &mut facts.domains[0]
}

fn port(facts: &mut HomeFacts) -> &mut MailPort {
    facts.edges[0].port_25.as_mut().unwrap()
}

fn own(facts: &mut EdgeFacts) -> &mut MailPort {
    facts.own_port.as_mut().unwrap().as_mut().unwrap()
}

fn link(facts: &mut HomeFacts) -> &mut LinkSeen {
    facts.edges[0].link.as_mut().unwrap()
}

fn no<T>() -> Result<T, String> {
    Err("connection refused".to_owned())
}

const GIB: u64 = 1 << 30;

pub(super) fn cases() -> Vec<Case> {
    [
        machine(),
        names(),
        spool(),
        own_port(),
        mail_hosts(),
        dns(),
        keys(),
        outside(),
        halves(),
        inside(),
        round(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn machine() -> Vec<Case> {
    vec![
        edge(Check::DaemonRuns, Fault, "the daemon is down", |f| f.runs = no()),
        edge(Check::ResolverAnswers, Fault, "the name servers are silent", |f| {
            f.host.resolver.answers = no()
        }),
        home(Check::ResolverTruthful, Fault, "a resolver invents addresses", |f| {
            f.host.resolver.invents = Ok(vec!["203.0.113.1".to_owned()]);
        }),
        edge(Check::ResolverValidates, Warning, "signatures are stripped", |f| {
            f.host.resolver.validation = Ok(Validation::Stripped);
        }),
        edge(Check::ClockSynchronised, Warning, "nothing keeps the clock", |f| {
            f.host.clock.synchronised = Ok(false)
        }),
        edge(Check::ClockPlausible, Fault, "the clock is before this program", |f| {
            f.host.clock.now = UnixTime::from_secs(super::super::host::EARLIEST_SECS - 1);
        })
        .and(&["clock-halves", "edge-certificate-life"]),
        home(Check::ClockPlausible, Fault, "the clock is a year ahead of DNS", |f| {
            f.host.clock.root_signed =
                Ok(RootSigned { from: NOW.as_secs() - 380 * DAY, until: NOW.as_secs() - 365 * DAY });
        }),
        home(Check::ClockPlausible, Fault, "the clock is behind DNS", |f| {
            f.host.clock.root_signed = Ok(RootSigned { from: NOW.as_secs() + 1, until: NOW.as_secs() + DAY });
        }),
        edge(Check::DiskSpace, Fault, "the disk is full", |f| f.host.disk.as_mut().unwrap().free_octets = 0),
        edge(Check::DiskSpace, Warning, "the disk is nearly full", |f| {
            f.host.disk.as_mut().unwrap().free_octets = 3 * GIB
        }),
        edge(Check::DiskInodes, Fault, "no inode is left", |f| f.host.disk.as_mut().unwrap().free_inodes = 9),
        edge(Check::DiskInodes, Warning, "few inodes are left", |f| {
            f.host.disk.as_mut().unwrap().free_inodes = 49
        }),
        home(Check::FileSystem, Fault, "the data lies in memory", |f| {
            "tmpfs".clone_into(&mut f.host.disk.as_mut().unwrap().kind)
        }),
        home(Check::FileSystem, Warning, "the data lies on a share", |f| {
            "nfs4".clone_into(&mut f.host.disk.as_mut().unwrap().kind)
        }),
        edge(Check::OpenFiles, Notice, "few files may be open", |f| f.host.open_files = Ok(Some(1024))),
        edge(Check::Memory, Fault, "memory is gone", |f| {
            f.host.memory.as_mut().unwrap().available = (24 << 20) - 1
        }),
        edge(Check::Memory, Warning, "memory is short", |f| {
            f.host.memory.as_mut().unwrap().available = (96 << 20) - 1
        }),
        home(Check::DataDirectory, Fault, "others may read the data", |f| {
            f.host.data.as_mut().unwrap().mode = 0o750
        }),
        home(Check::DataDirectory, Fault, "the data is another user's", |f| {
            f.host.data.as_mut().unwrap().own = false
        }),
        home(Check::DataDirectory, Fault, "something in it is another user's", |f| {
            f.host.data.as_mut().unwrap().of_others = vec!["directory.db".to_owned()];
        }),
        edge(Check::Firewall, Notice, "no rules are loaded", |f| f.host.firewall = Ok(false)),
    ]
}

fn names() -> Vec<Case> {
    vec![
        edge(Check::EdgeAddress, Fault, "Edge's name has no address", |f| f.in_dns = Ok(Vec::new())),
        edge(Check::EdgeAddress, Fault, "Edge's name leads elsewhere", |f| {
            f.in_dns = Ok(vec!["203.0.113.99".parse().unwrap()])
        }),
        edge(Check::EdgeAddress, Warning, "Edge's name leads here and elsewhere", |f| {
            f.in_dns = Ok(vec![ADDRESS, "203.0.113.99".parse().unwrap()]);
        }),
        edge(Check::EdgeAddress, Notice, "the provider translates addresses", |f| {
            f.routes = vec!["10.0.0.5".parse().unwrap()]
        }),
        edge(Check::Ptr, Fault, "the address has no name", |f| f.names[0].names = Ok(Vec::new())),
        edge(Check::Ptr, Fault, "the name does not lead back", |f| {
            f.names[0].names = Ok(vec![("mx.example.org".to_owned(), Ok(Vec::new()))]);
        }),
        edge(Check::PtrIpv6, Fault, "the IPv6 address has no name", |f| f.names[1].names = Ok(Vec::new())),
        edge(Check::GenericName, Warning, "the name is the provider's", |f| {
            f.names[0].names =
                Ok(vec![("static-203-0-113-25.provider.example".to_owned(), Ok(vec![ADDRESS]))]);
        }),
        edge(Check::EhloSpf, Fault, "SPF of Edge's name says fail", |f| f.ehlo_spf[0].1 = SpfResult::Fail),
        edge(Check::EhloSpf, Warning, "Edge's name has no SPF", |f| f.ehlo_spf[0].1 = SpfResult::None),
        edge(Check::BlocklistIpv4, Fault, "the address is on a list", |f| {
            f.lists[0].codes = Ok(vec![Ipv4Addr::new(127, 0, 0, 4)])
        }),
        edge(Check::BlocklistIpv6, Fault, "the IPv6 address is on a list", |f| {
            f.lists[1].codes = Ok(vec![Ipv4Addr::new(127, 0, 0, 4)]);
        }),
        edge(Check::BlocklistAnswers, Warning, "a list refuses this resolver", |f| {
            f.lists[0].test_entry = Ok(vec![Ipv4Addr::new(127, 255, 255, 254)]);
        }),
        edge(Check::BlocklistAnswers, Warning, "a list lists everything", |f| {
            f.lists[0].never_entry = Ok(vec![Ipv4Addr::new(127, 0, 0, 2)]);
        }),
        edge(Check::BlocklistAnswers, Warning, "a list is dead", |f| f.lists[0].test_entry = Ok(Vec::new())),
        edge(Check::BlocklistAnswers, Unknown, "a list can't be asked", |f| f.lists[0].test_entry = no()),
        edge(Check::PortOut, Fault, "port 25 is closed outward", |f| {
            f.port_outward = PortOutward::Tried("mx.example.net".to_owned(), no())
        }),
        edge(Check::PortOut, Unknown, "the host that was named is none", |f| {
            f.port_outward =
                PortOutward::NoSuchHost("example.net".to_owned(), "there is no mail host".to_owned())
        }),
        edge(Check::PortOut, Unknown, "no host was named", |f| f.port_outward = PortOutward::Untried),
        edge(Check::PortOut, Unknown, "what was delivered is long ago", |f| {
            f.port_outward = PortOutward::Proven(days_ago(8))
        }),
        edge(Check::PortsListen, Fault, "port 443 does not answer", |f| f.ports[1].1 = no()),
        edge(Check::PortIn, Unknown, "nobody from outside has connected", |f| f.strangers = None),
    ]
}

fn spool() -> Vec<Case> {
    vec![
        edge(Check::LinkUp, Fault, "a home is away", |f| home_of(f).linked = false),
        edge(Check::LinkUp, Fault, "no home is paired", |f| f.homes = Ok(Vec::new())),
        edge(Check::RecipientsKnown, Fault, "a home never sent its list", |f| home_of(f).recipients = None),
        edge(Check::RecipientsKnown, Fault, "a home's list is empty", |f| home_of(f).recipients = Some(0)),
        edge(Check::SpoolAge, Warning, "sealed mail waits for hours", |f| {
            (home_of(f).sealed, home_of(f).oldest) = (1, Some(UnixTime::from_secs(NOW.as_secs() - 6 * 3600)));
        }),
        edge(Check::SpoolAge, Fault, "sealed mail waits for days", |f| {
            (home_of(f).sealed, home_of(f).oldest) = (1, Some(days_ago(3)))
        }),
        edge(Check::SpoolRoom, Warning, "the spool fills", |f| home_of(f).sealed_octets = 8 * GIB),
        edge(Check::SpoolRoom, Fault, "the spool is full", |f| home_of(f).sealed_octets = 10 * GIB),
        edge(Check::OtherHalf, Unknown, "a home has told nothing", |f| home_of(f).told = None),
    ]
}

fn mail_hosts() -> Vec<Case> {
    vec![
        home(Check::Mx, Fault, "the domain has no MX", |f| domain(f).mx = Ok(Vec::new())),
        home(Check::Mx, Fault, "the MX is another host", |f| {
            domain(f).mx = Ok(vec![(10, "old.example.net".to_owned())])
        }),
        home(Check::Mx, Warning, "another host is an MX, too", |f| {
            domain(f).mx.as_mut().unwrap().push((20, "old.example.net".to_owned()))
        }),
        home(Check::Mx, Fault, "another host is an MX that is tried first", |f| {
            domain(f).mx.as_mut().unwrap().push((5, "old.example.net".to_owned()))
        }),
        home(Check::MxAddress, Fault, "the edge's name has no address", |f| {
            f.edges[0].addresses = Ok(Vec::new())
        }),
    ]
}

fn dns() -> Vec<Case> {
    vec![
        home(Check::Spf, Fault, "there is no SPF", |f| domain(f).spf = Ok(Vec::new())),
        home(Check::Spf, Fault, "there are two SPF records", |f| {
            let first = domain(f).spf.as_ref().unwrap()[0].clone();
            domain(f).spf.as_mut().unwrap().push(first);
        }),
        home(Check::Spf, Fault, "SPF does not let the edge pass", |f| {
            domain(f).spf_of[0].1 = SpfResult::SoftFail
        }),
        home(Check::Dmarc, Fault, "there is no DMARC", |f| domain(f).dmarc = Ok(Vec::new())),
        home(Check::Dmarc, Fault, "there are two DMARC records", |f| {
            domain(f).dmarc = Ok(vec!["v=DMARC1; p=reject".to_owned(), "v=DMARC1; p=none".to_owned()]);
        }),
        home(Check::Dmarc, Notice, "DMARC asks for nothing", |f| {
            domain(f).dmarc = Ok(vec!["v=DMARC1; p=none".to_owned()])
        }),
        home(Check::MtaSts, Fault, "the policy names another host", |f| {
            sts(f, "enforce", "other.example.net")
        }),
        home(Check::MtaSts, Warning, "a policy in testing names another host", |f| {
            sts(f, "testing", "other.example.net")
        }),
        home(Check::MtaSts, Warning, "the policy can't be fetched", |f| {
            domain(f).mta_sts = Ok(Some(DomainPolicyFacts { file: no() }))
        }),
        home(Check::MtaSts, Warning, "the policy is nonsense", |f| {
            domain(f).mta_sts = Ok(Some(DomainPolicyFacts { file: Ok(b"<html>".to_vec()) }));
        }),
        home(Check::MtaSts, Fault, "the policy is enforced and nobody trusts the certificate", |f| {
            sts(f, "enforce", "mx.example.org");
            port(f).certificate.as_mut().unwrap().trusted = Err("UnknownIssuer".to_owned());
        }),
        home(Check::TlsRpt, Notice, "no reports are wanted", |f| domain(f).tls_rpt = Ok(Vec::new())),
        home(Check::TlsRpt, Warning, "two records want reports", |f| {
            let first = domain(f).tls_rpt.as_ref().unwrap()[0].clone();
            domain(f).tls_rpt.as_mut().unwrap().push(first);
        }),
        home(Check::Dnssec, Notice, "the domain is not signed", |f| domain(f).signed = Ok(false)),
        home(Check::Dane, Fault, "a TLSA record does not match", |f| tlsa(f, true)),
        home(Check::Dane, Warning, "a TLSA record does not match, and who knows whether it is signed", |f| {
            tlsa(f, false)
        }),
        home(Check::Dane, Notice, "the name servers pass no signatures on", |f| {
            f.host.resolver.validation = Ok(Validation::Stripped);
            f.edges[0].tlsa = no();
        }),
        home(Check::Dane, Unknown, "there is no answer for TLSA", |f| f.edges[0].tlsa = no()),
        home(Check::Dnssec, Unknown, "there is no answer on signatures", |f| domain(f).signed = no()),
        home(Check::Postmaster, Fault, "postmaster reaches nobody", |f| domain(f).postmaster = Ok(false)),
        home(Check::Abuse, Notice, "abuse reaches nobody", |f| domain(f).abuse = Ok(false)),
        home(Check::DomainServed, Fault, "another home serves the domain", |f| {
            f.edges[0].served =
                Some(vec![("example.org".to_owned(), Served::No("another home does".to_owned()))]);
        }),
        home(Check::DomainServed, Unknown, "the edge has not said what it serves", |f| {
            f.edges[0].served = None
        }),
    ]
}

fn sts(facts: &mut HomeFacts, mode: &str, mx: &str) {
    let file = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
    domain(facts).mta_sts = Ok(Some(DomainPolicyFacts { file: Ok(file.into_bytes()) }));
}

fn tlsa(facts: &mut HomeFacts, secure: bool) {
    facts.edges[0].tlsa =
        Ok((vec![Tlsa { usage: 3, selector: 0, matching: 0, data: b"other".to_vec() }], secure));
}

fn keys() -> Vec<Case> {
    fn rsa(facts: &mut HomeFacts, octets: usize) {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::STANDARD.encode(vec![7; octets]);
        domain(facts).dkim[0].record = format!("v=DKIM1; k=rsa; p={key}");
    }
    vec![
        home(Check::DkimPublished, Fault, "a key that signs is not in DNS", |f| {
            domain(f).dkim[0].published = Ok(false)
        }),
        home(Check::DkimPublished, Notice, "the next key is not in DNS", |f| {
            domain(f).dkim[1].published = Ok(false);
            domain(f).dkim[1].signs = false;
        }),
        home(Check::DkimStrength, Fault, "a key has 512 bits", |f| rsa(f, 94)),
        home(Check::DkimStrength, Warning, "a key has 1,024 bits", |f| rsa(f, 162)),
        home(Check::DkimAge, Warning, "a key is older than two years", |f| {
            domain(f).dkim[0].made = Some(days_ago(731))
        }),
        home(Check::DkimAge, Notice, "a key's age is not known", |f| domain(f).dkim[0].made = None),
        home(Check::DmarcAlignment, Fault, "nothing signs", |f| domain(f).dkim.clear()),
    ]
}

fn outside() -> Vec<Case> {
    vec![
        home(Check::PortIn, Fault, "port 25 of the edge is closed", |f| f.edges[0].port_25 = no()),
        home(Check::PortIn, Unknown, "port 25 of the edge is silent", |f| {
            f.edges[0].port_25 = Err("nothing was heard in time".to_owned());
        }),
        home(Check::PortIn, Fault, "the edge greets with 554", |f| port(f).greeting = reply(554)),
        home(Check::StartTls, Fault, "STARTTLS is not offered", |f| port(f).offers_starttls = false),
        home(Check::StartTls, Fault, "the handshake fails", |f| port(f).certificate = no()),
        home(Check::EdgeCertificateName, Warning, "the certificate is for another name", |f| {
            port(f).certificate.as_mut().unwrap().names_host = false;
        }),
        home(Check::EdgeCertificateChain, Notice, "nobody vouches for the certificate", |f| {
            port(f).certificate.as_mut().unwrap().trusted = Err("UnknownIssuer".to_owned());
        }),
        home(Check::EdgeCertificateLife, Fault, "the certificate has expired", |f| {
            port(f).certificate.as_mut().unwrap().validity = Some((0, NOW.as_secs() - 1));
        }),
        home(Check::EdgeCertificateLife, Fault, "the certificate is not good yet", |f| {
            port(f).certificate.as_mut().unwrap().validity = Some((NOW.as_secs() + 1, NOW.as_secs() + DAY));
        }),
        home(Check::EdgeCertificateLife, Warning, "little of a long life is left", |f| {
            port(f).certificate.as_mut().unwrap().validity =
                Some((NOW.as_secs() - 86 * DAY, NOW.as_secs() + 14 * DAY));
        }),
        home(Check::EdgeCertificateLife, Warning, "little of a life of six days is left", |f| {
            port(f).certificate.as_mut().unwrap().validity =
                Some((NOW.as_secs() - 5 * DAY, NOW.as_secs() + DAY));
        }),
        home(Check::TlsVersions, Warning, "TLS 1.0 is taken", |f| port(f).old_versions = Ok(true)),
        home(Check::TlsCiphers, Warning, "RC4 is taken", |f| port(f).weak_ciphers = Ok(true)),
        home(Check::OpenRelay, Fault, "the edge is an open relay", |f| port(f).relay = Ok(reply(250))),
        home(Check::Backscatter, Fault, "everybody is taken for a user", |f| port(f).nobody = Ok(reply(250))),
        home(Check::Backscatter, Unknown, "the question was put off", |f| port(f).nobody = Ok(reply(450))),
    ]
}

/// The same as a stranger on Edge's own host finds it.
fn own_port() -> Vec<Case> {
    vec![
        edge(Check::StartTls, Fault, "STARTTLS is not offered", |f| own(f).offers_starttls = false),
        edge(Check::EdgeCertificateName, Warning, "the certificate is for another name", |f| {
            own(f).certificate.as_mut().unwrap().names_host = false;
        }),
        edge(Check::EdgeCertificateChain, Notice, "nobody vouches for the certificate", |f| {
            own(f).certificate.as_mut().unwrap().trusted = Err("UnknownIssuer".to_owned());
        }),
        edge(Check::EdgeCertificateLife, Fault, "the certificate has expired", |f| {
            own(f).certificate.as_mut().unwrap().validity = Some((0, NOW.as_secs() - 1));
        }),
        edge(Check::TlsVersions, Warning, "TLS 1.0 is taken", |f| own(f).old_versions = Ok(true)),
        edge(Check::TlsCiphers, Warning, "RC4 is taken", |f| own(f).weak_ciphers = Ok(true)),
        edge(Check::OpenRelay, Fault, "the edge is an open relay", |f| own(f).relay = Ok(reply(250))),
        edge(Check::Backscatter, Fault, "everybody is taken for a user", |f| {
            own(f).nobody = Ok(reply(250));
        }),
    ]
}

fn halves() -> Vec<Case> {
    vec![
        home(Check::LinkUp, Fault, "the link is down", |f| f.edges[0].link = no()),
        home(Check::LinkUp, Notice, "no edge is paired", |f| f.edges.clear()),
        home(Check::LinkStable, Warning, "the link comes and goes", |f| link(f).breaks = 11),
        home(Check::PortLinkTcp, Notice, "TCP 443 is closed", |f| link(f).other = no()),
        home(Check::PortLinkUdp, Notice, "UDP 443 is closed", |f| {
            (link(f).transport, link(f).other) = ("tcp", no());
        }),
        home(Check::OtherHalf, Unknown, "an older edge does not know the question", |f| {
            f.edges[0].half = Err("its version has no doctor: update it".to_owned());
        }),
        home(Check::OtherHalf, Notice, "a newer edge knows more", |f| {
            f.edges[0].half.as_mut().unwrap().unknown_checks = 1
        }),
        home(Check::Versions, Warning, "the halves are of different versions", |f| {
            "postern 9.9".clone_into(&mut f.edges[0].half.as_mut().unwrap().software);
        }),
        home(Check::ClockHalves, Warning, "the clocks are a minute apart", |f| {
            f.edges[0].half.as_mut().unwrap().now = UnixTime::from_secs(NOW.as_secs() + 60);
        }),
        home(Check::ClockHalves, Fault, "the clocks are a year apart", |f| {
            f.edges[0].half.as_mut().unwrap().now = days_ago(365)
        }),
    ]
}

fn inside() -> Vec<Case> {
    vec![
        home(Check::PortSubmission, Fault, "port 465 does not answer", |f| f.ports.submission = no()),
        home(Check::PortImap, Fault, "port 993 does not answer", |f| f.ports.imap = Some(no())),
        home(Check::PortHomeClosed, Warning, "a mail server listens at home", |f| f.ports.smtp = Ok(true)),
        home(Check::HomeCertificate, Fault, "Home's certificate has expired", |f| {
            f.certificate.as_mut().unwrap().validity = Some((0, NOW.as_secs() - 1));
        }),
        home(Check::Users, Fault, "there is no account", |f| f.accounts = Ok(0)),
        home(Check::QueueAge, Warning, "a message waits for hours", |f| {
            let queue = f.queue.as_mut().unwrap();
            (queue.waiting, queue.oldest) = (1, Some(UnixTime::from_secs(NOW.as_secs() - 4 * 3600)));
        }),
        home(Check::QueueAge, Fault, "a message waits for days", |f| {
            let queue = f.queue.as_mut().unwrap();
            (queue.waiting, queue.oldest) = (1, Some(days_ago(2)));
        }),
        home(Check::QueueHeld, Warning, "a message is held", |f| f.queue.as_mut().unwrap().held = 1),
        home(Check::Quarantine, Warning, "the quarantine is full", |f| f.quarantine = Ok(101)),
        home(Check::Filters, Fault, "a filter does not answer", |f| f.filters[0].1 = no()),
        home(Check::Backup, Notice, "no backup is known", |f| f.backup = None),
        home(Check::Backup, Warning, "the backup is old", |f| f.backup = Some(days_ago(9))),
        home(Check::OutboundSwitch, Notice, "users may not send", |f| f.outbound = false),
    ]
}

fn round() -> Vec<Case> {
    vec![
        home(Check::RoundTripDelivered, Fault, "the message did not come back", |f| {
            f.round_trip.as_mut().unwrap().returned = None
        }),
        home(Check::RoundTripDelivered, Notice, "no message was sent round", |f| f.round_trip = None),
        home(Check::Leak, Unknown, "no message was sent round", |f| f.round_trip = None),
        home(Check::RoundTripDelivered, Notice, "the message is of last week", |f| {
            f.round_trip.as_mut().unwrap().sent_at = days_ago(8)
        }),
        home(Check::RoundTripDkim, Fault, "the signature broke", |f| results(f, "x; dkim=fail; dmarc=pass")),
        home(Check::RoundTripDmarc, Fault, "DMARC did not pass", |f| results(f, "x; dkim=pass; dmarc=fail")),
        home(Check::RoundTripDkim, Unknown, "the edge wrote no results", |f| {
            f.round_trip.as_mut().unwrap().authentication_results = None
        }),
        home(Check::Leak, Fault, "a field names the house", |f| {
            f.round_trip.as_mut().unwrap().returned =
                Some(b"Received: from nas.lan ([192.168.7.9])\r\n\r\n".to_vec());
        }),
    ]
}

fn results(facts: &mut HomeFacts, text: &str) {
    facts.round_trip.as_mut().unwrap().authentication_results = Some(text.to_owned());
}
