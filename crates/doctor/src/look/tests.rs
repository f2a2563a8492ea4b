//! How long looking takes when nobody answers, in simulated time.

use std::net::SocketAddr;
use std::time::Duration;

use mail::UnixTime;
use mailauth::dns::{Answer, RecordType, Resolver};
use net::dns::{RootSigned, Validation};
use tlspolicy::tlsa::Tlsa;
use tokio::time::Instant;

use super::deadline::all;
use super::world::MailQuestions;
use super::*;
use crate::facts::{Certificate, Fact, MailPort};
use crate::{Check, Verdict, judge};

/// A world in which nobody ever answers.
struct Silent;

/// What never comes.
async fn never<T: Send>() -> T {
    std::future::pending().await
}

impl Resolver for Silent {
    async fn lookup(&self, _name: &str, _kind: RecordType) -> Answer {
        never().await
    }
}

impl World for Silent {
    async fn validation(&self) -> Validation {
        never().await
    }
    async fn root_signed(&self) -> Fact<RootSigned> {
        never().await
    }
    async fn tlsa(&self, _host: &str) -> Fact<(Vec<Tlsa>, bool)> {
        never().await
    }
    async fn is_signed(&self, _domain: &str) -> Fact<bool> {
        never().await
    }
    async fn mail_hosts(&self, _host: &str) -> Fact<Vec<SocketAddr>> {
        never().await
    }
    async fn greets(&self, _places: &[SocketAddr]) -> Fact<()> {
        never().await
    }
    async fn connects(&self, _place: SocketAddr) -> Fact<()> {
        never().await
    }
    async fn mail_port(&self, _place: SocketAddr, _questions: &MailQuestions) -> Fact<MailPort> {
        never().await
    }
    async fn tls_port(&self, _place: SocketAddr, _name: &str) -> Fact<Certificate> {
        never().await
    }
    async fn policy(&self, _domain: &str) -> Fact<Vec<u8>> {
        never().await
    }
}

fn host(dir: &std::path::Path) -> HostKnows {
    HostKnows {
        data: dir.to_owned(),
        now: UnixTime::from_secs(1_800_000_000),
        firewall: None,
        is_daemon: true,
    }
}

fn edge_knows(dir: &std::path::Path) -> EdgeKnows {
    EdgeKnows {
        host: host(dir),
        runs: Ok(()),
        hostname: "mx.example.org".to_owned(),
        sends: true,
        sends_ipv6: false,
        lists: (0..20).map(|n| format!("bl{n}.example")).collect(),
        probe: Some("mx.example.net".to_owned()),
        delivered: None,
        strangers: None,
        ports: vec![("port 25".to_owned(), ([127, 0, 0, 1], 9).into())],
        own_port: Some((([127, 0, 0, 1], 9).into(), None)),
        homes: Ok(Vec::new()),
        spool_octets_max: 1 << 30,
    }
}

fn home_knows(dir: &std::path::Path) -> HomeKnows {
    let domain = |n: usize| DomainKnows {
        name: format!("d{n}.example"),
        keys: vec![("20260101r".to_owned(), true, "v=DKIM1; p=AAAA".to_owned(), None)],
        postmaster: Ok(true),
        abuse: Ok(true),
    };
    let edge = EdgePlace {
        name: "mx.example.org".to_owned(),
        smtp_port: 25,
        link: Err("no answer".to_owned()),
        served: None,
    };
    HomeKnows {
        host: host(dir),
        runs: Ok(()),
        outbound: true,
        smarthost: false,
        domains: (0..50).map(domain).collect(),
        edges: vec![edge],
        submission: ([127, 0, 0, 1], 465).into(),
        imap: Some(([127, 0, 0, 1], 993).into()),
        hostname: "mx.example.org".to_owned(),
        accounts: Ok(1),
        queue: Err("x".to_owned()),
        quarantine: Ok(0),
        filters: Vec::new(),
        backup: None,
        takes_everybody: Ok(false),
        round_trip: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_resolver_is_waited_for_once_however_much_there_is_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let facts = home(&Silent, home_knows(dir.path()), begun + HOME_PATIENCE).await;
    // The clock is simulated.
    assert!(begun.elapsed() <= Duration::from_secs(15), "{:?}", begun.elapsed());
    let findings = judge::home(&facts);
    let verdict = |check| findings.iter().find(|one| one.check == check).map(|one| one.verdict);
    assert_eq!(verdict(Check::ResolverAnswers), Some(Verdict::Fault));
    for check in [Check::Mx, Check::Spf, Check::Dmarc, Check::PortIn, Check::Dnssec] {
        assert_eq!(verdict(check), Some(Verdict::Unknown), "{check}");
    }
    assert!(facts.host.disk.is_ok(), "what needs nobody is known all the same");

    let begun = Instant::now();
    let facts = edge(&Silent, edge_knows(dir.path()), begun + EDGE_PATIENCE).await;
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
    assert!(facts.in_dns.is_err() && facts.ports[0].1.is_err());
}

#[tokio::test(start_paused = true)]
async fn all_is_done_at_one_time_and_comes_in_its_order() {
    let begun = Instant::now();
    let done = all([3_u64, 1, 2].map(|secs| async move {
        tokio::time::sleep(Duration::from_secs(secs)).await;
        secs
    }));
    assert_eq!(done.await, [3, 1, 2]);
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
}
