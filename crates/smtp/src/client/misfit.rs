//! What a server lacks of what a message needs, known from its EHLO reply before anything of the message is said.

use mail::{EnhancedCode, Outcome};

use super::{Extensions, Protocol, Session, Transaction};

/// The server can't be given the message, or not for everybody. Another host of the domain may offer more: it is no
/// last word as long as one is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Nobody gets it there; what becomes of the recipients if no host takes it.
    Message(Outcome),
    /// Some of the recipients do not; what becomes of them if no host takes them.
    Recipients(Outcome),
}

impl Session {
    /// What the server lacks for this transaction. Meaningful once EHLO is done.
    #[must_use]
    pub fn misfit(&self, transaction: &Transaction) -> Option<Misfit> {
        let offered = &self.extensions;
        let named = |outcome: Outcome| match outcome {
            Outcome::Failed(why) => Outcome::Failed(mail::Why { mta: self.mta.clone(), ..why }),
            other => other,
        };
        if let Some(outcome) = of_message(transaction, offered, self.settings.protocol) {
            return Some(Misfit::Message(named(outcome)));
        }
        let lacks = !offered.smtputf8
            && transaction.recipients.iter().any(|recipient| recipient.address.needs_smtputf8());
        lacks.then(|| Misfit::Recipients(named(needs_smtputf8())))
    }
}

/// Whether the message itself needs SMTPUTF8, whoever it is for.
pub(super) fn message_needs_smtputf8(transaction: &Transaction) -> bool {
    let sender = transaction.envelope.reverse_path.address();
    transaction.needs_smtputf8 || sender.is_some_and(mail::Address::needs_smtputf8)
}

/// What keeps the whole message from being given to this server.
pub(super) fn of_message(
    transaction: &Transaction,
    offered: &Extensions,
    protocol: Protocol,
) -> Option<Outcome> {
    if offered.size_max.is_some_and(|max| transaction.octets > max) {
        return Some(Outcome::failed(EnhancedCode(5, 3, 4), "the message is larger than the server takes"));
    }
    if transaction.envelope.require_tls && !offered.require_tls {
        let cause = "the sender asks for REQUIRETLS, which the server does not offer";
        return Some(Outcome::failed(EnhancedCode(5, 7, 30), cause));
    }
    // A mailbox keeps octets; only what goes on to another host may not be 8-bit (RFC 6152 section 3).
    if transaction.has_8bit && !offered.eight_bit_mime && protocol == Protocol::Smtp {
        let cause = "the message has 8-bit text, which the server does not take";
        return Some(Outcome::failed(EnhancedCode(5, 6, 3), cause));
    }
    (message_needs_smtputf8(transaction) && !offered.smtputf8).then(needs_smtputf8)
}

pub(super) fn needs_smtputf8() -> Outcome {
    Outcome::failed(EnhancedCode(5, 6, 7), "an address needs SMTPUTF8, which the server does not offer")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mail::{Address, BodyType, Envelope, ReversePath};

    use super::super::{Quorum, Settings};
    use super::*;

    fn transaction(to: &[&str], change: impl FnOnce(&mut Transaction, &mut Envelope)) -> Transaction {
        let recipients = to.iter().map(|to| Address::parse(to).unwrap().into()).collect();
        let mut envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: Vec::new(),
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        };
        let mut transaction = Transaction {
            envelope: Arc::new(envelope.clone()),
            recipients,
            octets: 100,
            has_8bit: false,
            needs_smtputf8: false,
            quorum: Quorum::One,
        };
        change(&mut transaction, &mut envelope);
        transaction.envelope = Arc::new(envelope);
        transaction
    }

    /// What a server with these words in its EHLO reply lacks: whether for all, and the status.
    fn lacks(offered: &str, transaction: &Transaction) -> Option<(bool, EnhancedCode)> {
        let mut session = Session::new(Arc::new(Settings::new("a.example"))).with_mta("mx.example");
        session.extensions = Extensions::parse(&format!("mx.example\n{offered}"));
        session.misfit(transaction).map(|misfit| {
            let all = matches!(misfit, Misfit::Message(_));
            let (Misfit::Message(outcome) | Misfit::Recipients(outcome)) = misfit;
            assert!(
                matches!(outcome, Outcome::Failed(_)) && outcome.why().mta.as_deref() == Some("mx.example")
            );
            (all, outcome.why().status)
        })
    }

    #[test]
    fn what_a_server_lacks_is_known_before_it_is_told_anything() {
        let plain = transaction(&["b@c.example"], |_, _| {});
        assert_eq!(lacks("", &plain), None);
        assert_eq!(lacks("SIZE 100", &plain), None);
        assert_eq!(lacks("SIZE 99", &plain), Some((true, EnhancedCode(5, 3, 4))));
        let requiring = transaction(&["b@c.example"], |_, envelope| envelope.require_tls = true);
        assert_eq!(lacks("STARTTLS", &requiring), Some((true, EnhancedCode(5, 7, 30))));
        assert_eq!(lacks("REQUIRETLS", &requiring), None);
        let eight_bit = transaction(&["b@c.example"], |transaction, _| transaction.has_8bit = true);
        assert_eq!(lacks("SMTPUTF8", &eight_bit), Some((true, EnhancedCode(5, 6, 3))));
        let header = transaction(&["b@c.example"], |transaction, _| transaction.needs_smtputf8 = true);
        assert_eq!(lacks("8BITMIME", &header), Some((true, EnhancedCode(5, 6, 7))));
        assert_eq!(lacks("SMTPUTF8", &header), None);
    }

    #[test]
    fn an_address_that_needs_smtputf8_stops_the_message_as_a_sender_and_itself_only_as_a_recipient() {
        let sender = Address::parse("d\u{e9}d\u{e9}@c.example").unwrap();
        let from = transaction(&["b@c.example"], |_, envelope| {
            envelope.reverse_path = ReversePath::Address(sender);
        });
        assert_eq!(lacks("8BITMIME", &from), Some((true, EnhancedCode(5, 6, 7))));
        let to = transaction(&["b@c.example", "d\u{e9}d\u{e9}@c.example"], |_, _| {});
        assert_eq!(lacks("8BITMIME", &to), Some((false, EnhancedCode(5, 6, 7))));
        assert_eq!(lacks("8BITMIME\nSMTPUTF8", &to), None);
    }
}
