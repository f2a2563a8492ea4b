//! What the caller hands in, and what it gets back: a message for one host, who has to be taken, one outcome for each
//! recipient.

use std::sync::Arc;

use mail::{BodyType, EnhancedCode, Envelope, Outcome, Recipient, Reply, ReversePath, Why};

/// How many of the recipients the server has to take before the message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quorum {
    /// One of them: each has an outcome of its own.
    #[default]
    One,
    /// All of them, else none gets it: for who can pass on one outcome only.
    All,
    /// The message is not sent at all: the server is only asked which recipients it would take.
    Never,
}

/// One message for one host.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Reverse-path and parameters. Its own recipients are not looked at.
    pub envelope: Arc<Envelope>,
    /// The recipients that this host is to get: all of the envelope's, or some.
    pub recipients: Vec<Recipient>,
    /// The exact size of the message in octets, as it will be given to [`super::Session::body`].
    pub octets: u64,
    /// Whether octets above 127 occur in the message.
    pub has_8bit: bool,
    /// Whether the header section needs SMTPUTF8 (RFC 6531). Addresses that do are found by themselves.
    pub needs_smtputf8: bool,
    /// Who has to be taken for the message to be sent.
    pub quorum: Quorum,
}

impl Transaction {
    /// Asks whether the server would take mail for a recipient, under the null reverse-path, and sends no message
    /// ([`Quorum::Never`]).
    #[must_use]
    pub fn question(recipient: Recipient) -> Self {
        let recipients = vec![recipient];
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: recipients.clone(),
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        };
        Self {
            envelope: Arc::new(envelope),
            recipients,
            octets: 0,
            has_8bit: false,
            needs_smtputf8: false,
            quorum: Quorum::Never,
        }
    }
}

/// The outcomes of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionResult {
    /// One outcome per recipient, in the order given.
    pub outcomes: Vec<Outcome>,
    /// Whether [`super::Session::start`] may be called again; else [`super::Step::Closed`] follows.
    pub reusable: bool,
    /// The whole body was sent and no reply came: the server may have taken the message. Recipients it had
    /// accepted are deferred.
    pub in_doubt: bool,
    /// Whether the message was begun to be sent: enough recipients were taken. If not, outcomes with a reply are
    /// refusals of the envelope.
    pub body_begun: bool,
}

/// The status of a recipient that was taken where not all others were ([`Quorum::All`]).
pub const BESIDE: EnhancedCode = EnhancedCode(4, 5, 3);

impl TransactionResult {
    /// Whether nothing is known of the message there, and this connection is of no use: it had been closed, for example,
    /// while it waited. A caller that can give the message from its first octet may begin anew on another connection.
    #[must_use]
    pub fn is_as_if_never_begun(&self) -> bool {
        let deferred = |outcome: &Outcome| matches!(outcome, Outcome::Deferred(_));
        !self.reusable && !self.in_doubt && self.outcomes.iter().all(deferred)
    }

    /// Whether the connection is to be kept for the next message: it can be used, and this one was not put off for each
    /// recipient. A server that puts off may go on from what it knew when the session began (its greylist, its
    /// configuration), counts its replies against the session, and answers later each time; it is asked again from the
    /// greeting on.
    #[must_use]
    pub fn is_worth_keeping(&self) -> bool {
        let put_off = |outcome: &Outcome| matches!(outcome, Outcome::Deferred(Why { reply: Some(_), .. }));
        self.reusable && !self.outcomes.iter().all(put_off)
    }

    /// Whether one of these refusals of the envelope may be about the client itself, its certificate, its login,
    /// relaying, and not about a recipient. It is not if others were taken beside it.
    #[must_use]
    pub fn may_be_about_client(&self) -> bool {
        let about_client = |outcome: &Outcome| {
            let reply = outcome.why().reply.as_ref();
            matches!(outcome, Outcome::Failed(_)) && reply.is_some_and(is_of_no_recipient)
        };
        let taken = |outcome: &Outcome| {
            let beside = |why: &Why| why.reply.is_none() && why.status == BESIDE;
            match outcome {
                Outcome::Delivered(_) => true,
                Outcome::Deferred(why) => beside(why),
                Outcome::Failed(_) => false,
            }
        };
        !self.body_begun && self.outcomes.iter().any(about_client) && !self.outcomes.iter().any(taken)
    }
}

/// A refusal that does not speak of an address or a mailbox (RFC 3463, subjects 1 and 2). The code alone says nothing:
/// Exim has 550 without another code for who does not exist, and for a client that it does not know.
const fn is_of_no_recipient(reply: &Reply) -> bool {
    !matches!(reply.enhanced, Some(EnhancedCode(_, 1 | 2, _)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_may_be_about_the_client_are_told_from_those_that_name_the_recipient() {
        let about_client = |code, enhanced: Option<(u8, u16, u16)>| {
            is_of_no_recipient(
                &enhanced.map_or_else(|| Reply::bare(code, "x"), |enhanced| Reply::new(code, enhanced, "x")),
            )
        };
        for (code, enhanced) in [
            (554, Some((5, 7, 1))),
            (530, None),
            (535, None),
            (550, Some((5, 7, 0))),
            (554, None),
            (550, None),
        ] {
            assert!(about_client(code, enhanced), "{code}");
        }
        for (code, enhanced) in [(550, Some((5, 1, 1))), (553, Some((5, 1, 3))), (554, Some((5, 2, 1)))] {
            assert!(!about_client(code, enhanced), "{code}");
        }
    }

    #[test]
    fn a_refusal_beside_recipients_that_were_taken_is_not_about_the_client() {
        let refused = Outcome::from_reply(None, &Reply::new(554, (5, 7, 1), "no"));
        let unknown = Outcome::from_reply(None, &Reply::new(550, (5, 1, 1), "no"));
        let taken = Outcome::deferred(BESIDE, "another recipient was refused");
        let ask = |outcomes: &[&Outcome], body_begun| {
            let outcomes = outcomes.iter().map(|outcome| (*outcome).clone()).collect();
            TransactionResult { outcomes, reusable: true, in_doubt: false, body_begun }.may_be_about_client()
        };
        assert!(ask(&[&refused, &unknown], false));
        assert!(!ask(&[&unknown], false) && !ask(&[&refused, &taken], false));
        assert!(!ask(&[&refused], true), "that is about the message");
    }

    #[test]
    fn a_connection_on_which_all_was_put_off_is_not_kept() {
        let put_off = Outcome::from_reply(None, &Reply::new(451, (4, 7, 1), "later"));
        let refused = Outcome::from_reply(None, &Reply::new(550, (5, 1, 1), "no"));
        // The server was not asked for this one.
        let left_over = Outcome::deferred(EnhancedCode(4, 5, 3), "too many");
        let kept = |outcomes: &[&Outcome], reusable| {
            let outcomes = outcomes.iter().map(|outcome| (*outcome).clone()).collect();
            TransactionResult { outcomes, reusable, in_doubt: false, body_begun: false }.is_worth_keeping()
        };
        assert!(!kept(&[&put_off], true) && !kept(&[&put_off, &put_off], true));
        assert!(kept(&[&put_off, &refused], true) && kept(&[&refused], true) && kept(&[&left_over], true));
        assert!(!kept(&[&refused], false), "it can't be used");
    }

    #[test]
    fn only_what_was_put_off_on_a_connection_that_ends_is_begun_anew() {
        let put_off = || Outcome::deferred(EnhancedCode(4, 4, 2), "closed");
        let refused = || Outcome::failed(EnhancedCode(5, 1, 1), "no");
        let anew = |outcomes, reusable, in_doubt| {
            TransactionResult { outcomes, reusable, in_doubt, body_begun: false }.is_as_if_never_begun()
        };
        assert!(anew(vec![put_off(), put_off()], false, false));
        assert!(!anew(vec![put_off(), refused()], false, false), "one of them has his answer");
        assert!(!anew(vec![put_off()], true, false) && !anew(vec![put_off()], false, true));
    }
}
