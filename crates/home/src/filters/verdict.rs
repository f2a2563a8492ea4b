//! What filters say of a message: one finding each, one judgement of all.

use std::fmt;

use mail::Reply;

use super::edit::{self, Edit, Field, Rewrite, Which};

/// Octets of a finding's details in the trace.
const DETAIL_OCTETS_MAX: usize = 512;
/// Octets of the text of a reply that a filter chose.
const REPLY_OCTETS_MAX: usize = 400;

/// What is to become of a message, mildest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Action {
    /// It goes where it is addressed to.
    #[default]
    Accept,
    /// It goes to its recipients' Junk mailboxes.
    Junk,
    /// The operator keeps it and decides.
    Quarantine,
    /// Its sender is told to try again later.
    Defer(Reply),
    /// Its sender is told that it is not taken.
    Reject(Reply),
}

/// How a message came, as far as it limits what can become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Its sender waits for the reply.
    Live,
    /// Its sender waits, and it is for somebody who has to be reachable: postmaster or abuse (RFC 5321 section
    /// 4.5.1, RFC 2142).
    LiveForPostmaster,
    /// It was accepted before: nobody waits for the reply.
    Sealed,
    /// It was accepted before and is for somebody who has to be reachable.
    SealedForPostmaster,
}

impl Action {
    const fn severity(&self) -> u8 {
        match self {
            Self::Accept => 0,
            Self::Junk => 1,
            Self::Quarantine => 2,
            Self::Defer(_) => 3,
            Self::Reject(_) => 4,
        }
    }

    /// What can be done of it. Mail that was accepted is neither refused nor bounced nor sent back to Edge to come
    /// again: the operator or the Junk mailbox gets it. Postmaster is never refused.
    pub(crate) fn possible(self, arrived: Arrived) -> Self {
        match (self, arrived) {
            (Self::Reject(_), Arrived::LiveForPostmaster | Arrived::SealedForPostmaster) => Self::Junk,
            (Self::Reject(_), Arrived::Sealed) => Self::Quarantine,
            (Self::Defer(_), Arrived::Sealed | Arrived::SealedForPostmaster) => Self::Junk,
            (action, _) => action,
        }
    }

    /// 550, in the filter's words if it has some.
    pub(super) fn reject(text: Option<&str>) -> Self {
        let text = text.map(sanitised).filter(|text| !text.is_empty());
        Self::Reject(Reply::new(550, (5, 7, 1), text.unwrap_or_else(|| "The message is refused".to_owned())))
    }

    /// 451, in the filter's words if it has some.
    pub(super) fn defer(text: Option<&str>) -> Self {
        let text = text.map(sanitised).filter(|text| !text.is_empty());
        let text = text.unwrap_or_else(|| "The message is not taken now; try again later".to_owned());
        Self::Defer(Reply::new(451, (4, 7, 1), text))
    }

    /// A filter's whole reply: its code and words, made safe.
    pub(super) fn from_reply(reply: &Reply) -> Self {
        let refusal = reply.code >= 500;
        let plain = if refusal { Self::reject(Some(&reply.text)) } else { Self::defer(Some(&reply.text)) };
        let class = if refusal { 5 } else { 4 };
        let keep = |mut own: Reply| {
            // 421 and 221 would end the session, which is Edge's to decide.
            own.code = if reply.code == 421 { 451 } else { reply.code };
            if let Some(enhanced) = reply.enhanced.filter(|enhanced| enhanced.0 == class) {
                own.enhanced = Some(enhanced);
            }
            own
        };
        match plain {
            Self::Reject(own) => Self::Reject(keep(own)),
            Self::Defer(own) => Self::Defer(keep(own)),
            other => other,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Junk => "junk",
            Self::Quarantine => "quarantine",
            Self::Defer(_) => "defer",
            Self::Reject(_) => "reject",
        })
    }
}

/// One line of printable ASCII, cut.
fn sanitised(text: &str) -> String {
    let one_line = text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty());
    let one_line = one_line.collect::<Vec<_>>().join(" ");
    let safe = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
    one_line.chars().take(REPLY_OCTETS_MAX).map(safe).collect()
}

/// The finding of one filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Finding {
    pub(super) action: Action,
    /// Its score and the score at which it would refuse.
    pub(super) score: Option<(f64, f64)>,
    /// The filter's findings in short, for the trace.
    pub(super) detail: String,
    pub(super) edits: Vec<Edit>,
}

impl Finding {
    pub(super) fn accept() -> Self {
        Self::default()
    }

    /// That of a filter which should have been asked and could not.
    pub(super) fn unchecked() -> Self {
        let reply = Reply::new(451, (4, 3, 0), "The message could not be checked now; try again later");
        Self { action: Action::Defer(reply), ..Self::default() }
    }

    /// A field more. One that can't be a field is left out.
    pub(super) fn add(&mut self, place: Option<usize>, name: &str, value: &[u8]) {
        if let Some(field) = Field::new(name, value) {
            self.edits.push(Edit::Add(place, field));
        }
    }

    /// A field less, or another in its place.
    pub(super) fn rewrite(&mut self, name: &str, which: Which, value: Option<&[u8]>) {
        let field = value.and_then(|value| Field::new(name, value));
        if value.is_none() || field.is_some() {
            self.edits.push(Edit::Rewrite(Rewrite { name: name.to_owned(), which, field }));
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.action)?;
        if let Some((score, required)) = self.score {
            write!(f, ", score {score:.2} of {required:.2}")?;
        }
        if !self.detail.is_empty() {
            let end = self.detail.floor_char_boundary(DETAIL_OCTETS_MAX);
            write!(f, ", {}", self.detail.get(..end).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The judgement of all filters together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Judgement {
    /// The strictest of their actions.
    pub(crate) action: Action,
    /// Whose it is, and why: for the operator.
    pub(crate) reason: String,
    /// The score of the same filter.
    pub(crate) score: Option<f64>,
    /// Fields that go before the message.
    pub(crate) fields: Vec<Field>,
    /// Changes of the header that it came with.
    pub(crate) rewrites: Vec<Rewrite>,
    octets: usize,
}

impl Judgement {
    pub(super) fn add(&mut self, filter: &str, finding: Finding) {
        if finding.action.severity() > self.action.severity() {
            self.reason = format!("{filter}: {finding}");
            self.score = finding.score.map(|(score, _)| score);
            self.action = finding.action;
        }
        for edit in finding.edits {
            match edit {
                Edit::Add(place, field) => self.add_field(filter, place, field),
                Edit::Rewrite(rewrite) if self.rewrites.len() < edit::REWRITES_MAX => {
                    self.rewrites.push(rewrite);
                }
                Edit::Rewrite(_) => tracing::warn!(filter, "a filter changes more fields than are changed"),
            }
        }
    }

    fn add_field(&mut self, filter: &str, place: Option<usize>, field: Field) {
        self.octets += field.octets().len();
        if self.fields.len() >= edit::FIELDS_MAX || self.octets > edit::OCTETS_MAX {
            self.octets -= field.octets().len();
            tracing::warn!(filter, "a filter adds more header fields than are taken; the rest is left out");
            return;
        }
        let place = place.unwrap_or(usize::MAX).min(self.fields.len());
        self.fields.insert(place, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(action: Action) -> Finding {
        Finding { action, ..Finding::default() }
    }

    #[test]
    fn the_strictest_of_several_filters_counts_and_tells_why() {
        let mut judgement = Judgement::default();
        judgement.add("one", finding(Action::Quarantine));
        judgement.add("two", Finding { score: Some((6.0, 15.0)), ..finding(Action::Junk) });
        assert_eq!((judgement.action.clone(), judgement.score), (Action::Quarantine, None));
        assert_eq!(judgement.reason, "one: quarantine");
        judgement.add("three", finding(Action::defer(None)));
        assert_eq!(judgement.action, Action::defer(None));
        judgement.add("four", Finding { score: Some((20.0, 15.0)), ..finding(Action::reject(None)) });
        assert_eq!(judgement.reason, "four: reject, score 20.00 of 15.00");
    }

    #[test]
    fn what_was_accepted_is_never_refused_and_postmaster_is_always_reachable() {
        let (reject, defer) = (Action::reject(None), Action::defer(None));
        for (action, arrived, becomes) in [
            (reject.clone(), Arrived::Live, reject.clone()),
            (reject.clone(), Arrived::LiveForPostmaster, Action::Junk),
            (reject.clone(), Arrived::Sealed, Action::Quarantine),
            (reject, Arrived::SealedForPostmaster, Action::Junk),
            (defer.clone(), Arrived::Live, defer.clone()),
            (defer.clone(), Arrived::LiveForPostmaster, defer.clone()),
            (defer.clone(), Arrived::Sealed, Action::Junk),
            (defer, Arrived::SealedForPostmaster, Action::Junk),
        ] {
            assert_eq!(action.possible(arrived), becomes, "{arrived:?}");
        }
        for action in [Action::Accept, Action::Junk, Action::Quarantine] {
            for arrived in [Arrived::Live, Arrived::Sealed, Arrived::LiveForPostmaster] {
                assert_eq!(action.clone().possible(arrived), action, "a seal changes nothing");
            }
        }
    }

    #[test]
    fn replies_are_one_safe_line_and_keep_code_and_class() {
        let Action::Reject(reply) = Action::reject(Some("no\r\n250 yes\u{7}é")) else { panic!() };
        assert_eq!(reply.to_string(), "550 5.7.1 no 250 yes??");
        assert_eq!(sanitised(&"x".repeat(REPLY_OCTETS_MAX + 1)).len(), REPLY_OCTETS_MAX);
        for (reply, text) in [
            (Reply::new(554, (5, 7, 9), "virus"), "554 5.7.9 virus"),
            (Reply::bare(450, "wait"), "450 4.7.1 wait"),
            (Reply::bare(421, ""), "451 4.7.1 The message is not taken now; try again later"),
            (Reply::new(550, (4, 0, 0), "odd"), "550 5.7.1 odd"),
        ] {
            let (Action::Reject(own) | Action::Defer(own)) = Action::from_reply(&reply) else { panic!() };
            assert_eq!(own.to_string(), text);
        }
    }

    #[test]
    fn fields_are_taken_up_to_their_number_and_octets() {
        let mut many = Finding::default();
        (0..=edit::FIELDS_MAX).for_each(|_| many.add(None, "X", b"v"));
        let mut judgement = Judgement::default();
        judgement.add("f", many);
        assert_eq!(judgement.fields.len(), edit::FIELDS_MAX);
        let mut large = Finding::default();
        (0..20).for_each(|_| large.add(None, "X", &[b'v'; 16 * 1024]));
        let mut judgement = Judgement::default();
        judgement.add("f", large);
        assert_eq!(judgement.fields.len(), 7);
        let mut removals = Finding::default();
        (0..=edit::REWRITES_MAX).for_each(|_| removals.rewrite("X", Which::All, None));
        judgement.add("f", removals);
        assert_eq!(judgement.rewrites.len(), edit::REWRITES_MAX);
    }

    #[test]
    fn a_field_has_its_place_among_those_added() {
        let mut finding = Finding::default();
        finding.add(None, "A", b"1");
        finding.add(Some(0), "B", b"2");
        finding.add(Some(9), "C", b"3");
        let mut judgement = Judgement::default();
        judgement.add("f", finding);
        let all: Vec<u8> = judgement.fields.iter().flat_map(|field| field.octets().to_vec()).collect();
        assert_eq!(String::from_utf8_lossy(&all), "B: 2\r\nA: 1\r\nC: 3\r\n");
    }
}
