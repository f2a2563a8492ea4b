//! Events of the trace: what happened to an item, typed, in the order it happened.
//!
//! Edge's events name domains, never local parts: they rest in Edge's files until Home has them.

use mail::{ItemId, UnixTime};
use serde::{Deserialize, Serialize};

/// The role that saw the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Edge: the public MX.
    Edge,
    /// Home: where the mailboxes are.
    Home,
}

/// One event. `detail` is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The time of the event.
    pub at: UnixTime,
    /// The role that saw it.
    pub role: Role,
    /// The edge's name, on events that came over the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// The item, or the attempt's item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemId>,
    /// The word of a [`TraceStep`], or of one that only a later version has.
    pub step: String,
    /// The detail of the event, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What happened. The words are an interface: journals of any age and other versions have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is explained in STEPS")]
pub enum TraceStep {
    Started,
    Greylisted,
    Refused,
    NotTaken,
    HandedOff,
    PassedOn,
    NotPassedOn,
    Sealed,
    Filtered,
    NotFiltered,
    Delivered,
    AlreadyHere,
    Repeated,
    Released,
    Forwarded,
    Limited,
    Queued,
    Held,
    HeldBack,
    Attempted,
    Deferred,
    Failed,
    LeftOver,
    GivenUp,
    Forgotten,
    Delayed,
    Bounced,
    Settled,
    Removed,
    TlsReport,
}

/// What an operator wants to know of a step.
#[derive(Debug, Clone, Copy)]
pub struct TraceStepHelp {
    /// The step that is explained.
    pub step: TraceStep,
    /// Its word, in journals and on the link.
    pub word: &'static str,
    /// The role that writes it: `edge`, `home` or `both`.
    pub writer: &'static str,
    /// The meaning of the step, in words.
    pub means: &'static str,
}

/// All steps, in their own order; docs/src/trace.md has these rows.
pub const STEPS: [TraceStepHelp; 30] = [
    help(TraceStep::Started, "started", "both", "the daemon began"),
    help(
        TraceStep::Greylisted,
        "greylisted",
        "edge",
        "a suspicious client has to come again, and was answered 451; its signs follow",
    ),
    help(
        TraceStep::Refused,
        "refused",
        "both",
        "5xx: what Edge found, what a home that is another program or the program that keeps the mailboxes said, what a filter said, or a field that tells where Home is",
    ),
    help(
        TraceStep::NotTaken,
        "not-taken",
        "home",
        "4xx: what a filter said became the reply; the sender has the message and comes again",
    ),
    help(
        TraceStep::HandedOff,
        "handed-off",
        "edge",
        "Home answered while the sender waited; its reply follows",
    ),
    help(
        TraceStep::PassedOn,
        "passed-on",
        "edge",
        "a home that is another program took it while the sender waited",
    ),
    help(
        TraceStep::NotPassedOn,
        "not-passed-on",
        "edge",
        "it did not, for now: the sender has it and was answered 4xx",
    ),
    help(TraceStep::Sealed, "sealed", "edge", "kept for Home, unreadable here; why follows"),
    help(TraceStep::Filtered, "filtered", "home", "what a filter said: verdict, score, symbols"),
    help(
        TraceStep::NotFiltered,
        "not-filtered",
        "home",
        "a filter gave no verdict, why, and what follows; or the message is larger than it takes",
    ),
    help(TraceStep::Delivered, "delivered", "home", "committed to a mailbox, or taken by another MTA"),
    help(TraceStep::AlreadyHere, "already-here", "home", "came a second time and was dropped"),
    help(
        TraceStep::Repeated,
        "repeated",
        "home",
        "its sender sent it again, since he did not hear the 250 of the first: the id of that one follows",
    ),
    help(
        TraceStep::Released,
        "released",
        "home",
        "the operator delivered it from the quarantine, or let it go on in the queue",
    ),
    help(
        TraceStep::Forwarded,
        "forwarded",
        "home",
        "for an alias that leads elsewhere: where to, under which reverse-path, and the id it has in the queue",
    ),
    help(
        TraceStep::Limited,
        "limited",
        "home",
        "an account has reached its limit of recipients abroad; what it sends is answered 450",
    ),
    help(TraceStep::Queued, "queued", "home", "durable in the outbound queue"),
    help(TraceStep::Held, "held", "home", "the operator keeps it in the queue"),
    help(
        TraceStep::HeldBack,
        "held back",
        "home",
        "its edge is new and has sent its share of the day; until when follows",
    ),
    help(
        TraceStep::Attempted,
        "attempted",
        "both",
        "one attempt at Edge: which host, which TLS, which codes",
    ),
    help(
        TraceStep::Deferred,
        "deferred",
        "home",
        "what the attempt came to for one recipient: it is tried again",
    ),
    help(
        TraceStep::Failed,
        "failed",
        "home",
        "what the attempt came to for one recipient: it is not tried again",
    ),
    help(
        TraceStep::LeftOver,
        "left over",
        "home",
        "recipients that a host took no more of in one transaction: they are the next attempt at once",
    ),
    help(
        TraceStep::GivenUp,
        "given up",
        "home",
        "an attempt whose edge is away too long: its recipients are tried again, and may get the message twice",
    ),
    help(TraceStep::Forgotten, "forgotten", "home", "an attempt that no edge knows of counts as not made"),
    help(TraceStep::Delayed, "delayed", "home", "the sender was told that it is late"),
    help(
        TraceStep::Bounced,
        "bounced",
        "home",
        "a failure notice was committed to the sender's INBOX; of forwarded mail, queued for a proven sender, else committed to the postmaster's",
    ),
    help(TraceStep::Settled, "settled", "home", "nothing is left to do; removed from the queue"),
    help(
        TraceStep::Removed,
        "removed",
        "home",
        "the operator removed it from the queue or the quarantine; nobody is told",
    ),
    help(TraceStep::TlsReport, "tls-report", "home", "a report on TLS went to somebody, or could not"),
];

const fn help(
    step: TraceStep,
    word: &'static str,
    writer: &'static str,
    means: &'static str,
) -> TraceStepHelp {
    TraceStepHelp { step, word, writer, means }
}

impl TraceStep {
    /// Its word, in journals and on the link.
    pub const fn word(self) -> &'static str {
        STEPS[self as usize].word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_own_help_and_word() {
        for (place, help) in STEPS.iter().enumerate() {
            assert_eq!(help.step as usize, place, "{}", help.word);
            assert_eq!(STEPS.iter().filter(|other| other.word == help.word).count(), 1, "{}", help.word);
        }
    }

    /// Symptom: an operator looked six steps up in vain, and one that nobody writes was there. Cause: the words were literals all
    /// over the code. Analysis: nothing compared them with the page.
    #[test]
    fn the_page_about_the_trace_has_these_rows_and_no_others() {
        let page = include_str!("../../../docs/src/trace.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |help: &TraceStepHelp| format!("| `{}` | {} | {} |", help.word, help.writer, help.means);
        let expected: Vec<String> = STEPS.iter().map(row).collect();
        assert_eq!(rows, expected);
    }
}
