//! Signed aliases and wildcards that lead into a zone without signatures, as Knot gives them and as Unbound passes them
//! on, and the same with something wrong.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mail::Domain;
use net::dns::{Alias, Dns, MailHosts};
use testkit::knot::Knot;
use testkit::unbound::Unbound;

use crate::alone;

const HOST: &str = "192.0.2.77";
const PORT: u16 = 25;

fn knot(start: impl FnOnce(&[(&str, &str)], &[(&str, &str)]) -> Knot) -> Knot {
    let digest = "00".repeat(32);
    let zone = format!(
        "unsigned NS ns.test.\nforged NS ns.test.\nforged DS 12345 13 2 {digest}\n\
         signed-mx A {HOST}\n_{PORT}._tcp.signed-mx TLSA 3 1 1 {digest}\n\
         plain CNAME mx.unsigned\n*.wild CNAME mx.unsigned\n*.host A {HOST}\n*.host MX 10 mx.unsigned\n\
         near.host A 192.0.2.1\n*.chain CNAME a.wild\nto-forged CNAME mx.forged\n*.to-forged-wild CNAME mx.forged\n\
         to-nowhere CNAME nowhere.unsigned\nto-signed CNAME signed-mx\n\
         _{PORT}._tcp.plain CNAME _{PORT}._tcp.mx.unsigned\n_{PORT}._tcp.a-wild CNAME b.wild\n"
    );
    let unsigned = format!("mx A {HOST}\nmx MX 10 mx\n_{PORT}._tcp.mx TLSA 3 1 1 {digest}\n");
    let forged = format!("mx A {HOST}\n");
    start(&[("test", &zone), ("forged.test", &forged)], &[("unsigned.test", &unsigned)])
}

/// A resolver that knows nothing yet.
fn fresh(server: SocketAddr, anchors: &Path) -> Dns {
    Dns::validating(&[server], Some(anchors)).unwrap()
}

/// Whether DNSSEC vouches for the addresses, which are these; or that they can't be believed.
async fn addresses(dns: &Dns, name: &str) -> Result<(bool, usize, Option<Alias>), String> {
    let (found, alias) = dns.addresses_and_alias(name).await.map_err(|error| error.to_string())?;
    let host: IpAddr = HOST.parse().unwrap();
    assert!(found.value.iter().all(|address| *address == host), "{name}: {:?}", found.value);
    Ok((found.secure, found.value.len(), alias))
}

async fn checked(server: SocketAddr, anchors: &Path) {
    let to = |target: &str| Some(Alias { target: target.to_owned(), secure: true });
    let unsigned = || to("mx.unsigned.test");
    for (name, secure, alias) in [
        ("plain.test", false, unsigned()),
        ("a.wild.test", false, unsigned()),
        ("b.c.wild.test", false, unsigned()),
        ("a.chain.test", false, unsigned()),
        ("mx.unsigned.test", false, None),
        ("signed-mx.test", true, None),
        ("to-signed.test", true, to("signed-mx.test")),
        ("any.host.test", true, None),
    ] {
        assert_eq!(addresses(&fresh(server, anchors), name).await, Ok((secure, 1, alias)), "{name}");
    }
    let nowhere = addresses(&fresh(server, anchors), "to-nowhere.test").await;
    assert!(matches!(nowhere, Ok((false, 0, _))), "{nowhere:?}");
    for name in ["to-forged.test", "a.to-forged-wild.test", "mx.forged.test"] {
        let found = addresses(&fresh(server, anchors), name).await;
        assert!(found.is_err(), "{name}: {found:?}");
    }
    for (name, secure) in [("any.host.test", true), ("plain.test", false), ("a.wild.test", false)] {
        let dns = fresh(server, anchors);
        let found = dns.mail_hosts(&Domain::parse(name).unwrap(), |_| 0).await.unwrap();
        assert_eq!(found.secure, secure, "MX of {name}");
        let MailHosts::Hosts(hosts) = found.value else { panic!("{name}: {:?}", found.value) };
        assert_eq!(hosts[0].name, "mx.unsigned.test", "MX of {name}");
    }
    for (name, secure, records) in
        [("plain.test", false, 1), ("signed-mx.test", true, 1), ("a-wild.test", false, 0)]
    {
        let found = fresh(server, anchors).tlsa(name, PORT).await.unwrap();
        assert_eq!((found.secure, found.value.len()), (secure, records), "TLSA of {name}");
    }
}

#[test]
fn a_signed_alias_into_a_zone_without_signatures_is_insecure_and_what_is_wrong_is_bogus() {
    let _alone = alone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    judged(&knot(Knot::start_with), &runtime);
    judged(&knot(Knot::start_hashed), &runtime);
}

/// By us, with the answers of Knot and those of a validating Unbound, and by Unbound itself.
fn judged(knot: &Knot, runtime: &tokio::runtime::Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let anchors = dir.path().join("anchors");
    let anchor = knot.trust_anchor("test");
    std::fs::write(&anchors, &anchor).unwrap();
    let unbound = Unbound::start("test", knot.address(), &anchor);
    for server in [knot.address(), unbound.address()] {
        runtime.block_on(checked(server, &anchors));
    }
    unbound_says_the_same(&unbound);
    tampered_with(knot, &anchors, runtime);
}

fn tampered_with(knot: &Knot, anchors: &Path, runtime: &tokio::runtime::Runtime) {
    // Something wrong with the alias, with what it leads to, or with the proof that there is nothing nearer.
    for (name, from, to) in [
        ("signed-mx.test", &[192, 0, 2, 77][..], &[192, 0, 2, 78][..]),
        ("plain.test", b"\x02mx\x08unsigned", b"\x02my\x08unsigned"),
        ("a.wild.test", b"\x02mx\x08unsigned", b"\x02my\x08unsigned"),
    ] {
        let tampered = Tampering::start(knot.address(), from, to);
        let found = runtime.block_on(addresses(&fresh(tampered.address, anchors), name));
        assert!(found.is_err(), "{name} tampered with: {found:?}");
        assert!(tampered.changed.load(Ordering::Relaxed), "{name}");
    }
}

/// What it calls secure has the flag `ad`; what it finds bogus it answers with SERVFAIL.
fn unbound_says_the_same(unbound: &Unbound) {
    for (name, kind, status, ad) in [
        ("plain.test", "A", "NOERROR", false),
        ("a.wild.test", "A", "NOERROR", false),
        ("plain.test", "MX", "NOERROR", false),
        ("any.host.test", "MX", "NOERROR", true),
        ("signed-mx.test", "A", "NOERROR", true),
        ("to-signed.test", "AAAA", "NOERROR", true),
        ("_25._tcp.plain.test", "TLSA", "NOERROR", false),
        ("to-forged.test", "A", "SERVFAIL", false),
        ("a.to-forged-wild.test", "A", "SERVFAIL", false),
    ] {
        let said = unbound.ask(name, kind);
        let flags = said.lines().find(|line| line.starts_with(";; Flags:")).unwrap_or_default();
        let has_ad =
            flags.split(';').nth(2).is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "ad"));
        assert!(said.contains(&format!("status: {status}")) && has_ad == ad, "{name} {kind}: {said}");
    }
}

/// A way to a name server on which octets of its answers are replaced.
struct Tampering {
    address: SocketAddr,
    changed: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tampering {
    fn start(server: SocketAddr, from: &'static [u8], to: &'static [u8]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (changed, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let address = socket.local_addr().unwrap();
        let (told, ended) = (Arc::clone(&changed), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut datagram = vec![0; 64 * 1024];
            while !ended.load(Ordering::Relaxed) {
                let Ok((octets, client)) = socket.recv_from(&mut datagram) else { continue };
                let Some(mut answer) = ask(server, &datagram[..octets]) else { continue };
                let places = answer.windows(from.len()).enumerate().filter(|(_, window)| *window == from);
                for at in places.map(|(at, _)| at).collect::<Vec<_>>() {
                    answer[at..at + to.len()].copy_from_slice(to);
                    told.store(true, Ordering::Relaxed);
                }
                let _ = socket.send_to(&answer, client);
            }
        });
        Self { address, changed, stop, thread: Some(thread) }
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    socket.send_to(query, server).ok()?;
    let mut answer = vec![0; 64 * 1024];
    let octets = socket.recv(&mut answer).ok()?;
    answer.truncate(octets);
    Some(answer)
}
