//! The log's one line for each message at each role, and how many there were. Its target and its fields are an interface,
//! documented in docs/src/operation.md: what reads logs goes by them.
//!
//! It names domains and never local parts, at Home as well: logs go to places that mail does not go to.

use std::sync::atomic::{AtomicU64, Ordering};

use link::Passed;
use mail::{Envelope, ItemId, UnixTime};
use serde_json::{Value, json};

/// The target of the lines: `RUST_LOG=info,mail=off` leaves them out.
pub const TARGET: &str = "mail";

/// The way that a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the world.
    In,
    /// To the world.
    Out,
}

/// What is told of a message. A domain that is not known is `-`, an empty reverse-path `<>`.
#[derive(Clone, Copy)]
pub struct MailLine<'a> {
    /// Which way it goes.
    pub way: Way,
    /// Its id, once it has one.
    pub item: Option<ItemId>,
    /// The sender's domain.
    pub from: &'a str,
    /// The domain of its recipients, of the first one where there are several.
    pub to: &'a str,
    /// How many recipients.
    pub recipients: usize,
    /// Its size.
    pub octets: u64,
    /// What became of it: a step of the trace.
    pub verdict: &'static str,
    /// The code of the reply: 2xx when it was taken, 4xx when it comes again, 5xx when it was refused; 0 for none.
    pub code: u16,
    /// From whom it came or to whom it went: a client's address, a host, an edge.
    pub peer: &'a dyn std::fmt::Display,
    /// Why, where the verdict does not say it: the signs that were found on a client. Nobody's own words.
    pub why: Option<&'a dyn std::fmt::Display>,
}

impl<'a> MailLine<'a> {
    /// What an envelope tells; all else is for the caller to say.
    #[must_use]
    pub fn of(way: Way, envelope: &'a Envelope) -> Self {
        let first = envelope.recipients.first();
        Self {
            way,
            item: None,
            from: envelope.reverse_path.address().map_or("<>", |address| address.domain().as_str()),
            to: first.map_or("-", |recipient| recipient.address.domain().as_str()),
            recipients: envelope.recipients.len(),
            octets: 0,
            verdict: "-",
            code: 0,
            peer: &"-",
            why: None,
        }
    }
}

/// Messages that passed since the daemon began.
#[derive(Debug, Default)]
pub struct Tally {
    begun: UnixTime,
    taken: [AtomicU64; 2],
    not_taken: [AtomicU64; 2],
    last: [AtomicU64; 2],
}

impl Tally {
    pub(crate) fn new(begun: UnixTime) -> Self {
        Self { begun, ..Self::default() }
    }

    /// Since when it counts: the daemon's beginning.
    #[must_use]
    pub const fn begun(&self) -> UnixTime {
        self.begun
    }

    fn count(&self, line: &MailLine<'_>, now: UnixTime) {
        let way = line.way as usize;
        let counted = if (200..300).contains(&line.code) {
            if let Some(last) = self.last.get(way) {
                last.fetch_max(now.0, Ordering::Relaxed);
            }
            self.taken.get(way)
        } else {
            self.not_taken.get(way)
        };
        if let Some(counted) = counted {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The messages of one way.
    #[must_use]
    pub fn passed(&self, way: Way) -> Passed {
        let of = |counts: &[AtomicU64; 2]| {
            counts.get(way as usize).map_or(0, |count| count.load(Ordering::Relaxed))
        };
        let last = Some(of(&self.last)).filter(|at| *at > 0).map(UnixTime);
        Passed { taken: of(&self.taken), not_taken: of(&self.not_taken), last }
    }

    /// The same, as `status` shows it.
    #[must_use]
    pub fn shown(&self, way: Way) -> Value {
        shown(&self.passed(way))
    }
}

/// Messages that passed one way, as `status` shows them.
#[must_use]
pub fn shown(passed: &Passed) -> Value {
    json!({
        "taken": passed.taken,
        "not_taken": passed.not_taken,
        "last": passed.last.map(UnixTime::rfc3339),
    })
}

/// Counts a message and writes its line. Where the level is off nothing is made of it.
pub(crate) fn tell(tally: &Tally, line: &MailLine<'_>, now: UnixTime) {
    tally.count(line, now);
    let MailLine { item, from, to, recipients, octets, verdict, code, peer, why, .. } = *line;
    let (item, why) = (item.as_ref().map(tracing::field::display), why.map(tracing::field::display));
    match line.way {
        Way::In => {
            tracing::info!(target: TARGET, item, from, to, recipients, octets, verdict, code, %peer, why, "mail in");
        }
        Way::Out => {
            tracing::info!(target: TARGET, item, from, to, recipients, octets, verdict, code, %peer, why, "mail out");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn line(way: Way, code: u16) -> MailLine<'static> {
        MailLine {
            way,
            item: Some(ItemId::from_bytes([1; 16])),
            from: "a.example",
            to: "b.example",
            recipients: 2,
            octets: 1000,
            verdict: "handed-off",
            code,
            peer: &"192.0.2.1",
            why: None,
        }
    }

    #[test]
    fn what_was_taken_is_told_from_what_was_not_each_way_for_itself() {
        let tally = Tally::default();
        for (at, code) in [(5, 250), (7, 451), (9, 550), (3, 250), (11, 0)] {
            tell(&tally, &line(Way::In, code), UnixTime(at));
        }
        let last = Some(UnixTime(5));
        assert_eq!(tally.passed(Way::In), Passed { taken: 2, not_taken: 3, last });
        assert_eq!(tally.passed(Way::Out), Passed::default());
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tell(&Tally::default(), &line(Way::Out, 250), UnixTime(1));
        });
        let octets = written.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    /// Programs that read logs go by these names.
    #[test]
    fn a_line_has_these_fields_and_its_target_and_can_be_left_out() {
        let read: Value = serde_json::from_str(&logged("info")).unwrap();
        assert_eq!((&read["target"], &read["level"]), (&"mail".into(), &"INFO".into()));
        let fields: Vec<&String> = read["fields"].as_object().unwrap().keys().collect();
        let mut expected =
            ["message", "item", "from", "to", "recipients", "octets", "verdict", "code", "peer"].to_vec();
        expected.sort_unstable();
        let mut fields: Vec<&str> = fields.into_iter().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, expected);
        assert_eq!(read["fields"]["message"], "mail out");
        assert_eq!(logged("info,mail=off"), "");
    }
}
