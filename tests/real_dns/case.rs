//! A message, how it is sent, and what is to become of it.

use testkit::Pair;
use testkit::smtp::SmtpClient;

use crate::authentication::results_of;

/// A reverse-path whose domain says nothing.
pub(super) const ELSEWHERE: &str = "bounce@elsewhere.test";

/// What is to become of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// It comes to the inbox, and its results hold these.
    Inbox(&'static [&'static str]),
    /// It comes to Junk, and its results hold these.
    Junk(&'static [&'static str]),
    /// It is refused at its end: the reply begins so.
    Refused(&'static str),
}

/// A message and its fate. Its name is its subject.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) reverse_path: String,
    pub(super) octets: Vec<u8>,
    pub(super) fate: Fate,
}

impl Case {
    /// Sends it. Gives what is wrong with the reply.
    pub(super) fn send(&self, pair: &Pair) -> Option<String> {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        let reply = client.message(&self.reverse_path, &["bob@example.org"], &self.octets).unwrap();
        let wanted = match self.fate {
            Fate::Inbox(_) | Fate::Junk(_) => "250 2.",
            Fate::Refused(start) => start,
        };
        (!reply.starts_with(wanted)).then(|| format!("{}: not {wanted}, but {reply}", self.name))
    }

    /// Looks for it in what was delivered. Gives what is wrong with it there.
    pub(super) fn find(&self, inbox: &[Vec<u8>], junk: &[Vec<u8>]) -> Option<String> {
        let found = (results_of(inbox, &self.name), results_of(junk, &self.name));
        let (results, wanted) = match (self.fate, found) {
            (Fate::Inbox(wanted), (Some(results), None)) | (Fate::Junk(wanted), (None, Some(results))) => {
                (results, wanted)
            }
            (Fate::Refused(_), (None, None)) => return None,
            (fate, (inbox, junk)) => {
                return Some(format!("{}: not {fate:?}, but inbox: {inbox:?}, Junk: {junk:?}", self.name));
            }
        };
        let missing = wanted.iter().find(|part| !results.contains(**part))?;
        Some(format!("{}: no {missing} in {results}", self.name))
    }
}
