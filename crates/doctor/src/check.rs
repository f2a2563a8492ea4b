//! The checks: their names, which half makes them, what they say about being fit, and what the book says of them.
//!
//! Names and meanings are an interface: scripts read them, and the other half passes them on. One is added, and none is
//! given another meaning.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fitness::Fitness::{self, Hidden, Receive, Send};

/// Who makes a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Edge, of itself.
    Edge,
    /// Home, of itself or of what it sees from where it is.
    Home,
    /// Each half, of itself.
    Both,
}

impl By {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Home => "home",
            Self::Both => "both",
        }
    }
}

macro_rules! checks {
    ($($name:ident = $text:literal, $by:ident, [$($answer:ident),*], $looks:literal, $why:literal, $advice:literal;)*) => {
        /// One thing that is looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each says in `looks_at` what it is")]
        pub enum Check { $($name),* }

        impl Check {
            /// All, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, which never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// Who makes it.
            #[must_use]
            pub const fn by(self) -> By {
                match self { $(Self::$name => By::$by),* }
            }

            /// The answers that a fault of it makes a no.
            #[must_use]
            pub const fn touches(self) -> &'static [Fitness] {
                match self { $(Self::$name => &[$($answer),*]),* }
            }

            /// What is looked at, in some words.
            #[must_use]
            pub const fn looks_at(self) -> &'static str {
                match self { $(Self::$name => $looks),* }
            }

            /// Why it matters, in one sentence.
            #[must_use]
            pub const fn why(self) -> &'static str {
                match self { $(Self::$name => $why),* }
            }

            /// What to do when it is not as it is to be, unless the finding says it better.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),* }
            }
        }
    };
}

checks! {
    DaemonRuns = "daemon-runs", Both, [Receive, Send], "the daemon answers at its control socket",
        "Without the daemon no mail is taken or sent.",
        "start it: systemctl start postern-home (or postern-edge), or 'postern home run'";
    ResolverAnswers = "resolver-answers", Both, [Receive, Send], "the name servers answer",
        "Each message needs answers from DNS, on its way in and on its way out.",
        "name servers that work: /etc/resolv.conf, or [dns] servers in edge.toml; a local unbound is best";
    ResolverTruthful = "resolver-truthful", Both, [Send], "a name that can't exist has no address",
        "A resolver that invents addresses makes every blocklist say yes and hides typing errors.",
        "use another resolver, such as a local unbound, in /etc/resolv.conf or [dns] servers";
    ResolverValidates = "resolver-validates", Edge, [], "answers come with the signatures that DNSSEC needs",
        "Without them DANE can't be heeded, and mail to domains that demand it goes out as if they did not.",
        "use a resolver that passes DNSSEC on, such as a local unbound, in [dns] servers of edge.toml";
    EdgeAddress = "edge-address", Edge, [Receive], "Edge's name leads to the addresses that this host has",
        "The domains' MX records name Edge, and others connect to where that name leads.",
        "give Edge's name an A record (and AAAA) with this host's address";
    Ptr = "ptr", Edge, [Send], "each IPv4 address that sends has a name, and the name leads back to it",
        "Most large providers refuse mail from an address without such a name.",
        "set the reverse name (PTR) of the address at the provider of the host to Edge's name";
    PtrIpv6 = "ptr-ipv6", Edge, [Send], "the same for the IPv6 address, where mail is sent over IPv6",
        "Google and others refuse mail over IPv6 from an address without a name.",
        "set the PTR of the IPv6 address, or take ipv6 = true out of [outbound] in edge.toml";
    GenericName = "generic-name", Edge, [], "the reverse name does not look like one that a provider gives to everybody",
        "Names made of the address count as signs of a hijacked home computer.",
        "set the PTR to Edge's own name";
    EhloSpf = "ehlo-spf", Edge, [Send], "SPF for Edge's own name lets its addresses pass",
        "Reports of failures have an empty sender: SPF looks at Edge's name in their place.",
        "publish at Edge's name: TXT \"v=spf1 a -all\"";
    BlocklistIpv4 = "blocklist-ipv4", Edge, [Send], "the IPv4 address is on no blocklist",
        "Receivers who ask such a list refuse what comes from an address on it.",
        "look up why at the list's web page, mend the cause, then ask to be taken off";
    BlocklistIpv6 = "blocklist-ipv6", Edge, [Send], "the IPv6 address is on no blocklist",
        "Receivers who ask such a list refuse what comes from an address on it.",
        "look up why at the list's web page, or send over IPv4 only";
    BlocklistAnswers = "blocklist-answers", Edge, [], "each list knows its test entry and does not list everything",
        "A list that is dead, or refuses this resolver, would say that all is well; one that lists everything that all is lost.",
        "ask through a resolver of your own, or take the list out of [doctor] lists in edge.toml";
    PortOut = "port-25-out", Edge, [Send], "Edge can connect to port 25 of others",
        "Many providers close port 25 outward until one asks.",
        "ask the provider to open port 25 outward, or send through a smarthost";
    PortsListen = "ports-listen", Edge, [Receive], "Edge's own ports answer on this host",
        "A port that does not answer on its own host answers nobody.",
        "see the log of Edge; restart it";
    Mx = "mx", Home, [Receive], "the domain's MX records name the edge",
        "Senders look there for where mail goes.",
        "publish the MX records that 'postern dns' shows";
    MxAddress = "mx-address", Home, [Receive], "the name of the edge has an address",
        "Without an address there is nowhere to connect to.",
        "give the edge's name an A or AAAA record";
    Spf = "spf", Home, [Send], "the domain has one SPF record, and it lets the edge's addresses pass",
        "Receivers who find that the address may not send for the domain refuse the mail or put it into Junk.",
        "publish the SPF record that 'postern dns' shows, one only";
    DkimPublished = "dkim-published", Home, [Send], "the keys that sign are in DNS",
        "A signature whose key is not published is no signature.",
        "publish the DKIM records that 'postern dns' shows";
    DkimStrength = "dkim-strength", Home, [Send], "the keys that sign are strong enough",
        "Short RSA keys are refused (RFC 8301), and can be broken.",
        "make new keys: postern dkim rotate DOMAIN";
    DkimAge = "dkim-age", Home, [], "the keys that sign are not older than two years",
        "A key that was never changed may have been copied at any time since.",
        "postern dkim rotate DOMAIN";
    Dmarc = "dmarc", Home, [Send], "the domain has one DMARC record",
        "Google, Yahoo and Microsoft want one from whoever sends.",
        "publish at _dmarc.DOMAIN: TXT \"v=DMARC1; p=quarantine\"";
    DmarcAlignment = "dmarc-alignment", Home, [Send], "what the domain sends is signed by the domain itself",
        "Only a signature or SPF of the author's own domain counts for DMARC.",
        "see 'postern dkim status': the domain needs keys of its own";
    MtaSts = "mta-sts", Home, [Receive], "an MTA-STS record, if there is one, has a policy that names the edge",
        "Senders who heed it deliver nothing when the policy does not name the host or its certificate is not trusted.",
        "mend the policy, or take the record at _mta-sts.DOMAIN out of DNS";
    TlsRpt = "tls-rpt", Home, [], "the domain says where reports on TLS are wanted",
        "Without reports nobody tells you that others can't reach you with TLS.",
        "publish at _smtp._tls.DOMAIN: TXT \"v=TLSRPTv1; rua=mailto:postmaster@DOMAIN\"";
    Dane = "dane", Home, [Receive], "TLSA records of the edge, if there are any, match its certificate",
        "Senders who heed DANE deliver nothing to a host whose certificate does not match.",
        "publish TLSA records that match the certificate, or remove them";
    Dnssec = "dnssec", Home, [], "the domain is signed",
        "Without signatures anybody on the way can send your mail elsewhere.",
        "turn DNSSEC on at the provider of the domain's DNS";
    PortIn = "port-25-in", Both, [Receive], "port 25 of the edge answers from outside",
        "Mail comes in there and nowhere else.",
        "see that Edge runs, and that its firewall and its provider let port 25 in";
    PortLinkTcp = "port-443-tcp", Home, [], "the link works over TCP",
        "Where UDP is cut off, the link goes over TCP.",
        "open TCP 443 at the edge";
    PortLinkUdp = "port-443-udp", Home, [], "the link works over UDP",
        "QUIC survives a change of address; over TCP the link is slower to come back.",
        "open UDP 443 at the edge, and UDP outward here";
    PortSubmission = "port-465", Home, [Send], "the port where mail programs hand mail in answers",
        "Users can't send without it.",
        "see the log of Home, and [listen] submission in home.toml";
    PortImap = "port-993", Home, [], "the port where mail programs read mail answers",
        "Users can't read without it.",
        "see the log of Home, and [listen] imap in home.toml";
    PortHomeClosed = "port-25-closed", Home, [Hidden], "nothing listens on port 25 at Home",
        "A mail server at home that the world can reach shows where the house is.",
        "stop the other mail server on this host ('ss -lptn' shows it)";
    EdgeCertificateName = "edge-certificate-name", Both, [], "the edge's certificate is for its name",
        "Senders who check certificates (MTA-STS) want its name there.",
        "give Edge a certificate for its name: [tls] in edge.toml";
    EdgeCertificateChain = "edge-certificate-chain", Both, [], "a public authority vouches for the edge's certificate",
        "Senders encrypt without it as well; MTA-STS needs it.",
        "give Edge a certificate from a public authority: [tls] in edge.toml";
    EdgeCertificateLife = "edge-certificate-life", Both, [Receive], "the edge's certificate is good now and for some time",
        "Some senders refuse an expired certificate; who heeds MTA-STS always does.",
        "renew the certificate, then 'systemctl reload postern-edge'";
    HomeCertificate = "home-certificate", Home, [], "Home's certificate is good now and for some time",
        "Mail programs warn of an expired certificate, or do not connect.",
        "renew the certificate, then 'systemctl reload postern-home'";
    StartTls = "starttls", Both, [Receive], "the edge offers STARTTLS and a handshake works",
        "Without it mail crosses the internet in clear, and some senders send none.",
        "see the log of Edge; something in between may strip STARTTLS";
    TlsVersions = "tls-versions", Both, [], "nothing below TLS 1.2 is taken",
        "TLS 1.0 and 1.1 are out of use (RFC 8996).",
        "take what ends TLS in front of Edge away, or have it take TLS 1.2 and above only";
    TlsCiphers = "tls-ciphers", Both, [], "no cipher is taken that can be broken",
        "RC4, 3DES and EXPORT ciphers protect nobody (RFC 9325).",
        "take what ends TLS in front of Edge away, or have it take strong ciphers only";
    OpenRelay = "open-relay", Both, [Send], "the edge refuses to pass on mail between strangers",
        "An open relay is found within hours, and is on every blocklist after a day.",
        "see what answers on port 25 of the edge: it is not Postern, or not as it was set up";
    Backscatter = "backscatter", Both, [Send], "a recipient who does not exist is refused in the session",
        "Mail that is taken and bounced later goes to people whose address was forged, and their providers block you.",
        "see aliases like *@DOMAIN ('postern alias list'), and whether the edge has this home's recipients ('postern status')";
    LinkUp = "link-up", Both, [Receive, Send], "the link between the halves is up",
        "Without it mail waits at Edge, and nothing leaves.",
        "see that both daemons run and that the edge's port 443 is open; the log says why a try failed";
    LinkStable = "link-stable", Home, [], "the link does not come and go",
        "Each break delays mail by seconds.",
        "see the log of Home for the causes; a router that forgets connections is the most likely one";
    Versions = "versions", Home, [], "both halves are of the same version",
        "Halves of different versions speak what both know: some checks and functions are missing.",
        "update the older half";
    DomainServed = "domain-served", Home, [Receive], "the edge serves the domain for this home",
        "Mail for a domain that another home serves does not come here.",
        "see 'postern status'; it says what to type";
    RecipientsKnown = "recipients-known", Edge, [Receive], "Edge has the home's list of recipients",
        "Without it Edge knows nobody and refuses all mail.",
        "see that the home is linked: it pushes the list then";
    ClockSynchronised = "clock-synchronised", Both, [], "the system says that its clock is kept right",
        "Certificates, DKIM signatures and DNSSEC depend on the time.",
        "turn on a time service: timedatectl set-ntp true, or install chrony";
    ClockPlausible = "clock-plausible", Both, [Receive, Send], "the clock is not before this program was made, and agrees with signatures in DNS",
        "With a wrong clock certificates and signatures look expired or not yet good.",
        "set the clock: timedatectl set-ntp true, or date -s";
    ClockHalves = "clock-halves", Home, [Send], "the clocks of both halves agree",
        "A message dated in the future looks like spam, and one half of the two is wrong.",
        "turn on a time service on both hosts";
    DiskSpace = "disk-space", Both, [Receive], "the disk of the data has room",
        "On a full disk mail is put off, and after days sent back.",
        "make room, or move the data to a larger disk";
    DiskInodes = "disk-inodes", Both, [Receive], "the file system of the data can make more files",
        "Without inodes nothing can be written though there is room.",
        "remove files, or make the file system anew with more inodes";
    FileSystem = "file-system", Both, [Receive], "the data lies on a file system that keeps what was synced",
        "What lies in memory or on a network share may be gone after a crash, though the sender was told that it is kept.",
        "move the data to a local disk: ext4, xfs, btrfs or zfs";
    OpenFiles = "open-files", Both, [], "the limit of open files is high enough",
        "Under many connections the daemon would turn senders away.",
        "LimitNOFILE=65536 in the unit, or 'ulimit -Hn'";
    Memory = "memory", Both, [], "there is memory left",
        "A daemon that the kernel ends loses its sessions.",
        "end other programs, or give the host more memory";
    DataDirectory = "data-directory", Both, [Hidden], "the data is its owner's alone",
        "Whoever can read it can read mail and keys.",
        "as root: chown -R postern: DIR; chmod 700 DIR";
    Firewall = "firewall", Both, [], "rules of 'postern firewall' are loaded",
        "They let in and out what Postern needs, and nothing else.",
        "as root: postern firewall edge --apply (or home), then postern firewall confirm";
    SpoolAge = "spool-age", Edge, [], "no sealed mail waits for long",
        "Mail that waits at Edge has not reached its home.",
        "see that the home is linked; 'postern edge homes list' shows for which home it waits";
    SpoolRoom = "spool-room", Edge, [Receive], "there is room for sealed mail",
        "When it is full, Edge puts senders off.",
        "bring the home back, or raise [limits] spool in edge.toml";
    QueueAge = "queue-age", Home, [], "nothing waits in the queue for long",
        "A message that waits for days goes back to its sender.",
        "'postern queue list' says for each why it waits";
    QueueHeld = "queue-held", Home, [], "nothing is held in the queue by hand",
        "What is held is never sent.",
        "postern queue release ID";
    Quarantine = "quarantine", Home, [], "the quarantine is small",
        "Mail there reaches nobody until somebody looks.",
        "look at it: postern quarantine list";
    Filters = "filters", Home, [Receive], "each filter answers",
        "With a filter that is away mail waits or passes unfiltered, as [[filter]] on_failure says.",
        "start the filter, or take it out of home.toml";
    Backup = "backup", Home, [], "there is a backup that is not old",
        "A disk dies one day.",
        "copy the data directory with the daemon stopped, or from a snapshot of the file system, to another place";
    Users = "users", Home, [Receive], "there is an account",
        "Without accounts there is nobody to receive.",
        "postern user add you@DOMAIN";
    Postmaster = "postmaster", Home, [Receive], "mail to postmaster reaches somebody",
        "Others write there when something is wrong with your mail (RFC 5321 section 4.5.1).",
        "postern alias add postmaster@DOMAIN you@DOMAIN, or postmaster in home.toml";
    Abuse = "abuse", Home, [], "mail to abuse reaches somebody",
        "Complaints about mail from you go there (RFC 2142), and some providers list who has none.",
        "postern alias add abuse@DOMAIN you@DOMAIN";
    OutboundSwitch = "outbound-switch", Home, [], "users may send once the edge is fit for it",
        "Sending is off at first, so that an address that is not fit spoils nothing.",
        "postern outbound on";
    RoundTripDelivered = "round-trip", Home, [Receive, Send], "a message sent round came back",
        "It proves the whole way, out and in.",
        "postern doctor says at which step it stopped; 'postern trace last' shows its story";
    RoundTripDkim = "round-trip-dkim", Home, [Send], "its signatures were good when it came back",
        "A signature that breaks on the way is none.",
        "see dkim-published; if the keys are there, what changes mail on its way?";
    RoundTripDmarc = "round-trip-dmarc", Home, [Send], "it passed DMARC",
        "What does not pass goes to Junk elsewhere.",
        "see spf, dkim-published and dmarc";
    Leak = "leak", Home, [Hidden], "nothing in the message that came back names the house",
        "One field with your address tells everybody where you live.",
        "keep [submission] on_leak = \"refuse\", and report the field that is shown";
    OtherHalf = "other-half", Both, [Receive, Send], "the other half was asked, and told what it found",
        "Half of the checks can only be made there.",
        "see link-up; an older version does not know the question: update it";
}

impl Check {
    /// The check of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|check| check.name() == name)
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| serde::de::Error::custom(format!("no check '{name}' is known")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_each_is_one_checks_alone() {
        for check in Check::ALL {
            let name = check.name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
            assert_eq!(Check::named(name), Some(*check));
            assert!(
                check.why().ends_with('.') && !check.looks_at().is_empty() && !check.advice().is_empty(),
                "{name}"
            );
        }
        assert!(Check::ALL.len() >= 40, "{}", Check::ALL.len());
        assert_eq!(Check::named("of-tomorrow"), None);
    }

    /// The page is what an operator reads when a check has failed: it has to have each, as it is.
    #[test]
    fn the_book_has_each_check_as_it_is() {
        let page = include_str!("../../../docs/src/doctor.md");
        let table: String = Check::ALL.iter().map(|check| crate::book::row(*check)).collect();
        assert!(page.contains(&table), "docs/src/doctor.md has to have this table:\n{table}");
    }
}
