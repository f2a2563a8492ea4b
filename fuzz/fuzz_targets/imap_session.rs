//! Whatever a client does, in whatever order, and whatever happens to its mailbox meanwhile: what is answered is well-formed, and
//! tells of no message that the client does not know of.
//!
//! The input is a script: what the client sends, but for 0xFF, which no command and no UTF-8 has: the octet behind it is an
//! operation of [`Run::operate`].
#![no_main]

#[path = "../src/imap_client.rs"]
#[allow(dead_code, reason = "other targets ask more of it")]
mod imap_client;
#[path = "../../crates/imap/tests/memory/mod.rs"]
#[allow(dead_code, reason = "the dialogues of the tests ask more of it")]
mod memory;

use imap_client::{Client, filled, responses};
use libfuzzer_sys::fuzz_target;
use mailbox::Flags;
use memory::Memory;

/// Before an octet that is an operation.
const OPERATION: u8 = 0xff;
/// Messages that others add: more only makes the runs slow.
const ADDED_MAX: usize = 30;

fuzz_target!(|script: &[u8]| {
    let memory = filled();
    let client = Client::new(&memory);
    let mut run = Run { memory, client, unsent: Vec::new(), exists: 0, added: 0 };
    let mut rest = script.iter();
    while let Some(octet) = rest.next() {
        match octet {
            &OPERATION => run.operate(rest.next().copied().unwrap_or_default()),
            octet => run.unsent.push(*octet),
        }
    }
    run.send();
    run.client.session.bye("the end");
    run.send();
    assert!(run.client.is_closed, "a session that is told to end does not");
});

struct Run {
    memory: Memory,
    client: Client,
    unsent: Vec<u8>,
    /// Messages that the client knows of.
    exists: usize,
    added: usize,
}

impl Run {
    fn operate(&mut self, operation: u8) {
        match operation {
            // Another session adds a message, or removes one by its uid.
            b'd' if self.added < ADDED_MAX => {
                self.send();
                self.added += 1;
                self.memory.add("INBOX", b"Subject: more\r\n\r\nx\r\n", Flags::FLAGGED);
            }
            b'0'..=b'9' => {
                self.send();
                self.memory.remove("INBOX", u32::from(operation - b'0'));
            }
            // The client hears of it.
            b'c' => {
                self.send();
                let was_idle = self.client.is_idle;
                self.client.session.handle_change();
                let said = self.client.session.output().len();
                assert!(said == 0 || was_idle, "a client that does not idle is told");
                self.send();
            }
            b'n' => self.client.is_let_in = false,
            b'y' => self.client.is_let_in = true,
            // Every octet comes alone.
            b'1'..=b'z' => {
                for octet in std::mem::take(&mut self.unsent) {
                    self.unsent.push(octet);
                    self.send();
                }
            }
            _ => self.send(),
        }
    }

    fn send(&mut self) {
        let said = self.client.send(&std::mem::take(&mut self.unsent));
        responses(&said).into_iter().for_each(|response| self.hear(response));
    }

    /// Follows the numbers of messages.
    fn hear(&mut self, response: &[u8]) {
        let mut words = response.split(|octet| *octet == b' ');
        let (first, number, what) = (words.next(), words.next(), words.next());
        let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse::<usize>().ok());
        let (Some(b"*"), Some(number)) = (first, number) else { return };
        match what {
            Some(b"EXISTS") => self.exists = number,
            Some(b"EXPUNGE") => {
                assert!((1..=self.exists).contains(&number), "{number} of {} is gone", self.exists);
                self.exists -= 1;
            }
            Some(b"FETCH") => assert!((1..=self.exists).contains(&number), "{number} of {}", self.exists),
            _ => {}
        }
    }
}
