//! Every limit of the server session: at the limit, and one past it.

use smtp::OUTPUT_OCTETS;
use smtp::server::{Awaited, Login, Mode, Settings};

use crate::role::{Role, settings};

const ENVELOPE: &[u8] = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n";

fn small(change: impl FnOnce(&mut Settings)) -> Role {
    let mut settings = settings(Mode::Mx);
    change(&mut settings);
    Role::ready(settings)
}

/// The last reply to a body sent with DATA, and to one sent as a chunk.
fn replies_to(body: &[u8], change: impl Fn(&mut Settings)) -> [String; 2] {
    let data = [ENVELOPE, b"DATA\r\n", body, b".\r\n"].concat();
    let chunk = [ENVELOPE, format!("BDAT {} LAST\r\n", body.len()).as_bytes(), body].concat();
    [data, chunk].map(|input| {
        let mut role = small(&change);
        input.chunks(1000).for_each(|part| role.feed(part));
        let said = (*role.replies().last().unwrap()).to_owned();
        assert_eq!(role.messages.len(), usize::from(said.starts_with("250")));
        assert!(!role.session.is_body_open());
        role.log.clear();
        role.feed(b"NOOP\r\n");
        assert_eq!(role.replies(), ["250 2.0.0 OK"]);
        said
    })
}

/// Security lesson: Exim CVE-2019-16928.
#[test]
fn a_command_line_of_4096_octets_is_taken_and_a_longer_one_is_refused_and_forgotten() {
    let mut role = Role::ready(settings(Mode::Mx));
    role.feed(format!("NOOP {}\r\n", "x".repeat(4096 - 7)).as_bytes());
    role.feed(format!("NOOP {}\r\nNOOP\r\n", "x".repeat(4096 - 6)).as_bytes());
    assert_eq!(role.replies(), ["250 2.0.0 OK", "500 5.5.2 Command line too long", "250 2.0.0 OK"]);
}

#[test]
fn a_line_without_end_takes_no_memory_and_gets_one_reply() {
    let mut role = Role::ready(settings(Mode::Mx));
    for _ in 0..1024 {
        role.feed(&[b'x'; 1024]);
        assert!(role.held_back() < 4096);
    }
    role.feed(b"\r\n");
    assert_eq!(role.replies(), ["500 5.5.2 Command line too long"]);
}

/// Security lesson: Exim CVE-2019-16928.
#[test]
fn a_client_name_of_255_octets_is_taken_and_a_longer_one_is_not() {
    let mut role = Role::ready(settings(Mode::Mx));
    role.feed(format!("HELO {}\r\n", "x".repeat(255)).as_bytes());
    assert_eq!(role.session.client().helo.len(), 255);
    role.feed(format!("HELO {}\r\n", "x".repeat(256)).as_bytes());
    assert_eq!(role.replies(), ["250 mx.example.org", "501 5.5.4 Check the command's arguments"]);
}

#[test]
fn a_senders_local_part_of_255_octets_is_taken_and_a_longer_one_is_not() {
    let path = |octets: usize| format!("MAIL FROM:<{}@example.net>\r\n", "v".repeat(octets));
    let refused = "501 5.1.7 Give the sender as <local-part@domain>";
    for mode in [Mode::Mx, Mode::Relay(Login::Offered)] {
        let mut role = Role::ready(settings(mode));
        role.feed(path(256).as_bytes());
        role.feed(path(255).as_bytes());
        assert_eq!(role.replies(), [refused, "250 2.1.0 Sender OK"]);
    }
    // What users send has to be taken by everybody.
    let mut role = Role::ready(settings(Mode::Submission));
    role.feed(path(65).as_bytes());
    role.feed(path(64).as_bytes());
    assert_eq!(role.replies(), [refused, "250 2.1.0 Sender OK"]);
}

#[test]
fn the_thousandth_recipient_is_taken_and_the_next_is_not() {
    let mut role = Role::ready(settings(Mode::Mx));
    role.feed(b"MAIL FROM:<a@example.net>\r\n");
    for at in 0..1000 {
        role.feed(format!("RCPT TO:<r{at}@example.org>\r\n").as_bytes());
    }
    assert!(role.replies().iter().all(|reply| reply.starts_with("250")));
    role.feed(b"RCPT TO:<one-more@example.org>\r\nDATA\r\n");
    assert_eq!(
        role.replies()[1001],
        "452 4.5.3 Too many recipients, send to the rest in another transaction"
    );
    assert_eq!(role.events()[0].matches('<').count(), 1 + 1000);
}

#[test]
fn twenty_errors_are_answered_and_the_next_one_ends_the_session() {
    let mut role = Role::ready(settings(Mode::Mx));
    (0..20).for_each(|_| role.feed(b"WIZ\r\n"));
    assert!(role.replies().iter().all(|reply| *reply == "500 5.5.1 Command not known"));
    assert!(!role.closed);
    role.feed(b"WIZ\r\nNOOP\r\n");
    assert_eq!(role.replies()[20..], ["421 4.7.0 mx.example.org has seen too many errors, closing"]);
    assert!(role.closed);
}

#[test]
fn errors_that_the_role_counts_end_the_session_after_the_answer() {
    let mut role = small(|settings| settings.limits.errors = 1);
    role.session.count_error();
    role.feed(b"NOOP\r\n");
    role.session.count_error();
    role.feed(b"NOOP\r\n");
    let last = "421 4.7.0 mx.example.org has seen too many errors, closing";
    assert_eq!(role.replies(), ["250 2.0.0 OK", last]);
}

#[test]
fn failed_logins_are_errors() {
    let mut settings = settings(Mode::Submission);
    settings.limits.errors = 2;
    let mut role = Role::new(settings, Some("TLSv1.3"));
    role.feed(b"EHLO c\r\n");
    role.log.clear();
    (0..3).for_each(|_| role.feed(b"AUTH PLAIN AGJvYgB3cm9uZw==\r\n"));
    assert_eq!(role.replies()[..2], ["535 5.7.8 No", "535 5.7.8 No"]);
    assert!(role.replies()[2].starts_with("421 4.7.0"));
    assert!(role.closed);
}

#[test]
fn a_message_of_the_size_offered_is_taken_and_a_larger_one_is_not() {
    let body = |octets: usize| [vec![b'x'; octets - 2], b"\r\n".to_vec()].concat();
    let limit = |settings: &mut Settings| settings.limits.message_octets = 5000;
    assert_eq!(replies_to(&body(5000), limit), ["250 2.0.0 Queued"; 2]);
    assert_eq!(replies_to(&body(5001), limit), ["552 5.3.4 Message larger than the SIZE offered"; 2]);
}

#[test]
fn a_text_line_at_the_limit_is_taken_and_a_longer_one_is_not() {
    let body = |octets: usize| [b"a\r\n", &vec![b'x'; octets - 2][..], b"\r\nb\r\n"].concat();
    let limit = |settings: &mut Settings| settings.limits.text_line_octets = 3000;
    assert_eq!(replies_to(&body(3000), limit), ["250 2.0.0 Queued"; 2]);
    assert_eq!(replies_to(&body(3001), limit), ["550 5.6.0 A line of the message is too long"; 2]);
}

#[test]
fn a_text_line_of_a_mebibyte_is_taken_by_default() {
    let line = 1024 * 1024;
    let body = |octets: usize| [vec![b'x'; octets - 2], b"\r\n".to_vec()].concat();
    assert_eq!(replies_to(&body(line), |_| ()), ["250 2.0.0 Queued"; 2]);
    assert_eq!(replies_to(&body(line + 1), |_| ()), ["550 5.6.0 A line of the message is too long"; 2]);
}

#[test]
fn a_refused_body_is_swallowed_up_to_its_limit_and_then_the_session_ends() {
    for (octets, closed) in [(1000, false), (1001, true)] {
        let mut role = small(|settings| settings.limits.swallow_octets = 1000);
        role.feed(&[ENVELOPE, b"DATA\r\na\n"].concat());
        // The line end that belongs to the body's end is swallowed too.
        role.feed(&[&vec![b'x'; octets - 2][..], b"\r\n.\r\nNOOP\r\n"].concat());
        let said = "550 5.6.11 End all lines with CRLF and send again";
        assert_eq!(role.replies()[3], said);
        assert_eq!(role.closed, closed);
    }
    for (octets, closed) in [(1000, false), (1001, true)] {
        let mut role = small(|settings| settings.limits.swallow_octets = 1000);
        role.feed(format!("BDAT {octets} LAST\r\n").as_bytes());
        role.feed(&[&vec![b'x'; octets][..], b"NOOP\r\n"].concat());
        assert_eq!(role.replies()[0], "503 5.5.1 Send MAIL first");
        assert_eq!(role.closed, closed);
    }
}

#[test]
fn a_body_that_is_thrown_away_takes_no_memory() {
    let mut role = Role::ready(settings(Mode::Mx));
    role.feed(&[ENVELOPE, b"DATA\r\na\n"].concat());
    for _ in 0..100 {
        role.feed(&[b'x'; 10_000]);
        assert_eq!(role.held_back(), 0);
    }
    assert_eq!(role.session.awaited(), Awaited::BodyBlock);
    role.feed(b"\r\n.\r");
    assert_eq!(role.held_back(), 2);
    role.feed(b"\n");
    assert_eq!(role.session.awaited(), Awaited::Command);
}

/// Security lesson: Exim CVE-2019-16928.
#[test]
fn login_data_of_12288_octets_is_read_and_more_is_refused() {
    let mut role = Role::new(settings(Mode::Submission), Some("TLSv1.3"));
    role.feed(b"EHLO c\r\n");
    role.log.clear();
    // Read whole and found to hold too long a name, not cut short.
    role.feed(format!("AUTH PLAIN {}\r\n", "QUFB".repeat(12_288 / 4)).as_bytes());
    role.feed(format!("AUTH PLAIN\r\n{}\r\n", "QUFB".repeat(12_288 / 4)).as_bytes());
    role.feed(format!("AUTH PLAIN\r\n{}x\r\n", "QUFB".repeat(12_288 / 4)).as_bytes());
    role.feed(format!("AUTH PLAIN {}\r\nNOOP\r\n", "QUFB".repeat(12_288 / 4 + 20)).as_bytes());
    let not_understood = "501 5.5.2 Login data not understood";
    assert_eq!(
        role.replies(),
        [
            not_understood,
            "334 ",
            not_understood,
            "334 ",
            "500 5.5.6 Login data too long",
            "500 5.5.2 Command line too long",
            "250 2.0.0 OK"
        ]
    );
}

#[test]
fn output_is_flushed_before_it_grows_large() {
    let mut input = bytes::BytesMut::from(&b"NOOP\r\n".repeat(50_000)[..]);
    let mut session = smtp::server::Session::new(settings(Mode::Mx).into(), [192, 0, 2, 1].into(), None);
    let mut flushes = 0;
    while !matches!(session.advance(&mut input), smtp::server::Step::NeedInput) {
        assert!(session.output().len() < OUTPUT_OCTETS + 1024);
        session.output().clear();
        flushes += 1;
    }
    assert_eq!(flushes, 50_000 * "250 2.0.0 OK\r\n".len() / OUTPUT_OCTETS);
}

#[test]
fn nothing_is_taken_while_a_question_is_open() {
    let mut session = smtp::server::Session::new(settings(Mode::Mx).into(), [192, 0, 2, 1].into(), None);
    let mut input = bytes::BytesMut::from("HELO c\r\nMAIL FROM:<a@example.net>\r\nNOOP\r\n");
    assert!(matches!(session.advance(&mut input), smtp::server::Step::Ask(_)));
    assert!(matches!(session.advance(&mut input), smtp::server::Step::NeedInput));
    assert_eq!(&input[..], b"NOOP\r\n");
    session.shut_down();
    session.answer(mail::Reply::new(250, (2, 1, 0), "OK"));
    assert!(matches!(session.advance(&mut input), smtp::server::Step::Close));
    let said = b"250 mx.example.org\r\n250 2.1.0 OK\r\n421 4.3.2 mx.example.org is shutting down, try again later\r\n";
    assert_eq!(&session.output()[..], said);
}

#[test]
fn a_login_may_be_given_the_accounts_own_name() {
    let mut session = smtp::server::Session::new(
        settings(Mode::Submission).into(),
        [192, 0, 2, 1].into(),
        Some(String::new()),
    );
    let mut input = bytes::BytesMut::from("EHLO c\r\nAUTH PLAIN AEJvYgBzZWNyZXQ=\r\n");
    assert!(matches!(session.advance(&mut input), smtp::server::Step::Ask(_)));
    session.answer_login(Some("bob@example.org".to_owned()), &mail::Reply::new(235, (2, 7, 0), "Welcome"));
    assert_eq!(session.client().login.as_deref(), Some("bob@example.org"));
}
