//! What Debian's swaks is told when it is refused, in the clear and within TLS.

use std::time::Duration;

use testkit::{Pair, process};

use crate::{alone, real_dns};

const PATIENCE: Duration = Duration::from_secs(60);

// How swaks ends: all went well, no recipient was taken, or the message was not.
const SENT: i32 = 0;
const NO_RECIPIENT: i32 = 24;
const NO_MESSAGE: i32 = 26;

/// What swaks is told to send, how it ends, and the lines of the refusal.
struct Dialogue {
    arguments: &'static [&'static str],
    exit: i32,
    refusal: &'static [&'static str],
}

const DIALOGUES: &[Dialogue] = &[
    Dialogue {
        arguments: &["--from", "ann@spf-ip4.test", "--to", "you@elsewhere.test"],
        exit: NO_RECIPIENT,
        refusal: &["550 5.7.1 This host takes no mail for that domain: relaying is not offered"],
    },
    Dialogue {
        arguments: &["--from", "ann@spf-ip4.test", "--to", "nobody@example.org"],
        exit: NO_RECIPIENT,
        refusal: &["550 5.1.1 There is no such recipient here"],
    },
    // What only fails DMARC goes to Junk.
    Dialogue {
        arguments: &["--from", "ann@spf-ip4.test", "--to", "bob@example.org", "--h-From", "ann@reject.test"],
        exit: SENT,
        refusal: &[],
    },
    Dialogue {
        arguments: &[
            "--from",
            "ann@spf-ip4.test",
            "--to",
            "bob@example.org",
            "--h-From",
            "ann@reject.test",
            "--helo",
            "sender",
        ],
        exit: NO_MESSAGE,
        refusal: &["550 5.7.1 The DMARC policy of reject.test is to refuse this message: \
                    neither SPF nor DKIM vouches for reject.test; besides helo-bare"],
    },
    Dialogue {
        arguments: &["--from", "<>", "--to", "bob@example.org,alice@example.org"],
        exit: SENT,
        refusal: &["452 4.5.3 A message with the null reverse-path has one recipient"],
    },
    Dialogue {
        arguments: &["--from", "ann@spf-ip4.test", "--to", "bob@example.org", "--attach", "@large"],
        exit: NO_MESSAGE,
        refusal: &["552 5.3.4 Message larger than the SIZE offered"],
    },
    Dialogue {
        arguments: &["--from", "ann@spf-fail.test", "--to", "bob@example.org"],
        exit: NO_RECIPIENT,
        refusal: &[
            "554-5.7.1 Your host is refused: spf-fail",
            "554 5.7.1 spf-fail.test explains: 127.0.0.1 may not send for spf-fail.test; \
             ask postmaster@spf-fail.test",
        ],
    },
];

#[test]
fn swaks_is_told_why_it_is_refused() {
    let _alone = alone();
    let knot = real_dns::knot(&[]);
    let pair = real_dns::pair(&knot, "[score.points]\nspf-fail = 50", "[limits]\nmessage = \"64KiB\"");
    std::fs::write(pair.dir().join("large"), "a line of octets\r\n".repeat(5000)).unwrap();
    for dialogue in DIALOGUES {
        // The mark is what swaks puts before a line that it did not hope for.
        for (tls, mark) in [(&[][..], "<** "), (&["--tls"], "<~* ")] {
            let output = swaks(&pair, &[dialogue.arguments, tls].concat());
            let printed = String::from_utf8_lossy(&output.stdout);
            let unhoped: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix(mark)).collect();
            assert_eq!(unhoped, dialogue.refusal, "{:?}\n{printed}", dialogue.arguments);
            assert_eq!(output.status.code(), Some(dialogue.exit), "{printed}");
        }
    }
    // Of all that, two were taken twice: the notifications, which have no author, each by its first recipient; and what
    // fails DMARC and nothing else.
    assert_eq!((pair.account("bob").count("Junk"), pair.account("alice").count("Junk")), (4, 0));
    assert_eq!((pair.account("bob").count("INBOX"), pair.account("alice").count("INBOX")), (0, 0));
}

fn swaks(pair: &Pair, arguments: &[&str]) -> std::process::Output {
    let mut command = process::command(None, "swaks");
    command.current_dir(pair.dir()).args(["--server", &pair.smtp.ip().to_string()]);
    command.args(["--port", &pair.smtp.port().to_string(), "--helo", "sender.test", "--suppress-data"]);
    command.args(arguments);
    process::run(command, b"", PATIENCE)
}
