//! The neighbours as newer Debians have them: Postfix 3.10 and 3.11 at the other end, Dovecot 2.4 behind Home, rspamd with
//! its own modules, postsrsd 2.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::dovecot::Dovecot;
use testkit::filter::Rspamd;
use testkit::newer::Release;
use testkit::postfix::Postfix;
use testkit::process::Process;
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, ports, until};

use crate::alone;
use crate::remote_mtas::{World, a_conversation, refused_and_put_off};

const PATIENCE: Duration = Duration::from_secs(90);
const ANN: &str = "ann@remote.test";

/// The version has to be the one that a journey's name says, or newer.
fn at_least(told: &str, wanted: &[u32]) {
    let words = told.split(|c: char| !c.is_ascii_digit() && c != '.');
    let version: Vec<u32> = words
        .map(|word| word.split('.').map_while(|part| part.parse().ok()).collect::<Vec<u32>>())
        .find(|numbers| numbers.len() > 1)
        .unwrap_or_else(|| panic!("no version in {told}"));
    assert!(version.as_slice() >= wanted, "{told} is older than {wanted:?}");
}

fn postfix(release: Release, wanted: &[u32]) -> Option<World> {
    at_least(&release.version("postconf", &["-d", "-h", "mail_version"]), wanted);
    World::new(|site| Postfix::remote_of(Some(release), site))
}

#[test]
fn a_conversation_with_postfix_3_10_holds_in_both_directions() {
    let _alone = alone();
    let Some(world) = postfix(Release::Trixie, &[3, 10]) else { return };
    a_conversation(&world);
}

#[test]
fn a_conversation_with_postfix_3_11_holds_in_both_directions() {
    let _alone = alone();
    let Some(world) = postfix(Release::Sid, &[3, 11]) else { return };
    a_conversation(&world);
}

#[test]
fn what_postfix_3_10_refuses_or_puts_off_ends_as_it_should() {
    let _alone = alone();
    let Some(mut world) = postfix(Release::Trixie, &[3, 10]) else { return };
    refused_and_put_off(&mut world, "Access denied");
}

#[test]
fn what_postfix_3_11_refuses_or_puts_off_ends_as_it_should() {
    let _alone = alone();
    let Some(mut world) = postfix(Release::Sid, &[3, 11]) else { return };
    refused_and_put_off(&mut world, "Access denied");
}

fn send(pair: &Pair, from: &str, to: &[&str], sent: &[u8]) -> String {
    SmtpClient::ready(pair.smtp).unwrap().message(from, to, sent).unwrap()
}

/// Symptom: mail that rspamd scores between 4 and 6 never arrived. Cause: without Redis its greylist module is off, and
/// the action `greylist` stays what it is each time the message comes; it was taken for "later".
fn what_rspamd_would_greylist_arrives(release: Release, wanted: &[u32]) {
    let _alone = alone();
    at_least(&release.version("rspamd", &["--version"]), wanted);
    let rspamd = Rspamd::stock(release);
    let filter = format!("[[filter]]\nkind = \"rspamd\"\naddress = \"{}\"\n", rspamd.scanner);
    let pair = Pair::with(&PairOptions { home_config: filter, ..PairOptions::default() });
    let to = "bob@example.org";
    for subject in ["first", "second"] {
        let reply = send(&pair, "a@sender.test", &[to], &message::simple("a@sender.test", to, subject));
        assert!(reply.starts_with("250"), "{reply}\n{}", rspamd.log());
    }
    let bob = pair.account("bob");
    until("both are in the INBOX", PATIENCE, || (bob.count("INBOX") == 2).then_some(()));
    // It was asked, and said what this is about.
    let told = pair.home.command_ok(&["trace", to], "");
    assert_eq!(told.matches(", greylist").count(), 2, "{told}");
}

#[test]
fn what_rspamd_3_12_would_greylist_without_redis_arrives() {
    what_rspamd_would_greylist_arrives(Release::Trixie, &[3, 12]);
}

#[test]
fn what_rspamd_4_1_would_greylist_without_redis_arrives() {
    what_rspamd_would_greylist_arrives(Release::Sid, &[4, 1]);
}

/// Home in front of it: what fits is delivered, who is full is refused while the sender waits.
fn mail_is_left_with_dovecot(release: Release, wanted: &[u32]) {
    let _alone = alone();
    at_least(&release.version("dovecot", &["--version"]), wanted);
    let (alice, bob) = ("alice@example.org", "bob@example.org");
    let dovecot = Dovecot::start_of(Some(release), &[(alice, "x", None), (bob, "x", Some(3_000))]);
    for lmtp in [format!("unix:{}", dovecot.lmtp_socket().display()), format!("inet:{}", dovecot.lmtp())] {
        let config = format!("[queue]\nretry = [\"1s\"]\n[deliver]\nlmtp = {lmtp:?}");
        let pair = Pair::with(&PairOptions { home_config: config, ..PairOptions::default() });
        pair.add_user("carol");
        until("edge knows carol", PATIENCE, || {
            let mut client = SmtpClient::ready(pair.smtp).unwrap();
            client.command("MAIL FROM:<ann@remote.test>").unwrap();
            client.command("RCPT TO:<carol@example.org>").unwrap().starts_with("250").then_some(())
        });
        let before = dovecot.messages(alice).len();
        let mut large = message::simple(ANN, alice, "large");
        large.extend_from_slice("0123456789\r\n".repeat(1_000).as_bytes());
        assert!(send(&pair, ANN, &[alice], &large).starts_with("250"), "{}", dovecot.log());
        let full = send(&pair, ANN, &[bob], &large);
        assert!(full.starts_with("552 5.2.2"), "{full}\n{}", dovecot.log());
        let unknown =
            send(&pair, ANN, &["carol@example.org"], &message::simple(ANN, "carol@example.org", "who"));
        // Whom Home has and Dovecot has not is for the operator to add; the mail stays with its sender until then.
        assert!(unknown.starts_with("451 4.3.0"), "{unknown}\n{}", dovecot.log());
        let stored = until("Dovecot has it", PATIENCE, || dovecot.messages(alice).into_iter().nth(before));
        assert!(message::body(&stored) == message::body(&large));
        assert!(dovecot.messages(bob).is_empty());
    }
}

#[test]
fn mail_is_left_with_dovecot_2_4_of_debian_13() {
    mail_is_left_with_dovecot(Release::Trixie, &[2, 4]);
}

#[test]
fn mail_is_left_with_dovecot_2_4_of_sid() {
    mail_is_left_with_dovecot(Release::Sid, &[2, 4, 5]);
}

/// What postsrsd 2 says of an address, by the protocol of Postfix's socketmap_table(5).
fn ask(service: SocketAddr, map: &str, address: &str) -> String {
    let mut stream = TcpStream::connect(service).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let question = format!("{map} {address}");
    stream.write_all(format!("{}:{question},", question.len()).as_bytes()).unwrap();
    let mut octets = [0; 1024];
    let count = stream.read(&mut octets).unwrap();
    let text = String::from_utf8_lossy(&octets[..count]).into_owned();
    let (_, said) = text.split_once(':').unwrap();
    said.trim_end_matches(',').to_owned()
}

#[test]
fn what_postsrsd_2_wrote_before_the_move_is_opened_and_it_opens_what_is_written_here() {
    const SECRET: &str = "0123456789abcdef01234567";
    let _alone = alone();
    let service = ports::free();
    let dir = tempfile::tempdir().unwrap();
    let names = NameServer::start(&[("remote.test", Record::Txt("v=spf1 ip4:127.0.0.1 -all".to_owned()))]);
    let mut pair = Pair::with(&PairOptions {
        outbound: true,
        name_server: Some(names.address()),
        ..PairOptions::default()
    });

    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("secret"), format!("{SECRET}\n")).unwrap();
    let config = format!(
        "domains = {{ \"example.org\" }}\nsocketmap = inet:127.0.0.1:{}\nsecrets-file = \"{}\"\n\
         unprivileged-user = \"\"\nchroot-dir = \"\"\n",
        service.port(),
        path("secret"),
    );
    std::fs::write(path("conf"), config).unwrap();
    let mut postsrsd = Release::Sid.command(None, "postsrsd");
    postsrsd.arg("-C").arg(path("conf"));
    let _running = Process::start(postsrsd, &dir.path().join("log"));
    until("postsrsd answers", PATIENCE, || TcpStream::connect(service).ok());

    // Written with four characters, some of the alphabet of URLs, some of neither.
    let written: Vec<String> = (1..60)
        .map(|number| ask(service, "forward", &format!("ann{number}@remote.test")))
        .map(|said| said.strip_prefix("OK ").unwrap().to_owned())
        .collect();
    let hash = |address: &str| address.split('=').nth(1).unwrap().to_owned();
    assert!(written.iter().all(|address| hash(address).len() == 4), "{written:?}");
    let odd = written.iter().find(|address| hash(address).contains(['-', '_'])).expect("one of them");
    let plain = written.iter().find(|address| !hash(address).contains(['-', '_'])).expect("one of them");

    let bounce = |pair: &Pair, to: &str| {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        client.command("MAIL FROM:<>").unwrap();
        client.command(&format!("RCPT TO:<{to}>")).unwrap()
    };
    for address in [odd, plain] {
        assert!(bounce(&pair, address).starts_with("550"), "nobody here wrote {address}");
    }
    let file = pair.home.data().join("srs.secret");
    let own = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{own}postsrsd:{SECRET}\n")).unwrap();
    pair.home.kill();
    pair.home.start();
    for address in [odd, plain] {
        until("it is opened", PATIENCE, || bounce(&pair, address).starts_with("250").then_some(()));
    }
    let forged = odd.replacen("=ann", "=eve", 1);
    assert!(bounce(&pair, &forged).starts_with("550"), "{forged}");
    // With the mark in the first line it writes what postsrsd opens.
    let secrets = link::SrsSecrets::try_from(vec![format!("postsrsd:{SECRET}")]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (ann, ours) = (mail::Address::parse(ANN).unwrap(), mail::Domain::parse("example.org").unwrap());
    let ours = secrets.rewrite(&ann, &ours, mail::UnixTime::from_secs(now.as_secs())).unwrap().to_string();
    assert_eq!(ask(service, "reverse", &ours), format!("OK {ANN}"), "{ours}");
}
