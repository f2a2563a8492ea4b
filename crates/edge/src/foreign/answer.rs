//! What a sender is told of a home's replies: codes, and words without anything that says where the home is.

use mail::{EnhancedCode, ItemId, Outcome, Reply, Why};
use net::smtp_server::Answers;
use smtp::client::{BESIDE, TransactionResult};

use super::line::Line;
use crate::handoff::{self, Telling};

/// Longest text in octets that is passed on.
const TEXT_OCTETS_MAX: usize = 200;
/// What stands for a word that is not passed on.
const HIDDEN: &str = "[...]";

/// The home's answer to RCPT for one recipient.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The home takes mail for the recipient.
    Known,
    /// The home never takes mail for the recipient.
    Unknown(Reply),
    /// It does not say, or not now.
    NotNow(Reply),
}

/// The home can't be reached, or can't be believed.
pub(super) fn away() -> Reply {
    Reply::new(451, (4, 4, 1), "The recipient's server is away; try again later")
}

/// The home may have the message, and may not.
pub(super) fn silent() -> Reply {
    Reply::new(451, (4, 4, 2), "The recipient's server did not say whether it has the message; send it again")
}

/// The recipient does not exist.
pub(super) fn unknown_recipient() -> Reply {
    Reply::new(550, (5, 1, 1), "There is no such recipient here")
}

/// Whom a refusal of the envelope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The recipient, or the sender.
    Envelope,
    /// This Edge: its certificate, its login, relaying. That is the operator's to mend.
    Edge,
}

/// What the reply to MAIL or RCPT means for a recipient. While Edge is to blame no sender is told that the recipient
/// does not exist.
pub(super) fn of_recipient(outcome: &Outcome, blame: Blame, line: &Line) -> Asked {
    match outcome {
        Outcome::Delivered(_) => {
            line.is_willing();
            Asked::Known
        }
        Outcome::Failed(Why { reply: Some(reply), .. }) if blame == Blame::Edge => {
            line.refuses_us(reply);
            Asked::NotNow(Reply::new(
                451,
                (4, 3, 5),
                "The recipient's server takes no mail now; try again later",
            ))
        }
        Outcome::Failed(why) => Asked::Unknown(told(why, line.host())),
        Outcome::Deferred(Why { reply: None, .. }) => Asked::NotNow(away()),
        Outcome::Deferred(why) => Asked::NotNow(told(why, line.host())),
    }
}

/// The replies for the sender, and what became of each recipient: `None` where the message itself was answered.
pub(super) fn of_message(
    result: &TransactionResult,
    blame: Blame,
    (telling, item): (Telling, ItemId),
    line: &Line,
) -> (Answers, Vec<Option<Asked>>) {
    let mut replies = Vec::with_capacity(result.outcomes.len());
    let mut asked = Vec::with_capacity(result.outcomes.len());
    for outcome in &result.outcomes {
        let of_envelope =
            (!result.body_begun && outcome.why().reply.is_some()).then(|| of_recipient(outcome, blame, line));
        if matches!(outcome, Outcome::Delivered(_)) {
            line.is_willing();
        }
        replies.push(match &of_envelope {
            Some(Asked::Unknown(reply) | Asked::NotNow(reply)) => reply.clone(),
            _ => of_outcome(outcome, (result.in_doubt, item), line.host()),
        });
        asked.push(of_envelope);
    }
    let none = || Reply::new(451, (4, 3, 0), "The message was not taken; try again later").into();
    (handoff::judge(replies, telling).unwrap_or_else(none), asked)
}

fn of_outcome(outcome: &Outcome, (in_doubt, item): (bool, ItemId), host: &str) -> Reply {
    match outcome {
        Outcome::Delivered(_) => Reply::new(250, (2, 0, 0), format!("Passed on as {item}")),
        Outcome::Deferred(Why { reply: None, status: BESIDE, .. }) => Reply::new(
            451,
            (4, 5, 3),
            "Another recipient was refused meanwhile; send the message again to hear which",
        ),
        Outcome::Deferred(Why { reply: None, .. }) if in_doubt => silent(),
        Outcome::Deferred(Why { reply: None, .. }) => away(),
        Outcome::Deferred(why) | Outcome::Failed(why) => told(why, host),
    }
}

/// A refusal in the home's codes and harmless words.
fn told(why: &Why, host: &str) -> Reply {
    let EnhancedCode(class, subject, detail) = why.status;
    let Some(reply) = &why.reply else {
        let code = if why.status == EnhancedCode(5, 3, 4) { 552 } else { 550 };
        return Reply::new(code, (class, subject, detail), why.cause.clone());
    };
    let code = match reply.code {
        // What the home said does not fit what was asked: that says nothing of this mail.
        500.. if class == 4 => 451,
        450 | 451 | 452 | 550 | 552 | 553 | 554 => reply.code,
        500.. => 550,
        // 421 would end the sender's session, which is none of the home's.
        _ => 451,
    };
    if code >= 500 && why.status == EnhancedCode(5, 1, 1) {
        return unknown_recipient();
    }
    // A code of another class than the reply's is the home's mistake.
    let class = if code >= 500 { 5 } else { 4 };
    Reply::new(code, (class, subject, detail), harmless(&reply.text, host))
}

/// The text without words that are or may be names, addresses or paths.
fn harmless(text: &str, host: &str) -> String {
    let mut out = String::new();
    for word in text.split_ascii_whitespace() {
        let word = if tells(word, host) { HIDDEN } else { word };
        if out.len() + 1 + word.len() > TEXT_OCTETS_MAX {
            break;
        }
        if word == HIDDEN && out.ends_with(HIDDEN) {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if out.is_empty() || out == HIDDEN { "Refused by the recipient's server".to_owned() } else { out }
}

fn tells(word: &str, host: &str) -> bool {
    if !word.bytes().all(|octet| octet.is_ascii_graphic()) || word.contains(['@', '/', '\\', '=']) {
        return true;
    }
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let label = host.split('.').next().unwrap_or_default();
    if bare.eq_ignore_ascii_case(host) || (label.len() > 1 && bare.eq_ignore_ascii_case(label)) {
        return true;
    }
    // An IPv6 address, with or without its prefix; "::1" and "fe80::" as well.
    if word.matches(':').count() > 1 {
        return true;
    }
    // A name or an IPv4 address; an enhanced status code or a version has three numbers at most.
    let parts: Vec<&str> = bare.split('.').collect();
    let numbers = parts.iter().all(|part| part.bytes().all(|octet| octet.is_ascii_digit()));
    parts.len() > 1 && !(numbers && parts.len() <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_tell_where_the_home_is_are_not_passed_on() {
        let host = "cellar.example.org";
        for (said, told) in [
            ("Blocked: no advertising here", "Blocked: no advertising here"),
            ("<bob@inside.lan>: over quota", "[...] over quota"),
            ("cellar.example.org 192.168.1.2 says no", "[...] says no"),
            ("refused by (cellar) [fd00::2] IPv6:fd00::3", "refused by [...]"),
            ("5.7.1 see https://inside.lan/why or /var/log/mail.log", "5.7.1 see [...] or [...]"),
            ("host=cellar", "Refused by the recipient's server"),
            ("", "Refused by the recipient's server"),
            ("héllo there", "[...] there"),
            ("denied from ::1 and fe80::", "denied from [...] and [...]"),
        ] {
            assert_eq!(harmless(said, host), told, "{said}");
        }
        let long = harmless(&"word ".repeat(100), host);
        assert_eq!(long.len(), 199);
    }

    #[test]
    fn codes_are_passed_on_as_far_as_they_are_a_sender_s_business() {
        let of = |code, enhanced| {
            let reply = Reply::new(code, enhanced, "text");
            let told = told(Outcome::from_reply(None, &reply).why(), "home");
            (told.code, told.status())
        };
        assert_eq!(of(552, (5, 2, 2)), (552, EnhancedCode(5, 2, 2)));
        assert_eq!(of(421, (4, 3, 2)), (451, EnhancedCode(4, 3, 2)));
        assert_eq!(of(571, (5, 7, 1)), (550, EnhancedCode(5, 7, 1)));
        assert_eq!(of(451, (5, 7, 1)), (451, EnhancedCode(4, 7, 1)));
    }

    /// Symptom: a home that answers twice makes Edge refuse mail for good. Cause: the outcome is temporary, but was told
    /// with the code of the reply in it.
    #[test]
    fn what_is_temporary_is_told_as_temporary_whatever_reply_is_in_it() {
        let unasked = smtp::client::Closed::Unexpected(Reply::new(550, (5, 1, 1), "no"));
        let told = told(unasked.outcome(None).why(), "home");
        assert_eq!((told.code, told.status()), (451, EnhancedCode(4, 5, 0)));
    }

    /// Symptom: `status` says for ever that a home refuses this Edge, and a second refusal is not logged. Cause: with a
    /// file of recipients none is asked about, and a message that was taken counted for nothing.
    #[test]
    fn a_home_that_took_a_message_is_willing() {
        let line = Line::nowhere(1);
        line.refuses_us(&Reply::new(554, (5, 7, 1), "no"));
        let outcomes = vec![Outcome::from_reply(None, &Reply::new(250, (2, 0, 0), "queued"))];
        let result = TransactionResult { outcomes, reusable: true, in_doubt: false, body_begun: true };
        let item = ItemId::from_bytes([1; 16]);
        let (answers, _) = of_message(&result, Blame::Envelope, (Telling::Together, item), &line);
        assert_eq!((answers.all.code, line.state().0), (250, "up"));
    }

    #[test]
    fn a_reply_that_was_lost_is_told_from_a_home_that_is_away() {
        let item = ItemId::from_bytes([1; 16]);
        let lost = Outcome::deferred(EnhancedCode(4, 4, 2), "the connection was lost");
        assert_eq!(of_outcome(&lost, (true, item), "home"), silent());
        assert_eq!(of_outcome(&lost, (false, item), "home"), away());
        let too_large = Outcome::failed(EnhancedCode(5, 3, 4), "the message is larger than the server takes");
        assert_eq!(of_outcome(&too_large, (false, item), "home").code, 552);
        let utf8 = Outcome::failed(EnhancedCode(5, 6, 7), "an address needs SMTPUTF8");
        assert_eq!(of_outcome(&utf8, (false, item), "home").status(), EnhancedCode(5, 6, 7));
    }
}
