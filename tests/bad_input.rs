//! Input that breaks the rules, over real sockets.

use std::time::Duration;

use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, process};

use crate::alone;

/// Security lesson: SMTP smuggling (CVE-2023-51764/5/6, CVE-2023-52354).
#[test]
fn a_bare_line_feed_in_a_body_is_refused_and_smuggles_nothing() {
    let _alone = alone();
    let pair = Pair::start();
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r"] {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        for line in ["MAIL FROM:<a@sender.test>", "RCPT TO:<bob@example.org>", "DATA"] {
            assert!(client.command(line).unwrap().starts_with(['2', '3']));
        }
        let smuggled = format!(
            "Subject: outer\r\n\r\ntext{end}MAIL FROM:<evil@sender.test>\r\nRCPT TO:<alice@example.org>\r\n\
             DATA\r\nSubject: smuggled\r\n\r\nhello\r\n.\r\n"
        );
        client.send(smuggled.as_bytes()).unwrap();
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("550 5.6.11"), "{end:?}: {reply}");
    }
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    let sent = message::simple("a@sender.test", "bob@example.org", "honest");
    assert!(client.message("a@sender.test", &["bob@example.org"], &sent).unwrap().starts_with("250"));
    assert_eq!(pair.account("bob").subjects("INBOX"), ["honest"]);
    assert!(pair.account("alice").subjects("INBOX").is_empty());
}

/// Security lesson: ALPACA.
#[test]
fn whoever_speaks_http_is_sent_away() {
    let _alone = alone();
    let pair = Pair::start();
    let mut client = SmtpClient::connect(pair.smtp).unwrap();
    client.send(b"POST / HTTP/1.1\r\nHost: mx\r\n\r\nMAIL FROM:<a@sender.test>\r\n").unwrap();
    let answer = client.rest().map(|octets| String::from_utf8_lossy(&octets).into_owned());
    let answer = answer.unwrap_or_default();
    assert!(!answer.contains("250"), "{answer}");
}

/// Security lesson: STARTTLS injection, server (CVE-2011-0411) and client (CVE-2021-38371).
#[test]
fn what_follows_starttls_in_the_clear_is_thrown_away() {
    let _alone = alone();
    let pair = Pair::start();
    let script = format!(
        "import socket, ssl\n\
         plain = socket.create_connection(('{}', {}), timeout=30)\n\
         plain.recv(1000)\n\
         plain.sendall(b'EHLO sender.test\\r\\n'); plain.recv(10000)\n\
         plain.sendall(b'STARTTLS\\r\\nMAIL FROM:<injected@sender.test>\\r\\n')\n\
         print(plain.recv(1000))\n\
         context = ssl.create_default_context()\n\
         context.check_hostname = False\n\
         context.verify_mode = ssl.CERT_NONE\n\
         tls = context.wrap_socket(plain)\n\
         tls.sendall(b'NOOP\\r\\n')\n\
         print(tls.recv(1000))\n\
         tls.sendall(b'EHLO sender.test\\r\\n')\n\
         print(tls.recv(10000))\n\
         tls.sendall(b'RCPT TO:<bob@example.org>\\r\\n')\n\
         print(tls.recv(1000))\n",
        pair.smtp.ip(),
        pair.smtp.port()
    );
    let mut command = process::command(None, "/usr/bin/python3");
    command.args(["-c", &script]);
    let output = process::run(command, b"", Duration::from_secs(60));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("b'220"), "{printed}");
    // To refuse the handshake is right too; to answer the injected command is not.
    if lines.len() > 1 {
        assert!(lines[1].starts_with("b'250 2.0.0") && lines[1].matches("\\r\\n").count() == 1, "{printed}");
        assert!(!lines[2].contains("STARTTLS"), "{printed}");
        assert!(lines[3].starts_with("b'503"), "{printed}");
    }
}

#[test]
fn a_message_that_is_too_large_is_refused_by_its_size_and_by_its_octets() {
    let _alone = alone();
    let options =
        PairOptions { home_config: "[limits]\nmessage = \"1 MiB\"".to_owned(), ..PairOptions::default() };
    let pair = Pair::with(&options);
    let mut client = SmtpClient::connect(pair.smtp).unwrap();
    let ehlo = client.command("EHLO sender.test").unwrap();
    assert!(ehlo.contains("SIZE 1048576"), "{ehlo}");
    let reply = client.command("MAIL FROM:<a@sender.test> SIZE=1048577").unwrap();
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    let mut large = message::simple("a@sender.test", "bob@example.org", "large");
    large.extend_from_slice(
        &b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\r\n".repeat(20_000),
    );
    let reply = client.message("a@sender.test", &["bob@example.org"], &large).unwrap();
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    let fits = message::simple("a@sender.test", "bob@example.org", "fits");
    let reply = client.message("a@sender.test", &["bob@example.org"], &fits).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(pair.account("bob").subjects("INBOX"), ["fits"]);
}

/// Security lesson: Exim CVE-2019-16928.
#[test]
fn a_command_line_without_end_is_bounded() {
    let _alone = alone();
    let pair = Pair::start();
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    let before = pair.edge.resident_octets();
    // The server may close before everything is sent.
    let _ = (0..64).try_for_each(|_| client.send(&[b'x'; 1 << 20]));
    let after = pair.edge.resident_octets();
    assert!(after < before + (32 << 20), "{before} octets of memory, then {after}");
    assert!(SmtpClient::ready(pair.smtp).is_ok());
}
