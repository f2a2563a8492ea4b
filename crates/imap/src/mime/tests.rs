//! MIME structure, however the message is cut: known structures, broken ones, and the limits.

use std::ops::Range;

use super::*;
use crate::envelope::{Form, write_structure};
use crate::fields::PARAMETERS_MAX;

fn scan(message: &[u8]) -> Part {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    let whole = scanner.finish();
    // However the message is cut, the structure is the same.
    for size in [1, 2, 3, 7] {
        let mut scanner = Scanner::new();
        message.chunks(size).for_each(|piece| scanner.feed(piece));
        assert_eq!(scanner.finish(), whole, "in pieces of {size}");
    }
    whole
}

fn body<'a>(message: &'a [u8], part: &Part) -> &'a str {
    let range = usize::try_from(part.body.start).unwrap()..usize::try_from(part.body.end).unwrap();
    std::str::from_utf8(&message[range]).unwrap()
}

fn structure(part: &Part) -> String {
    let mut out = Vec::new();
    write_structure(&mut out, part, Form::Basic);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_plain_message_is_one_text_part() {
    let message = b"Subject: hi\r\n\r\none\r\ntwo\r\n";
    let part = scan(message);
    assert_eq!(part.header, 0..15);
    assert_eq!(body(message, &part), "one\r\ntwo\r\n");
    assert_eq!(structure(&part), r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2)"#);
    assert_eq!(part.at(&[1]), Some(&part));
    assert_eq!(part.at(&[2]), None);
    assert_eq!(part.at(&[1, 1]), None);
}

const NESTED: &[u8] = b"Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\npreamble\r\n--a b\r\n\
\r\nfirst\r\n--a b  \r\n\
Content-Type: multipart/alternative; boundary=ab\r\n\r\n--ab\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n\r\n--ab--\r\n\
epilogue\r\n--a b\r\n\
Content-Type: message/rfc822\r\nContent-Disposition: attachment; filename=x.eml\r\n\r\n\
Subject: inner\r\nFrom: a@b\r\n\r\ninner body\r\n--a b--\r\nend\r\n--a b\r\nno part\r\n";

#[test]
fn parts_end_before_the_line_end_of_their_boundary() {
    let part = scan(NESTED);
    let at = |path: &[u32]| body(NESTED, part.at(path).unwrap());
    assert_eq!(at(&[1]), "first");
    assert_eq!(at(&[2, 1]), "<p>\r\n");
    assert_eq!(at(&[3]), "Subject: inner\r\nFrom: a@b\r\n\r\ninner body");
    assert_eq!(at(&[3, 1]), "inner body");
    assert_eq!(part.at(&[4]), None);
    assert_eq!(part.at(&[3, 2]), None);
    assert_eq!(part.at(&[1, 1]), None);
    assert_eq!(part.at(&[0]), None);
    let text = r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0)"#;
    let html = r#"(("text" "html" ("charset" "utf-8") NIL NIL "7bit" 5 1) "alternative")"#;
    let from = r#"((NIL NIL "a" "b"))"#;
    let inner = format!(
        r#"("message" "rfc822" NIL NIL NIL "7bit" 39 (NIL "inner" {from} {from} {from} NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 0) 3)"#
    );
    assert_eq!(structure(&part), format!(r#"({text}{html}{inner} "mixed")"#));
}

#[test]
fn an_outer_boundary_ends_inner_parts_that_have_no_end() {
    let message = b"Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n--in\n\nx\n--out\n\ny\n";
    let part = scan(message);
    assert_eq!(body(message, part.at(&[1, 1]).unwrap()), "x");
    assert_eq!(body(message, part.at(&[2]).unwrap()), "y\n");
}

#[test]
fn parts_without_body_or_header_end_are_parts() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-ID: <1>\r\n\r\n--b\r\nContent-ID: <2>\r\n--b\r\n\r\n\r\n--b--";
    let part = scan(message);
    let ids: Vec<_> = (1..=3).map(|number| part.at(&[number]).unwrap().fields.id.clone()).collect();
    assert_eq!(ids, [Some(b"<1>".to_vec()), Some(b"<2>".to_vec()), None]);
    assert!((1..=3).all(|number| body(message, part.at(&[number]).unwrap()).is_empty()));
    assert_eq!(part.at(&[4]), None);
}

/// Symptom: a message within a part reached beyond the part's end, by the line end of a boundary. Cause: the
/// empty line that ended its header was that line end too. Analysis: the boundary owns it (RFC 2046 section
/// 5.1.1), so the message has no octet at all.
#[test]
fn a_message_within_a_part_does_not_reach_into_the_boundary() {
    let multipart = "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c";
    for header in ["", "Content-Type: message/rfc822\r\n\r\n", "Subject: x\r\n", multipart] {
        let message = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n{header}\r\n--b--\r\n"
        );
        let whole = scan(message.as_bytes());
        check(&whole, &(0..message.len() as u64));
        assert_eq!(body(message.as_bytes(), whole.at(&[1]).unwrap()), header);
    }
}

#[test]
fn a_multipart_without_parts_is_written_as_opaque() {
    let part = scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n");
    assert_eq!(structure(&part), r#"("application" "octet-stream" NIL NIL NIL "7bit" 9)"#);
    let part = scan(b"Content-Type: multipart/mixed\r\n\r\n--\r\nx\r\n");
    assert_eq!(part.content, Content::Leaf);
}

#[test]
fn a_digest_has_messages_where_nothing_is_said() {
    let part = scan(
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n",
    );
    assert!(matches!(part.at(&[1]).unwrap().content, Content::Message(..)));
}

/// Security lesson: Stalwart CVE-2026-26312, Dovecot CVE-2024-23184, CVE-2026-27859.
#[test]
fn content_types_are_read_as_senders_write_them() {
    let fields = |value: &str| Fields::parse(format!("Content-Type: {value}\r\n").as_bytes(), Unstated::Text);
    let read = fields("(c) Text / (c(c)) HTML ; charset = \"utf\\\"8\" ; name=a b; x; =y; n=[1]/2");
    assert!(read.is("text", "html"));
    assert_eq!(read.parameter("CHARSET"), Some(&b"utf\"8"[..]));
    assert_eq!(read.parameter("name"), Some(&b"a"[..]));
    assert_eq!(read.parameter("n"), Some(&b"[1]/2"[..]));
    assert!(fields("nonsense").is("text", "plain"));
    assert!(fields("").is("text", "plain"));
    assert!(fields("(never closed").is("text", "plain"));
    let list = |count: usize| format!("text/plain{}", "; a=b".repeat(count));
    assert_eq!(fields(&list(PARAMETERS_MAX)).parameters.len(), PARAMETERS_MAX);
    assert_eq!(fields(&list(PARAMETERS_MAX + 1)).parameters.len(), PARAMETERS_MAX);
}

/// Security lesson: Stalwart CVE-2026-26312, Dovecot CVE-2024-23184, CVE-2026-27859.
#[test]
fn depth_is_limited_and_what_is_deeper_is_opaque() {
    let nested = |depth: usize| {
        let mut message = Vec::new();
        for level in 0..depth {
            message.extend(
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").bytes(),
            );
        }
        message.extend(b"\r\nx\r\n");
        message
    };
    let depth = |part: &Part| {
        let (mut part, mut depth) = (part.clone(), 0);
        while let Content::Multipart(parts) = part.content {
            part = parts[0].clone();
            depth += 1;
        }
        depth
    };
    assert_eq!(depth(&scan(&nested(DEPTH_MAX - 1))), DEPTH_MAX - 1);
    assert_eq!(depth(&scan(&nested(DEPTH_MAX + 50))), DEPTH_MAX - 1);
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    let mut scanner = Scanner::new();
    scanner.feed(messages.as_bytes());
    scanner.finish();
}

/// Security lesson: Stalwart CVE-2026-26312, Dovecot CVE-2024-23184, CVE-2026-27859.
#[test]
fn parts_are_limited_in_number() {
    let parts = |count: usize| {
        let mut message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
        message.extend(b"--b\r\n\r\nx\r\n".repeat(count));
        let mut scanner = Scanner::new();
        scanner.feed(&message);
        match scanner.finish().content {
            Content::Multipart(parts) => parts.len(),
            _ => 0,
        }
    };
    assert_eq!(parts(PARTS_MAX - 1), PARTS_MAX - 1);
    assert_eq!(parts(PARTS_MAX + 100), PARTS_MAX - 1);
}

/// Security lesson: Stalwart CVE-2026-26312, Dovecot CVE-2024-23184, CVE-2026-27859.
#[test]
fn a_header_longer_than_the_limit_does_not_hide_its_end() {
    let message =
        [b"X: ".to_vec(), vec![b'x'; HEADER_MAX * 3], b"\r\nContent-Type: a/b\r\n\r\nbody".to_vec()].concat();
    let mut scanner = Scanner::new();
    scanner.feed(&message);
    let part = scanner.finish();
    assert_eq!(body(&message, &part), "body");
    assert!(part.fields.is("text", "plain"), "the field is past the limit");
}

#[test]
fn extension_data_is_written() {
    let part = scan(b"Content-Type: image/png\r\nContent-Disposition: inline; filename=\"a b\"\r\nContent-Language: de, en\r\nContent-Location: x\r\nContent-MD5: Q==\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA");
    let mut out = Vec::new();
    write_structure(&mut out, &part, Form::Extended);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"("image" "png" NIL NIL NIL "base64" 4 "Q==" ("inline" ("filename" "a b")) ("de" "en") "x")"#
    );
}

proptest::proptest! {
    #[test]
    fn any_octets_have_a_structure_within_the_message(
        lines in proptest::collection::vec("(--b|--b--|--c|Content-Type: multipart/mixed; boundary=[bc]|Content-Type: message/rfc822||x|\\t|-)", 0..40),
        end in "(\r\n|\n|\r)",
    ) {
        let message = lines.join(&end).into_bytes();
        check(&scan(&message), &(0..message.len() as u64));
    }
}

fn check(part: &Part, around: &Range<u64>) {
    assert!(around.start <= part.header.start && part.header.start <= part.header.end);
    assert!(
        part.header.end <= part.body.start && part.body.start <= part.body.end && part.body.end <= around.end
    );
    match &part.content {
        Content::Multipart(parts) => parts.iter().for_each(|inner| check(inner, &part.body)),
        Content::Message(inner, _) => check(inner, &part.body),
        Content::Leaf => {}
    }
}
