//! Dialogues with a session whose mailboxes are in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that gets no answer has failed")]

mod memory;

use bytes::BytesMut;
use imap::{Options, Session, Step};
use mailbox::Flags;
use memory::Memory;
use proptest::prelude::*;

struct Client {
    session: Session<Memory>,
    input: BytesMut,
    step: Step,
    /// Most output that waited at any time.
    output_max: usize,
}

impl Client {
    fn new(memory: &Memory) -> Self {
        Self::with(memory, Options::default())
    }

    fn with(memory: &Memory, options: Options) -> Self {
        let mut session = Session::new(memory.clone(), options);
        session.output().clear();
        Self { session, input: BytesMut::new(), step: Step::Read, output_max: 0 }
    }

    fn logged_in(memory: &Memory) -> Self {
        let mut client = Self::new(memory);
        assert!(client.say("a LOGIN bob secret\r\n").starts_with("a OK"));
        client
    }

    fn selected(memory: &Memory) -> Self {
        let mut client = Self::logged_in(memory);
        client.say("b SELECT INBOX\r\n");
        client
    }

    /// Sends octets and tells all that is answered.
    fn send(&mut self, octets: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(octets);
        self.settle()
    }

    fn settle(&mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        loop {
            self.step = self.session.advance(&mut self.input);
            self.output_max = self.output_max.max(self.session.output().len());
            answer.append(self.session.output());
            if self.step == Step::Login {
                let given = self.session.credentials().unwrap();
                let right = (given.user.as_str(), given.password.as_str()) == ("bob", "secret");
                self.session.answer_login(right.then_some("bob").ok_or(mailbox::AccountError::Denied));
                continue;
            }
            if self.step != Step::Flush {
                return answer;
            }
        }
    }

    fn say(&mut self, text: &str) -> String {
        String::from_utf8(self.send(text.as_bytes())).unwrap()
    }

    /// Sends a command of the tag `t` and tells the answer, which must be OK, without its last line.
    fn ok(&mut self, command: &str) -> String {
        let answer = self.say(&format!("t {command}\r\n"));
        let at = answer.rfind("t OK").unwrap_or_else(|| panic!("{command}: {answer}"));
        answer[..at].to_owned()
    }
}

const MAIL: &[u8] = b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Tue, 24 Nov 2026 06:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nHello Bob\r\n";
const MULTIPART: &[u8] = b"Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\nR3L832U=\r\n--b--\r\n";

fn three() -> Memory {
    let memory = Memory::new();
    memory.add("INBOX", MAIL, Flags::default());
    memory.add("INBOX", MULTIPART, Flags::SEEN);
    memory.add("INBOX", b"Subject: three\r\n\r\nx\r\n", Flags::DELETED);
    memory
}

#[test]
fn a_session_greets_and_tells_its_capabilities_as_the_login_goes() {
    let mut session = Session::new(Memory::new(), Options::default());
    assert!(session.output().starts_with(b"* OK [CAPABILITY IMAP4rev1 "));
    let mut client = Client::new(&Memory::new());
    assert!(client.ok("CAPABILITY").contains("AUTH=PLAIN"));
    assert!(client.say("t SELECT INBOX\r\n").starts_with("t BAD"));
    assert!(client.say("t AUTHENTICATE PLAIN\r\n").starts_with("+ \r\n"));
    assert!(client.say("AGJvYgBzZWNyZXQ=\r\n").starts_with("t OK [CAPABILITY"));
    assert!(!client.ok("CAPABILITY").contains("AUTH=PLAIN"));
    assert_eq!(client.say("t LOGOUT\r\n").lines().last(), Some("t OK logged out"));
    assert_eq!(client.step, Step::Close);
    let mut client = Client::new(&Memory::new());
    assert!(client.say("t AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n").starts_with("t OK"));
}

#[test]
fn failed_logins_are_limited() {
    let mut client = Client::new(&Memory::new());
    for _ in 1..imap::FAILED_LOGINS_MAX {
        assert!(client.say("t LOGIN bob wrong\r\n").starts_with("t NO [AUTHENTICATIONFAILED]"));
        assert_eq!(client.step, Step::Read);
    }
    assert!(client.say("t AUTHENTICATE PLAIN AGJvYgB4\r\n").contains("* BYE"));
    assert_eq!(client.step, Step::Close);
}

#[test]
fn select_tells_what_a_client_needs() {
    let memory = three();
    let mut client = Client::logged_in(&memory);
    let answer = client.say("t SELECT inbox\r\n");
    for line in [
        "* 3 EXISTS",
        "* 0 RECENT",
        "[UNSEEN 1]",
        "[UIDVALIDITY 7]",
        "[UIDNEXT 4]",
        "\\*)]",
        "t OK [READ-WRITE]",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    let answer = client.say("t EXAMINE INBOX\r\n");
    assert!(answer.contains("PERMANENTFLAGS ()") && answer.contains("t OK [READ-ONLY]"));
    assert!(client.say("t STORE 1 +FLAGS (\\Seen)\r\n").starts_with("t NO"));
    assert!(client.say("t SELECT nowhere\r\n").starts_with("t NO [NONEXISTENT]"));
    assert!(client.say("t FETCH 1 FLAGS\r\n").starts_with("t BAD"));
}

#[test]
fn fetch_tells_the_items_that_were_asked_for() {
    let memory = three();
    let mut client = Client::selected(&memory);
    assert_eq!(
        client.ok("FETCH 1 (FLAGS UID INTERNALDATE RFC822.SIZE)"),
        format!(
            "* 1 FETCH (FLAGS () UID 1 INTERNALDATE \"24-Nov-2026 06:00:00 +0000\" RFC822.SIZE {})\r\n",
            MAIL.len()
        )
    );
    assert_eq!(
        client.ok("FETCH 1 ENVELOPE"),
        "* 1 FETCH (ENVELOPE (\"Tue, 24 Nov 2026 06:00:00 +0000\" \"=?utf-8?q?Gr=C3=BC=C3=9Fe?=\" \
         ((\"Alice\" NIL \"alice\" \"example.org\")) ((\"Alice\" NIL \"alice\" \"example.org\")) \
         ((\"Alice\" NIL \"alice\" \"example.org\")) ((NIL NIL \"bob\" \"example.org\")) NIL NIL NIL \"<1@x>\"))\r\n"
    );
    assert_eq!(
        client.ok("UID FETCH 2 (BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[3] BODY.PEEK[TEXT]<2.3>)"),
        "* 2 FETCH (UID 2 BODY[1] {5}\r\nfirst BODY[2.MIME] {83}\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n BODY[3] NIL BODY[TEXT]<2> {3}\r\nb\r\n)\r\n"
    );
    assert_eq!(
        client.ok("FETCH 1:2 BODY.PEEK[HEADER.FIELDS (subject x)]"),
        "* 1 FETCH (BODY[HEADER.FIELDS (subject x)] {40}\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n)\r\n\
         * 2 FETCH (BODY[HEADER.FIELDS (subject x)] {16}\r\nSubject: two\r\n\r\n)\r\n"
    );
    assert_eq!(
        client.ok("FETCH 3 RFC822.HEADER"),
        "* 3 FETCH (RFC822.HEADER {18}\r\nSubject: three\r\n\r\n)\r\n"
    );
    assert_eq!(client.ok("FETCH 3 BODY.PEEK[]<1000.5>"), "* 3 FETCH (BODY[]<1000> {0}\r\n)\r\n");
    assert_eq!(client.ok("FETCH 9 FLAGS"), "");
}

#[test]
fn reading_a_body_sets_seen_and_tells_it_once() {
    let memory = three();
    let mut client = Client::selected(&memory);
    let mut other = Client::selected(&memory);
    assert_eq!(
        client.ok("FETCH 1 BODY[TEXT]"),
        "* 1 FETCH (BODY[TEXT] {11}\r\nHello Bob\r\n FLAGS (\\Seen))\r\n"
    );
    assert_eq!(client.ok("NOOP"), "");
    assert_eq!(other.ok("NOOP"), "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n");
}

#[test]
fn store_answers_unless_silent_and_others_hear_of_it() {
    let memory = three();
    let mut client = Client::selected(&memory);
    let mut other = Client::selected(&memory);
    assert_eq!(
        client.ok("STORE 1:2 +FLAGS (\\Flagged)"),
        "* 1 FETCH (FLAGS (\\Flagged))\r\n* 2 FETCH (FLAGS (\\Flagged \\Seen))\r\n"
    );
    assert_eq!(client.ok("UID STORE 2 FLAGS.SILENT (\\Seen)"), "");
    let answer = client.ok("UID STORE 1 +FLAGS $Later");
    assert!(answer.contains("* FLAGS (") && answer.contains("UID 1 FLAGS (\\Flagged $Later)"), "{answer}");
    let answer = other.ok("NOOP");
    assert!(
        answer.contains("* FLAGS (\\Answered")
            && answer.contains("* 1 FETCH (UID 1 FLAGS (\\Flagged $Later))")
    );
}

#[test]
fn message_numbers_change_only_where_the_client_expects_it() {
    let memory = three();
    let mut client = Client::selected(&memory);
    memory.remove("INBOX", 1);
    memory.add("INBOX", b"\r\nnew", Flags::default());
    let answer = client.say("t FETCH 1:3 FLAGS\r\n");
    assert_eq!(
        answer,
        "* 2 FETCH (FLAGS (\\Seen))\r\n* 3 FETCH (FLAGS (\\Deleted))\r\n* 4 EXISTS\r\nt NO [EXPUNGEISSUED] some of the messages are gone\r\n"
    );
    assert_eq!(client.ok("SEARCH ALL"), "* SEARCH 2 3 4\r\n");
    assert_eq!(client.ok("NOOP"), "* 1 EXPUNGE\r\n");
    assert_eq!(client.ok("FETCH 3 UID"), "* 3 FETCH (UID 4)\r\n");
}

#[test]
fn expunge_copy_and_move_tell_numbers_and_uids() {
    let memory = three();
    let mut client = Client::selected(&memory);
    assert_eq!(client.ok("EXPUNGE"), "* 3 EXPUNGE\r\n");
    assert!(client.say("t COPY 1:2 Sent\r\n").starts_with("t OK [COPYUID 7 1:2 1:2]"));
    assert!(client.say("t COPY 1 nowhere\r\n").starts_with("t NO [TRYCREATE]"));
    assert_eq!(client.ok("UID MOVE 1 Sent"), "* OK [COPYUID 7 1 3] moved\r\n* 1 EXPUNGE\r\n");
    client.ok("STORE 1 +FLAGS.SILENT \\Deleted");
    assert_eq!(client.ok("UID EXPUNGE 1"), "");
    assert_eq!(client.ok("CLOSE"), "");
    assert_eq!(client.ok("STATUS INBOX (MESSAGES UIDNEXT)"), "* STATUS INBOX (MESSAGES 0 UIDNEXT 4)\r\n");
    assert_eq!(client.ok("STATUS Sent (MESSAGES UNSEEN SIZE)").matches("MESSAGES 3 UNSEEN 2").count(), 1);
}

#[test]
fn search_finds_by_flags_dates_sizes_and_decoded_text() {
    let memory = three();
    let mut client = Client::selected(&memory);
    for (keys, found) in [
        ("ALL", " 1 2 3"),
        ("UNSEEN", " 1 3"),
        ("NOT SEEN UNDELETED", " 1"),
        ("OR SEEN DELETED", " 2 3"),
        ("(2:* NOT DELETED)", " 2"),
        ("UID 3:9", " 3"),
        ("SUBJECT GRÜSSE", ""),
        ("SUBJECT {7}\r\nGRü\u{df}e", " 1"),
        ("FROM alice", " 1"),
        ("HEADER Message-ID \"\"", " 1"),
        ("BODY hello", " 1"),
        ("BODY grü", " 2"),
        ("TEXT three", " 3"),
        ("SENTON 24-Nov-2026", " 1"),
        ("SINCE 24-Nov-2026 BEFORE 25-Nov-2026", " 1 2 3"),
        ("BEFORE 24-Nov-2026", ""),
        ("LARGER 100 LARGER 50 SMALLER 9999 1", " 1"),
        ("KEYWORD none", ""),
        ("UNKEYWORD none 1", " 1"),
        ("CHARSET UTF-8 ALL", " 1 2 3"),
    ] {
        let command =
            keys.replace("{7}\r\nGRü\u{df}e", &format!("{{{}+}}\r\nGRü\u{df}e", "GRü\u{df}e".len()));
        assert_eq!(client.ok(&format!("SEARCH {command}")), format!("* SEARCH{found}\r\n"), "{keys}");
    }
    assert!(client.say("t SEARCH CHARSET KOI8-R ALL\r\n").starts_with("t NO [BADCHARSET"));
    assert_eq!(
        client.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL"),
        "* ESEARCH (TAG \"t\") UID MIN 1 MAX 3 COUNT 3 ALL 1:3\r\n"
    );
    assert_eq!(client.ok("SEARCH RETURN (MIN COUNT) KEYWORD none"), "* ESEARCH (TAG \"t\") COUNT 0\r\n");
}

#[test]
fn list_shows_the_hierarchy_special_uses_and_subscriptions() {
    let memory = Memory::new();
    let mut client = Client::logged_in(&memory);
    client.ok("CREATE a/b");
    client.ok("CREATE Entw&APw-rfe/");
    assert_eq!(client.ok("LIST \"\" \"\""), "* LIST (\\Noselect) \"/\" \"\"\r\n");
    assert_eq!(
        client.ok("LIST \"\" %"),
        "* LIST (\\HasNoChildren) \"/\" \"Entw&APw-rfe\"\r\n* LIST (\\HasNoChildren) \"/\" INBOX\r\n\
         * LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n* LIST (\\HasNoChildren \\Trash) \"/\" Trash\r\n\
         * LIST (\\HasChildren \\NonExistent \\Noselect) \"/\" a\r\n"
            .replace("\"Entw&APw-rfe\"", "Entw&APw-rfe")
    );
    assert_eq!(client.ok("LIST a/ *"), "* LIST (\\HasNoChildren) \"/\" a/b\r\n");
    assert_eq!(client.ok("LIST \"\" inbox"), "* LIST (\\HasNoChildren) \"/\" INBOX\r\n");
    client.ok("SUBSCRIBE x/y");
    assert_eq!(client.ok("LSUB \"\" x/*"), "* LSUB (\\HasNoChildren \\Noselect) \"/\" x/y\r\n");
    assert!(client.ok("LSUB \"\" %").contains("* LSUB (\\HasNoChildren \\Noselect) \"/\" x\r\n"));
    assert!(
        client
            .ok("LIST (SUBSCRIBED) \"\" *")
            .contains("(\\HasNoChildren \\NonExistent \\Noselect \\Subscribed) \"/\" x/y")
    );
    assert_eq!(client.ok("LIST (SPECIAL-USE) \"\" *").lines().count(), 2);
    assert!(client.ok("LIST \"\" INBOX RETURN (STATUS (MESSAGES))").contains("* STATUS INBOX (MESSAGES 0)"));
    assert_eq!(client.ok("NAMESPACE"), "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    client.ok("ENABLE UTF8=ACCEPT CONDSTORE");
    assert!(client.ok("LIST \"\" E*").contains("\"Entwürfe\""));
}

#[test]
fn append_waits_for_the_go_ahead_streams_and_tells_the_uid() {
    let memory = Memory::new();
    let mut client = Client::selected(&memory);
    assert_eq!(
        client.say("t APPEND INBOX (\\Seen $x) \"17-Jul-1996 02:44:25 -0700\" {5}\r\n"),
        "+ go ahead\r\n"
    );
    assert_eq!(client.say("hel"), "");
    let answer = client.say("lo\r\n");
    assert!(answer.contains("* 1 EXISTS") && answer.contains("t OK [APPENDUID 7 1]"), "{answer}");
    assert_eq!(**memory.octets("INBOX", 1).unwrap(), *b"hello");
    assert_eq!(
        client.ok("FETCH 1 (FLAGS INTERNALDATE)"),
        "* 1 FETCH (FLAGS (\\Seen $x) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\")\r\n"
    );
    assert!(client.say("t APPEND INBOX {2+}\r\n\r\n\r\nu NOOP\r\n").contains("u OK"));
    assert!(client.say("t APPEND {4+}\r\nSent UTF8 (~{2+}\r\nhi)\r\n").contains("t OK [APPENDUID"));
    assert!(client.say("t APPEND nowhere {5}\r\n").starts_with("t NO [TRYCREATE]"));
    assert!(client.say("t APPEND nowhere {5+}\r\nhello\r\nu NOOP\r\n").starts_with("t NO [TRYCREATE]"));
    assert!(client.say("t APPEND INBOX {2+}\r\nhi there\r\n").starts_with("t BAD"));
    assert_eq!(client.ok("SEARCH ALL"), "* SEARCH 1 2\r\n");
}

#[test]
fn an_append_at_the_limit_is_taken_and_one_past_it_is_not() {
    let memory = Memory::new();
    let mut client = Client::with(&memory, Options { append_octets_max: 10, ..Options::default() });
    client.say("a LOGIN bob secret\r\n");
    assert!(client.say("t APPEND INBOX {10+}\r\n0123456789\r\n").starts_with("t OK"));
    assert!(client.say("t APPEND INBOX {11}\r\n").starts_with("t NO [TOOBIG]"));
    assert!(client.say("t APPEND INBOX {11+}\r\n0123456789a\r\nu NOOP\r\n").starts_with("t NO [TOOBIG]"));
    assert!(client.say("t APPEND INBOX {1000+}\r\n").starts_with("* BYE"));
    assert_eq!(client.step, Step::Close);
}

#[test]
fn idle_hears_of_new_mail_and_ends_with_done() {
    let memory = three();
    let mut client = Client::selected(&memory);
    assert_eq!(client.say("t IDLE\r\n"), "+ idling\r\n");
    assert_eq!(client.step, Step::Idle);
    memory.add("INBOX", b"\r\n", Flags::default());
    client.session.handle_change();
    assert_eq!(client.settle(), b"* 4 EXISTS\r\n");
    assert_eq!(memory.listened(), [Some(1)], "others of the account's mailboxes are no concern of its");
    memory.remove("INBOX", 2);
    assert_eq!(client.say("done\r\nu NOOP\r\n"), "* 2 EXPUNGE\r\nt OK no longer idling\r\nu OK done\r\n");
    assert_eq!(memory.listened(), [Some(1), None]);
    client.say("t UNSELECT\r\nt IDLE\r\n");
    assert_eq!(memory.listened(), [Some(1), None, None]);
}

#[test]
fn a_large_message_and_many_messages_go_out_in_bounded_pieces() {
    let memory = Memory::new();
    let large: Vec<u8> = b"Subject: big\r\n\r\n"
        .iter()
        .copied()
        .chain((0..20_000_000_u32).map(|at| u8::try_from(1 + at % 251).unwrap()))
        .collect();
    memory.add("INBOX", &large, Flags::SEEN);
    let mut client = Client::selected(&memory);
    let answer = client.send(b"t FETCH 1 BODY[]\r\n");
    let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", large.len());
    assert!(answer.starts_with(head.as_bytes()));
    assert!(answer[head.len()..].starts_with(&large) && answer.ends_with(b")\r\nt OK fetched\r\n"));
    assert!(client.output_max <= 2 * imap::OUTPUT_FULL + 1024, "{}", client.output_max);
    for _ in 0..20_000 {
        memory.add("INBOX", b"Subject: x\r\n\r\n", Flags::default());
    }
    client.ok("NOOP");
    client.output_max = 0;
    assert_eq!(client.ok("FETCH 1:* (FLAGS UID)").lines().count(), 20_001);
    assert!(client.output_max <= 2 * imap::OUTPUT_FULL, "{}", client.output_max);
}

/// Security lesson: Stalwart CVE-2025-61600, Cyrus CVE-2024-34055.
#[test]
fn literals_and_commands_are_limited_before_and_after_the_login() {
    let memory = Memory::new();
    let mut client = Client::new(&memory);
    assert!(client.say("t LOGIN {4000}\r\n").starts_with("+"));
    let mut client = Client::new(&memory);
    assert!(client.say("t LOGIN {4097}\r\n").starts_with("t BAD"));
    assert!(client.say("t LOGIN {4097+}\r\n").starts_with("* BYE"));
    let mut client = Client::new(&memory);
    assert!(client.say("t APPEND INBOX {100000}\r\n").starts_with("t BAD"));
    let mut client = Client::logged_in(&memory);
    assert!(client.say("t SELECT {60000}\r\n").starts_with("+"));
    let mut client = Client::logged_in(&memory);
    assert!(client.say("t SELECT {65536}\r\n").starts_with("t BAD"));
    assert!(client.say(&"x".repeat(imap::COMMAND_MAX + 1)).starts_with("* BYE"));
    assert_eq!(client.step, Step::Close);
}

#[test]
fn a_client_that_only_sends_nonsense_is_let_go() {
    let mut client = Client::new(&Memory::new());
    for _ in 1..imap::BAD_COMMANDS_MAX {
        assert!(client.say("t NONSENSE\r\n").starts_with("t BAD"));
    }
    assert!(client.say("t NONSENSE\r\n").contains("* BYE"));
    assert_eq!(client.step, Step::Close);
}

/// Security lesson: ALPACA.
#[test]
fn a_browser_gets_no_answer() {
    for request in ["GET / HTTP/1.1\r\n", "POST /x HTTP/1.0\r\n", "FOO / HTTP/2\r\n"] {
        let mut client = Client::new(&Memory::new());
        assert_eq!(client.say(request), "");
        assert_eq!(client.step, Step::Close);
    }
}

#[test]
fn a_selected_mailbox_that_is_deleted_ends_the_session() {
    let memory = Memory::new();
    let mut client = Client::logged_in(&memory);
    client.ok("CREATE x");
    client.ok("SELECT x");
    Client::logged_in(&memory).ok("DELETE x");
    assert!(client.say("t NOOP\r\n").starts_with("* BYE"));
    assert_eq!(client.step, Step::Close);
}

const WORDS: &[&str] = &[
    "a",
    " ",
    "\r\n",
    "\n",
    "NOOP",
    "LOGIN bob secret",
    "SELECT INBOX",
    "FETCH 1:* (FLAGS BODY[])",
    "BODY[1.2.MIME]<0.9>",
    "SEARCH OR FROM x NOT SEEN",
    "STORE 1 +FLAGS (\\Seen)",
    "{3}",
    "{3+}\r\n",
    "(",
    ")",
    "\"",
    "\\",
    "*",
    "%",
    "IDLE",
    "DONE",
    "APPEND INBOX {5+}\r\nhello",
    "UID ",
    "COPY 1 Sent",
    "MOVE 2:3 Trash",
    "LIST \"\" *",
    "EXPUNGE",
    "é",
    "\0",
    "[",
    "]",
    "AUTHENTICATE PLAIN",
    "a1 CLOSE\r\n",
    "1:*",
    ",",
    "<",
    "ENABLE UTF8=ACCEPT",
    "FETCH 1:3 (ENVELOPE BODYSTRUCTURE)",
    "CREATE &",
    "STATUS INBOX (MESSAGES)",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn however_the_input_is_cut_the_answer_is_the_same(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..40),
        size in 1_usize..20,
        logged_in: bool,
    ) {
        let input = words.concat();
        let start = |memory: &Memory| if logged_in { Client::selected(memory) } else { Client::new(memory) };
        let mut whole = start(&three());
        let answer = whole.send(input.as_bytes());
        let mut pieces = start(&three());
        let mut answers = Vec::new();
        for piece in input.as_bytes().chunks(size) {
            answers.extend(pieces.send(piece));
            if pieces.step == Step::Close {
                break;
            }
        }
        prop_assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&answers));
        prop_assert_eq!(whole.step, pieces.step);
    }

    #[test]
    fn any_octets_are_survived(octets in prop::collection::vec(any::<u8>(), 0..500)) {
        Client::selected(&three()).send(&octets);
        Client::new(&three()).send(&octets);
    }

    #[test]
    fn any_octets_are_a_message(octets in prop::collection::vec(any::<u8>(), 0..500)) {
        let memory = Memory::new();
        memory.add("INBOX", &octets, Flags::default());
        let mut client = Client::selected(&memory);
        let answer = client.send(b"t FETCH 1 (BODY.PEEK[] ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[TEXT])\r\n");
        let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", octets.len());
        let shown: Vec<u8> = octets.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect();
        prop_assert!(answer.starts_with(&[head.as_bytes(), &shown].concat()));
        prop_assert!(!answer.contains(&0));
        prop_assert!(answer.ends_with(b"t OK fetched\r\n"));
    }
}
