//! Hundreds of forged bounces come for mail that alice never sent.

use testkit::message;

use crate::place::{EDGE, Neighbour};
use crate::world::{MARKER, PATIENCE, Setting, World};

const STORM: usize = 300;
const DAY: i64 = 86_400;

/// Reports without the tag are taken for the first eight days: the clocks go on to the ninth.
pub(crate) fn setting() -> Setting {
    Setting { own_clock: true, edge_config: "policy.greylist = false\n".to_owned(), ..Setting::default() }
}

/// Somebody has sent spam in alice's name, and all hosts of the world report to her that it could not be delivered. None
/// of it reaches her, nothing is sent to anybody, and the report on what she did send comes through.
pub(crate) fn tell(world: &mut World) {
    world.clocks_are_ahead(9 * DAY);
    world.pair.home.restart();
    world.pair.wait_for_link();
    world.alice_writes("you@exim.test", "a true letter");
    let came = world.reaches_neighbour(Neighbour::Exim, "a true letter");
    let signed = message::field(&came, "Return-path").expect("the reverse-path");
    let signed = signed.trim_matches(['<', '>']).to_owned();
    assert!(signed.starts_with("prvs="), "{signed}");

    let storm = report("alice@example.org");
    let host = world.host(Neighbour::OpenSmtpd.place()).to_owned();
    let mut client = world.connect_as(&host, "mx.opensmtpd.test");
    for _ in 0..STORM {
        let reply = client.message("", &["alice@example.org"], &storm).expect("a reply");
        assert!(reply.starts_with("550 5.7.1") && !reply.contains("DMARC"), "{reply}");
    }
    let reply = client.message("", &[&signed], &report(&signed)).expect("a reply");
    assert!(reply.starts_with("250"), "{reply}");
    testkit::until("the true report", PATIENCE, || (world.mailbox("alice").count("INBOX") > 0).then_some(()));
    assert_eq!(world.mailbox("alice").count("INBOX"), 1);
    assert_eq!(world.mailbox("alice").count("Junk"), 0);
    world.queue_is_empty();
    let filter = format!("ip.src == {EDGE} and tcp.dstport == 25 and tcp.flags.syn == 1");
    let sent = world.wires_show(&filter);
    let exim = Neighbour::Exim.address().to_string();
    let (to_exim, elsewhere): (Vec<&String>, Vec<&String>) =
        sent.iter().partition(|line| line.contains(&exim));
    assert!(!to_exim.is_empty(), "what Edge did write was seen");
    assert!(elsewhere.is_empty(), "Edge wrote to nobody but Exim: {elsewhere:?}");
}

fn report(to: &str) -> Vec<u8> {
    format!(
        "From: MAILER-DAEMON@opensmtpd.test\r\nTo: {to}\r\nSubject: Undeliverable\r\nMIME-Version: 1.0\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <report@opensmtpd.test>\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"b\"\r\n\r\n\
         --b\r\n\r\n{MARKER}\r\n--b--\r\n"
    )
    .into_bytes()
}
