//! The replies to a message: one for each recipient, or one for all to an item that was sealed.

use mail::{EnhancedCode, ItemId, Reply, Why};

use super::arrivals::not_now;

/// Replies as they come in.
pub(super) struct Replies {
    slots: Vec<Option<Reply>>,
    /// Whether somebody has the message.
    is_kept: bool,
}

impl Replies {
    /// None yet, for so many recipients.
    pub(super) fn new(recipients: usize) -> Self {
        Self { slots: vec![None; recipients], is_kept: false }
    }

    /// The same reply for each of `recipients`.
    pub(super) fn all(recipients: usize, reply: &Reply) -> Self {
        Self { slots: vec![Some(reply.clone()); recipients], is_kept: reply.is_positive() }
    }

    /// One for the recipients at these places. An address may lead to several accounts: one that failed makes its reply.
    pub(super) fn give(&mut self, places: &[usize], reply: &Reply) {
        for place in places {
            let slot = self.slots.get_mut(*place);
            if let Some(slot) = slot.filter(|slot| slot.as_ref().is_none_or(Reply::is_positive)) {
                *slot = Some(reply.clone());
            }
        }
        self.is_kept |= reply.is_positive();
    }

    /// What was said for these places is taken back.
    pub(super) fn take_back(&mut self, places: &[usize]) {
        for place in places {
            if let Some(slot) = self.slots.get_mut(*place) {
                *slot = None;
            }
        }
    }

    /// Whether somebody has the message.
    pub(super) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether each recipient has a positive one.
    pub(super) fn are_all_positive(&self) -> bool {
        self.slots.iter().all(|reply| reply.as_ref().is_some_and(Reply::is_positive))
    }

    /// Who has heard nothing comes again.
    pub(super) fn into_replies(self) -> Vec<Reply> {
        self.slots.into_iter().map(|reply| reply.unwrap_or_else(not_now)).collect()
    }
}

/// The same words as Edge has for what it seals: no sender is to see whether the house is there.
pub(super) fn taken(item: ItemId) -> Reply {
    Reply::new(250, (2, 0, 0), format!("Taken as {item}"))
}

/// What the sender hears of a mailbox server's refusal: its codes, and none of its words, which name the account
/// that an alias leads to.
pub(super) fn refused(why: &Why) -> Reply {
    let EnhancedCode(class, subject, detail) = why.status;
    let text = match why.status {
        EnhancedCode(_, 2, 2) => "The mailbox is full",
        EnhancedCode(_, 1, 1) => "There is no such mailbox",
        _ => "The mailbox does not take this message",
    };
    let code = why.reply.as_ref().map_or(554, |reply| reply.code);
    Reply::new(code, (class, subject, detail), text)
}

/// A sealed item is done when every recipient is; else it stays with Edge and comes again.
pub(super) fn worst(replies: Vec<Reply>) -> Reply {
    let failed = replies.iter().position(|reply| !reply.is_positive());
    let at = failed.unwrap_or(0);
    replies.into_iter().nth(at).unwrap_or_else(not_now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_one() -> Reply {
        taken(ItemId::from_bytes([1; 16]))
    }

    fn codes(replies: Replies) -> Vec<u16> {
        replies.into_replies().iter().map(|reply| reply.code).collect()
    }

    #[test]
    fn one_account_of_several_that_failed_makes_its_recipients_reply_whichever_was_first() {
        let full = Reply::new(552, (5, 2, 2), "full");
        for order in [[taken_one(), full.clone()], [full, taken_one()]] {
            let mut replies = Replies::new(2);
            for reply in &order {
                replies.give(&[0], reply);
            }
            assert!(replies.is_kept());
            assert_eq!(codes(replies), [552, 451], "and who has heard nothing comes again");
        }
    }

    #[test]
    fn what_is_taken_back_can_be_said_anew() {
        let mut replies = Replies::new(1);
        replies.give(&[0], &Reply::new(552, (5, 2, 2), "full"));
        replies.take_back(&[0, 7]);
        replies.give(&[0], &taken_one());
        assert_eq!(codes(replies), [250]);
    }

    #[test]
    fn a_sealed_item_is_done_when_each_recipient_is() {
        let failed = Reply::new(552, (5, 2, 2), "full");
        assert_eq!(worst(vec![taken_one(), failed, not_now()]).code, 552);
        assert_eq!(worst(vec![taken_one(), taken_one()]).code, 250);
        assert_eq!(worst(Vec::new()).code, 451);
    }

    #[test]
    fn a_mailbox_servers_refusal_keeps_its_codes_and_none_of_its_words() {
        for (status, text) in [((5, 2, 2), "full"), ((5, 1, 1), "no such"), ((5, 7, 1), "does not take")] {
            let said =
                mail::Outcome::from_reply(None, &Reply::new(550, status, "carol@inner.example: secret"));
            let reply = refused(said.why());
            assert_eq!((reply.code, reply.status()), (550, EnhancedCode(status.0, status.1, status.2)));
            let words = format!("{reply}");
            assert!(words.contains(text) && !words.contains("carol"), "{words}");
        }
    }
}
