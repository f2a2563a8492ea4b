//! Random input: nothing panics, nothing is kept without bound, and how input is cut changes nothing.

use bytes::BytesMut;
use proptest::prelude::*;
use smtp::body::{BodyDecoder, BodyLimits, ChunkChecker, Decoded, DotStuffer, LineEnds};
use smtp::client::{Session, Settings, Step};
use smtp::server::Mode;

use crate::hop::{envelope, transaction};
use crate::role::{Role, settings};

const LIMITS: BodyLimits =
    BodyLimits { message_octets: 1 << 20, line_octets: 1 << 20, swallow_octets: 1 << 20 };

/// Words of SMTP, near misses, and noise.
fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&[u8]; 30] = [
        b"EHLO c\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<a@example.net>\r\n",
        b"MAIL FROM:<nodata@example.net> SMTPUTF8\r\n",
        b"RCPT TO:<b@example.org>\r\n",
        b"RCPT TO:<nobody@example.org>\r\n",
        b"DATA\r\n",
        b"BDAT 5\r\n",
        b"BDAT 7 LAST\r\n",
        b"BDAT 0 LAST\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"AUTH PLAIN\r\n",
        b"AUTH LOGIN\r\n",
        b"AGJvYgBzZWNyZXQ=\r\n",
        b"*\r\n",
        b"QUIT\r\n",
        b"\r\n.\r\n",
        b".\r\n",
        b"..\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"text\r\n",
        b"\0",
        b"\xff",
        b" ",
        b"<",
        b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ];
    let word = (0..WORDS.len()).prop_map(|at| WORDS[at].to_vec());
    // Mostly a sensible course, so that deep states are reached.
    let course = [WORDS[2], WORDS[4], WORDS[6]].concat();
    let part = prop_oneof![8 => word, 2 => Just(course), 1 => prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1_usize..30, 1..20)
}

fn parts<'a>(mut input: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    cuts.iter().cycle().map_while(move |cut| {
        let (part, rest) = input.split_at_checked(*cut).unwrap_or((input, &[]));
        input = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// What `DATA` means, said plainly: the message up to the first CRLF.CRLF, and whether it is good.
fn plainly(input: &[u8]) -> Option<(Vec<u8>, bool)> {
    let lines = [b"\r\n", input].concat();
    let end = lines.windows(5).position(|window| window == b"\r\n.\r\n")?;
    let text = &lines[2..(end + 2).max(2)];
    let mut message = Vec::new();
    let mut good = true;
    for (at, octet) in text.iter().enumerate() {
        let before = if at == 0 { None } else { text.get(at - 1) };
        good &= *octet != b'\r' || text.get(at + 1) == Some(&b'\n');
        good &= *octet != b'\n' || before == Some(&b'\r');
        let line_start = at == 0 || text[..at].ends_with(b"\r\n");
        if !(line_start && *octet == b'.') {
            message.push(*octet);
        }
    }
    Some((message, good))
}

fn near_lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(&b"\r\n"[..]), 2 => Just(&b"."[..]), 4 => Just(&b"ab"[..]), 1 => Just(&b"\r"[..]),
        1 => Just(&b"\n"[..]), 1 => Just(&b"\r\n.\r\n"[..])
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_input_is_cut_changes_nothing(input in dialogue(), cuts in cuts(), submission: bool) {
        let mode = if submission { Mode::Submission } else { Mode::Mx };
        let mut whole = Role::ready(settings(mode));
        whole.feed(&input);
        let mut cut = Role::ready(settings(mode));
        for part in parts(&input, &cuts) {
            cut.feed(part);
            prop_assert!(cut.held_back() <= 12_290);
        }
        prop_assert_eq!(whole.replies(), cut.replies());
        prop_assert_eq!(whole.events(), cut.events());
        prop_assert_eq!(whole.closed, cut.closed);
    }

    #[test]
    fn random_octets_are_survived_by_the_server(input in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut role = Role::new(settings(Mode::Mx), None);
        role.feed(&input);
    }

    #[test]
    fn data_is_read_as_the_rfc_says_it_plainly(input in near_lines(), cuts in cuts()) {
        let mut decoder = BodyDecoder::new(LIMITS);
        let (mut message, mut bad, mut ended) = (Vec::new(), false, false);
        let mut buffer = BytesMut::new();
        'parts: for part in parts(&input, &cuts) {
            buffer.extend_from_slice(part);
            loop {
                match decoder.decode(&mut buffer) {
                    Decoded::NeedInput => break,
                    Decoded::Piece(piece) => message.extend_from_slice(&piece),
                    Decoded::Bad(_) => bad = true,
                    Decoded::End => {
                        ended = true;
                        break 'parts;
                    }
                    Decoded::Endless => unreachable!("within the limit"),
                }
            }
            prop_assert!(buffer.len() <= 2);
        }
        match plainly(&input) {
            None => prop_assert!(!ended),
            Some((expected, good)) => {
                prop_assert!(ended);
                prop_assert_eq!(!bad, good);
                prop_assert!(bad || message == expected);
            }
        }
    }

    /// Security lesson: SMTP smuggling (CVE-2023-51764/5/6, CVE-2023-52354).
    #[test]
    fn what_is_stuffed_is_unstuffed_or_refused(input in near_lines(), cuts in cuts()) {
        let (mut stuffer, mut ends, mut out) = (DotStuffer::new(), LineEnds::default(), BytesMut::new());
        let mut checker = ChunkChecker::new(LIMITS);
        checker.begin(input.len() as u64);
        let stuffed = parts(&input, &cuts).try_for_each(|part| stuffer.stuff(part, &mut out))
            .and_then(|()| stuffer.finish(&mut out));
        let checked = parts(&input, &cuts).try_for_each(|part| ends.check(part)).and_then(|()| ends.finish());
        prop_assert_eq!(stuffed, checked);
        let mut chunk = BytesMut::from(&input[..]);
        let mut chunk_good = true;
        loop {
            match checker.decode(&mut chunk) {
                Decoded::Piece(_) => {}
                Decoded::Bad(_) => chunk_good = false,
                _ => break,
            }
        }
        prop_assert_eq!(stuffed.is_ok(), chunk_good && checker.finish().is_ok());
        if stuffed.is_ok() {
            let (message, good) = plainly(&out).unwrap();
            prop_assert!(good);
            let mut expected = input.clone();
            if !input.is_empty() && !input.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(message, expected);
        }
    }

    /// Security lesson: OpenSMTPD CVE-2020-8794, Postfix CVE-2026-43964.
    #[test]
    fn any_reply_is_survived_by_the_client_and_settles_every_recipient(
        replies in prop::collection::vec(
            prop_oneof![
                6 => prop::sample::select(vec![
                    "220 x\r\n", "250 ok\r\n", "250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "354 go\r\n",
                    "250-x\r\n250 STARTTLS\r\n", "550 5.1.1 no\r\n", "451 later\r\n", "421 bye\r\n", "250-",
                ]).prop_map(|text| text.as_bytes().to_vec()),
                1 => prop::collection::vec(any::<u8>(), 0..30),
            ],
            0..12,
        ),
        cuts in cuts(),
    ) {
        let mut client = Session::new(Settings::new("edge.example.com").into());
        let message = b"Subject: hi\r\n\r\n.\r\n";
        let mut input = BytesMut::new();
        let (mut started, mut finished, mut closed) = (0, 0, false);
        let stream = replies.concat();
        for part in parts(&stream, &cuts).map(Some).chain([None]) {
            match part {
                Some(part) => input.extend_from_slice(part),
                None => client.closed_by_peer(),
            }
            while !closed {
                match client.advance(&mut input) {
                    Step::NeedInput => break,
                    Step::Flush => {}
                    Step::StartTls => client.tls_started(),
                    Step::Ready => {
                        started += 1;
                        client.start(transaction(envelope("", &["a@example.org", "b@example.org"]), message));
                    }
                    Step::SendBody => {
                        client.body(message);
                        client.body_end();
                    }
                    Step::Finished(result) => {
                        finished += 1;
                        prop_assert_eq!(result.outcomes.len(), 2);
                        if result.reusable {
                            client.quit();
                        }
                    }
                    Step::Closed(_) => closed = true,
                }
                client.output().clear();
            }
        }
        prop_assert!(closed);
        prop_assert_eq!(started, finished);
    }
}
