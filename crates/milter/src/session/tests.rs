//! Sessions with scripted filters: each answer at each step, and what it comes to.

use super::*;

const ALL: &[u8] = b"O\0\0\0\x06\0\0\0\x31\0\0\0\0";

fn transaction() -> Transaction {
    Transaction {
        hostname: "mx.example.org".to_owned(),
        daemon: "inbound".to_owned(),
        item: "01m8".to_owned(),
        client: Client { name: "[192.0.2.7]".to_owned(), address: "192.0.2.7".parse().ok(), port: 0 },
        helo: "sender.test".to_owned(),
        tls: Some(Tls { version: "TLS1.3".to_owned(), cipher: "AES".to_owned() }),
        login: None,
        reverse_path: "a@sender.test".to_owned(),
        recipients: vec!["bob@example.org".to_owned(), "eve@example.org".to_owned()],
        header: vec![HeaderField::new(b"Subject", b" x\r\n y"), HeaderField::new(b"To", b"bob")],
    }
}

/// What a session came to and which packets it wrote.
struct Run {
    result: Result<Verdict, Error>,
    kinds: String,
    output: Vec<u8>,
}

/// A session with a filter that answers the packets that are not macros with these, one after another.
fn run(body: &[u8], answers: &[&[u8]]) -> Run {
    let mut session = Session::new(transaction());
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let (mut answers, mut body) = (answers.iter(), Some(Bytes::copy_from_slice(body)));
    let result = loop {
        let step = session.advance(&mut input);
        output.extend_from_slice(&session.output().split());
        match step {
            Ok(Step::Flush) => {}
            Ok(Step::Read) => {
                let Some(answer) = answers.next() else { panic!("silence after {}", kinds(&output)) };
                input.extend_from_slice(&u32::try_from(answer.len()).unwrap().to_be_bytes());
                input.extend_from_slice(answer);
            }
            Ok(Step::Body) => match body.take() {
                Some(piece) => session.body(piece),
                None => session.body_end(),
            },
            Ok(Step::Finished(verdict)) => break Ok(verdict),
            Err(error) => break Err(error),
        }
    };
    assert!(result.is_err() || answers.next().is_none(), "answers were left");
    Run { result, kinds: kinds(&output), output }
}

/// The kinds of all packets, macros left out.
fn kinds(mut output: &[u8]) -> String {
    let mut kinds = String::new();
    while let Some((length, rest)) = output.split_first_chunk::<4>() {
        let (packet, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        if packet[0] != b'D' {
            kinds.push(char::from(packet[0]));
        }
        output = rest;
    }
    kinds
}

fn disposition(answers: &[&[u8]]) -> (Disposition, String) {
    let run = run(b"body\r\n", answers);
    (run.result.unwrap().disposition, run.kinds)
}

fn with_steps(steps: u32) -> Vec<u8> {
    [b"O\0\0\0\x06\0\0\0\x31", &steps.to_be_bytes()[..]].concat()
}

/// The answers to all steps of [`transaction`] before the end.
fn to_the_end<'a>(last: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut answers: Vec<&[u8]> = vec![ALL];
    answers.extend([&b"c"[..]; 10]);
    answers.extend(last);
    answers
}

#[test]
fn a_filter_that_sees_all_is_told_all_in_order() {
    let run = run(b"body\r\n", &to_the_end(&[b"c"]));
    assert_eq!(run.result.unwrap().disposition, Disposition::Accept);
    assert_eq!(run.kinds, "OCHMRRTLLNBEQ");
    for part in [
        &b"DCj\0mx.example.org\0_\0[192.0.2.7] [192.0.2.7]\0{daemon_name}\0inbound\0{client_addr}\x00192.0.2.7\0"[..],
        b"C[192.0.2.7]\x004\0\x00192.0.2.7\0",
        b"DH{tls_version}\0TLS1.3\0{cipher}\0AES\0",
        b"Hsender.test\0",
        b"DMi\x0001m8\0{mail_addr}\0a@sender.test\0",
        b"M<a@sender.test>\0",
        b"DRi\x0001m8\0{rcpt_addr}\0eve@example.org\0",
        b"R<eve@example.org>\0",
        b"LSubject\0x\n y\0",
        b"LTo\0bob\0",
        b"Bbody\r\n",
    ] {
        let there = run.output.windows(part.len()).any(|window| window == part);
        assert!(there, "{}", String::from_utf8_lossy(part));
    }
}

#[test]
fn each_step_that_a_filter_leaves_out_is_left_out() {
    for (steps, kinds) in [
        (Steps::NO_CONNECT, "OHMRRTLLNBEQ"),
        (Steps::NO_HELO, "OCMRRTLLNBEQ"),
        (Steps::NO_MAIL, "OCHRRTLLNBEQ"),
        (Steps::NO_RCPT, "OCHMTLLNBEQ"),
        (Steps::NO_DATA, "OCHMRRLLNBEQ"),
        (Steps::NO_HEADERS, "OCHMRRTNBEQ"),
        (Steps::NO_EOH, "OCHMRRTLLBEQ"),
        (Steps::NO_BODY, "OCHMRRTLLNEQ"),
    ] {
        let options = with_steps(steps.0);
        let mut answers: Vec<&[u8]> = vec![&options];
        answers.extend(vec![&b"c"[..]; kinds.len() - 2]);
        assert_eq!(disposition(&answers), (Disposition::Accept, kinds.to_owned()));
    }
}

#[test]
fn a_step_that_is_not_answered_is_not_waited_for() {
    for (steps, fewer) in [
        (Steps::NO_REPLY_CONNECT, 1),
        (Steps::NO_REPLY_HELO, 1),
        (Steps::NO_REPLY_MAIL, 1),
        (Steps::NO_REPLY_RCPT, 2),
        (Steps::NO_REPLY_DATA, 1),
        (Steps::NO_REPLY_HEADER, 2),
        (Steps::NO_REPLY_EOH, 1),
        (Steps::NO_REPLY_BODY, 1),
        (Steps::OFFERED, 11),
    ] {
        let steps = if steps == Steps::OFFERED { Steps(0xd_f080) } else { steps };
        let options = with_steps(steps.0);
        let mut answers: Vec<&[u8]> = vec![&options];
        answers.extend(vec![&b"c"[..]; 11 - fewer.min(10)]);
        assert_eq!(disposition(&answers), (Disposition::Accept, "OCHMRRTLLNBEQ".to_owned()), "{steps:?}");
    }
}

#[test]
fn leading_space_is_kept_for_those_who_ask_for_it() {
    let options = with_steps(Steps::LEADING_SPACE.0);
    let mut answers: Vec<&[u8]> = vec![&options];
    answers.extend([&b"c"[..]; 10]);
    let output = run(b"", &answers).output;
    assert!(output.windows(15).any(|window| window == b"LSubject\0 x\n y\0"));
}

#[test]
fn a_decision_at_any_step_ends_the_session() {
    let said = ["OC", "OCH", "OCHM", "OCHMRRT", "OCHMRRTL", "OCHMRRTLLN", "OCHMRRTLLNB", "OCHMRRTLLNBE"];
    for kinds in said {
        for (answer, wanted) in [
            (&b"a"[..], Disposition::Accept),
            (b"r", Disposition::Reject(None)),
            (b"t", Disposition::TempFail(None)),
            (b"d", Disposition::Discard),
            (b"f", Disposition::TempFail(None)),
            (b"y550 5.7.1 no\0", Disposition::Reject(Some(mail::Reply::new(550, (5, 7, 1), "no")))),
            (b"y451 4.7.1 later\0", Disposition::TempFail(Some(mail::Reply::new(451, (4, 7, 1), "later")))),
        ] {
            let mut answers: Vec<&[u8]> = vec![ALL];
            answers.extend(vec![&b"c"[..]; kinds.len() - 2]);
            answers.push(answer);
            let goodbye = if kinds.ends_with('E') { "Q" } else { "AQ" };
            assert_eq!(disposition(&answers), (wanted, format!("{kinds}{goodbye}")));
        }
    }
}

#[test]
fn a_message_is_refused_when_every_recipient_is_and_else_goes_on() {
    let refused = [ALL, b"c", b"c", b"c", b"r", b"t"];
    assert_eq!(disposition(&refused), (Disposition::Reject(None), "OCHMRRAQ".to_owned()));
    let mut one = to_the_end(&[b"c"]);
    one[4] = b"r";
    assert_eq!(disposition(&one).0, Disposition::Accept);
}

#[test]
fn a_filter_that_has_seen_enough_of_the_body_is_spared_the_rest() {
    let mut answers = to_the_end(&[b"c"]);
    answers[10] = b"s";
    let large = vec![b'x'; 3 * CHUNK_OCTETS_MAX];
    assert_eq!(run(&large, &answers).kinds, "OCHMRRTLLNBEQ");
    let mut answers = to_the_end(&[b"c", b"c", b"c"]);
    answers[11] = b"p";
    let run = run(&vec![b'x'; CHUNK_OCTETS_MAX + 1], &answers);
    assert_eq!(run.kinds, "OCHMRRTLLNBBEQ", "pieces have their limit, and progress is no answer");
}

#[test]
fn changes_and_quarantine_come_before_the_last_answer() {
    let last: [&[u8]; 6] = [b"p", b"hX-A\0v\0", b"m\0\0\0\x01Subject\0\0", b"+x@y\0", b"qvirus\0", b"c"];
    let verdict = run(b"body\r\n", &to_the_end(&last)).result.unwrap();
    assert_eq!(verdict.disposition, Disposition::Accept);
    assert_eq!(verdict.quarantine.as_deref(), Some("virus"));
    assert_eq!((verdict.changes.len(), verdict.not_offered), (2, 1));
    for early in [&b"hX-A\0v\0"[..], b"qvirus\0", b"+x@y\0", b"s", ALL] {
        let result = run(b"body\r\n", &[ALL, early]).result;
        assert!(matches!(result, Err(Error::Unexpected(_))), "{early:?}");
    }
}

#[test]
fn changes_are_taken_up_to_their_number_and_refused_one_past_it() {
    for (many, taken) in [(CHANGES_MAX, true), (CHANGES_MAX + 1, false)] {
        let mut last = vec![&b"hX-A\0v\0"[..]; many];
        last.push(b"c");
        let result = run(b"body\r\n", &to_the_end(&last)).result;
        assert_eq!(result.is_ok(), taken, "{result:?}");
    }
    let long = [b"hX-A\0", &vec![b'v'; 60_000][..], b"\0"].concat();
    let last = [&long[..]; 5];
    assert_eq!(run(b"body\r\n", &to_the_end(&last)).result, Err(Error::TooMuch));
}

#[test]
fn a_filter_that_wants_what_is_not_offered_is_not_used() {
    for (answer, error) in [
        (&b"O\0\0\0\x01\0\0\0\0\0\0\0\0"[..], Error::Version(1)),
        (b"O\0\0\0\x07\0\0\0\0\0\0\0\0", Error::Version(7)),
        (b"O\0\0\0\x06\0\0\0\x02\0\0\0\0", Error::NotOffered),
        (b"O\0\0\0\x06\0\0\0\0\x10\0\0\0", Error::NotOffered),
        (b"c", Error::Unexpected(b'O')),
        (b"O\0\0", Error::Malformed(b'O')),
    ] {
        assert_eq!(run(b"", &[answer]).result, Err(error));
    }
    let mut old = to_the_end(&[b"c"]);
    old[0] = b"O\0\0\0\x02\0\0\0\x01\0\0\0\0";
    assert!(run(b"x", &old).result.is_ok());
}

mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Packets of every kind, whole and broken, and some with a wrong length.
    fn packet() -> impl Strategy<Value = Vec<u8>> {
        let kinds = proptest::sample::select(b"Ocarntdspf4yqhim+-be?".to_vec());
        let content = prop_oneof![
            Just(b"\0\0\0\x06\0\0\0\x31\0\0\0\0".to_vec()),
            Just(b"\0\0\0\x01X-A\0v\0".to_vec()),
            Just(b"X-A\0v\0".to_vec()),
            Just(b"550 5.7.1 no\0".to_vec()),
            vec(any::<u8>(), 0..20),
        ];
        (kinds, content, 0..40_u8).prop_map(|(kind, content, luck)| {
            let length = u32::try_from(content.len() + 1).unwrap() + u32::from(luck == 0);
            [&length.to_be_bytes()[..], &[kind], &content].concat()
        })
    }

    proptest! {
        #[test]
        fn whatever_a_filter_says_a_session_ends_within_its_limits_or_waits(
            packets in vec(packet(), 0..40),
            good in any::<bool>(),
            piece in 1..50_usize,
        ) {
            let mut session = Session::new(transaction());
            let start = if good { [b"\0\0\0\x0d", ALL].concat() } else { Vec::new() };
            let answers = [start, packets.concat()].concat();
            let mut answers = answers.chunks(piece);
            let (mut input, mut body) = (BytesMut::new(), Some(Bytes::from(vec![b'x'; 70_000])));
            loop {
                match session.advance(&mut input) {
                    Ok(Step::Flush) => session.output().clear(),
                    Ok(Step::Read) => match answers.next() {
                        Some(answer) => input.extend_from_slice(answer),
                        None => break,
                    },
                    Ok(Step::Body) => match body.take() {
                        Some(piece) => session.body(piece),
                        None => session.body_end(),
                    },
                    Ok(Step::Finished(verdict)) => {
                        prop_assert!(verdict.changes.len() <= CHANGES_MAX);
                        break;
                    }
                    Err(_) => break,
                }
                prop_assert!(session.output().len() < 3 * CHUNK_OCTETS_MAX);
            }
        }
    }
}
