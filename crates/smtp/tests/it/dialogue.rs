//! Runs the text files of `tests/dialogues`.
//!
//! `key: value` lines come first. In a server dialogue `C:` lines are sent to the session (`C>` without a
//! CRLF added), and all `S:` and `R:` lines up to the next are exactly what has to come of it. In a client
//! dialogue `S:` is sent and `C:` and `R:` come of it; `X: dropped`, `X: timeout` and the like are events.
//! Lines that follow each other are sent as one write; an empty line parts writes. `\r \n \0 \\ \xNN` are escapes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use smtp::server::{Login, Mode};

use crate::hop::Hop;
use crate::role::{Role, settings};

struct Exchange {
    sent: Vec<u8>,
    events: Vec<String>,
    expected: Vec<String>,
}

struct Dialogue {
    keys: HashMap<String, String>,
    exchanges: Vec<Exchange>,
}

impl Dialogue {
    fn read(path: &Path, speaker: char) -> Self {
        let mut dialogue = Self { keys: HashMap::new(), exchanges: Vec::new() };
        let mut parted = true;
        for line in fs::read_to_string(path).unwrap().lines() {
            if line.is_empty() {
                parted = true;
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let (tag, text) = line.split_at(line.len().min(2));
            let text = text.strip_prefix(' ').unwrap_or(text);
            let mut tag = tag.chars();
            match (tag.next(), tag.next()) {
                (Some(who), Some(how @ (':' | '>'))) if who == speaker => {
                    let exchange = dialogue.sending(parted);
                    exchange.sent.extend(unescape(text));
                    if how == ':' {
                        exchange.sent.extend_from_slice(b"\r\n");
                    }
                }
                (Some('X'), Some(':')) => dialogue.sending(parted).events.push(text.to_owned()),
                (Some('C' | 'S' | 'R'), Some(':')) => {
                    if dialogue.exchanges.is_empty() {
                        dialogue.sending(true);
                    }
                    dialogue.exchanges.last_mut().unwrap().expected.push(line.to_owned());
                }
                _ => {
                    let (key, value) = line.split_once(": ").expect("key: value");
                    dialogue.keys.insert(key.to_owned(), value.to_owned());
                }
            }
            parted = false;
        }
        dialogue
    }

    /// The exchange that is being sent, or a new one.
    fn sending(&mut self, parted: bool) -> &mut Exchange {
        if parted || self.exchanges.last().is_none_or(|last| !last.expected.is_empty()) {
            self.exchanges.push(Exchange { sent: Vec::new(), events: Vec::new(), expected: Vec::new() });
        }
        self.exchanges.last_mut().unwrap()
    }

    fn key(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match (octet, if octet == b'\\' { rest.next() } else { None }) {
            (b'\\', Some(b'r')) => b'\r',
            (b'\\', Some(b'n')) => b'\n',
            (b'\\', Some(b'0')) => 0,
            (b'\\', Some(b'x')) => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            (b'\\', other) => other.unwrap(),
            (octet, _) => octet,
        });
    }
    octets
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn role_for(dialogue: &Dialogue) -> Role {
    let mode = match dialogue.key("mode") {
        "submission" => Mode::Submission,
        "relay" => Mode::Relay(Login::NotOffered),
        "relay-login" => Mode::Relay(Login::Offered),
        _ => Mode::Mx,
    };
    let mut settings = settings(mode);
    settings.starttls = dialogue.key("starttls") != "no";
    if let Ok(octets) = dialogue.key("message-octets").parse() {
        settings.limits.message_octets = octets;
    }
    let mut role = Role::new(settings, Some(dialogue.key("tls")).filter(|tls| !tls.is_empty()));
    role.session.greet();
    role
}

fn server_event(role: &mut Role, event: &str) {
    match event {
        "timeout" => role.session.timed_out(),
        "shutdown" => role.session.shut_down(),
        other => panic!("unknown event {other}"),
    }
}

#[test]
fn the_server_says_what_the_dialogues_say() {
    for path in files("server") {
        let dialogue = Dialogue::read(&path, 'C');
        let mut role = role_for(&dialogue);
        for exchange in &dialogue.exchanges {
            exchange.events.iter().for_each(|event| server_event(&mut role, event));
            role.log.clear();
            role.feed(&exchange.sent);
            let sent = exchange.sent.escape_ascii();
            assert_eq!(role.log, exchange.expected, "{} after {sent}", path.display());
        }
    }
}

#[test]
fn input_that_comes_octet_by_octet_gives_the_same_dialogue() {
    for path in files("server") {
        let dialogue = Dialogue::read(&path, 'C');
        if dialogue.key("split") == "no" {
            continue;
        }
        let mut role = role_for(&dialogue);
        for exchange in &dialogue.exchanges {
            exchange.events.iter().for_each(|event| server_event(&mut role, event));
            role.log.clear();
            role.feed(b"");
            exchange.sent.iter().for_each(|octet| role.feed(&[*octet]));
            let only = |tag: &str| -> Vec<&str> {
                exchange.expected.iter().filter_map(|line| line.strip_prefix(tag)).collect()
            };
            assert_eq!(role.replies(), only("S: "), "{}", path.display());
            assert_eq!(role.events(), only("R: "), "{}", path.display());
        }
    }
}

#[test]
fn the_client_says_what_the_dialogues_say() {
    for path in files("client") {
        let dialogue = Dialogue::read(&path, 'S');
        let mut hop = Hop::new(&dialogue.keys);
        for exchange in &dialogue.exchanges {
            exchange.events.iter().for_each(|event| hop.event(event));
            hop.log.clear();
            hop.feed(&exchange.sent);
            let sent = exchange.sent.escape_ascii();
            assert_eq!(hop.log, exchange.expected, "{} after {sent}", path.display());
        }
    }
}
