//! Numbered messages, sent in the background, with books of what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use crate::process::{self, Process};
use crate::{message, until};

/// Lines that a large message has more than the others: with them it is larger than a link takes without Home's consent.
const LARGE_LINES: usize = 4600;
const LARGE_LINE_LETTERS: usize = 70;

const SCRIPT: &str = include_str!("numbered.py");

/// The messages to send, and the way to send them.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    /// The namespace to send from.
    pub namespace: &'a str,
    /// The MTA that takes it.
    pub server: SocketAddr,
    /// User and password; TLS from the start then.
    pub login: Option<(&'a str, &'a str)>,
    /// The reverse-path.
    pub from: &'a str,
    /// The recipient.
    pub to: &'a str,
    /// The word that subjects begin with.
    pub word: &'a str,
    /// How many; 0 is until [`Numbered::stop`].
    pub count: u32,
    /// The pause between two messages.
    pub pause: Duration,
    /// A line that every body has.
    pub line: &'a str,
    /// After how many messages comes a large one; 0: never.
    pub large_every: u32,
    /// How often a message whose reply got lost is sent again.
    pub again: u32,
}

/// A sender at work.
#[derive(Debug)]
pub struct Numbered {
    process: Process,
    stop: Option<ChildStdin>,
    word: String,
}

/// The replies that the sender got, by number of the message.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Numbers that were answered 250.
    pub taken: BTreeSet<u32>,
    /// Answered otherwise, or never begun, with what was said.
    pub refused: BTreeMap<u32, String>,
    /// The connection was lost before the last reply.
    pub doubt: BTreeSet<u32>,
}

impl Numbered {
    /// Begins to send.
    #[must_use]
    pub fn start(numbers: &Numbers<'_>, dir: &Path) -> Self {
        let (ip, port) = (numbers.server.ip().to_string(), numbers.server.port().to_string());
        let (user, password) = numbers.login.unwrap_or_default();
        let security = if numbers.login.is_some() { "tls" } else { "none" };
        let (count, pause) = (numbers.count.to_string(), numbers.pause.as_secs_f64().to_string());
        let mut python = process::command(Some(numbers.namespace), "/usr/bin/python3");
        python.args(["-c", SCRIPT, &ip, &port, security, user, password, numbers.from, numbers.to]);
        python.args([numbers.word, "1", &count, &pause, numbers.line]);
        python.args(
            [numbers.large_every, u32::try_from(LARGE_LINES).expect("few"), numbers.again]
                .map(|n| n.to_string()),
        );
        python.stdin(Stdio::piped());
        let mut process = Process::start(python, &dir.join(format!("numbered-{}.log", numbers.word)));
        let stop = process.take_stdin();
        Self { process, stop, word: numbers.word.to_owned() }
    }

    /// Has it end after the message that it is at, if it goes on until then.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits until it is done and gives its books.
    ///
    /// # Panics
    /// When it is not done in time, or ended by itself.
    pub fn end(&mut self, within: Duration) -> Told {
        until(&format!("the sender of {} is done", self.word), within, || {
            (!self.process.is_running()).then_some(())
        });
        let log = self.process.log();
        assert!(log.contains("\ndone"), "the sender of {} ended:\n{log}", self.word);
        self.told()
    }

    /// The replies so far.
    ///
    /// # Panics
    /// When they can't be read.
    #[must_use]
    pub fn told(&self) -> Told {
        let mut told = Told::default();
        for line in self.process.log().lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(what), Some(number)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse() else { continue };
            match what {
                "taken" => drop(told.taken.insert(number)),
                "doubt" => drop(told.doubt.insert(number)),
                "refused" => drop(told.refused.insert(number, words.next().unwrap_or_default().to_owned())),
                _ => {}
            }
        }
        told
    }
}

/// The `Message-ID` of one of them, without its brackets.
#[must_use]
pub fn message_id(word: &str, number: u32, from: &str) -> String {
    format!("{word}{number}.{from}")
}

/// What is in a mailbox, of those of one word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrived {
    /// How often each is there with its whole body.
    pub times: BTreeMap<u32, u32>,
    /// Those of which a body is not what was sent.
    pub broken: BTreeSet<u32>,
}

impl Arrived {
    /// Looks through these messages, whose bodies have to have this line, and those of large ones many more.
    #[must_use]
    pub fn among(messages: &[Vec<u8>], word: &str, line: &str, large_every: u32) -> Self {
        let mut arrived = Self::default();
        let more = format!("{}\r\n", "x".repeat(LARGE_LINE_LETTERS)).repeat(LARGE_LINES);
        for stored in messages {
            let subject = message::field(stored, "Subject").unwrap_or_default();
            let number = subject.strip_prefix(word).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
            let Some(number) = number else { continue };
            let is_large = large_every > 0 && number % large_every == 0;
            let begin = format!("This is {number}.\r\n{line}\r\n");
            let body = message::body(stored).strip_prefix(begin.as_bytes());
            if body == Some(if is_large { more.as_bytes() } else { b"" }) {
                *arrived.times.entry(number).or_default() += 1;
            } else {
                arrived.broken.insert(number);
            }
        }
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_by_their_word_and_their_whole_body() {
        let sent = |subject: &str, body: &str| format!("Subject: {subject}\r\n\r\n{body}").into_bytes();
        let whole = |word: &str, number: u32| {
            sent(&format!("{word}-{number}"), &format!("This is {number}.\r\nand more\r\n"))
        };
        let empty = sent("in-3", "");
        let cut = sent("in-4", "This is 4.\r\n");
        let other = sent("other", "This is 5.\r\nand more\r\n");
        let messages = [whole("in", 1), whole("in", 2), whole("in", 1), whole("out", 7), empty, cut, other];
        let arrived = Arrived::among(&messages, "in", "and more", 0);
        assert_eq!(arrived.times, BTreeMap::from([(1, 2), (2, 1)]));
        assert_eq!(arrived.broken, BTreeSet::from([3, 4]));
        // The second one should have been large.
        let arrived = Arrived::among(&messages, "in", "and more", 2);
        assert_eq!((arrived.times, arrived.broken), (BTreeMap::from([(1, 2)]), BTreeSet::from([2, 3, 4])));
    }
}
