//! SMTP smuggling (CVE-2023-51764, -51765, -51766, CVE-2023-52354): one body is one message or none.

use smtp::server::Mode;

use crate::role::{Role, settings};

const ENVELOPE: &[u8] = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n";
const SECOND: &[u8] =
    b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nsmuggled\r\n.\r\n";

/// Ends that some MTA once took for the end of a body, each with a bare CR or LF.
const FALSE_ENDS: [&[u8]; 16] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\n\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\r.\r\n",
    b"\r\n\n.\r\n",
    b"\n\r\n.\n",
    b"\r\n.\n\r\n",
    b"\r\0\n.\r\n",
];

/// Likewise, but of characters that a body may have.
const ODD_TEXT: [&[u8]; 6] =
    [b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n .\r\n", b"\r\n. \r\n", b"\r\n..\r\n", b"\r\n\xc2\x85.\r\n"];

/// The session after `body` came in two parts, cut at `at`, and then octet by octet.
fn sessions(input: &[u8]) -> impl Iterator<Item = Role> {
    (0..=input.len()).map(move |at| {
        let mut role = Role::ready(settings(Mode::Mx));
        if at == input.len() {
            input.iter().for_each(|octet| role.feed(&[*octet]));
        } else {
            role.feed(&input[..at]);
            role.feed(&input[at..]);
        }
        role
    })
}

fn by_data(false_end: &[u8]) -> Vec<u8> {
    [ENVELOPE, b"DATA\r\nSubject: x\r\n\r\nfirst", false_end, SECOND, b"NOOP\r\n"].concat()
}

fn by_chunk(false_end: &[u8]) -> Vec<u8> {
    let body = [b"Subject: x\r\n\r\nfirst", false_end, SECOND].concat();
    let bdat = format!("BDAT {} LAST\r\n", body.len());
    [ENVELOPE, bdat.as_bytes(), &body, b"NOOP\r\n"].concat()
}

/// Security lesson: SMTP smuggling (CVE-2023-51764/5/6, CVE-2023-52354).
#[test]
fn a_false_end_of_data_is_never_a_second_message_wherever_the_input_is_cut() {
    for false_end in FALSE_ENDS {
        for role in sessions(&by_data(false_end)) {
            let said = "550 5.6.11 End all lines with CRLF and send again";
            assert!(role.messages.is_empty(), "{false_end:?}");
            assert_eq!(role.replies()[3..], [said, "250 2.0.0 OK"], "{false_end:?}");
            assert_eq!(role.events().len(), 2, "{false_end:?}");
        }
    }
}

/// Security lesson: SMTP smuggling (CVE-2023-51764/5/6, CVE-2023-52354).
#[test]
fn a_false_end_in_a_chunk_is_never_a_second_message_wherever_the_input_is_cut() {
    for false_end in FALSE_ENDS {
        for role in sessions(&by_chunk(false_end)) {
            let said = "550 5.6.11 End all lines with CRLF and send again";
            assert!(role.messages.is_empty(), "{false_end:?}");
            assert_eq!(role.replies()[2..], [said, "250 2.0.0 OK"], "{false_end:?}");
        }
    }
}

#[test]
fn text_that_only_resembles_an_end_stays_text() {
    for odd in ODD_TEXT {
        for role in sessions(&by_data(odd)) {
            let end = SECOND.len() - b".\r\n".len();
            let unstuffed: &[u8] = match odd {
                b"\r\n..\r\n" => b"\r\n.\r\n",
                b"\r\n.\0\r\n" => b"\r\n\0\r\n",
                b"\r\n. \r\n" => b"\r\n \r\n",
                other => other,
            };
            let whole = [b"Subject: x\r\n\r\nfirst", unstuffed, &SECOND[..end]].concat();
            assert_eq!(role.messages, [whole], "{odd:?}");
            assert_eq!(role.replies()[3..], ["250 2.0.0 Queued", "250 2.0.0 OK"], "{odd:?}");
        }
    }
}

#[test]
fn the_real_end_is_found_wherever_the_input_is_cut() {
    let input = [ENVELOPE, b"DATA\r\n..a\r\n.\r\n", ENVELOPE, b"DATA\r\n.\r\nNOOP\r\n"].concat();
    for role in sessions(&input) {
        assert_eq!(role.messages, [&b".a\r\n"[..], b""]);
    }
}
