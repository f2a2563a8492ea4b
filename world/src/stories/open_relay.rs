//! Testers look for an open relay, and find none.

use testkit::process;
use testkit::smtp::SmtpClient;

use crate::place::{EDGE, Neighbour};
use crate::world::{PATIENCE, Setting, World};

/// What testers of relays try, and a few more.
const RECIPIENTS: [&str; 12] = [
    "you@postfix.test",
    "you%postfix.test@example.org",
    "you%postfix.test@mx.example.org",
    "you%postfix.test",
    "\"you@postfix.test\"@example.org",
    "\"you%postfix.test\"",
    "postfix.test!you@example.org",
    "postfix.test!you",
    "@example.org:you@postfix.test",
    "you@postfix.test@example.org",
    "you@[203.0.113.21]",
    "you@[203.0.113.2]",
];
const SENDERS: [&str; 4] = ["someone@spammer.test", "alice@example.org", "root@[203.0.113.2]", ""];

/// The house's computers talk to Edge like anybody else.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// Nobody gets Edge to send anything, wherever he is, and whatever he writes; nor Home without a login.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Postfix);
    let spammer = world.host("spammer").to_owned();
    let (nat, mua, edge) =
        (world.lab.nat().to_owned(), world.host("mua").to_owned(), world.lab.edge().to_owned());
    // Who is refused waits a moment each time, so they try side by side.
    std::thread::scope(|scope| {
        for host in [&spammer, &nat, &mua, &edge] {
            for sender in SENDERS {
                let mut client = world.connect(host);
                scope.spawn(move || {
                    RECIPIENTS.iter().for_each(|recipient| is_refused(&mut client, sender, recipient));
                });
            }
        }
    });
    for host in [&spammer, &nat, &mua] {
        let said = nmap(host, "203.0.113.2", "25");
        assert!(said.contains("doesn't seem to be an open relay, all tests failed"), "{said}");
        let said = swaks(host, &["--server", "203.0.113.2", "--port", "25"]);
        assert!(said.contains("<** 5") && !said.contains("<-  250 2.0.0"), "{said}");
    }
    let home = ["--server", "192.168.77.2", "--port", "465", "--tls-on-connect"];
    for host in [&nat, &mua] {
        let said = nmap(host, "192.168.77.2", "465");
        assert!(!said.contains("Server is an open relay"), "{said}");
        let said = swaks(host, &home);
        assert!(said.contains("<~* 530 5.7.0") || said.contains("<~* 530"), "{said}");
    }
    assert!(world.neighbour(Neighbour::Postfix).messages().is_empty());
    let sent = world.wires_show(&format!("ip.src == {EDGE} and tcp.dstport == 25 and tcp.flags.syn == 1"));
    assert!(sent.is_empty(), "Edge connects to nobody: {sent:?}");
}

fn is_refused(client: &mut SmtpClient, sender: &str, recipient: &str) {
    let reply = client.command(&format!("MAIL FROM:<{sender}>")).expect("a reply");
    if reply.starts_with("250") {
        let reply = client.command(&format!("RCPT TO:<{recipient}>")).expect("a reply");
        assert!(reply.starts_with('5'), "<{sender}> to <{recipient}>: {reply}");
    } else {
        assert!(reply.starts_with('5'), "<{sender}>: {reply}");
    }
    assert!(client.command("RSET").expect("a reply").starts_with("250"));
}

fn nmap(host: &str, server: &str, port: &str) -> String {
    let mut nmap = process::command(Some(host), "nmap");
    nmap.args(["-Pn", "-n", "-p", port, "--script", "smtp-open-relay", server]);
    process::run_ok(nmap, b"", PATIENCE)
}

/// A letter to the world without a login.
fn swaks(host: &str, server: &[&str]) -> String {
    let mut swaks = process::command(Some(host), "swaks");
    swaks.args(server).args(["--from", "alice@example.org", "--to", "you@postfix.test"]);
    let output = process::run(swaks, b"", PATIENCE);
    assert!(!output.status.success(), "it was taken");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
